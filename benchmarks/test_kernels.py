"""Every kernel of the table on one core: time, GFLOP/s, GB/s, and the shares of what there is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fastnn import backends
from fastnn.activations import FORMULAS
from fastnn.losses import LOSSES
from fastnn.program.kernels import KERNELS, Argument, Kernel

# Within the caches of a core, and beyond them.
SIZES = {
    "cache": {"B": 128, "I": 256, "O": 256, "N": 65_536, "1": 1},
    "memory": {"B": 8192, "I": 2048, "O": 2048, "N": 1 << 24, "1": 1},
}
MOST_FLOPS = 5e9  # fewer rows where a kernel has more: a product is bound by arithmetic anyway
# The constants by name; what is not here is OTHER. Rates are tiny: the weights are updated
# thousands of times.
OTHER = 0.5
CONSTANTS = {
    "accumulate": False,
    "batch_statistics": True,
    "beta": 1.0,
    "beta1": 0.9,
    "beta2": 0.999,
    "decay": 0.99,
    "decoupled": False,
    "epsilon": 1e-5,
    "epsilon_hat": False,
    "factor": 1.0,
    "first_row": 0,
    "l1": 1e-9,
    "l2": 1e-9,
    "layer": 0,
    "limit": 1e3,
    "momentum": 0.9,
    "momentum_decay": 0.004,
    "nesterov": False,
    "rate": 1e-6,
    "rows": 128,
    "seed": 1,
    "step": 1000,
    "weight_decay": 1e-9,
}
POSITIVE = {"v", "variance", "running_variance", "weight", "inverse_deviation"}


def calls() -> list[Any]:
    """Return kernel, function, dtype and size of every benchmark; float64 within the caches."""
    return [
        pytest.param(kernel, function, dtype, size, id=f"{kernel.name}-{function}{dtype}-{size}")
        for kernel in KERNELS.values()
        for function in [f"{name}-" for name in kernel.functions] or [""]
        for size in SIZES
        for dtype in (("float32", "float64") if size == "cache" else ("float32",))
    ]


def array(
    kernel: Kernel, argument: Argument, sizes: dict[str, int], dtype: str
) -> np.ndarray[Any, Any]:
    """Return an array for an argument, ordinary values in it."""
    rng = np.random.default_rng(1)
    shape = tuple(sizes[letter] for letter in argument.shape.split(","))
    if argument.dtype == "int64":
        limit = sizes["N"] if argument.name == "index" else sizes["O"]
        return rng.integers(0, limit, shape)
    if argument.name == "T":
        return rng.uniform(0.1, 0.9, shape).astype(dtype)
    values = rng.standard_normal(shape, "float32")
    positive = argument.name in POSITIVE
    return (abs(values) if positive else values).astype(
        dtype if argument.dtype == "real" else argument.dtype
    )


def constant(kernel: Kernel, name: str, function: str) -> Any:
    """Return the value of a constant."""
    if name == "function":
        return function
    if name == "constant":
        if function in LOSSES:
            return LOSSES[function]().constant
        return FORMULAS[function].default if function in FORMULAS else 0.0
    if (kernel.name, name) == ("dropout", "rate"):
        return OTHER
    return CONSTANTS.get(name, OTHER)


@pytest.mark.parametrize(("kernel", "function", "dtype", "size"), calls())
def test_kernel(
    benchmark: Any,
    backend: str,
    kernel: Kernel,
    function: str,
    dtype: str,
    size: str,
    shares: Any,
    one_core: None,
) -> None:
    """Time a kernel."""
    sizes = dict(SIZES[size])
    letters = {c for a in kernel.arguments for c in a.shape.split(",") if c.isalpha()}
    if "N" in letters and len(letters) > 1:
        sizes["N"] = 2 * sizes["B"]  # rows to gather from
    while kernel.flops(**{c: sizes[c] for c in letters}) > MOST_FLOPS:
        sizes["B"] //= 2
    arrays = [array(kernel, argument, sizes, dtype) for argument in kernel.arguments]
    values = [constant(kernel, name, function.rstrip("-")) for name in kernel.constants]
    benchmark(getattr(backends.get(backend).kernels, kernel.name), *arrays, *values)
    counted = {c: sizes[c] for c in letters}
    moved = kernel.bytes(**counted) * np.dtype(dtype).itemsize
    shares(benchmark, kernel.flops(**counted), moved, dtype)
