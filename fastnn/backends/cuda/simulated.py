"""What the simulator of a GPU lacks: `math` as it is there, and shared arrays without a race.

On a GPU the square root of -1 is NaN and the exponential of 1000 infinite; Python raises errors.
The functions here do not, and keep the dtype.
"""

from __future__ import annotations

import importlib
import math
import threading
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
    "repair_shared_arrays",
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


class _Arrays(dict[Any, Any]):
    """The shared arrays of a kernel by their place in the code, made by one thread at a time.

    The simulator asks whether an array is there, and if not, makes it and puts it in. Two threads
    at once would get an array each. So who is told that there is none holds the lock until then.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()

    def get(self, place: Any, default: Any = None) -> Any:
        """Return the array of a place, or None to the one thread that is to make it."""
        self._lock.acquire()
        if place in self:
            self._lock.release()
            return self[place]
        return default

    def __setitem__(self, place: Any, array: Any) -> None:
        super().__setitem__(place, array)
        self._lock.release()


def repair_shared_arrays() -> None:
    """Let the threads of a simulated block share an array even if they ask for it at once."""
    shared = importlib.import_module("numba.cuda.simulator.kernelapi").FakeCUDAShared
    make = shared.__init__

    def repaired(self: Any, *arguments: Any) -> None:
        make(self, *arguments)
        self._allocations = _Arrays()

    shared.__init__ = repaired
