"""Claims about what the benchmarks print, keep and write into the documents."""

import json
import sys
from pathlib import Path

import pytest

# Behind everything else, so that it hides nothing.
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import cases
import chart
import documents
import report
import rounds
import scaling
import sklearn_compare
import store

TINY = cases.Case((4, 6, 3), 8, rows=64)


def entry(*times, ours=1.0):
    return {"seconds": times[0], "ratio": rounds.paired_ratio(times, [ours] * len(times))}


def result(told, case=TINY, threads=1):
    return {
        "name": case.name,
        "part": "training" if case.training else "inference",
        "case": {"optimizer": case.optimizer},
        "flops": 1_000_000,
        "bytes": 1000,
        "threads": threads,
        "roof": {
            "before": {"peak": 4.0, "ping_pong": 40.0},
            "after": {"peak": 4.0, "ping_pong": 190.0},
        },
        "contestants": told,
    }


def test_a_table_is_written_between_its_markers_and_nowhere_else():
    text = "a\n<!-- benchmarks x begin -->\nold\n<!-- benchmarks x end -->\nb\n"
    new = documents.insert(text, "x", "new")
    assert new == text.replace("old", "new")
    assert documents.insert(new, "x", "new") == new


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<!-- benchmarks x begin -->",
        "<!-- benchmarks x end --><!-- benchmarks x begin -->",
        "<!-- benchmarks x begin -->" * 2 + "<!-- benchmarks x end -->",
    ],
)
def test_broken_markers_are_refused(text):
    with pytest.raises(ValueError, match="there must be one"):
        documents.insert(text, "x", "new")


def test_a_row_shows_time_speed_share_and_ratios():
    told = {"fastnn": entry(1e-3), "NumPy": entry(2e-3, 4e-3, ours=1e-3)}
    told["JAX"] = {"left_out": "final loss nan, not 1"}
    names = ["fastnn", "NumPy", "JAX"]
    cells = report.row(result(told), names)
    assert cells == [TINY.name, "1000", "1", "25%", "2000 (3.00×)", "–"]
    assert len(cells) == len(report.header("training", names, 1))


def test_two_threads_stand_beside_the_way_between_their_cores():
    cells = report.row(result({"fastnn": entry(1e-3)}, threads=2), ["fastnn"])
    assert cells == [TINY.name, "1000", "1", "12%", "40–190 ns far"]


def test_the_mean_says_over_how_many_cases_it_goes_where_not_over_all():
    first = result({"A": entry(2.0, 2.0), "B": entry(4.0, 4.0)})
    second = result({"A": entry(8.0, 8.0)})
    assert report.means([first, second]) == {"A": "4.00×", "B": "4.00× of 1"}


def results_of(*told, **more):
    """Return results as `compare` keeps them, of these cases."""
    run = {"date": "2026-01-01", "commit": "abc", "what": "training", "load": "0.1"}
    return {
        "commit": "abc",
        "runs": [run],
        "machine": {"cpu": "a CPU", "usable cores": "2"},
        "roof": {"float32": None, "missing": "no C compiler was found", "ping_pong": None},
        "versions": {"numpy": "2"},
        "details": {},
        "left_out": {},
        "cases": list(told),
    } | more


def test_documents_and_charts_are_written_from_results(tmp_path, capsys):
    names = ("machine", "summary", "training 1", "cost", "busy", "latency 1")
    markers = "".join(f"<!-- benchmarks {n} begin --><!-- benchmarks {n} end -->" for n in names)
    (tmp_path / "docs").mkdir()
    for name in documents.DOCUMENTS:
        (tmp_path / name).write_text(markers)
    each = {"p50": 1e-6, "p99": 2e-6, "worst": 9e-6, "count": 100}
    one = cases.Case((4, 6, 3), 1, training=False)
    quiet_and_busy = {"quiet": each, "busy": {**each, "p99": 4e-6}}
    results = results_of(
        result({"fastnn": entry(1.0), "NumPy": entry(2.0, 2.0) | {"prepare": 12.0}}),
        result({"fastnn": entry(1.0) | {"each": each}}, case=one),
        left_out={"JAX": "jax not installed"},
        busy=[result({"fastnn": quiet_and_busy, "NumPy": {"left_out": "it failed"}}, threads=2)],
        cost={"NumPy": {"import": 70.0, "alone": 50.0, "memory": {"peak": 90.0, "beyond": 2.0}}},
    )
    documents.write(results, tmp_path)
    text = (tmp_path / "README.md").read_text()
    assert "| NumPy | 2.00× (least 2.00×) |" in text
    assert "JAX (jax not installed)" in text
    assert "no C compiler was found" in text
    assert "compilation and warm-up: at most NumPy 12 s" in text
    assert "| 4-6-3 | 1 / 2 |" in text
    assert "| 1 (1×) | 4 (4×) | 9 (9×) | 100, 100 | 40–190 ns far |" in text
    assert "| NumPy | 70 | 50 | – | 90 | 2 |" in text
    assert "README.md: written" in capsys.readouterr().out
    assert not [line for line in text.splitlines() if len(line) > 100 and line[0] not in "|<"]
    # A picture is named from where its document is.
    if chart._pyplot() is not None:
        assert "(docs/images/benchmarks-training-1.png)" in text
        docs = (tmp_path / "docs" / "benchmarks.md").read_text()
        assert "(images/benchmarks-training-1.png)" in docs
        assert (tmp_path / "docs/images/benchmarks-training-1.png").stat().st_size > 10_000


def test_every_block_has_its_place_in_the_documents():
    readme, docs, estimators = ((store.ROOT / name).read_text() for name in documents.DOCUMENTS)
    parts = [f"{part} {threads}" for part in ("training", "inference") for threads in ("1", "all")]
    charts = [f"{name} chart" for name in (*parts, "scaling")]
    others = ["machine", "summary", "latency 1", "latency all", "busy", "cost", "scaling"]
    for name in (*parts, *charts, *others):
        assert documents.insert(docs, name, "new") != docs
    assert documents.insert(readme, "summary", "new") != readme
    for dtype in sklearn_compare.DTYPES:
        assert documents.insert(estimators, f"sklearn {dtype}", "new") != estimators


def test_a_part_that_is_measured_again_joins_the_rest(tmp_path):
    other = cases.Case((4, 6, 3), 16, rows=64)
    first = results_of(
        result({"fastnn": entry(1.0), "NumPy": entry(2.0, 2.0), "JAX": entry(3.0, 3.0)}),
        result({"fastnn": entry(5.0)}, case=other),
        left_out={"PyTorch": "torch not installed", "scikit-learn": "sklearn not installed"},
        cost={"fastnn": {"import": 1.0}},
    )
    again = results_of(
        result({"fastnn": entry(1.5), "NumPy": entry(9.0, 9.0), "PyTorch": entry(8.0, 8.0)})
    )
    store.keep(first, tmp_path, "compare")
    file, kept = store.keep(again, tmp_path, "compare")
    assert json.loads(file.read_text()) == kept
    assert [case["name"] for case in kept["cases"]] == [TINY.name, other.name]
    told = kept["cases"][0]["contestants"]
    assert {name: entry["seconds"] for name, entry in told.items()} == {
        "fastnn": 1.5,
        "NumPy": 9.0,
        "JAX": 3.0,
        "PyTorch": 8.0,
    }
    assert kept["cost"] == {"fastnn": {"import": 1.0}}
    assert kept["left_out"] == {"scikit-learn": "sklearn not installed"}
    assert len(kept["runs"]) == 2
    assert store.latest("compare", tmp_path) == [file]
    assert store.latest("scaling", tmp_path) == []


def test_results_hold_no_path_of_this_machine(tmp_path):
    results = results_of(said=f"no module in {sys.prefix}/lib", commit="")
    file, _ = store.keep(results, tmp_path, "compare")
    text = file.read_text()
    assert sys.prefix not in text
    assert json.loads(text)["said"] == "no module in PYTHON/lib"


def test_a_curve_tells_what_grew_beside_the_counts():
    def point(value, seconds, flops, moved):
        roof = result({})["roof"]
        return {
            "value": value,
            "flops": flops,
            "bytes": moved,
            "bounds": {"arithmetic": 1e-6, "memory": None},
            "seconds": {"1": seconds, "2": seconds / 2},
            "roof": roof,
        }

    points = [point(16, 2e-6, 1000, 100), point(32, 6e-6, 4000, 200)]
    columns, rows = report.scaling_table("width", points)
    assert {len(cells) for cells in rows} == {len(columns)}
    assert rows[0][-2:] == ["–", "40–190 ns far"]
    assert rows[1][-2:] == ["3× / 4× / 2×", "40–190 ns far"]
    assert rows[0][7] == "50%"
    assert scaling.thread_counts(1) == [1]
    assert scaling.thread_counts(2) == [1, 2]
    assert scaling.thread_counts(6) == [1, 2, 4, 6]
