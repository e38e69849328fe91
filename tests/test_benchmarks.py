"""Claims about the harness of the benchmarks: its logic, never a time."""

import importlib.util
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from fastnn import activations, backends, bench
from fastnn.activations import FORMULAS
from fastnn.program.kernels import KERNELS

# Behind everything else, so that it hides nothing.
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import busy
import cases
import compare
import contestants
import custom
import footprint
import machine
import measure
import openblas
import own_activations
import report
import rounds
import scaling
import worker

TINY = cases.Case((4, 6, 3), 8, rows=64)


# -- ratios and rounds ---------------------------------------------------------------------------


def test_a_ratio_is_the_median_of_pairs_of_the_same_round():
    # A machine that became ten times slower in the last round changes nothing.
    ratio = rounds.paired_ratio([2.0, 6.0, 20.0], [1.0, 2.0, 10.0])
    assert ratio == {"median": 2.0, "low": 2.0, "high": 3.0}


def test_rounds_go_forth_and_back():
    played = []

    def runner(name):
        def run(count):
            played.append((name, count))
            return {"count": count, "seconds": 1.0}

        return run

    counts = {"A": 1, "B": 2, "C": 4}
    told = rounds.play({n: runner(n) for n in "ABC"}, counts, 3)
    assert "".join(name for name, _ in played) == "ABCCBAABC"
    assert told == {n: [{"count": c, "seconds": 1.0}] * 3 for n, c in counts.items()}


def test_a_run_is_made_as_long_as_it_should_be_whatever_an_epoch_holds():
    def run(count):
        whole = -(-count // 10) * 10
        return {"count": whole, "seconds": 1e-3 * whole}

    assert rounds.calibrate(run, 0.5) == 500
    assert rounds.calibrate(lambda n: {"count": n, "seconds": 9.0 * n}, 0.5) == 1


def test_the_geometric_mean_of_twice_and_half_is_one():
    assert rounds.geometric_mean([2.0, 0.5]) == pytest.approx(1.0)
    assert rounds.geometric_mean([]) is None


def test_a_percentile_is_a_value_that_occurred():
    values = [float(n) for n in range(100, 0, -1)]
    assert rounds.percentile(values, 0.5) == 50
    assert rounds.percentile(values, 0.99) == 99
    assert rounds.percentile([7.0], 0.99) == 7


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ({"loss": 1.0, "before": 2.0}, {"loss": 1.001}, ""),
        ({"loss": 1.0, "before": 2.0}, {"loss": 1.1}, "final loss 1.1, not 1"),
        ({"loss": 1.0, "before": 2.0}, {"loss": float("nan")}, "final loss nan, not 1"),
        ({"loss": 2.0, "before": 2.0}, {"loss": 2.0}, "the loss did not move"),
        ({"outputs": [[0.5, 0.5]]}, {"outputs": [[0.5, 0.50001]]}, ""),
        ({"outputs": [[0.5, 0.5]]}, {"outputs": [[0.5, 0.6]]}, "outputs differ by 1.0e-01"),
    ],
)
def test_other_work_is_noticed(ours, theirs, said):
    assert rounds.agreement(ours, theirs) == said


# -- cases ---------------------------------------------------------------------------------------


def test_operations_are_counted_as_the_documentation_says():
    case = cases.Case((4, 6, 2), 16)
    assert case.flops == 16 * (4 * 4 * 6 + 6 * 6 * 2)
    assert cases.Case((4, 6, 2), 16, training=False).flops == 16 * 2 * (4 * 6 + 6 * 2)


def test_every_training_case_has_whole_batches_only():
    for case in (*cases.TRAINING, *(c.shortened(1e6) for c in cases.TRAINING)):
        assert case.rows == case.steps * case.batch
        assert case.steps > 0


def test_a_case_survives_its_journey_through_json():
    for case in cases.TRAINING + cases.INFERENCE:
        assert cases.Case(**json.loads(json.dumps(vars(case)))) == case


def test_there_are_the_nine_networks_three_with_adam_and_five_that_predict():
    assert sum(case.optimizer == "sgd" for case in cases.TRAINING) == 9
    assert sum(case.optimizer == "adam" for case in cases.TRAINING) == 3
    assert len({case.widths for case in cases.INFERENCE}) == 5
    assert {case.batch for case in cases.INFERENCE} == {1, 32, 1000}


# -- contestants ---------------------------------------------------------------------------------


def test_a_library_that_is_not_installed_is_left_out_by_name(monkeypatch):
    absent = contestants.Contestant("Nobody", "nobody", ("no_such_package",))
    known = (*contestants.CONTESTANTS, absent)
    monkeypatch.setattr(contestants, "CONTESTANTS", known)
    found, left_out = contestants.present(["nobody", "numpy"])
    assert left_out["Nobody"] == "no_such_package not installed"
    assert {"fastnn", "NumPy"} <= {c.name for c in found}
    assert "PyTorch" not in {*left_out, *(c.name for c in found)}


def test_the_best_core_takes_part_where_it_is_not_the_default(monkeypatch):
    def contest(times, own="Haswell"):
        def trial(environment):
            core = environment.get("OPENBLAS_CORETYPE", own)
            # A core that this CPU lacks is refused, and the usual one taken.
            return (core, times[core]) if core in times else (own, times[own])

        monkeypatch.setattr(openblas, "_trial", trial)
        return contestants.present(["numpy"])

    found, left_out = contest({"Haswell": 2.0, "SkylakeX": 1.0})
    best = next(c for c in found if c.name == "NumPy SkylakeX")
    assert best.environment == {"OPENBLAS_CORETYPE": "SkylakeX"}
    assert not left_out
    found, left_out = contest({"Haswell": 1.0, "SkylakeX": 1.0})
    assert "none is faster than Haswell" in left_out["NumPy, best core"]
    assert [c.name for c in found if c.module == "numpy_peer"] == ["NumPy"]


def test_libraries_are_found_by_the_name_of_their_package_too():
    known = {c.packages[0] for c in contestants.CONTESTANTS}
    for name in known - {"fastnn"}:
        found, left_out = contestants.present([name])
        assert len(found) + len(left_out) > 2, name


def test_a_library_that_cannot_be_loaded_is_left_out_with_its_last_words():
    broken = contestants.Contestant("Broken", "no_such_peer", ())
    workers, failed = measure.open_workers([broken], machine.cores())
    assert not workers
    assert "no_such_peer" in failed["Broken"]


@pytest.fixture(scope="module")
def workers():
    """Return the processes of fastnn and NumPy."""
    found, _ = contestants.present(["numpy"])
    opened, failed = measure.open_workers(found, machine.cores()[-1:])
    assert not failed
    yield opened
    for process in opened.values():
        process.close()


@pytest.fixture(scope="module")
def roof():
    """Return what measures the machine."""
    return machine.Roof()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_fastnn_and_numpy_do_the_same_work(workers, roof, optimizer, loss):
    case = cases.Case((4, 6, 3), 8, optimizer, loss, rows=64)
    told = measure.measure_case(case, workers, measure.Settings(2, 1e-3), roof)
    for name in ("fastnn", "fastnn resident", "NumPy"):
        entry = told["contestants"][name]
        assert "left_out" not in entry
        assert len(entry["rounds"]) == 2
        assert entry["ratio"]["low"] <= entry["ratio"]["median"] <= entry["ratio"]["high"]
    assert told["contestants"]["fastnn"]["ratio"]["median"] == 1.0
    assert json.loads(json.dumps(told)) is not None


def test_fastnn_and_numpy_predict_the_same(workers, roof):
    case = cases.Case((4, 6, 3), 8, training=False)
    told = measure.measure_case(case, workers, measure.Settings(1, 1e-3), roof)
    assert "ratio" in told["contestants"]["NumPy"]
    assert "fastnn resident" not in told["contestants"]
    assert "each" not in told["contestants"]["NumPy"]


def test_single_predictions_of_one_row_have_percentiles(workers, roof):
    case = cases.Case((4, 6, 3), 1, training=False)
    told = measure.measure_case(case, workers, measure.Settings(1, 1e-3, 1e-2), roof)
    for name in ("fastnn", "NumPy"):
        each = told["contestants"][name]["each"]
        assert 0 < each["p50"] <= each["p99"] <= each["worst"]
        assert each["count"] > 3


def test_steps_are_timed_one_by_one_beside_busy_processes(workers, roof):
    case = cases.Case((64, 32, 3), 32, rows=640)
    told = busy.measure_busy(case, workers, 0.02, roof)
    assert set(told["contestants"]) == {"fastnn", "NumPy"}
    for entry in told["contestants"].values():
        assert entry["busy"]["p50"] > 0
        assert entry["quiet"]["count"] >= measure.EACH_TURNS
    columns, rows = report.busy_table([told])
    assert [len(columns)] * 2 == [len(cells) for cells in rows]


def test_busy_processes_are_gone_afterwards():
    with busy.busy_cores(machine.cores()) as spinning:
        assert all(process.poll() is None for process in spinning)
    assert all(process.poll() is not None for process in spinning)


def test_what_training_adds_to_the_memory_is_without_data_and_parameters():
    numpy_alone = next(c for c in contestants.CONTESTANTS if c.name == "NumPy")
    case = cases.Case((784, 32, 10), 64, "adam", rows=6400)
    told = footprint._memory(numpy_alone, machine.cores()[-1:], case)
    assert told["needed"] == pytest.approx((6400 * 784 * 4 + 6400 * 8 + 12 * 25_450) / 1e6)
    assert told["peak"] > told["needed"]
    if "beyond" in told:
        assert told["beyond"] < told["peak"] - told["needed"]


def test_fastnn_takes_whole_epochs_and_tells_how_many_steps_they_were(workers):
    workers["fastnn"].ask("prepare", case=vars(TINY))
    assert workers["fastnn"].run(TINY.steps + 1)["count"] == 2 * TINY.steps
    assert workers["fastnn"].must("memory")["peak"] > 1


class Cheat:
    """A library that trains with another learning rate."""

    class Trainer:
        def __init__(self, case, threads, mode):
            self.case, self.data, self.note = case, case.data(), ""

        def restart(self, steps):
            pass

        def weights(self):
            return [(w * np.float32(1.01), b) for w, b in self.case.first_weights()]


def test_who_did_other_work_gets_no_ratio(workers, roof):
    class Liar:
        contestant = contestants.Contestant("Liar", "liar", ())

        def ask(self, do, **arguments):
            requests = [{"do": "prepare", "case": vars(TINY)}, {"do": "check", "steps": 2}]
            lines = io.StringIO("".join(json.dumps(r) + "\n" for r in requests))
            replies = io.StringIO()
            worker.serve(lines, replies, Cheat, 1, "")
            told = [json.loads(line) for line in replies.getvalue().splitlines()]
            return dict(zip(("prepare", "check"), told, strict=True))[do]

    both = {"fastnn": workers["fastnn"], "Liar": Liar()}
    told = measure.measure_case(TINY, both, measure.Settings(1, 1e-3), roof)
    assert told["contestants"]["Liar"]["left_out"].startswith("final loss")
    assert "ratio" not in told["contestants"]["Liar"]
    assert "ratio" in told["contestants"]["fastnn"]


# -- the whole, the machine, the kernels ---------------------------------------------------------


def test_a_quick_comparison_prints_a_table_and_keeps_its_results(tmp_path, capsys):
    arguments = "--quick --rounds 1 --seconds 0.001 --threads 1 --peers numpy --cases 4-6-2"
    assert compare.main([*arguments.split(), "--parts", "training", "--output", str(tmp_path)]) == 0
    output = capsys.readouterr().out
    assert "4-6-2, 16" in output
    assert "×)" in output
    (file,) = tmp_path.glob("*.json")
    kept = json.loads(file.read_text())
    assert [told["name"] for told in kept["cases"]] == ["4-6-2, 1", "4-6-2, 16"]
    assert kept["versions"]["numpy"] == np.__version__


def test_a_quick_run_is_not_published(capsys):
    with pytest.raises(SystemExit):
        compare.main(["--quick", "--write"])
    assert "--write needs a whole run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        scaling.main(["--quick", "--write"])


@pytest.mark.parametrize(
    ("option", "text", "answer"),
    [
        ("--parts", "trainig", "unknown part 'trainig'"),
        ("--peers", "numpy,sklern", "unknown library 'sklern'; there are fastnn"),
        ("--cases", "784-31", "no case has '784-31' in it; nets: 4-6-2,"),
        ("--threads", "1,999999", "threads must be 1 to"),
    ],
)
def test_what_cannot_be_compared_is_refused_before_anything_is_measured(
    option, text, answer, capsys
):
    with pytest.raises(SystemExit):
        compare.main(["--quick", option, text])
    told = capsys.readouterr()
    assert answer in told.err
    assert not told.out


def test_the_roof_is_measured_or_the_reason_is_told(roof):
    if not (shutil.which("gcc") or shutil.which("cc") or shutil.which("clang")):
        assert roof.missing
        assert roof.peak() is None
    else:
        assert not roof.missing
        assert roof.peak("float32") > 0
        assert roof.peak("float64") > 0


@pytest.fixture(scope="module")
def suite():
    """Return the file that times the kernels."""
    path = Path(compare.__file__).with_name("test_kernels.py")
    spec = importlib.util.spec_from_file_location("kernel_benchmarks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_the_benchmark_of_the_kernels_can_call_every_kernel(suite, kernel):
    sizes = {"B": 3, "I": 4, "O": 5, "N": 7, "1": 1}
    function = getattr(backends.get("reference").kernels, kernel.name)
    for name in kernel.functions or [""]:
        arrays = [suite.array(kernel, argument, sizes, "float32") for argument in kernel.arguments]
        constants = [suite.constant(kernel, constant, name) for constant in kernel.constants]
        function(*arrays, *constants)


def test_the_benchmark_inside_the_package_reports_steps_and_predictions():
    told = list(bench.lines(threads=1, seconds=1e-6))
    assert told[0].startswith("backend ")
    assert sum(line.startswith("train ") for line in told) == len(bench.TRAINING)
    assert sum(line.startswith("predict ") for line in told) == 2 * len(bench.TRAINING)


# -- activations of one's own --------------------------------------------------------------------


def test_there_is_a_copy_of_every_activation():
    assert set(own_activations.COPIES) == set(FORMULAS)


@pytest.fixture
def copies():
    """Let copies be registered, where they can be compiled, and forget them."""
    pytest.importorskip("numba")
    if "native" not in backends.available():
        pytest.skip("there is no native backend")
    before = dict(activations.CUSTOM)
    yield own_activations.COPIES
    activations.CUSTOM.clear()
    activations.CUSTOM.update(before)


@pytest.mark.usefixtures("copies")
def test_a_copy_is_measured_beside_its_original():
    told = custom.measure(TINY, "tanh", "native", rounds=2, seconds=1e-3)
    assert set(told) == {"ours", "own", "ratio", "compiled"}
    assert told["ratio"]["low"] <= told["ratio"]["median"] <= told["ratio"]["high"]


def test_a_copy_that_is_none_is_noticed(copies, monkeypatch):
    monkeypatch.setitem(copies, "tanh", copies["softsign"])
    with pytest.raises(SystemExit, match="the copy of tanh does something else"):
        custom.measure(TINY, "tanh", "native", rounds=1, seconds=1e-3)
