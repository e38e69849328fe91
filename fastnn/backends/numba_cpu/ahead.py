"""All that networks can need of compiled code, by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from fastnn.activations import FORMULAS
from fastnn.backends.numba_cpu import table
from fastnn.backends.numba_cpu.engine import entry
from fastnn.backends.numba_cpu.engine.compiling import door, engine_address
from fastnn.backends.numba_cpu.tables import UPDATES
from fastnn.layers import GATES
from fastnn.losses import LOSSES

__all__ = ["everything"]

# What there is to choose, by the first word of a kernel's name; kernels of dense ops choose alone.
CHOICES = {
    "activation": tuple(FORMULAS),
    "gate": tuple(dict.fromkeys(GATES.values())),
    "loss": tuple(LOSSES),
    "update": tuple(dict.fromkeys(UPDATES.values())),
    "dense": ("",),
}
DOORS = ("first_nonfinite", "predict", "train", "train_labels")


def everything(dtype: np.dtype[Any]) -> dict[str, Callable[[], object]]:
    """Return calls that compile or load all parts, by what they are."""
    parts: dict[str, Callable[[], object]] = {}
    for name in entry.__all__:
        if name.islower():
            parts[f"engine {name}"] = partial(engine_address, name)
    for name in ("enter", "help_out"):
        parts[f"door {name}"] = partial(door, name)
    for name in DOORS:
        parts[f"door {name}"] = partial(door, name, dtype.name)
        if name != "first_nonfinite":
            parts[f"door {name} briefly"] = partial(door, name, dtype.name, holds_gil=True)
    for kernel in table.KERNELS:
        parts[kernel] = partial(table.address, kernel, dtype)
    for kernel in table.CHOICES:
        for choice in CHOICES[kernel.split("_")[0]]:
            name = f"{kernel} {choice}".rstrip()
            parts[name] = partial(table.address, kernel, dtype, choice)
    return parts
