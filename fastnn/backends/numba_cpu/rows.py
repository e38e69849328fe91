"""What mixes the columns of a row: softmax, layer norm, and the slope of a gate's beta."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from fastnn.backends.jit.instructions import fma, root
from fastnn.backends.jit.vecmath import exp, sigmoid
from fastnn.backends.numba_cpu.blocks import (
    BLOCK,
    NARROW,
    ROWS,
    TURNED,
    look,
    put,
    turn,
    turn_back,
    whole,
)
from fastnn.backends.numba_cpu.memory import (
    INLINED,
    Reals,
    local,
    part,
    plus,
    rank,
    ranked,
    row,
    vector,
)

__all__ = [
    "gate_backward_beta",
    "layer_norm_backward_data",
    "layer_norm_backward_parameters",
    "layer_norm_forward",
    "row_max",
    "rows_max",
    "softmax_backward",
    "softmax_forward",
]

ONE = np.float32(1)


@numba.njit(**INLINED)
def row_max(x: Any, O: int) -> Any:
    """Return the largest of a row, infinite where there is a NaN, which reaches sums over it."""
    largest = rank(x[0])
    for o in range(O):
        largest = max(largest, rank(x[o]))
    return ranked(largest)


@numba.njit(**INLINED)
def rows_max(largest: Any, x: Any, R: int, O: int) -> None:
    """Set `largest` (R) to the same of every row, where column j of row r is x[j * R + r]."""
    for r in range(R):
        largest[r] = ranked(rank(x[r]))
    for j in range(1, O):
        column = part(x, j * R, R)
        for r in range(R):
            largest[r] = ranked(max(rank(largest[r]), rank(column[r])))


@numba.njit(**INLINED)
def _narrow_softmax(Y: Reals, ldY: int, X: Reals, ldX: int, B: int, O: int) -> None:
    e, largest, total = local(X, TURNED), local(X, ROWS), local(X, ROWS)
    for first in range(0, B, ROWS):
        rows = min(ROWS, B - first)
        R = whole(rows)
        turn(e, X, ldX, first, rows, O)
        rows_max(largest, e, R, O)
        for r in range(R):
            total[r] = 0
        for j in range(O):
            column = part(e, j * R, R)
            for r in range(R):
                column[r] = exp(column[r] - largest[r])
            for r in range(R):
                total[r] += column[r]
        for j in range(O):
            column = part(e, j * R, R)
            for r in range(R):
                column[r] /= total[r]
        turn_back(Y, ldY, first, rows, O, e)


@numba.njit(**INLINED)
def _wide_softmax(Y: Reals, ldY: int, X: Reals, ldX: int, B: int, O: int) -> None:
    block, e = local(X, BLOCK), local(X, BLOCK)
    for r in range(B):
        largest = row_max(row(X, ldX, r, O), O)
        total = e.dtype.type(0)
        for o in range(0, O, BLOCK):
            n = min(BLOCK, O - o)
            x = look(block, X, ldX, O, r * O + o, n)
            for k in range(whole(n)):
                e[k] = exp(x[k] - largest)
            for k in range(n):
                total = plus(total, e[k])
            put(Y, ldY, O, r * O + o, n, e, False)
        y = row(Y, ldY, r, O)
        for o in range(O):
            y[o] /= total


def softmax_forward(Y: Reals, ldY: int, X: Reals, ldX: int, B: int, O: int) -> None:
    """Y = exp(X - max) / sum(exp(X - max)) along each row. Y, X (B, O). Sets Y, which may be X."""
    if O <= NARROW:
        _narrow_softmax(Y, ldY, X, ldX, B, O)
    else:
        _wide_softmax(Y, ldY, X, ldX, B, O)


def softmax_backward(
    dX: Reals,
    lddX: int,
    dY: Reals,
    lddY: int,
    Y: Reals,
    ldY: int,
    accumulate: int,
    B: int,
    O: int,
) -> None:
    """dX = Y * (dY - sum(dY * Y)), where Y = softmax(X), so dY_j / dX_i = Y_j (i == j) - Y_i Y_j.

    dX, dY, Y (B, O). Sets or adds to dX, which may be dY.
    """
    d = local(Y, BLOCK)
    for r in range(B):
        dx, dy, y = row(dX, lddX, r, O), row(dY, lddY, r, O), row(Y, ldY, r, O)
        total = d.dtype.type(0)
        for o in range(O):
            total = plus(total, dy[o] * y[o])
        for o in range(0, O, BLOCK):
            n = min(BLOCK, O - o)
            value, slope, out = part(y, o, n), part(dy, o, n), part(dx, o, n)
            for k in range(n):
                d[k] = value[k] * (slope[k] - total)
            for k in range(n):
                out[k] = out[k] + d[k] if accumulate else d[k]


def layer_norm_forward(
    Y: Reals,
    ldY: int,
    mean: Reals,
    inverse_deviation: Reals,
    X: Reals,
    ldX: int,
    scale: Reals,
    shift: Reals,
    epsilon: float,
    B: int,
    O: int,
) -> None:
    """Y = H * scale + shift with H = (X - mean) * inverse_deviation, of each row.

    Y, X (B, O), mean, inverse_deviation (B), scale, shift (O). Sets Y, mean and inverse_deviation =
    1 / sqrt(variance + epsilon).
    """
    means, inverses = vector(mean, B), vector(inverse_deviation, B)
    scales, shifts = vector(scale, O), vector(shift, O)
    real = means.dtype.type
    count, small = real(O), real(epsilon)
    for r in range(B):
        x, y = row(X, ldX, r, O), row(Y, ldY, r, O)
        total, squares = real(0), real(0)
        for o in range(O):
            total = plus(total, x[o])
        middle = total / count
        for o in range(O):
            squares = plus(squares, (x[o] - middle) * (x[o] - middle))
        inverse = ONE / root(squares / count + small)
        means[r], inverses[r] = middle, inverse
        for o in range(O):
            y[o] = fma((x[o] - middle) * inverse, scales[o], shifts[o])


def layer_norm_backward_data(
    dX: Reals,
    lddX: int,
    dY: Reals,
    lddY: int,
    X: Reals,
    ldX: int,
    mean: Reals,
    inverse_deviation: Reals,
    scale: Reals,
    accumulate: int,
    B: int,
    O: int,
) -> None:
    """dX = (dH - mean(dH) - H * mean(dH * H)) * inverse_deviation, dH = dY * scale.

    Y = H * scale + shift with H = (X - mean) * inverse_deviation, which both move with X. dX, dY, X
    (B, O), mean, inverse_deviation (B), scale (O). Sets or adds to dX.
    """
    means, inverses, scales = vector(mean, B), vector(inverse_deviation, B), vector(scale, O)
    real = means.dtype.type
    count = real(O)
    for r in range(B):
        dx, dy, x = row(dX, lddX, r, O), row(dY, lddY, r, O), row(X, ldX, r, O)
        middle, inverse = means[r], inverses[r]
        total, product = real(0), real(0)
        for o in range(O):
            dh = dy[o] * scales[o]
            total = plus(total, dh)
            product = plus(product, dh * ((x[o] - middle) * inverse))
        total, product = total / count, product / count
        for o in range(O):
            h, dh = (x[o] - middle) * inverse, dy[o] * scales[o]
            d = inverse * fma(-h, product, dh - total)
            dx[o] = dx[o] + d if accumulate else d


def layer_norm_backward_parameters(
    dscale: Reals,
    dshift: Reals,
    dY: Reals,
    lddY: int,
    X: Reals,
    ldX: int,
    mean: Reals,
    inverse_deviation: Reals,
    accumulate: int,
    B: int,
    O: int,
) -> None:
    """dscale = sum(dY * H), dshift = sum(dY) over the rows.

    Y = H * scale + shift with H = (X - mean) * inverse_deviation. dscale, dshift (O), dY, X (B, O),
    mean, inverse_deviation (B). Sets or adds to both.
    """
    means, inverses = vector(mean, B), vector(inverse_deviation, B)
    scales, shifts = vector(dscale, O), vector(dshift, O)
    if not accumulate:
        for o in range(O):
            scales[o] = shifts[o] = 0
    for r in range(B):
        dy, x = row(dY, lddY, r, O), row(X, ldX, r, O)
        middle, inverse = means[r], inverses[r]
        for o in range(O):
            scales[o] += dy[o] * ((x[o] - middle) * inverse)
            shifts[o] += dy[o]


def gate_backward_beta(
    dbeta: Reals,
    dY: Reals,
    lddY: int,
    U: Reals,
    ldU: int,
    V: Reals,
    ldV: int,
    beta: float,
    accumulate: int,
    B: int,
    O: int,
) -> None:
    """dbeta = sum(dY * U * V**2 * s * (1 - s)), s = sigmoid(beta * V), where Y = U * V * s.

    dbeta (1), dY, U, V (B, O). Sets or adds to dbeta. A row is summed in float64, the rows one by
    one in the dtype of dbeta, so that it does not matter how rows are split between calls.
    """
    result, block, factor = vector(dbeta, 1), local(V, BLOCK), local(V, BLOCK)
    real = factor.dtype.type
    slope = real(beta)
    total = result[0] if accumulate else real(0)
    for r in range(B):
        dy, u = row(dY, lddY, r, O), row(U, ldU, r, O)
        summed = 0.0
        for o in range(0, O, BLOCK):
            n = min(BLOCK, O - o)
            v = look(block, V, ldV, O, r * O + o, n)
            for k in range(whole(n)):
                s = sigmoid(slope * v[k])
                factor[k] = v[k] * v[k] * s * (ONE - s)
            slopes, values = part(dy, o, n), part(u, o, n)
            for k in range(n):
                summed = plus(summed, np.float64(slopes[k] * values[k] * factor[k]))
        total += real(summed)
    result[0] = total
