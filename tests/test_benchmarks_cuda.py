"""Claims about the benchmark on a GPU: its logic, on fake clocks and devices, never a time."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

# Behind everything else, so that it hides nothing.
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import cases
import cuda_compare
import cuda_products
import measure

DEVICE = {"device": "Fake GPU 9", "target": "numba-cuda 1.2", "memory": "8.0 GiB, 7.0 free"}


class FakeBackend:
    def details(self):
        return DEVICE


class FakeWorker:
    """A contestant that tells how long its steps take, without taking any."""

    closed = 0

    def __init__(self, contestant, cores):
        self.contestant, self.cores = contestant, cores
        self.pace = {"fastnn": 1e-3, "PyTorch": 3e-3}.get(contestant.name, 2e-3)
        self.description = {"versions": {contestant.module: "1"}, "details": {"device": "fake"}}

    def ask(self, do, **arguments):
        if do == "prepare":
            return {"note": "fake", "seconds": 0.0, "threads": 1}
        far = self.contestant.name == "JAX"
        return {"loss": 0.7 if far else 0.5, "before": 1.0}

    def run(self, count):
        return {"count": count, "seconds": count * self.pace}

    def close(self):
        FakeWorker.closed += 1


@pytest.fixture
def gpu(monkeypatch, tmp_path):
    """Let there be a GPU whose results are right, and return the folder of the results."""
    monkeypatch.setattr(cuda_compare.backends, "why_unavailable", lambda name: None)
    monkeypatch.setattr(cuda_compare.backends, "get", lambda name: FakeBackend())
    monkeypatch.setattr(cuda_compare, "equivalent", lambda: True)
    monkeypatch.setattr(cuda_compare.shutil, "which", lambda name: None)
    monkeypatch.setattr(cuda_compare.cuda_products, "measure", lambda: [])
    monkeypatch.setattr(
        cuda_compare,
        "open_workers",
        lambda contestants, cores: ({c.name: FakeWorker(c, cores) for c in contestants}, {}),
    )
    monkeypatch.setattr(measure, "PAUSE", 0.0)
    FakeWorker.closed = 0
    return tmp_path


def run(folder, *more):
    return cuda_compare.main(["--output", str(folder), "--rounds", "2", "--seconds", "0.01", *more])


def test_what_was_measured_is_written_with_the_device(gpu, capsys):
    assert run(gpu, "--cases", "64-100-10") == 0
    (file,) = gpu.glob("cuda-*.json")
    told = json.loads(file.read_text())
    assert told["device"] == DEVICE
    (case,) = told["cases"]
    assert case["name"] == "64-100-10, 200"
    entries = case["contestants"]
    assert entries["PyTorch"]["ratio"]["median"] == pytest.approx(3.0)
    assert entries["PyTorch, CUDA graphs"]["ratio"]["median"] == pytest.approx(2.0)
    assert "final loss" in entries["JAX"]["left_out"]  # who computes something else has no time
    assert FakeWorker.closed == len(cuda_compare.CONTESTANTS)
    assert "Fake GPU 9" in capsys.readouterr().out


def test_the_cases_are_those_that_were_promised():
    names = [case.name for case in cuda_compare.CASES]
    assert names == [
        "784-512-512-10, 128",
        "784-512-512-10, 1024",
        "784-512-512-10, 8192",
        "64-100-10, 200",
        "4096-4096-4096-1000, 4096",
    ]
    assert all(case.training and case.steps > 0 for case in cuda_compare.CASES)
    assert cases.select(cuda_compare.CASES, ["64-100"]) == [cuda_compare.CASES[3]]


def test_without_a_gpu_it_says_so_and_writes_nothing(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(cuda_compare.backends, "why_unavailable", lambda name: "no driver is found")
    monkeypatch.setattr(
        cuda_compare, "equivalent", lambda: pytest.fail("there is nothing to run on")
    )
    assert run(tmp_path) == 1
    assert capsys.readouterr().err == "there is no GPU to measure on: no driver is found\n"
    assert not list(tmp_path.iterdir())


def test_a_simulated_gpu_is_none(monkeypatch, gpu, capsys):
    monkeypatch.setitem(DEVICE, "device", "simulated, for tests")
    assert run(gpu) == 1
    assert "simulates" in capsys.readouterr().err
    assert not list(gpu.iterdir())


def test_a_backend_that_is_wrong_is_not_timed(monkeypatch, gpu, capsys):
    monkeypatch.setattr(cuda_compare, "equivalent", lambda: False)
    monkeypatch.setattr(cuda_compare, "open_workers", lambda *told: pytest.fail("it is timed"))
    assert run(gpu) == 1
    assert "wrong on this device" in capsys.readouterr().err
    assert not list(gpu.iterdir())


def test_the_driver_is_asked_for_its_version(monkeypatch, gpu):
    answer = subprocess.CompletedProcess([], 0, "570.10, 1980 MHz\n570.10, 1980 MHz\n")
    monkeypatch.setattr(cuda_compare.shutil, "which", lambda name: "/somewhere/nvidia-smi")
    monkeypatch.setattr(cuda_compare.subprocess, "run", lambda command, **told: answer)
    told = cuda_compare.described_device()
    assert told == {**DEVICE, "driver": "570.10", "highest clock": "1980 MHz"}


def test_the_tests_run_on_the_device(monkeypatch):
    commands = []

    def called(command):
        commands.append(command)
        return subprocess.CompletedProcess(command, len(commands) - 1)

    monkeypatch.setattr(cuda_compare.subprocess, "run", called)
    assert cuda_compare.equivalent()
    assert not cuda_compare.equivalent()
    assert Path(commands[0][-1]) == Path(__file__).parent / "cuda"
    assert Path(commands[0][-1]).is_dir()


def products(*ratios):
    return [
        {"size": [n, n, n], "flops": 6 * n**3, "ours": ratio, "cublas": 1.0}
        for n, ratio in enumerate(ratios, 1)
    ]


def test_cublas_pays_from_the_size_on_beyond_which_it_always_did():
    assert cuda_products.crossover(products(2.0, 1.0, 1.2, 1.3)) == 3**3
    assert cuda_products.crossover(products(2.0, 2.0)) == 1
    assert cuda_products.crossover(products(2.0, 1.0)) is None
    assert cuda_products.crossover([{"size": [1, 1, 1], "flops": 6, "ours": 1.0}]) is None
    columns, rows = cuda_products.table(products(0.5, 2.0))
    assert [row[3] for row in rows[:2]] == ["2.00", "0.50"]
    assert rows[-1][:2] == ["cuBLAS pays", "from 8 multiply-adds on"]
    assert all(len(row) == len(columns) for row in rows)


def test_a_product_is_as_fast_as_its_quickest_round(monkeypatch):
    clock = iter([0.0, 2.0, 10.0, 11.0, 20.0, 24.0, 30.0, 33.0, 40.0, 42.0])
    monkeypatch.setattr(cuda_products.time, "perf_counter", lambda: next(clock))
    calls = []
    best = cuda_products.best(lambda: calls.append("step"), lambda: calls.append("wait"))
    assert best == pytest.approx(1.0 / cuda_products.REPEATS)
    assert calls[1] == "wait"
    assert calls[-1] == "wait"
