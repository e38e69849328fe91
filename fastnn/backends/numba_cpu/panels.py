"""The matrix product and the transpose, tile by tile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.backends.numba_cpu.memory import Reals, null, place, present, unsigned
from fastnn.backends.numba_cpu.tiles import HEIGHTS, lanes, run_tile, transpose_tile

__all__ = ["product", "transpose"]

# Beyond this depth k is cut into blocks, so that a panel of B stays in the second-level cache.
DEEP, BLOCK = 896, 256


def product(width: str) -> Callable[..., Any]:
    """Return the product by vectors of so many bytes."""
    highest, high, low, lowest = (max((*whole, *partial, 0)) for whole, partial in HEIGHTS[width])
    masked = 0 if HEIGHTS[width][0][0] else 1  # all tiles of one vector

    def kernel(
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
        L, none = lanes(width, C), null(C)
        block, k = BLOCK if K > DEEP else K, 0
        while True:  # once, too, where K is 0
            depth = min(block, K - k)
            first, last = k == 0, k + depth == K
            n = 0
            while n < N:
                # Few rows leave few sums to hide the latency of an FMA: more columns at a time.
                left, number = N - n, 0
                if lowest >= M and left >= 8 * L:
                    number, most, span, part = 6, lowest, 8 * L, L
                elif low >= M and left >= 4 * L:
                    number, most, span, part = 4, low, 4 * L, L
                else:
                    span = min(left, 2 * L)
                    part = (span - 1) % L + 1
                    number = (2 if span > L else 0) + (
                        1 if part < L or (masked and span <= L) else 0
                    )
                    most = high if span > L else highest
                row = place(start, n) if present(start) else start
                m = 0
                while m < M:
                    rows = M - m
                    if rows > most:
                        # About equal heights: a low tile at the end would wait for latencies.
                        rows = unsigned(rows - 1, unsigned(rows - 1, most) + 1) + 1
                    mask = none
                    if last and present(active):
                        mask = place(active, m * ld_active + n)
                    m += run_tile(
                        width, number, rows, depth, place(A, m * A_row + k * A_step), A_row, A_step,
                        place(B, k * ldB + n), ldB, place(C, m * ldC + n), ldC, part, row, mask,
                        ld_active, adds if first else 1, relu if last else 0,
                    )  # fmt: skip
                n += span
            k += depth
            if last:
                break

    return kernel


def transpose(width: str) -> Callable[..., Any]:
    """Return the transpose by vectors of so many bytes."""

    def kernel(T: Reals, ldT: int, X: Reals, ldX: int, rows: int, columns: int) -> None:
        """T (columns, rows) = X.T."""
        L = lanes(width, T)
        for r in range(0, rows, L):
            for c in range(0, columns, L):
                m, n = min(L, rows - r), min(L, columns - c)
                to, at = place(T, c * ldT + r), place(X, r * ldX + c)
                if m == L and n == L:
                    transpose_tile(width, False, to, ldT, at, ldX, m, n)
                else:
                    transpose_tile(width, True, to, ldT, at, ldX, m, n)

    return kernel
