"""What the suites for pytest-benchmark share: one core, its peak, and the shares of it."""

from __future__ import annotations

import os
from typing import Any

# Before NumPy is loaded: threads that wait for each other on one core would be measured.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import machine
import pytest
import store

from fastnn import backends

# What pytest-benchmark takes where the command line names no place.
DEFAULT_STORAGE = "file://./.benchmarks"


def pytest_configure(config: Any) -> None:
    """Keep runs by machine, where the comparisons are, unless the command line says otherwise."""
    if config.getoption("benchmark_storage", None) == DEFAULT_STORAGE:
        config.option.benchmark_storage = f"file://{store.RESULTS / machine.slug()}"


def compiled() -> list[str]:
    """Return the backends that are worth a clock; the reference only where there is no other."""
    there = backends.available()
    return [name for name in there if name != "reference"] or there


def pytest_generate_tests(metafunc: Any) -> None:
    """Run a test once for every compiled backend."""
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", compiled())


@pytest.fixture(scope="session")
def measuring() -> machine.Roof:
    """Return what measures the machine."""
    return machine.Roof()


@pytest.fixture(scope="session")
def roof(measuring: machine.Roof) -> dict[str, float | None]:
    """Return what the last core can do, in GFLOP/s and GB/s."""
    with machine.pinned(machine.cores()[-1:]):
        told = {dtype: measuring.peak(dtype) for dtype in ("float32", "float64")}
        return {**told, "stream": measuring.stream}


@pytest.fixture
def one_core() -> Any:
    """Bind the process to one core for a test."""
    with machine.pinned(machine.cores()[-1:]):
        yield


@pytest.fixture
def shares(roof: dict[str, float | None], measuring: machine.Roof) -> Any:
    """Return a function that writes GFLOP/s, GB/s and their shares into a benchmark."""

    def note(
        benchmark: Any, flops: float, moved: float, dtype: str = "float32", threads: int = 1
    ) -> None:
        if benchmark.stats is None:  # --benchmark-disable
            return
        seconds = benchmark.stats.stats.median
        speed, traffic = flops / seconds * 1e-9, moved / seconds * 1e-9
        benchmark.extra_info |= {"GFLOP/s": round(speed, 2), "GB/s": round(traffic, 2)}
        if roof[dtype]:
            benchmark.extra_info["of FMA peak"] = round(speed / (roof[dtype] * threads), 4)
        if roof["stream"]:
            benchmark.extra_info["of stream bandwidth"] = round(traffic / roof["stream"], 4)
        there = machine.cores()
        latency = measuring.ping_pong(there[0], there[-1]) if threads > 1 else None
        if latency:
            benchmark.extra_info["core to core ns"] = round(latency)

    return note


def pytest_benchmark_update_machine_info(config: Any, machine_info: dict[str, Any]) -> None:
    """Describe the machine in the file of a run, without its name and the build of its kernel."""
    machine_info |= {"node": "machine", "release": ""}
    machine_info |= machine.describe()


def pytest_benchmark_update_commit_info(config: Any, commit_info: dict[str, Any]) -> None:
    """Tell the commit alone: the names of folders and branches are nobody's business."""
    commit_info |= {"project": "fastnn", "branch": ""}


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print the shares, which the table of pytest-benchmark does not show."""
    session = getattr(terminalreporter.config, "_benchmarksession", None)
    told = [b for b in getattr(session, "benchmarks", []) if "GFLOP/s" in b.extra_info]
    if not told:
        return
    terminalreporter.section("shares of the FMA peak and of the stream bandwidth")
    for bench in sorted(told, key=lambda b: b.name):
        cells = "  ".join(f"{k} {v:>8}" for k, v in bench.extra_info.items())
        terminalreporter.write_line(f"{bench.name:<64} {cells}")
