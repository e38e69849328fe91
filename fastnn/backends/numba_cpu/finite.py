"""The search for what is not finite, in any array."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.numba_cpu import table

__all__ = ["first_nonfinite"]


@cache
def _function(dtype: str) -> Any:
    kinds = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64
    return ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(table.address("first_nonfinite", dtype))


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
    return int(_function(array.dtype.name)(array.ctypes.data, array.size, 1, array.size))
