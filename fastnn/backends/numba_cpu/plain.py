"""The matrix product and the transpose as plain loops, from which LLVM makes what it can.

Each element of a product is a sum in the order of k, with one rounding a term where the processor
fuses.
"""

from __future__ import annotations

from fastnn.backends.jit.instructions import fma
from fastnn.backends.numba_cpu.memory import Reals, present, row


def product(
    C: Reals,
    ldC: int,
    A: Reals,
    A_row: int,
    A_step: int,
    B: Reals,
    ldB: int,
    start: Reals,
    active: Reals,
    ld_active: int,
    adds: int,
    relu: int,
    M: int,
    N: int,
    K: int,
) -> None:
    """C = start + A @ B, or C += A @ B; see `products.product`."""
    for m in range(M):
        c = row(C, ldC, m, N)
        zero = c.dtype.type(0)
        if not adds:
            if present(start):
                first = row(start, 0, 0, N)
                for n in range(N):
                    c[n] = first[n]
            else:
                for n in range(N):
                    c[n] = zero
        for k in range(K):
            a = row(A, 1, m * A_row + k * A_step, 1)[0]
            b = row(B, ldB, k, N)
            for n in range(N):
                c[n] = fma(a, b[n], c[n])
        if present(active):
            x = row(active, ld_active, m, N)
            for n in range(N):
                c[n] *= zero if x[n] <= zero else c.dtype.type(1)
        if relu:
            for n in range(N):
                c[n] = zero if c[n] < zero else c[n]


def transpose(T: Reals, ldT: int, X: Reals, ldX: int, rows: int, columns: int) -> None:
    """T (columns, rows) = X.T."""
    for c in range(columns):
        t = row(T, ldT, c, rows)
        for r in range(rows):
            t[r] = row(X, ldX, r, columns)[c]
