"""The products of dense layers by our kernel and by cuBLAS: from which size on the latter pays."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["SIZES", "SMALLEST_GAIN", "crossover", "measure", "table"]

# Batch, inputs and outputs: around the size from which cuBLAS is used, and one beyond all caches.
SIZES = (
    (128, 128, 128),
    (128, 512, 512),
    (256, 512, 512),
    (512, 512, 512),
    (1024, 512, 512),
    (1024, 1024, 1024),
    (4096, 4096, 4096),
)
WAYS = ("forward", "backward_data", "backward_weights")
REPEATS, ROUNDS = 20, 5
# By how much cuBLAS must be quicker to pay: the epilogue that it lacks is a launch of its own.
SMALLEST_GAIN = 1.05


def measure() -> list[dict[str, Any]]:
    """Return for every size the seconds of the three products together, by either way."""
    from fastnn.backends.cuda import cublas
    from fastnn.backends.cuda.device.matrix import Matrix
    from fastnn.backends.cuda.memory import Device
    from fastnn.backends.cuda.products import Products

    device, library = Device(), cublas.find_library()
    dtype = np.dtype(np.float32)
    ways = {"ours": Products(device, dtype, None)}
    if library is not None:
        ways["cublas"] = Products(device, dtype, library, least=0)
    told = []
    rng = np.random.default_rng(0)
    for B, I, O in SIZES:
        shapes = {"X": (B, I), "dX": (B, I), "W": (I, O), "dW": (I, O), "Y": (B, O), "dY": (B, O)}
        m = {
            name: Matrix(device.upload(rng.standard_normal(shape, np.float32)), shape[1])
            for name, shape in shapes.items()
        }
        vectors = device.upload(np.zeros(O, np.float32)), device.upload(np.zeros(O, np.float32))
        entry: dict[str, Any] = {"size": [B, I, O], "flops": 6 * B * I * O}
        for name, products in ways.items():
            step = _step(products, device.stream, m, vectors, (B, I, O))
            entry[name] = best(step, device.synchronize)
        told.append(entry)
    return told


def _step(
    products: Any, stream: Any, m: dict[str, Any], vectors: Any, sizes: tuple[int, int, int]
) -> Callable[[], None]:
    b, db = vectors

    def step() -> None:
        products.forward(stream, m["Y"], m["X"], m["W"], b, "relu", 0.0, *sizes)
        products.backward_data(stream, m["dX"], m["dY"], m["W"], m["X"], "relu", 0.0, False, *sizes)
        products.backward_weights(stream, m["dW"], db, m["X"], m["dY"], False, *sizes)

    return step


def best(step: Callable[[], None], wait: Callable[[], None]) -> float:
    """Return the seconds of a step: the least of some rounds of many."""
    step()
    wait()
    rounds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(REPEATS):
            step()
        wait()
        rounds.append((time.perf_counter() - started) / REPEATS)
    return min(rounds)


def crossover(measured: list[dict[str, Any]]) -> int | None:
    """Return the multiply-adds from which on cuBLAS paid at every size, None where it never did."""
    found = None
    for entry in sorted(measured, key=lambda entry: -entry["flops"]):
        if "cublas" not in entry or entry["ours"] < SMALLEST_GAIN * entry["cublas"]:
            break
        found = entry["flops"] // 6
    return found


def table(measured: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return columns and rows: the rate of either way, and their ratio."""
    rows = []
    for entry in measured:
        rates = [
            f"{entry['flops'] / entry[name] / 1e12:.2f}" if name in entry else "not installed"
            for name in ("ours", "cublas")
        ]
        ratio = f"{entry['cublas'] / entry['ours']:.2f}" if "cublas" in entry else ""
        rows.append(["x".join(map(str, entry["size"])), *rates, ratio])
    least = crossover(measured)
    word = "never" if least is None else f"from {least:,} multiply-adds on"
    rows.append(["cuBLAS pays", word, "", ""])
    return ["batch x inputs x outputs", "our kernel", "cuBLAS", "share of cuBLAS"], rows
