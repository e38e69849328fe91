"""What sums down the columns: gradients of vectors, batch norm, and the largest norm.

A block takes some columns, and each of them some threads, which lie above each other: a thread adds
up every so manieth row, and all of them add up the sums of all in the same order.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastnn.backends.cuda.device.matrix import (
    COLUMNS,
    DEPTH,
    Matrix,
    column_grid,
    flat_grid,
    sheet,
)
from fastnn.backends.cuda.target import Kernel, cuda, math

__all__ = [
    "batch_norm_backward_data",
    "batch_norm_backward_parameters",
    "batch_norm_forward",
    "batch_norm_statistics",
    "batch_norm_update",
    "column_sums",
    "layer_norm_backward_parameters",
    "max_norm",
]


@functools.cache
def _column_sums(real: Any, accumulate: bool) -> Kernel:
    zero = real(0)

    def column_sums(db, dY, lddY, B, O):
        part = cuda.shared.array((DEPTH, COLUMNS), real)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        o = cuda.blockIdx.x * COLUMNS + x
        total = zero
        for r in range(y, B if o < O else 0, DEPTH):
            total += dY[r * lddY + o]
        part[y, x] = total
        cuda.syncthreads()
        if y == 0 and o < O:
            total = zero
            for i in range(DEPTH):
                total += part[i, x]
            db[o] = db[o] + total if accumulate else total

    return Kernel(column_sums)


def column_sums(stream: Any, db: Any, dY: Matrix, accumulate: bool, B: int, O: int) -> None:
    """Set or add to db = dY.sum(axis=0) with db (O), dY (B, O)."""
    _column_sums(dY.real, accumulate).launch(stream, *column_grid(O), db, *dY, B, O)


@functools.cache
def _norm_parameters(real: Any, of_rows: bool, accumulate: bool) -> Kernel:
    zero, one = real(0), real(1)

    # dscale = sum(dY * H), dshift = sum(dY), where H = (X - mean) / deviation, of rows or columns
    def norm_parameters(dscale, dshift, dY, lddY, X, ldX, means, spreads, epsilon, B, O):
        products = cuda.shared.array((DEPTH, COLUMNS), real)
        sums = cuda.shared.array((DEPTH, COLUMNS), real)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        o = cuda.blockIdx.x * COLUMNS + x
        total, product = zero, zero
        end, column = (B, o) if o < O else (0, 0)
        mean = zero if of_rows else means[column]
        inverse = one if of_rows else one / math.sqrt(spreads[column] + epsilon)
        for r in range(y, end, DEPTH):
            if of_rows:
                mean, inverse = means[r], spreads[r]
            dy = dY[r * lddY + o]
            total += dy
            product += dy * ((X[r * ldX + o] - mean) * inverse)
        sums[y, x] = total
        products[y, x] = product
        cuda.syncthreads()
        if y == 0 and o < O:
            total, product = zero, zero
            for i in range(DEPTH):
                total += sums[i, x]
                product += products[i, x]
            dscale[o] = dscale[o] + product if accumulate else product
            dshift[o] = dshift[o] + total if accumulate else total

    return Kernel(norm_parameters)


def layer_norm_backward_parameters(
    stream: Any,
    dscale: Any,
    dshift: Any,
    dY: Matrix,
    X: Matrix,
    mean: Any,
    inverse_deviation: Any,
    accumulate: bool,
    B: int,
    O: int,
) -> None:
    """Set or add to dscale = sum(dY * H), dshift = sum(dY), over the rows.

    With H = (X - mean) * inverse_deviation, dscale, dshift (O), dY, X (B, O), the others (B).
    """
    arguments = (dscale, dshift, *dY, *X, mean, inverse_deviation, X.real(0))
    kernel = _norm_parameters(X.real, True, accumulate)
    kernel.launch(stream, *column_grid(O), *arguments, B, O)


def batch_norm_backward_parameters(
    stream: Any,
    dscale: Any,
    dshift: Any,
    dY: Matrix,
    X: Matrix,
    mean: Any,
    variance: Any,
    epsilon: float,
    accumulate: bool,
    B: int,
    O: int,
) -> None:
    """Set or add to dscale = sum(dY * H), dshift = sum(dY), over the rows.

    With H = (X - mean) / sqrt(variance + epsilon), dY, X (B, O), all others (O).
    """
    arguments = (dscale, dshift, *dY, *X, mean, variance, X.real(epsilon))
    kernel = _norm_parameters(X.real, False, accumulate)
    kernel.launch(stream, *column_grid(O), *arguments, B, O)


@functools.cache
def _batch_norm_statistics(real: Any) -> Kernel:
    zero = np.float64(0)

    def batch_norm_statistics(means, variances, X, ldX, rows, B, O):
        part = cuda.shared.array((DEPTH, COLUMNS), np.float64)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        o = cuda.blockIdx.x * COLUMNS + x
        end = B if o < O else 0
        total = zero
        for r in range(y, end, DEPTH):
            total += X[r * ldX + o]
        part[y, x] = total
        cuda.syncthreads()
        total = zero
        for i in range(DEPTH):
            total += part[i, x]
        mean = total / rows
        cuda.syncthreads()
        total = zero
        for r in range(y, end, DEPTH):
            d = X[r * ldX + o] - mean
            total += d * d
        part[y, x] = total
        cuda.syncthreads()
        if y == 0 and o < O:
            total = zero
            for i in range(DEPTH):
                total += part[i, x]
            means[o] = real(mean)
            variances[o] = real(total / rows)

    return Kernel(batch_norm_statistics)


def batch_norm_statistics(stream: Any, mean: Any, variance: Any, X: Matrix, B: int, O: int) -> None:
    """Set mean and variance (O) to those of the columns of X (B, O); B is at least 1."""
    kernel = _batch_norm_statistics(X.real)
    kernel.launch(stream, *column_grid(O), mean, variance, *X, np.float64(B), B, O)


@functools.cache
def _batch_norm_forward(real: Any) -> Kernel:
    one = real(1)

    def batch_norm_forward(Y, ldY, X, ldX, mean, variance, scale, shift, epsilon, B, O):
        left, top = cuda.grid(2)
        columns, rows = cuda.gridsize(2)
        o = left
        while o < O:
            inverse = one / math.sqrt(variance[o] + epsilon)
            r = top
            while r < B:
                h = (X[r * ldX + o] - mean[o]) * inverse
                Y[r * ldY + o] = h * scale[o] + shift[o]
                r += rows
            o += columns

    return Kernel(batch_norm_forward)


def batch_norm_forward(
    stream: Any,
    Y: Matrix,
    X: Matrix,
    mean: Any,
    variance: Any,
    scale: Any,
    shift: Any,
    epsilon: float,
    B: int,
    O: int,
) -> None:
    """Y = (X - mean) / sqrt(variance + epsilon) * scale + shift, (B, O) and (O). Sets Y."""
    arguments = (*Y, *X, mean, variance, scale, shift, Y.real(epsilon))
    _batch_norm_forward(Y.real).launch(stream, *sheet(B, O), *arguments, B, O)


@functools.cache
def _batch_norm_backward_data(real: Any, batch_statistics: bool, accumulate: bool) -> Kernel:
    none, zero, one = np.float64(0), real(0), real(1)

    def batch_norm_backward_data(
        dX, lddX, dY, lddY, X, ldX, means, variances, scale, epsilon, rows, B, O
    ):
        sums = cuda.shared.array((DEPTH, COLUMNS), np.float64)
        products = cuda.shared.array((DEPTH, COLUMNS), np.float64)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        o = cuda.blockIdx.x * COLUMNS + x
        end, column = (B, o) if o < O else (0, 0)
        mean = means[column]
        inverse = one / math.sqrt(variances[column] + epsilon)
        mean_dy, mean_dyh = zero, zero
        if batch_statistics:
            total, product = none, none
            for r in range(y, end, DEPTH):
                dy = dY[r * lddY + o]
                total += dy
                product += np.float64(dy) * ((X[r * ldX + o] - mean) * inverse)
            sums[y, x] = total
            products[y, x] = product
            cuda.syncthreads()
            total, product = none, none
            for i in range(DEPTH):
                total += sums[i, x]
                product += products[i, x]
            mean_dy, mean_dyh = real(total / rows), real(product / rows)
        for r in range(y, end, DEPTH):
            dx = dY[r * lddY + o]
            if batch_statistics:
                dx = dx - mean_dy - (X[r * ldX + o] - mean) * inverse * mean_dyh
            dx = dx * scale[o] * inverse  # in this order: their product may underflow
            if accumulate:
                dx += dX[r * lddX + o]
            dX[r * lddX + o] = dx

    return Kernel(batch_norm_backward_data)


def batch_norm_backward_data(
    stream: Any,
    dX: Matrix,
    dY: Matrix,
    X: Matrix,
    mean: Any,
    variance: Any,
    scale: Any,
    epsilon: float,
    batch_statistics: bool,
    accumulate: bool,
    B: int,
    O: int,
) -> None:
    """Set or add to dX = (dY - mean(dY) - H * mean(dY * H)) * scale / sqrt(variance + epsilon).

    With H = (X - mean) / sqrt(variance + epsilon), dX, dY, X (B, O), all others (O). Where mean and
    variance are not those of X itself, dX = dY * scale / sqrt(variance + epsilon).
    """
    kernel = _batch_norm_backward_data(dX.real, batch_statistics, accumulate)
    numbers = dX.real(epsilon), np.float64(B), B, O
    kernel.launch(stream, *column_grid(O), *dX, *dY, *X, mean, variance, scale, *numbers)


@functools.cache
def _batch_norm_update(several_rows: bool) -> Kernel:
    def batch_norm_update(
        running_mean, running_variance, mean, variance, clock, keep, take, unbiased, O
    ):
        o = cuda.grid(1)
        while o < O and clock[1] == 0:
            running_mean[o] = keep * running_mean[o] + take * mean[o]
            if several_rows:
                running_variance[o] = keep * running_variance[o] + unbiased * variance[o]
            o += cuda.gridsize(1)

    return Kernel(batch_norm_update)


def batch_norm_update(
    stream: Any,
    running_mean: Any,
    running_variance: Any,
    mean: Any,
    variance: Any,
    clock: Any,
    momentum: float,
    rows: int,
    O: int,
) -> None:
    """Move the running statistics (O) by a share of those of a batch of so many rows.

    The variance is taken without bias; one row says nothing about it and leaves it. Where the clock
    has stopped, all stay.
    """
    unbiased = momentum * rows / (rows - 1) if rows > 1 else 0.0
    shares = (np.dtype(mean.dtype).type(share) for share in (1 - momentum, momentum, unbiased))
    vectors = running_mean, running_variance, mean, variance
    kernel = _batch_norm_update(rows > 1)
    kernel.launch(stream, *flat_grid(O), *vectors, clock, *shares, O)


@functools.cache
def _max_norm(real: Any) -> Kernel:
    zero, infinite = np.float64(0), np.float64("inf")

    def max_norm(W, ldW, clock, limit, I, O):
        part = cuda.shared.array((DEPTH, COLUMNS), np.float64)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        o = cuda.blockIdx.x * COLUMNS + x
        end = I if o < O and clock[1] == 0 else 0
        total = zero
        for i in range(y, end, DEPTH):
            w = np.float64(W[i * ldW + o])
            total += w * w
        part[y, x] = total
        cuda.syncthreads()
        total = zero
        for i in range(DEPTH):
            total += part[i, x]
        norm = math.sqrt(total)
        if norm > limit and norm < infinite:  # weights that have diverged stay as they are
            factor = real(limit / norm)
            for i in range(y, end, DEPTH):
                W[i * ldW + o] = W[i * ldW + o] * factor

    return Kernel(max_norm)


def max_norm(stream: Any, W: Matrix, clock: Any, limit: float, I: int, O: int) -> None:
    """Scale every column of W (I, O) whose norm is above the limit down to it.

    A norm that is not finite changes nothing, nor does a clock that has stopped.
    """
    _max_norm(W.real).launch(stream, *column_grid(O), *W, clock, np.float64(limit), I, O)
