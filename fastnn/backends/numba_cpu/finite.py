"""The search for what is not finite, in any array."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.numba_cpu import table
from fastnn.backends.numba_cpu.engine.compiling import door

__all__ = ["finder", "first_nonfinite"]


@cache
def finder(dtype: str) -> Callable[[npt.NDArray[Any]], int]:
    """Return the function that finds the first number of an array that is not finite, or -1."""
    kernel = table.address("first_nonfinite", dtype)
    return partial(door("first_nonfinite", dtype), kernel)


def first_nonfinite(array: npt.NDArray[Any]) -> int:
    """Return the flat position of the first NaN or infinity in an array, or -1.

    Parameters
    ----------
    array : ndarray of float32 or float64, C-contiguous and aligned

    Raises
    ------
    ValueError
        For any other array.
    """
    flags = array.flags
    if not flags.c_contiguous:
        raise ValueError("expected a C-contiguous array")
    if array.dtype not in (np.float32, np.float64) or not (flags.aligned and array.dtype.isnative):
        raise ValueError("expected an aligned array of float32 or float64")
    return finder(array.dtype.name)(array)
