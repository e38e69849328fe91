"""What goes down the columns: batch norm, and the largest norm.

The columns of a strip go over the rows together, their sums on the stack; every sum is in the order
of the rows.
"""

from __future__ import annotations

import math

import numpy as np

from fastnn.backends.jit.instructions import root
from fastnn.backends.numba_cpu.memory import Reals, local, part, row, vector

STRIP = 64  # some cache lines, so that the rows are read in long pieces
ONE = np.float32(1)


def batch_norm_statistics(mean: Reals, variance: Reals, X: Reals, ldX: int, B: int, O: int) -> None:
    """mean = X.mean(axis=0), variance = ((X - mean)**2).mean(axis=0).

    mean, variance (O), X (B, O). Sets both; the sums are in float64. B is at least 1.
    """
    means, variances = vector(mean, O), vector(variance, O)
    real = means.dtype.type
    total, squares = local(np.float64, STRIP), local(np.float64, STRIP)
    for o in range(0, O, STRIP):
        n = min(STRIP, O - o)
        for c in range(n):
            total[c] = squares[c] = 0.0
        for r in range(B):
            x = part(row(X, ldX, r, O), o, n)
            for c in range(n):
                total[c] += x[c]
        for c in range(n):
            total[c] /= B
        for r in range(B):
            x = part(row(X, ldX, r, O), o, n)
            for c in range(n):
                apart = x[c] - total[c]
                squares[c] += apart * apart
        for c in range(n):
            means[o + c] = real(total[c])
            variances[o + c] = real(squares[c] / B)


def batch_norm_forward(
    Y: Reals,
    ldY: int,
    X: Reals,
    ldX: int,
    mean: Reals,
    variance: Reals,
    scale: Reals,
    shift: Reals,
    epsilon: float,
    B: int,
    O: int,
) -> None:
    """Y = H * scale + shift with H = (X - mean) / sqrt(variance + epsilon), of each column.

    Y, X (B, O), mean, variance, scale, shift (O). Sets Y.
    """
    means, variances = vector(mean, O), vector(variance, O)
    scales, shifts = vector(scale, O), vector(shift, O)
    small = means.dtype.type(epsilon)
    inverse, middle = local(mean, STRIP), local(mean, STRIP)
    factor, added = local(mean, STRIP), local(mean, STRIP)
    for o in range(0, O, STRIP):
        n = min(STRIP, O - o)
        for c in range(n):
            inverse[c], middle[c] = ONE / root(variances[o + c] + small), means[o + c]
            factor[c], added[c] = scales[o + c], shifts[o + c]
        for r in range(B):
            x, y = part(row(X, ldX, r, O), o, n), part(row(Y, ldY, r, O), o, n)
            for c in range(n):
                y[c] = (x[c] - middle[c]) * inverse[c] * factor[c] + added[c]


def batch_norm_backward_data(
    dX: Reals,
    lddX: int,
    dY: Reals,
    lddY: int,
    X: Reals,
    ldX: int,
    mean: Reals,
    variance: Reals,
    scale: Reals,
    epsilon: float,
    batch_statistics: int,
    accumulate: int,
    B: int,
    O: int,
) -> None:
    """dX = (dH - mean(dH) - H * mean(dH * H)) / sqrt(variance + epsilon) with dH = dY * scale.

    Where mean and variance are those of X itself; where they are constants, dX = dH / sqrt(...).
    Y = H * scale + shift with H = (X - mean) / sqrt(variance + epsilon). dX, dY, X (B, O), mean,
    variance, scale (O). Sets or adds to dX; the sums are in float64.
    """
    means, variances, scales = vector(mean, O), vector(variance, O), vector(scale, O)
    real = means.dtype.type
    small = real(epsilon)
    total, product = local(np.float64, STRIP), local(np.float64, STRIP)
    inverse, middle, factor = local(mean, STRIP), local(mean, STRIP), local(mean, STRIP)
    mean_dy, mean_dyh, moved = local(mean, STRIP), local(mean, STRIP), local(mean, STRIP)
    for o in range(0, O, STRIP):
        n = min(STRIP, O - o)
        for c in range(n):
            total[c] = product[c] = 0.0
            inverse[c], middle[c] = ONE / root(variances[o + c] + small), means[o + c]
            factor[c] = scales[o + c]
        for r in range(B if batch_statistics else 0):
            x, dy = part(row(X, ldX, r, O), o, n), part(row(dY, lddY, r, O), o, n)
            for c in range(n):
                total[c] += dy[c]
                product[c] += np.float64(dy[c]) * ((x[c] - middle[c]) * inverse[c])
        for c in range(n):
            mean_dy[c], mean_dyh[c] = real(total[c] / B), real(product[c] / B)
        for r in range(B):
            x, dy, dx = (
                part(row(X, ldX, r, O), o, n),
                part(row(dY, lddY, r, O), o, n),
                part(row(dX, lddX, r, O), o, n),
            )
            for c in range(n):
                straight = dy[c]
                if batch_statistics:
                    h = (x[c] - middle[c]) * inverse[c]
                    straight = straight - mean_dy[c] - h * mean_dyh[c]
                moved[c] = straight * factor[c] * inverse[c]
            for c in range(n):
                dx[c] = dx[c] + moved[c] if accumulate else moved[c]


def batch_norm_backward_parameters(
    dscale: Reals,
    dshift: Reals,
    dY: Reals,
    lddY: int,
    X: Reals,
    ldX: int,
    mean: Reals,
    variance: Reals,
    epsilon: float,
    accumulate: int,
    B: int,
    O: int,
) -> None:
    """dscale = sum(dY * H), dshift = sum(dY) over the rows.

    Y = H * scale + shift with H = (X - mean) / sqrt(variance + epsilon). dscale, dshift (O), dY, X
    (B, O), mean, variance (O). Sets or adds to both.
    """
    scales, shifts = vector(dscale, O), vector(dshift, O)
    means, variances = vector(mean, O), vector(variance, O)
    small, zero = means.dtype.type(epsilon), means.dtype.type(0)
    inverse, middle = local(mean, STRIP), local(mean, STRIP)
    products, total = local(mean, STRIP), local(mean, STRIP)
    for o in range(0, O, STRIP):
        n = min(STRIP, O - o)
        for c in range(n):
            inverse[c], middle[c] = ONE / root(variances[o + c] + small), means[o + c]
            products[c] = scales[o + c] if accumulate else zero
            total[c] = shifts[o + c] if accumulate else zero
        for r in range(B):
            x, dy = part(row(X, ldX, r, O), o, n), part(row(dY, lddY, r, O), o, n)
            for c in range(n):
                products[c] += dy[c] * ((x[c] - middle[c]) * inverse[c])
                total[c] += dy[c]
        for c in range(n):
            scales[o + c], shifts[o + c] = products[c], total[c]


def batch_norm_update(
    running_mean: Reals,
    running_variance: Reals,
    mean: Reals,
    variance: Reals,
    momentum: float,
    rows: int,
    O: int,
) -> None:
    """running = (1 - momentum) * running + momentum * that of a batch of `rows` rows.

    Its variance is taken without bias, times rows / (rows - 1); one row says nothing about the
    variance and leaves it. running_mean, running_variance, mean, variance (O). Changes the first
    two.
    """
    running, spread = vector(running_mean, O), vector(running_variance, O)
    means, variances = vector(mean, O), vector(variance, O)
    real = means.dtype.type
    keep, take = real(1 - momentum), real(momentum)
    for o in range(O):
        running[o] = keep * running[o] + take * means[o]
    if rows > 1:
        unbiased = real(momentum * rows / (rows - 1))
        for o in range(O):
            spread[o] = keep * spread[o] + unbiased * variances[o]


def max_norm(W: Reals, ldW: int, limit: float, I: int, O: int) -> None:
    """Scale every column of W whose Euclidean norm is above limit down to it.

    W (I, O). Changes W; the squares are summed in float64. A norm that is not finite changes
    nothing: such weights have diverged, and zeros would hide it.
    """
    squares, factor = local(np.float64, STRIP), local(W, STRIP)
    for o in range(0, O, STRIP):
        n = min(STRIP, O - o)
        for c in range(n):
            squares[c] = 0.0
        for i in range(I):
            w = part(row(W, ldW, i, O), o, n)
            for c in range(n):
                squares[c] += np.float64(w[c]) * np.float64(w[c])
        for c in range(n):
            norm = math.sqrt(squares[c])
            factor[c] = limit / norm if limit < norm < np.inf else 1.0
        for i in range(I):
            w = part(row(W, ldW, i, O), o, n)
            for c in range(n):
                w[c] *= factor[c]
