"""Memory that begins on a cache line."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["CACHE_LINE", "aligned_zeros"]

Array = npt.NDArray[Any]

CACHE_LINE = 64


def aligned_zeros(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """Return zeros that begin on a cache line, so that no row of a parameter straddles one more."""
    wanted = np.dtype(dtype)
    size = math.prod(shape) * wanted.itemsize
    if size > sys.maxsize - CACHE_LINE:  # NumPy would speak of dimensions
        raise MemoryError(f"no memory for {size / 2**60:.3g} EiB")
    raw = np.zeros(size + CACHE_LINE, dtype=np.uint8)
    start = -raw.ctypes.data % CACHE_LINE
    return raw[start : start + size].view(wanted).reshape(shape)
