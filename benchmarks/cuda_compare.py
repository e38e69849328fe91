"""fastnn on a GPU beside PyTorch and JAX on the same GPU; first of all it is shown to be right.

``make bench-cuda`` runs it. Where there is no GPU it says so and ends with status 1, and nothing is
written: figures of this backend come from a device or from nowhere.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import chart
import cuda_products
import report
import store
from cases import Case, select
from contestants import Contestant
from frame import empty_results, say, show
from measure import Settings, cores_for, measure_case, open_workers

from fastnn import backends

__all__ = ["CASES", "CONTESTANTS", "main"]

# A small net, a middling one from few rows to many, and one that is nothing but products.
CASES = (
    Case((784, 512, 512, 10), 128),
    Case((784, 512, 512, 10), 1024),
    Case((784, 512, 512, 10), 8192),
    Case((64, 100, 10), 200),
    Case((4096, 4096, 4096, 1000), 4096),
)
CONTESTANTS = (
    Contestant("fastnn", "fastnn_peer", ("fastnn",), ("training",), "resident on cuda"),
    Contestant("PyTorch", "torch_cuda_peer", ("torch",), ("training",), "eager"),
    Contestant("PyTorch, CUDA graphs", "torch_cuda_peer", ("torch",), ("training",), "graphs"),
    Contestant("JAX", "jax_cuda_peer", ("jax",), ("training",)),
)
# Rows are uploaded in every call of `fit`, so a run has many epochs.
SETTINGS = Settings(rounds=7, seconds=2.0)
PACKAGES = ("numba", "numba-cuda", "numba-cuda-mlir", "nvidia-cublas", "nvidia-cublas-cu12")


class NoRoof:
    """Nothing is said of the processor, which only launches kernels here."""

    missing = "not measured"

    def peak(self, dtype: str = "float32") -> None:
        """Return nothing."""

    def ping_pong(self, first: int, second: int) -> None:
        """Return nothing."""


def why_not() -> str | None:
    """Return None where there is a GPU to measure on, else the sentence that says why not."""
    reason = backends.why_unavailable("cuda")
    if reason is not None:
        return f"there is no GPU to measure on: {reason}"
    if backends.get("cuda").details()["device"].startswith("simulated"):
        return "there is no GPU to measure on: Numba simulates one, whose times mean nothing"
    return None


def equivalent() -> bool:
    """Run the tests of the backend on the device: every kernel and op against the reference."""
    root = store.ROOT
    command = [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(root), "-q"]
    command += ["-o", f"pythonpath={root / 'tests'}", "--import-mode=importlib"]
    command += ["-p", "no:cacheprovider", str(root / "tests" / "cuda")]
    return subprocess.run(command).returncode == 0


def described_device() -> dict[str, str]:
    """Return the device, its driver, and what compiles for it."""
    told = dict(backends.get("cuda").details())
    program = shutil.which("nvidia-smi")
    if program is not None:
        query = [program, "--query-gpu=driver_version,clocks.max.sm", "--format=csv,noheader"]
        answer = subprocess.run(query, capture_output=True, text=True)
        if answer.returncode == 0 and answer.stdout.strip():
            driver, clock = answer.stdout.splitlines()[0].split(",")
            told |= {"driver": driver.strip(), "highest clock": clock.strip()}
    return told


def versions() -> dict[str, str]:
    """Return the versions of what decides the speed on a GPU."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def measure(wanted: list[str], settings: Settings, results: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure the cases; results go into `results` as they come."""
    cores = cores_for("all")
    workers, results["left_out"] = open_workers(list(CONTESTANTS), cores)
    try:
        for name, worker in workers.items():
            results["versions"] |= worker.description["versions"]
            results["details"][name] = worker.description["details"]
        names = list(workers)
        columns = report.header("training", names, len(cores))
        print(report.text_row(columns, columns))
        for case in select(CASES, wanted):
            results["cases"].append(measure_case(case, workers, settings, NoRoof(), say))
            say("")
            print(report.text_row(report.row(results["cases"][-1], names), columns), flush=True)
        for line in report.footnotes(results["cases"]):
            print(f"  {line}")
    finally:
        for worker in workers.values():
            worker.close()
    return results["cases"]


def folder_of(device: str) -> str:
    """Return a folder's name for a device."""
    return re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; return the exit status."""
    arguments = parser().parse_args(argv)
    reason = why_not()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    if not equivalent():
        print("the backend is wrong on this device: nothing was timed", file=sys.stderr)
        return 1
    started = time.monotonic()
    settings = Settings(arguments.rounds or SETTINGS.rounds, arguments.seconds or SETTINGS.seconds)
    results = empty_results("training on a GPU", {})
    results |= {"device": described_device(), "details": {}, "left_out": {}, "cases": []}
    results["versions"] |= versions()
    results["runs"][0] |= {"rounds": settings.rounds, "seconds": settings.seconds}
    for name, value in results["device"].items():
        print(f"- {name}: {value}")
    cases = measure(arguments.cases, settings, results)
    results["products"] = cuda_products.measure()
    show("products, in TFLOP/s", *cuda_products.table(results["products"]))
    results["runs"][0]["minutes"] = round((time.monotonic() - started) / 60, 1)
    device = results["device"]["device"]
    folder = arguments.output or store.RESULTS / folder_of(device)
    file, _ = store.keep(results, folder, "cuda")
    picture = file.with_suffix(".png")
    target = results["device"]["target"]
    title, note = f"Training on {device}", f"float32; kernels compiled by {target}"
    drawn = chart.draw_ratios(cases, title, note, picture)
    print(f"\nwritten: {file}" + (f" and {picture}" if drawn else ""))
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    told = argparse.ArgumentParser(prog="cuda_compare.py", description=__doc__.partition("\n")[0])
    told.add_argument(
        "--cases", action="append", default=[], metavar="TEXT", help="cases with this in their name"
    )
    told.add_argument("--rounds", type=int, help="interleaved rounds")
    told.add_argument("--seconds", type=float, help="length of a run in a round")
    told.add_argument("--output", type=Path, help="folder of the results")
    return told


if __name__ == "__main__":
    sys.exit(main())
