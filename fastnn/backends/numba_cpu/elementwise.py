"""What works on each element by itself: activations, gates and copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.backends.numba_cpu.activations import slope, value
from fastnn.backends.numba_cpu.blocks import BLOCK, look, put, whole
from fastnn.backends.numba_cpu.memory import Integers, Reals, local, prefetch, row

Kernel = Callable[..., Any]


def activation_forward(function: str) -> Kernel:
    """Return the kernel of an activation function."""

    def kernel(Y: Reals, ldY: int, X: Reals, ldX: int, constant: float, B: int, O: int) -> None:
        """Y = f(X). Y, X (B, O). Sets Y, which may be X."""
        block, y = local(X, BLOCK), local(X, BLOCK)
        c = y.dtype.type(constant)
        for first in range(0, B * O, BLOCK):
            n = min(BLOCK, B * O - first)
            x = look(block, X, ldX, O, first, n)
            for k in range(whole(n)):
                y[k] = value(function, x[k], c)
            put(Y, ldY, O, first, n, y, False)

    return kernel


def activation_backward(function: str) -> Kernel:
    """Return the kernel of the derivative of an activation function."""

    def kernel(
        dX: Reals,
        lddX: int,
        dY: Reals,
        lddY: int,
        X: Reals,
        ldX: int,
        Y: Reals,
        ldY: int,
        constant: float,
        accumulate: int,
        B: int,
        O: int,
    ) -> None:
        """dX = dY * f'(X), where Y = f(X).

        dX, dY, X, Y (B, O). Sets or adds to dX, which may be dY.
        """
        block0, block1, block2 = local(X, BLOCK), local(X, BLOCK), local(X, BLOCK)
        dx = local(X, BLOCK)
        c = dx.dtype.type(constant)
        for first in range(0, B * O, BLOCK):
            n = min(BLOCK, B * O - first)
            dy = look(block0, dY, lddY, O, first, n)
            x = look(block1, X, ldX, O, first, n)
            y = look(block2, Y, ldY, O, first, n)
            for k in range(whole(n)):
                dx[k] = dy[k] * slope(function, x[k], y[k], c)
            put(dX, lddX, O, first, n, dx, accumulate)

    return kernel


def gate_forward(function: str) -> Kernel:
    """Return the kernel of a gate."""

    def kernel(
        Y: Reals,
        ldY: int,
        U: Reals,
        ldU: int,
        V: Reals,
        ldV: int,
        constant: float,
        B: int,
        O: int,
    ) -> None:
        """Y = U * f(V). Y, U, V (B, O). Sets Y."""
        block0, block1, y = local(U, BLOCK), local(U, BLOCK), local(U, BLOCK)
        c = y.dtype.type(constant)
        for first in range(0, B * O, BLOCK):
            n = min(BLOCK, B * O - first)
            u = look(block0, U, ldU, O, first, n)
            v = look(block1, V, ldV, O, first, n)
            for k in range(whole(n)):
                y[k] = u[k] * value(function, v[k], c)
            put(Y, ldY, O, first, n, y, False)

    return kernel


def gate_backward(function: str) -> Kernel:
    """Return the kernel of the derivatives of a gate."""

    def kernel(
        dU: Reals,
        lddU: int,
        dV: Reals,
        lddV: int,
        dY: Reals,
        lddY: int,
        U: Reals,
        ldU: int,
        V: Reals,
        ldV: int,
        constant: float,
        B: int,
        O: int,
    ) -> None:
        """dU = dY * f(V), dV = dY * U * f'(V), where Y = U * f(V).

        dU, dV, dY, U, V (B, O). Sets dU and dV.
        """
        block0, block1, block2 = local(U, BLOCK), local(U, BLOCK), local(U, BLOCK)
        du, dv = local(U, BLOCK), local(U, BLOCK)
        c = du.dtype.type(constant)
        for first in range(0, B * O, BLOCK):
            n = min(BLOCK, B * O - first)
            dy = look(block0, dY, lddY, O, first, n)
            u = look(block1, U, ldU, O, first, n)
            v = look(block2, V, ldV, O, first, n)
            for k in range(whole(n)):
                f = value(function, v[k], c)
                dv[k] = dy[k] * u[k] * slope(function, v[k], f, c)
                du[k] = dy[k] * f
            put(dV, lddV, O, first, n, dv, False)
            put(dU, lddU, O, first, n, du, False)

    return kernel


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
    """Y[r] = X[index[r]]. Y (B, I), X (N, I), index (B) with values in 0..N-1. Sets Y.

    While a row is copied, the one after the next is fetched: the rows lie anywhere, and no
    processor foresees where.
    """
    which = row(index, 0, 0, B)
    for r in range(B):
        y, x = row(Y, ldY, r, I), row(X, ldX, which[r], I)
        later = row(X, ldX, which[min(r + 2, B - 1)], I)
        for o in range(0, I, 16):
            prefetch(later, o)
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
