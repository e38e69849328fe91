"""What works on each element by itself: copies."""

from __future__ import annotations

from fastnn.backends.numba_cpu.memory import Integers, Reals, row


def copy(Y: Reals, ldY: int, X: Reals, ldX: int, accumulate: int, B: int, O: int) -> None:
    """Y = X, or Y += X. Y, X (B, O)."""
    for r in range(B):
        y, x = row(Y, ldY, r, O), row(X, ldX, r, O)
        if accumulate:
            for o in range(O):
                y[o] += x[o]
        else:
            for o in range(O):
                y[o] = x[o]


def gather_rows(Y: Reals, ldY: int, X: Reals, ldX: int, index: Integers, B: int, I: int) -> None:
    """Y[r] = X[index[r]]. Y (B, I), X (N, I), index (B) with values in 0..N-1. Sets Y."""
    which = row(index, 0, 0, B)
    for r in range(B):
        y, x = row(Y, ldY, r, I), row(X, ldX, which[r], I)
        for o in range(I):
            y[o] = x[o]


def first_nonfinite(X: Reals, ldX: int, B: int, I: int) -> int:
    """Return the flat index, in row-major order, of the first NaN or infinity of X (B, I), or -1.

    Most have none, which is told quickest without stopping: x - x is NaN for both, and 0 for
    others.
    """
    for r in range(B):
        x = row(X, ldX, r, I)
        clean = True
        for i in range(I):
            clean &= x[i] - x[i] == 0
        if not clean:
            for i in range(I):
                if x[i] - x[i] != 0:
                    return r * I + i
    return -1
