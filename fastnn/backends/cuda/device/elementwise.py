"""What works on each element by itself: activations, gates, dropout, copies and rows taken out.

A thread takes elements a whole grid apart. Matrices without gaps between their rows are taken as
one long row, so that no thread is left over.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.backends.cuda.device.functions import slope, value
from fastnn.backends.cuda.device.matrix import Matrix, flat_grid, flattened, sheet
from fastnn.backends.cuda.device.random import WORD, philox
from fastnn.backends.cuda.target import Kernel, cuda

__all__ = [
    "activation_backward",
    "activation_forward",
    "add_bias",
    "copy",
    "dropout",
    "gate_backward",
    "gate_forward",
    "gather",
    "gather_rows",
    "round_bfloat16",
]


@functools.cache
def _unary(f: Callable[..., Any], accumulate: bool) -> Kernel:
    def unary(Y, ldY, X, ldX, c, B, O):
        left, top = cuda.grid(2)
        columns, rows = cuda.gridsize(2)
        r = top
        while r < B:
            o = left
            while o < O:
                y = f(X[r * ldX + o], c)
                if accumulate:
                    y += Y[r * ldY + o]
                Y[r * ldY + o] = y
                o += columns
            r += rows

    return Kernel(unary)


def activation_forward(
    stream: Any, Y: Matrix, X: Matrix, function: Any, constant: float, B: int, O: int
) -> None:
    """Y = f(X) with Y, X (B, O). Sets Y, which may be X."""
    B, O = flattened(B, O, Y, X)
    kernel = _unary(value(function, Y.real), False)
    kernel.launch(stream, *sheet(B, O), *Y, *X, Y.real(constant), B, O)


def copy(stream: Any, Y: Matrix, X: Matrix, accumulate: bool, B: int, O: int) -> None:
    """Y = X or Y += X with Y, X (B, O)."""
    B, O = flattened(B, O, Y, X)
    kernel = _unary(value("identity", Y.real), accumulate)
    kernel.launch(stream, *sheet(B, O), *Y, *X, Y.real(0), B, O)


@functools.cache
def _add_bias(f: Callable[..., Any]) -> Kernel:
    def add_bias(Y, ldY, b, c, B, O):
        left, top = cuda.grid(2)
        columns, rows = cuda.gridsize(2)
        r = top
        while r < B:
            o = left
            while o < O:
                Y[r * ldY + o] = f(Y[r * ldY + o] + b[o], c)
                o += columns
            r += rows

    return Kernel(add_bias)


def add_bias(
    stream: Any, Y: Matrix, b: Any, function: str, constant: float, B: int, O: int
) -> None:
    """Y = f(Y + b) with Y (B, O), b (O): what follows a product that another library made."""
    kernel = _add_bias(value(function, Y.real))
    kernel.launch(stream, *sheet(B, O), *Y, b, Y.real(constant), B, O)


@functools.cache
def _activation_backward(df: Callable[..., Any], accumulate: bool) -> Kernel:
    def activation_backward(dX, lddX, dY, lddY, X, ldX, Y, ldY, c, B, O):
        left, top = cuda.grid(2)
        columns, rows = cuda.gridsize(2)
        r = top
        while r < B:
            o = left
            while o < O:
                dx = dY[r * lddY + o] * df(X[r * ldX + o], Y[r * ldY + o], c)
                if accumulate:
                    dx += dX[r * lddX + o]
                dX[r * lddX + o] = dx
                o += columns
            r += rows

    return Kernel(activation_backward)


def activation_backward(
    stream: Any,
    dX: Matrix,
    dY: Matrix,
    X: Matrix,
    Y: Matrix,
    function: Any,
    constant: float,
    accumulate: bool,
    B: int,
    O: int,
) -> None:
    """Set or add to dX = dY * f'(X), where Y = f(X), all (B, O). It may be dY."""
    B, O = flattened(B, O, dX, dY, X, Y)
    kernel = _activation_backward(slope(function, dX.real), accumulate)
    kernel.launch(stream, *sheet(B, O), *dX, *dY, *X, *Y, dX.real(constant), B, O)


@functools.cache
def _gate_forward(f: Callable[..., Any]) -> Kernel:
    def gate_forward(Y, ldY, U, ldU, V, ldV, constants, B, O):
        left, top = cuda.grid(2)
        columns, rows = cuda.gridsize(2)
        c = constants[0]
        r = top
        while r < B:
            o = left
            while o < O:
                Y[r * ldY + o] = U[r * ldU + o] * f(V[r * ldV + o], c)
                o += columns
            r += rows

    return Kernel(gate_forward)


def gate_forward(
    stream: Any, Y: Matrix, U: Matrix, V: Matrix, constant: Any, function: str, B: int, O: int
) -> None:
    """Y = U * f(V) with all (B, O). Sets Y; the constant is an array, for it may be trained."""
    B, O = flattened(B, O, Y, U, V)
    kernel = _gate_forward(value(function, Y.real))
    kernel.launch(stream, *sheet(B, O), *Y, *U, *V, constant, B, O)


@functools.cache
def _gate_backward(f: Callable[..., Any], df: Callable[..., Any]) -> Kernel:
    def gate_backward(dU, lddU, dV, lddV, dY, lddY, U, ldU, V, ldV, constants, B, O):
        left, top = cuda.grid(2)
        columns, rows = cuda.gridsize(2)
        c = constants[0]
        r = top
        while r < B:
            o = left
            while o < O:
                d, v = dY[r * lddY + o], V[r * ldV + o]
                a = f(v, c)
                dV[r * lddV + o] = d * U[r * ldU + o] * df(v, a, c)
                dU[r * lddU + o] = d * a
                o += columns
            r += rows

    return Kernel(gate_backward)


def gate_backward(
    stream: Any,
    dU: Matrix,
    dV: Matrix,
    dY: Matrix,
    U: Matrix,
    V: Matrix,
    constant: Any,
    function: str,
    B: int,
    O: int,
) -> None:
    """Set dU = dY * f(V), dV = dY * U * f'(V), all (B, O)."""
    B, O = flattened(B, O, dU, dV, dY, U, V)
    kernel = _gate_backward(value(function, dU.real), slope(function, dU.real))
    kernel.launch(stream, *sheet(B, O), *dU, *dV, *dY, *U, *V, constant, B, O)


@functools.cache
def _dropout(real: Any, accumulate: bool) -> Kernel:
    zero, shift, layers = real(0), np.uint64(32), np.uint64(16)

    def dropout(Y, ldY, X, ldX, clock, threshold, kept, layer, first_row, B, O):
        # One block of four random words serves four columns of a row.
        left, top = cuda.grid(2)
        columns, rows = cuda.gridsize(2)
        step, seed = np.uint64(clock[0] + clock[2]), np.uint64(clock[3])
        last = layer | ((step >> shift) << layers) & WORD
        r = top
        while r < B:
            row = (first_row + np.uint64(r)) & WORD
            four = left
            while four < (O + 3) // 4:
                w0, w1, w2, w3 = philox(
                    np.uint64(four), row, step & WORD, last, seed & WORD, seed >> shift
                )
                for i in range(4):
                    o = 4 * four + i
                    word = w0 if i == 0 else w1 if i == 1 else w2 if i == 2 else w3
                    if o < O:
                        y = X[r * ldX + o] * kept if word >= threshold else zero
                        if accumulate:
                            y += Y[r * ldY + o]
                        Y[r * ldY + o] = y
                four += columns
            r += rows

    return Kernel(dropout)


def dropout(
    stream: Any,
    Y: Matrix,
    X: Matrix,
    clock: Any,
    rate: float,
    layer: int,
    first_row: int,
    accumulate: bool,
    B: int,
    O: int,
) -> None:
    """Y = X * mask / (1 - rate) with Y, X (B, O). Sets or adds to Y, which may be X.

    The mask depends on rate, layer, row and column, and on the step and seed of the clock, which
    `step` describes: nothing else, so the same call on gradients is the backward pass.
    """
    words = (np.uint64(v) for v in (layer, first_row))
    threshold, kept = np.uint64(math.floor(rate * 2**32)), Y.real(1 / (1 - rate))
    kernel = _dropout(Y.real, accumulate)
    kernel.launch(stream, *sheet(B, -(-O // 4)), *Y, *X, clock, threshold, kept, *words, B, O)


@functools.cache
def _gather_rows() -> Kernel:
    def gather_rows(Y, ldY, X, ldX, index, clock, batch, B, I):
        left, top = cuda.grid(2)
        columns, rows = cuda.gridsize(2)
        first = clock[0] * batch
        r = top
        while r < B:
            row = index[first + r] * ldX
            i = left
            while i < I:
                Y[r * ldY + i] = X[row + i]
                i += columns
            r += rows

    return Kernel(gather_rows)


def gather_rows(
    stream: Any, Y: Matrix, X: Matrix, index: Any, clock: Any, batch: int, B: int, I: int
) -> None:
    """Y[r] = X[index[p * batch + r]], p the position of the clock; Y (B, I), X (N, I). Sets Y."""
    _gather_rows().launch(stream, *sheet(B, I), *Y, *X, index, clock, batch, B, I)


@functools.cache
def _gather() -> Kernel:
    def gather(y, x, index, clock, batch, B):
        first = clock[0] * batch
        r = cuda.grid(1)
        while r < B:
            y[r] = x[index[first + r]]
            r += cuda.gridsize(1)

    return Kernel(gather)


def gather(stream: Any, y: Any, x: Any, index: Any, clock: Any, batch: int, B: int) -> None:
    """y[r] = x[index[p * batch + r]] of vectors, such as labels and weights. Sets y (B)."""
    _gather().launch(stream, *flat_grid(B), y, x, index, clock, batch, B)


@functools.cache
def _round_bfloat16() -> Kernel:
    # The float whose lower half is 0 that is nearest, the even one of two; what is below the normal
    # numbers becomes 0, a NaN stays one.
    half, one, sixteen = np.uint32(0x7FFF), np.uint32(1), np.uint32(16)
    size_bits, upper = np.uint32(0x7FFFFFFF), np.uint32(0xFFFF0000)
    sign, quiet = np.uint32(0x80000000), np.uint32(0x00400000)
    normal, infinite = np.uint32(0x00800000), np.uint32(0x7F800000)

    def round_bfloat16(Y, ldY, X, ldX, B, O):
        left, top = cuda.grid(2)
        columns, rows = cuda.gridsize(2)
        r = top
        while r < B:
            o = left
            while o < O:
                bits = X[r * ldX + o]
                size = bits & size_bits
                if size > infinite:
                    rounded = (bits | quiet) & upper
                elif size < normal:
                    rounded = bits & sign
                else:
                    rounded = (bits + half + ((bits >> sixteen) & one)) & upper
                Y[r * ldY + o] = rounded
                o += columns
            r += rows

    return Kernel(round_bfloat16)


def round_bfloat16(stream: Any, Y: Matrix, X: Matrix, B: int, O: int) -> None:
    """Y = X rounded to bfloat16, float32 both, with Y, X (B, O). Sets Y, which may be X."""
    B, O = flattened(B, O, Y, X)
    bits = (Matrix(m.at.view(np.uint32), m.ld) for m in (Y, X))
    (y, ldY), (x, ldX) = bits
    _round_bfloat16().launch(stream, *sheet(B, O), y, ldY, x, ldX, B, O)
