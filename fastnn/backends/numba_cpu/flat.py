"""Passes over flat vectors: clipping and scaling."""

from __future__ import annotations

from fastnn.backends.numba_cpu.memory import Reals, vector


def clip(g_at: Reals, limit: float, N: int) -> None:
    """Set g = min(max(g, -limit), limit), NaN kept; g (N)."""
    g = vector(g_at, N)
    high = g.dtype.type(limit)
    for n in range(N):
        g[n] = high if g[n] > high else (-high if g[n] < -high else g[n])


def scale(g_at: Reals, factor: float, N: int) -> None:
    """Set g *= factor; g (N)."""
    g = vector(g_at, N)
    by = g.dtype.type(factor)
    for n in range(N):
        g[n] *= by
