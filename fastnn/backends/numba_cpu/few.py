"""The cross entropy of few scores, one by one: vectors of many rows would be all but empty.

Each number is computed as in `losses`, in the same order, so the bits are the same.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from fastnn.backends.jit.instructions import fma
from fastnn.backends.jit.vecmath import exp, log
from fastnn.backends.numba_cpu.memory import INLINED, Doubles, Reals, local, present, row
from fastnn.backends.numba_cpu.rows import row_max

__all__ = ["FEW", "argmax", "few_cross_entropy"]

FEW = 16  # scores


@numba.njit(**INLINED)
def argmax(x: Any, O: int) -> int:
    """Return the index of the first element that reaches the largest, as row_max tells it."""
    largest = row_max(x, O)
    for o in range(O):
        if not x[o] < largest:
            return o
    return 0


@numba.njit(**INLINED)
def few_cross_entropy(
    losses: Any,
    right: Any,
    hits: Doubles,
    dZ: Reals,
    lddZ: int,
    Z: Reals,
    ldZ: int,
    T: Reals,
    ldT: int,
    classes: Any,
    weights: Any,
    weight: Reals,
    smoothing: float,
    factor: float,
    B: int,
    O: int,
) -> None:
    """See `losses.cross_entropy`; there are at most FEW scores."""
    e, target = local(Z, FEW), local(Z, FEW)
    real = e.dtype.type
    keep, spread = real(1 - smoothing), real(smoothing / O)
    for r in range(B):
        score, dz, t = row(Z, ldZ, r, O), row(dZ, lddZ, r, O), row(T, ldT, r, O)
        label = -1 if present(T) else classes[r]
        largest = row_max(score, O)
        if present(hits):
            right[r] = argmax(score, O) == (argmax(t, O) if present(T) else label)
        total, mass, inner = 0.0, 0.0, 0.0
        for o in range(O):
            one = t[o] if present(T) else real(o == label)
            shifted = score[o] - largest
            target[o] = fma(one, keep, spread)
            e[o] = exp(shifted)
            mass += np.float64(target[o])
            inner += np.float64(target[o] * shifted)
            total += np.float64(e[o])
        if not present(T):
            mass = 1.0
        losses[r] = mass * log(total) - inner
        if present(dZ):
            share = factor * weights[r] if present(weight) else factor
            scale, much = real(share * mass / total), real(share)
            for o in range(O):
                dz[o] = fma(e[o], scale, -much * target[o])
