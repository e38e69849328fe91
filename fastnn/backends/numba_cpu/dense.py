"""The dense layer: three products. No factor of 0 is skipped, since 0 * infinity is NaN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastnn.activations import FORMULAS
from fastnn.backends.numba_cpu.memory import Reals, local, null, place, present
from fastnn.backends.numba_cpu.products import block_columns, product, transpose

Kernel = Callable[..., Any]

RELU = list(FORMULAS).index("relu")
# The rows of a block of a matrix in the first-level cache.
DEPTH = 256


def dense_forward(width: str) -> Kernel:
    """Return the kernel for vectors of so many bytes."""

    def kernel(
        Y: Reals,
        ldY: int,
        X: Reals,
        ldX: int,
        W: Reals,
        ldW: int,
        b: Reals,
        function: int,
        B: int,
        I: int,
        O: int,
    ) -> None:
        """Y = f(X @ W + b), f nothing or relu: a number as in FORMULAS.

        Y (B, O), X (B, I), W (I, O), b (O) or 0 for a bias of 0. Sets Y; the sum begins with b.
        """
        none, relu = null(Y), function == RELU
        product(width, Y, ldY, X, ldX, 1, W, ldW, b, none, 0, False, relu, B, O, I)

    return kernel


def dense_backward_data(width: str) -> Kernel:
    """Return the kernel for vectors of so many bytes."""
    columns = block_columns(width)
    size = DEPTH * columns

    def kernel(
        dX: Reals,
        lddX: int,
        dY: Reals,
        lddY: int,
        W: Reals,
        ldW: int,
        X: Reals,
        ldX: int,
        accumulate: int,
        B: int,
        I: int,
        O: int,
    ) -> None:
        """dX = dY @ W.T, and where X = relu(.), times its derivative, where Y = X @ W + b.

        dX (B, I), dY (B, O), W (I, O), X (B, I) or 0 for a factor of 1. Sets or adds to dX; the
        factor is for the whole sum. W is transposed a block at a time: as many moves as it would
        take to keep a transposed copy up to date.
        """
        none, T = null(dX), local(dX, size)
        for i in range(0, I, columns):
            n, o = min(columns, I - i), 0
            while True:  # once, too, where O is 0
                depth = min(DEPTH, O - o)
                last = o + depth == O
                active = place(X, i) if last and present(X) else none
                adds = accumulate != 0 or o > 0
                transpose(width, T, columns, place(W, i * ldW + o), ldW, n, depth)
                product(
                    width, place(dX, i), lddX, place(dY, o), lddY, 1, T, columns, none, active, ldX,
                    adds, False, B, n, depth,
                )  # fmt: skip
                o += depth
                if last:
                    break

    return kernel


def dense_backward_weights(width: str) -> Kernel:
    """Return the kernel for vectors of so many bytes."""
    columns = block_columns(width)
    lanes, size = columns // 2, DEPTH * columns

    def kernel(
        dW: Reals,
        lddW: int,
        db: Reals,
        X: Reals,
        ldX: int,
        dY: Reals,
        lddY: int,
        accumulate: int,
        B: int,
        I: int,
        O: int,
    ) -> None:
        """dW = X.T @ dY, db = dY.sum(axis=0), where Y = X @ W + b.

        dW (I, O), db (O) or 0, X (B, I), dY (B, O). Sets or adds to dW and db. Where the rows of dW
        would leave many lanes idle, such as those of a layer of 10 outputs, its columns go along
        them: dW is the transpose of dY.T @ X, with the same sums.
        """
        none, T, one = null(dW), local(dW, size), local(dW, 1)
        straight, turned = (O + lanes - 1) // lanes * I, (I + lanes - 1) // lanes * O
        if accumulate == 0 and B >= 32 and O <= DEPTH and 16 * turned < 15 * straight:
            for i in range(0, I, columns):
                n = min(columns, I - i)
                product(
                    width,
                    T,
                    columns,
                    dY,
                    1,
                    lddY,
                    place(X, i),
                    ldX,
                    none,
                    none,
                    0,
                    False,
                    False,
                    O,
                    n,
                    B,
                )
                transpose(width, place(dW, i * lddW), lddW, T, columns, O, n)
        else:
            product(width, dW, lddW, X, 1, ldX, dY, lddY, none, none, 0, accumulate, False, I, O, B)
        if present(db):
            one[0] = 1  # 1 * x + sum has the bits of x + sum
            product(width, db, O, one, 0, 0, dY, lddY, none, none, 0, accumulate, False, 1, O, B)

    return kernel
