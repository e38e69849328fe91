"""What Python's `math` is to a kernel on a GPU, for the simulator: no errors, and the same dtype.

On a GPU the square root of -1 is NaN and the exponential of 1000 infinite; Python raises errors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = [
    "cos",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "fabs",
    "isfinite",
    "isinf",
    "isnan",
    "log",
    "log1p",
    "sin",
    "sqrt",
    "tanh",
]

cos, exp, expm1, fabs, log, log1p, sin, sqrt, tanh = (
    np.cos,
    np.exp,
    np.expm1,
    np.fabs,
    np.log,
    np.log1p,
    np.sin,
    np.sqrt,
    np.tanh,
)
isfinite, isinf, isnan = np.isfinite, np.isinf, np.isnan


def erf(x: Any) -> Any:
    """Return the error function, in the dtype of its argument."""
    return np.asarray(math.erf(x), np.asarray(x).dtype)[()]


def erfc(x: Any) -> Any:
    """Return 1 - erf(x), in the dtype of its argument."""
    return np.asarray(math.erfc(x), np.asarray(x).dtype)[()]
