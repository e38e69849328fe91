"""Passes over flat vectors: penalties, clipping and scaling."""

from __future__ import annotations

import numpy as np

from fastnn.backends.jit.instructions import magnitude, select
from fastnn.backends.numba_cpu.activations import sign
from fastnn.backends.numba_cpu.memory import Reals, plus, present, vector


def penalty(dW: Reals, W: Reals, l1: float, l2: float, N: int) -> float:
    """Return l1 * sum|W| + l2/2 * sum(W**2), and dW += l1 * sign(W) + l2 * W.

    dW (N) or absent, W (N).
    """
    w, dw = vector(W, N), vector(dW, N)
    absolute = squares = 0.0
    for n in range(N):
        absolute = plus(absolute, np.float64(magnitude(w[n])))
        squares = plus(squares, np.float64(w[n]) * np.float64(w[n]))
    if present(dW):
        once, twice = w.dtype.type(l1), w.dtype.type(l2)
        for n in range(N):
            dw[n] += once * sign(w[n]) + twice * w[n]
    return l1 * absolute + 0.5 * l2 * squares


def sum_of_squares(g: Reals, N: int) -> float:
    """Return sum(g**2), in float64; g (N)."""
    values = vector(g, N)
    total = 0.0
    for n in range(N):
        total = plus(total, np.float64(values[n]) * np.float64(values[n]))
    return total


def clip(g: Reals, limit: float, N: int) -> None:
    """Set g = min(max(g, -limit), limit), NaN kept; g (N)."""
    values = vector(g, N)
    high = values.dtype.type(limit)
    for n in range(N):
        x = values[n]
        values[n] = select(x > high, high, select(x < -high, -high, x))


def scale(g: Reals, factor: float, N: int) -> None:
    """Set g *= factor; g (N)."""
    values = vector(g, N)
    by = values.dtype.type(factor)
    for n in range(N):
        values[n] *= by
