"""Sums over a whole vector or matrix, in two launches, and what else passes over one.

Every block leaves one number, and the one block of a second launch adds these up, so that equal
calls give equal bits. The numbers lie in `partials`, a float64 vector of `PARTIALS` elements (for
places of values: int64).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastnn.backends.cuda.device.functions import value
from fastnn.backends.cuda.device.matrix import BLOCKS, THREADS, Matrix, flat_grid
from fastnn.backends.cuda.target import Kernel, cuda, math

__all__ = [
    "PARTIALS",
    "clip",
    "first_nonfinite",
    "gate_backward_beta",
    "penalty",
    "scale",
    "sum_of_squares",
]

PARTIALS = BLOCKS[0]


@functools.cache
def _total(real: Any, accumulate: bool) -> Kernel:
    zero = np.float64(0)

    def total(out, partials, count):
        part = cuda.shared.array(THREADS, np.float64)
        t = cuda.threadIdx.x
        own = zero
        for i in range(t, count, THREADS):
            own += partials[i]
        part[t] = own
        cuda.syncthreads()
        step = THREADS // 2
        while step > 0:
            if t < step:
                part[t] += part[t + step]
            cuda.syncthreads()
            step //= 2
        if t == 0:
            out[0] = out[0] + real(part[0]) if accumulate else real(part[0])

    return Kernel(total)


def _sum_partials(stream: Any, out: Any, partials: Any, count: int, accumulate: bool) -> None:
    kernel = _total(np.dtype(out.dtype).type, accumulate)
    kernel.launch(stream, (1,), (THREADS,), out, partials, count)


@functools.cache
def _sum_of_squares() -> Kernel:
    zero = np.float64(0)

    def sum_of_squares(partials, g, N):
        part = cuda.shared.array(THREADS, np.float64)
        t = cuda.threadIdx.x
        own, n = zero, cuda.grid(1)
        while n < N:
            own += np.float64(g[n]) * np.float64(g[n])
            n += cuda.gridsize(1)
        part[t] = own
        cuda.syncthreads()
        step = THREADS // 2
        while step > 0:
            if t < step:
                part[t] += part[t + step]
            cuda.syncthreads()
            step //= 2
        if t == 0:
            partials[cuda.blockIdx.x] = part[0]

    return Kernel(sum_of_squares)


def sum_of_squares(stream: Any, out: Any, g: Any, partials: Any, N: int) -> None:
    """Set out (1), float64, to the sum of the squares of g (N)."""
    grid, block = flat_grid(N)
    _sum_of_squares().launch(stream, grid, block, partials, g, N)
    _sum_partials(stream, out, partials, *grid, False)


@functools.cache
def _penalty(real: Any, with_gradient: bool) -> Kernel:
    zero, none, one, half = real(0), np.float64(0), real(1), np.float64(0.5)

    def penalty(partials, dW, W, l1, l2, N):
        part = cuda.shared.array(THREADS, np.float64)
        t = cuda.threadIdx.x
        own, n = none, cuda.grid(1)
        slope1, slope2 = real(l1), real(l2)
        while n < N:
            w = W[n]
            wide = np.float64(w)
            own += l1 * math.fabs(wide) + half * l2 * wide * wide
            if with_gradient:
                dW[n] += slope1 * (one if w > zero else -one if w < zero else w) + slope2 * w
            n += cuda.gridsize(1)
        part[t] = own
        cuda.syncthreads()
        step = THREADS // 2
        while step > 0:
            if t < step:
                part[t] += part[t + step]
            cuda.syncthreads()
            step //= 2
        if t == 0:
            partials[cuda.blockIdx.x] = part[0]

    return Kernel(penalty)


def penalty(
    stream: Any, out: Any, dW: Any, W: Any, partials: Any, l1: float, l2: float, N: int
) -> None:
    """Set out (1), float64, to l1 * sum|W| + l2/2 * sum(W**2); add its gradient to dW, if given."""
    grid, block = flat_grid(N)
    kernel = _penalty(np.dtype(W.dtype).type, dW is not None)
    slopes = W if dW is None else dW
    kernel.launch(stream, grid, block, partials, slopes, W, np.float64(l1), np.float64(l2), N)
    _sum_partials(stream, out, partials, *grid, False)


@functools.cache
def _gate_backward_beta(real: Any) -> Kernel:
    zero, one = np.float64(0), real(1)
    sigmoid = value("sigmoid", real)

    def gate_backward_beta(partials, dY, lddY, U, ldU, V, ldV, beta, B, O):
        part = cuda.shared.array(THREADS, np.float64)
        t = cuda.threadIdx.x
        own, r = zero, cuda.blockIdx.x
        while r < B:
            o = t
            while o < O:
                v = V[r * ldV + o]
                s = sigmoid(beta[0] * v, v)
                own += dY[r * lddY + o] * U[r * ldU + o] * (v * v * s * (one - s))
                o += THREADS
            r += cuda.gridDim.x
        part[t] = own
        cuda.syncthreads()
        step = THREADS // 2
        while step > 0:
            if t < step:
                part[t] += part[t + step]
            cuda.syncthreads()
            step //= 2
        if t == 0:
            partials[cuda.blockIdx.x] = part[0]

    return Kernel(gate_backward_beta)


def gate_backward_beta(
    stream: Any,
    dbeta: Any,
    dY: Matrix,
    U: Matrix,
    V: Matrix,
    beta: Any,
    partials: Any,
    accumulate: bool,
    B: int,
    O: int,
) -> None:
    """Set or add to dbeta = sum(dY * U * V**2 * s * (1 - s)) with s = sigmoid(beta * V).

    With dbeta, beta (1), dY, U, V (B, O).
    """
    blocks = min(B, PARTIALS)
    kernel = _gate_backward_beta(dY.real)
    kernel.launch(stream, (blocks,), (THREADS,), partials, *dY, *U, *V, beta, B, O)
    _sum_partials(stream, dbeta, partials, blocks, accumulate)


@functools.cache
def _clip() -> Kernel:
    def clip(g, high, N):
        n = cuda.grid(1)
        while n < N:
            v = g[n]
            g[n] = high if v > high else -high if v < -high else v
            n += cuda.gridsize(1)

    return Kernel(clip)


def clip(stream: Any, g: Any, limit: float, N: int) -> None:
    """Set g = min(max(g, -limit), limit) with g (N); NaN is kept."""
    _clip().launch(stream, *flat_grid(N), g, np.dtype(g.dtype).type(limit), N)


@functools.cache
def _scale() -> Kernel:
    def scale(g, factor, N):
        n = cuda.grid(1)
        while n < N:
            g[n] = g[n] * factor
            n += cuda.gridsize(1)

    return Kernel(scale)


def scale(stream: Any, g: Any, factor: float, N: int) -> None:
    """Multiply g (N) by the factor."""
    _scale().launch(stream, *flat_grid(N), g, np.dtype(g.dtype).type(factor), N)


@functools.cache
def _first_nonfinite() -> Kernel:
    def first_nonfinite(places, X, ldX, none, B, I):
        part = cuda.shared.array(THREADS, np.int64)
        t = cuda.threadIdx.x
        own, r = none, cuda.blockIdx.x
        while r < B:
            i = t
            while i < I:
                if not math.isfinite(X[r * ldX + i]) and r * I + i < own:
                    own = r * I + i
                i += THREADS
            r += cuda.gridDim.x
        part[t] = own
        cuda.syncthreads()
        if t == 0:
            for i in range(THREADS):
                if part[i] < own:
                    own = part[i]
            places[cuda.blockIdx.x] = own

    return Kernel(first_nonfinite)


@functools.cache
def _least() -> Kernel:
    def least(out, places, none, count):
        part = cuda.shared.array(THREADS, np.int64)
        t = cuda.threadIdx.x
        own = none
        for i in range(t, count, THREADS):
            if places[i] < own:
                own = places[i]
        part[t] = own
        cuda.syncthreads()
        if t == 0:
            for i in range(THREADS):
                if part[i] < own:
                    own = part[i]
            out[0] = -1 if own == none else own

    return Kernel(least)


def first_nonfinite(stream: Any, out: Any, X: Matrix, places: Any, B: int, I: int) -> None:
    """Set out (1), int64, to the flat index of the first NaN or infinity of X (B, I), or to -1.

    Places is an int64 vector of PARTIALS elements to work with.
    """
    blocks, none = min(B, PARTIALS), np.int64(B * I)
    _first_nonfinite().launch(stream, (blocks,), (THREADS,), places, *X, none, B, I)
    _least().launch(stream, (1,), (THREADS,), out, places, none, blocks)
