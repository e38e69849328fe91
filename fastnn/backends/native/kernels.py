"""The kernels of the table as plain functions on arrays, in C.

A function of this module takes the arrays and constants of its row in `fastnn.program.kernels` in
the table's order, or by name. Nothing reaches C before it is held against that row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastnn.backends.checked import checked_kernels
from fastnn.backends.native import _core
from fastnn.program.kernels import KERNELS, Kernel

__all__ = list(KERNELS)

# What Cython calls the dtypes of its functions.
SPECIALIZATIONS = {"float32": "float", "float64": "double"}


def _run(kernel: Kernel, dtype: str, values: Mapping[str, Any]) -> Any:
    return getattr(_core, kernel.name)[SPECIALIZATIONS[dtype]](*values.values())


globals().update(checked_kernels(_run))
