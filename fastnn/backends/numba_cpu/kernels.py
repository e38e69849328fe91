"""The kernels of the table as plain functions on arrays, compiled by Numba.

A function of this module takes the arrays and constants of its row in `fastnn.program.kernels` in
the table's order, or by name. It calls the very code that runs in networks.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.activations import FORMULAS
from fastnn.backends.checked import checked_kernels
from fastnn.backends.numba_cpu import table
from fastnn.backends.numba_cpu.updates import SETTINGS
from fastnn.program.kernels import KERNELS, Kernel

__all__ = list(KERNELS)

# Rows of the table that are one kernel here, with a choice: the kernel, the choice, and which
# arguments it calls otherwise.
UPDATES = {
    "sgd_update": ("sgd", {"velocity": "first"}),
    "adam_update": ("adam", {"m": "first", "v": "second"}),
    "rmsprop_update": ("rmsprop", {"v": "first", "buffer": "second"}),
    "adagrad_update": ("adagrad", {"v": "first"}),
    "nadam_update": ("nadam", {"m": "first", "v": "second"}),
    "lion_update": ("lion", {"m": "first"}),
}
C: dict[str, Any] = {"int": ctypes.c_int64, "float": ctypes.c_double, "None": None}


@cache
def _function(kernel: str, choice: str, dtype: str) -> tuple[Any, tuple[str, ...]]:
    """Return the function of C, which leaves the GIL, and the names of its arguments."""
    kinds = table.parameters(kernel, choice)
    result = C[kinds.pop("return")]
    arguments = [C.get(kind, ctypes.c_void_p) for kind in kinds.values()]
    make = ctypes.CFUNCTYPE(result, *arguments)
    return make(table.address(kernel, dtype, choice)), tuple(kinds)


def _inside(name: str, numbers: npt.NDArray[np.int64], limit: int) -> None:
    """Refuse numbers that would lead outside of an array."""
    outside = np.flatnonzero((numbers < 0) | (numbers >= limit))
    if len(outside):
        at = outside[0]
        raise ValueError(f"{name}[{at}] is {numbers[at]}, expected 0 to {limit - 1}")


def _run(kernel: Kernel, dtype: str, values: Mapping[str, Any]) -> Any:
    given, name, choice = dict(values), kernel.name, values.get("function", "")
    given.update(_sizes(kernel, given))
    if name in UPDATES:
        name, (choice, others) = "update", UPDATES[name]
        given.update({new: given[old] for old, new in others.items()})
        given["optimizer"] = np.array([given.get(setting, 0.0) for setting in SETTINGS])
    elif name == "loss_labels":
        _inside("labels", given["labels"], given["O"])
        name, choice = "loss", "cross_entropy"
    elif name == "gather_rows":
        _inside("index", given["index"], len(given["X"]))
    elif name == "dense_forward_bfloat16":
        name = "dense_forward"
        for factor in ("X", "W"):
            given[factor] = _rounded(given[factor])
    if name == "dense_forward":
        choice, given["function"] = "", list(FORMULAS).index(choice)
    function, names = _function(name, choice, dtype)
    return function(*(_told(given, argument) for argument in names))


def _rounded(matrix: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a matrix of the nearest numbers of bfloat16."""
    rounded = np.empty(matrix.shape, matrix.dtype)
    _run(KERNELS["round_bfloat16"], matrix.dtype.name, {"Y": rounded, "X": matrix})
    return rounded


def _sizes(kernel: Kernel, given: Mapping[str, Any]) -> dict[str, int]:
    """Return the sizes of a call by letter."""
    sizes: dict[str, int] = {}
    for argument in kernel.arguments:
        if given[argument.name] is not None:
            sizes.update(zip(argument.shape.split(","), given[argument.name].shape, strict=True))
    return sizes


def _told(given: Mapping[str, Any], name: str) -> Any:
    """Return an argument of a function of C: an address, a leading dimension, or a number."""
    if name.startswith("ld") and name not in given:
        array = given.get(name[2:])
        return 0 if array is None else array.strides[0] // array.itemsize
    value = given.get(name)
    if value is None:
        return 0
    return value.ctypes.data if isinstance(value, np.ndarray) else value


globals().update(checked_kernels(_run))
