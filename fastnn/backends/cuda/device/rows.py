"""What mixes the columns of a row: softmax and layer norm.

Some threads, its lanes, share a row. Each takes every so manieth column, and all of them add up the
sums of all lanes in the same order. Rows beyond the last one are computed with, but not stored.
"""

from __future__ import annotations

import functools
from typing import Any

from fastnn.backends.cuda.device.matrix import Matrix, row_block
from fastnn.backends.cuda.target import Kernel, cuda, math

__all__ = [
    "layer_norm_backward_data",
    "layer_norm_forward",
    "softmax_backward",
    "softmax_forward",
]


def _launch(make: Any, stream: Any, real: Any, B: int, O: int, form: Any, *arguments: Any) -> None:
    block = row_block(O)
    make(real, *block, *form).launch(stream, (-(-B // block[1]),), block, *arguments, B, O)


@functools.cache
def _softmax_forward(real: Any, LANES: int, ROWS: int) -> Kernel:
    zero, least = real(0), real(float("-inf"))

    def softmax_forward(Y, ldY, X, ldX, B, O):
        part = cuda.shared.array((ROWS, LANES), real)
        lane, own = cuda.threadIdx.x, cuda.threadIdx.y
        r = cuda.blockIdx.x * ROWS + own
        end = O if r < B else 0
        top = least
        for o in range(lane, end, LANES):
            if X[r * ldX + o] > top:
                top = X[r * ldX + o]
        part[own, lane] = top
        cuda.syncthreads()
        for i in range(LANES):
            if part[own, i] > top:
                top = part[own, i]
        cuda.syncthreads()
        total = zero
        for o in range(lane, end, LANES):
            e = math.exp(X[r * ldX + o] - top)  # a NaN, of which no top is told, reaches the total
            Y[r * ldY + o] = e
            total += e
        part[own, lane] = total
        cuda.syncthreads()
        total = zero
        for i in range(LANES):
            total += part[own, i]
        for o in range(lane, end, LANES):
            Y[r * ldY + o] = Y[r * ldY + o] / total

    return Kernel(softmax_forward)


def softmax_forward(stream: Any, Y: Matrix, X: Matrix, B: int, O: int) -> None:
    """Y = exp(X - max) / sum(exp(X - max)) along each row, (B, O). Sets Y, which may be X."""
    _launch(_softmax_forward, stream, Y.real, B, O, (), *Y, *X)


@functools.cache
def _softmax_backward(real: Any, LANES: int, ROWS: int, accumulate: bool) -> Kernel:
    zero = real(0)

    def softmax_backward(dX, lddX, dY, lddY, Y, ldY, B, O):
        part = cuda.shared.array((ROWS, LANES), real)
        lane, own = cuda.threadIdx.x, cuda.threadIdx.y
        r = cuda.blockIdx.x * ROWS + own
        end = O if r < B else 0
        total = zero
        for o in range(lane, end, LANES):
            total += dY[r * lddY + o] * Y[r * ldY + o]
        part[own, lane] = total
        cuda.syncthreads()
        total = zero
        for i in range(LANES):
            total += part[own, i]
        for o in range(lane, end, LANES):
            dx = Y[r * ldY + o] * (dY[r * lddY + o] - total)
            if accumulate:
                dx += dX[r * lddX + o]
            dX[r * lddX + o] = dx

    return Kernel(softmax_backward)


def softmax_backward(
    stream: Any, dX: Matrix, dY: Matrix, Y: Matrix, accumulate: bool, B: int, O: int
) -> None:
    """Set or add to dX = Y * (dY - sum(dY * Y)) along each row, (B, O). It may be dY."""
    _launch(_softmax_backward, stream, dX.real, B, O, (accumulate,), *dX, *dY, *Y)


@functools.cache
def _layer_norm_forward(real: Any, LANES: int, ROWS: int) -> Kernel:
    zero, one = real(0), real(1)

    def layer_norm_forward(Y, ldY, means, inverses, X, ldX, scale, shift, epsilon, columns, B, O):
        part = cuda.shared.array((ROWS, LANES), real)
        lane, own = cuda.threadIdx.x, cuda.threadIdx.y
        r = cuda.blockIdx.x * ROWS + own
        end = O if r < B else 0
        total = zero
        for o in range(lane, end, LANES):
            total += X[r * ldX + o]
        part[own, lane] = total
        cuda.syncthreads()
        total = zero
        for i in range(LANES):
            total += part[own, i]
        cuda.syncthreads()
        mean = total / columns
        total = zero
        for o in range(lane, end, LANES):
            d = X[r * ldX + o] - mean
            total += d * d
        part[own, lane] = total
        cuda.syncthreads()
        total = zero
        for i in range(LANES):
            total += part[own, i]
        inverse = one / math.sqrt(total / columns + epsilon)
        for o in range(lane, end, LANES):
            Y[r * ldY + o] = (X[r * ldX + o] - mean) * inverse * scale[o] + shift[o]
        if lane == 0 and r < B:
            means[r] = mean
            inverses[r] = inverse

    return Kernel(layer_norm_forward)


def layer_norm_forward(
    stream: Any,
    Y: Matrix,
    mean: Any,
    inverse_deviation: Any,
    X: Matrix,
    scale: Any,
    shift: Any,
    epsilon: float,
    B: int,
    O: int,
) -> None:
    """Y = (X - mean) * inverse_deviation * scale + shift of each row.

    With Y, X (B, O), mean, inverse_deviation (B), scale, shift (O). Sets the first three.
    """
    vectors, numbers = (scale, shift), (Y.real(epsilon), Y.real(O))
    arguments = (*Y, mean, inverse_deviation, *X, *vectors, *numbers)
    _launch(_layer_norm_forward, stream, Y.real, B, O, (), *arguments)


@functools.cache
def _layer_norm_backward_data(real: Any, LANES: int, ROWS: int, accumulate: bool) -> Kernel:
    zero = real(0)

    # dX = (dH - mean(dH) - H * mean(dH * H)) * inverse with dH = dY * scale
    def layer_norm_backward_data(dX, lddX, dY, lddY, X, ldX, means, inverses, scale, columns, B, O):
        part = cuda.shared.array((ROWS, LANES), real)
        parts = cuda.shared.array((ROWS, LANES), real)
        lane, own = cuda.threadIdx.x, cuda.threadIdx.y
        r = cuda.blockIdx.x * ROWS + own
        end, row = (O, r) if r < B else (0, 0)
        mean, inverse = means[row], inverses[row]
        total, product = zero, zero
        for o in range(lane, end, LANES):
            dh = dY[r * lddY + o] * scale[o]
            total += dh
            product += dh * ((X[r * ldX + o] - mean) * inverse)
        part[own, lane] = total
        parts[own, lane] = product
        cuda.syncthreads()
        total, product = zero, zero
        for i in range(LANES):
            total += part[own, i]
            product += parts[own, i]
        total, product = total / columns, product / columns
        for o in range(lane, end, LANES):
            h = (X[r * ldX + o] - mean) * inverse
            dx = inverse * (dY[r * lddY + o] * scale[o] - total - h * product)
            if accumulate:
                dx += dX[r * lddX + o]
            dX[r * lddX + o] = dx

    return Kernel(layer_norm_backward_data)


def layer_norm_backward_data(
    stream: Any,
    dX: Matrix,
    dY: Matrix,
    X: Matrix,
    mean: Any,
    inverse_deviation: Any,
    scale: Any,
    accumulate: bool,
    B: int,
    O: int,
) -> None:
    """Set or add to dX = (dH - mean(dH) - H * mean(dH * H)) * inverse_deviation of each row.

    With dH = dY * scale, H = (X - mean) * inverse_deviation, dX, dY, X (B, O), scale (O).
    """
    arguments = (*dX, *dY, *X, mean, inverse_deviation, scale, dX.real(O))
    _launch(_layer_norm_backward_data, stream, dX.real, B, O, (accumulate,), *arguments)
