"""Claims about the harness that compares the estimators with those of scikit-learn."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("sklearn")

# Behind everything else, so that it hides nothing.
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import cases
import documents
import machine
import measure
import sklearn_cases
import sklearn_compare
import sklearn_fits
import sklearn_report

TINY = sklearn_cases.Fit(cases.Case((4, 6, 3), 8, "adam", rows=64), 3, 1e-9)
ROUNDS = 2


@pytest.fixture(scope="module")
def workers():
    """Return the processes of fastnn and scikit-learn."""
    both = sklearn_cases.contestants("float32")[:2]
    opened, failed = measure.open_workers(both, machine.cores()[-1:])
    assert not failed
    yield opened
    for process in opened.values():
        process.close()


@pytest.fixture(scope="module")
def roof():
    """Return what measures the machine."""
    return machine.Roof()


@pytest.fixture(scope="module")
def fits(workers, roof):
    """Return what is told of a classifier and of a regressor."""
    regression = replace(TINY, case=cases.Case((4, 6, 1), 8, "adam", "mse", rows=64))
    return [sklearn_fits.measure_fit(fit, workers, ROUNDS, roof) for fit in (TINY, regression)]


def test_whoever_ends_with_the_same_losses_gets_the_ratio_of_a_step_and_of_a_fit(fits):
    for told in fits:
        rival = told["contestants"]["scikit-learn"]
        assert rival["apart"] <= sklearn_fits.LOSS_SHARE
        assert {"ratio", "fit_ratio"} <= set(rival)
        assert len(rival["fits"]) == len(rival["rounds"]) == len(rival["losses"]) == ROUNDS
        assert len(set(rival["losses"])) == ROUNDS  # every round has a seed of its own
        assert json.loads(json.dumps(told))["epochs"] == TINY.epochs


def test_a_step_is_what_the_epochs_behind_the_first_took():
    times = {"seconds": 3.0, "first": 1.0, "cpu": 5.0, "first_cpu": 2.0}
    fits = [times | {"loss": 0.5, "said": 0.6}] * 2
    told = sklearn_fits.summary(fits, steps=4)
    assert told["seconds"] == 0.5
    assert told["fit"] == 3.0


def entry(said, losses=(1.0, 1.0)):
    return {"losses": list(losses), "said": list(said), "rounds": [2.0], "fits": [6.0]}


@pytest.mark.parametrize(
    ("said", "losses"),
    [
        ((1.0, 1.02), (1.0, 1.0)),
        ((0.98, 1.0), (1.0, 1.0)),
        ((float("nan"), 1.0), (1.0, 1.0)),
        ((1.0, 1.0), (1.02, 1.01)),
        ((1.0, 1.0), (1.0, float("nan"))),
    ],
)
def test_whoever_ends_with_another_loss_gets_no_ratio(said, losses):
    rival = entry(said, losses)
    sklearn_fits.compare(rival, entry((1.0, 1.0)))
    assert "ratio" not in rival
    assert "fit_ratio" not in rival
    assert "from that of fastnn" in rival["left_out"]


def test_losses_within_a_per_cent_are_the_same_and_those_of_the_last_step_in_the_mean():
    rival = entry((1.0, 1.009), (1.02, 0.98))
    sklearn_fits.compare(rival, entry((1.0, 1.0)))
    assert rival["ratio"]["median"] == 1.0
    assert "left_out" not in rival


def test_a_core_of_openblas_takes_part_once_and_only_where_openblas_takes_it():
    closed = []

    def pretend(contestant, core):
        told = {"details": {"core": core}}
        return SimpleNamespace(
            contestant=contestant,
            description=told,
            close=lambda: closed.append(contestant.name),
        )

    found = sklearn_cases.contestants("float32")
    takes = dict.fromkeys((c.name for c in found), "Haswell")
    opened = {c.name: pretend(c, takes[c.name]) for c in found}
    refused = sklearn_cases.drop_needless_cores(opened)
    assert list(opened) == ["fastnn", "scikit-learn"]
    assert refused["scikit-learn, SkylakeX"] == "OpenBLAS takes the core Haswell"
    assert "takes this core by itself" in refused["scikit-learn, Haswell"]
    assert closed == list(refused)

    takes["scikit-learn, SkylakeX"] = "SkylakeX"
    opened = {c.name: pretend(c, takes[c.name]) for c in found}
    sklearn_cases.drop_needless_cores(opened)
    assert list(opened) == ["fastnn", "scikit-learn", "scikit-learn, SkylakeX"]


def test_there_are_four_classifiers_and_a_regression_with_their_goals():
    assert [fit.goal for fit in sklearn_cases.FITS] == [8, 15, 4.5, 3, 8]
    assert [fit.case.loss for fit in sklearn_cases.FITS].count("mse") == 1
    assert {case.batch for case in sklearn_cases.PREDICTIONS} == {1, 1000}
    for fit in sklearn_cases.FITS:
        assert fit.epochs > sklearn_fits.FIRST


@pytest.mark.parametrize(("goal", "said"), [(1.5, "1.5×: met"), (2.5, "2.5×: MISSED"), (None, "")])
def test_a_goal_is_printed_with_whether_it_is_met(fits, goal, said):
    rival = {"seconds": 2.0, "ratio": {"median": 2.0}}
    told = fits[0] | {"goal": goal, "contestants": {"scikit-learn": rival}}
    assert sklearn_report.step_row(told, ["fastnn", "scikit-learn"])[-1] == said
    del rival["ratio"]
    said = "" if goal is None else f"{goal:g}×: not compared"
    assert sklearn_report.step_row(told, ["fastnn", "scikit-learn"])[-1] == said


@pytest.fixture
def small_world(monkeypatch):
    """Make the harness measure tiny cases without other cores."""
    predicting = cases.Case((4, 6, 3), 1, training=False)
    two = sklearn_cases.contestants("float32")[:2]
    monkeypatch.setattr(sklearn_compare, "FITS", (TINY,))
    monkeypatch.setattr(sklearn_compare, "PREDICTIONS", (predicting,))
    monkeypatch.setattr(sklearn_compare, "contestants", lambda dtype: two)


@pytest.mark.usefixtures("small_world")
def test_a_quick_run_prints_its_tables_and_they_can_be_put_into_the_page(tmp_path, capsys):
    arguments = ["--quick", "--threads", "1", "--rounds", "1", "--output", str(tmp_path)]
    assert sklearn_compare.main(arguments) == 0
    printed = capsys.readouterr().out
    assert "4-6-3, 8, adam" in printed
    assert "1e-09×: " in printed
    assert "not compared" not in printed
    (file,) = tmp_path.glob("estimators-float32-*.json")
    results = json.loads(file.read_text(encoding="utf-8"))

    page = tmp_path / "docs" / "sklearn.md"
    page.parent.mkdir()
    marker = "<!-- benchmarks sklearn float32 {} -->"
    page.write_text(f"{marker.format('begin')}\n{marker.format('end')}\n", encoding="utf-8")
    documents.write_sklearn(results, tmp_path)
    written = page.read_text(encoding="utf-8")
    for title in ("A step of `fit`", "Whole fits", "`predict_proba`", "Single calls"):
        assert f"\n{title}" in written
    tables = [line for line in written.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in tables if "4-6-3, 8" in line}) <= 2
    assert documents.insert(written, "sklearn float32", "x").count("|") == 0


def test_a_quick_run_is_not_published(capsys):
    with pytest.raises(SystemExit):
        sklearn_compare.main(["--quick", "--write"])
    assert "--write needs a whole run" in capsys.readouterr().err
