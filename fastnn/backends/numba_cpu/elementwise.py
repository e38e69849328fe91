"""What works on each element by itself: activations, gates and copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.backends.numba_cpu.activations import slope, value
from fastnn.backends.numba_cpu.blocks import BLOCK, get, put, whole
from fastnn.backends.numba_cpu.memory import Integers, Reals, local, prefetch, row

Kernel = Callable[..., Any]


def activation_forward(function: str) -> Kernel:
    """Return the kernel of an activation function."""

    def kernel(Y: Reals, ldY: int, X: Reals, ldX: int, constant: float, B: int, O: int) -> None:
        """Y = f(X). Y, X (B, O). Sets Y, which may be X."""
        z = local(X, BLOCK)
        c = z.dtype.type(constant)
        for first in range(0, B * O, BLOCK):
            n = min(BLOCK, B * O - first)
            get(z, X, ldX, O, first, n)
            for k in range(whole(n)):
                z[k] = value(function, z[k], c)
            put(Y, ldY, O, first, n, z, False)

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
        d, z, a = local(X, BLOCK), local(X, BLOCK), local(X, BLOCK)
        c = z.dtype.type(constant)
        for first in range(0, B * O, BLOCK):
            n = min(BLOCK, B * O - first)
            get(d, dY, lddY, O, first, n)
            get(z, X, ldX, O, first, n)
            get(a, Y, ldY, O, first, n)
            for k in range(whole(n)):
                d[k] *= slope(function, z[k], a[k], c)
            put(dX, lddX, O, first, n, d, accumulate)

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
        u, z = local(U, BLOCK), local(U, BLOCK)
        c = z.dtype.type(constant)
        for first in range(0, B * O, BLOCK):
            n = min(BLOCK, B * O - first)
            get(u, U, ldU, O, first, n)
            get(z, V, ldV, O, first, n)
            for k in range(whole(n)):
                u[k] *= value(function, z[k], c)
            put(Y, ldY, O, first, n, u, False)

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
        d, u, z = local(U, BLOCK), local(U, BLOCK), local(U, BLOCK)
        c = z.dtype.type(constant)
        for first in range(0, B * O, BLOCK):
            n = min(BLOCK, B * O - first)
            get(d, dY, lddY, O, first, n)
            get(u, U, ldU, O, first, n)
            get(z, V, ldV, O, first, n)
            for k in range(whole(n)):
                f = value(function, z[k], c)
                u[k] = d[k] * u[k] * slope(function, z[k], f, c)
                d[k] *= f
            put(dV, lddV, O, first, n, u, False)
            put(dU, lddU, O, first, n, d, False)

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
