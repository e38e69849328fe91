"""What a training step does beside the network itself, so that it never has to wait for the host.

The clock is an int64 vector of `CLOCK` elements on the device: the position of the next step in
this run, whether steps are stopped, the step before the first one of this run, and the bits of the
seed. A step reads from it which rows, which learning rate and which masks are its own, and its last
launch moves it on. So one captured step can be replayed for every step of a run. Where the loss,
its gradient or the statistics of a batch are not finite, the clock stops: whatever is launched
behind that changes neither parameters nor moments nor states.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastnn.backends.cuda.device.flat import PARTIALS
from fastnn.backends.cuda.device.matrix import THREADS, flat_grid
from fastnn.backends.cuda.device.update import GROUP
from fastnn.backends.cuda.target import Kernel, cuda, math

__all__ = ["CLOCK", "PARTIALS", "advance", "finish_batch", "gradient_pass", "weigh_batch"]

CLOCK = 4


@functools.cache
def _weigh_batch() -> Kernel:
    zero, one = np.float64(0), np.float64(1)

    def weigh_batch(factor, weight, B):
        part = cuda.shared.array(THREADS, np.float64)
        t = cuda.threadIdx.x
        own = zero
        for r in range(t, B, THREADS):
            own += weight[r]
        part[t] = own
        cuda.syncthreads()
        step = THREADS // 2
        while step > 0:
            if t < step:
                part[t] += part[t + step]
            cuda.syncthreads()
            step //= 2
        if t == 0:
            factor[0] = one / part[0]

    return Kernel(weigh_batch)


def weigh_batch(stream: Any, factor: Any, weight: Any, B: int) -> None:
    """Set factor (1), float64, to 1 over the sum of the weights (B) of a batch."""
    _weigh_batch().launch(stream, (1,), (THREADS,), factor, weight, B)


@functools.cache
def _gradient_pass(real: Any, penalized: bool, clipped: bool) -> Kernel:
    none, zero, one, half = np.float64(0), real(0), real(1), np.float64(0.5)
    group = GROUP

    def gradient_pass(g, partials, w, l1, l2, per_row, factor, limit, N):
        squares = cuda.shared.array(THREADS, np.float64)
        penalties = cuda.shared.array(THREADS, np.float64)
        bad = cuda.shared.array(THREADS, np.float64)
        t = cuda.threadIdx.x
        square, cost, ill, n = none, none, none, cuda.grid(1)
        while n < N:
            v = g[n]
            if penalized:
                a, b, x = l1[n // group], l2[n // group], w[n]
                if a != zero or b != zero:
                    share = real(factor[0]) if per_row[n // group] != 0 else one
                    a *= share
                    b *= share
                    v += a * (one if x > zero else -one if x < zero else x) + b * x
                    wide = np.float64(x)
                    cost += a * math.fabs(wide) + half * b * wide * wide
            if not math.isfinite(v):
                ill += one
            if clipped:
                v = limit if v > limit else -limit if v < -limit else v
            if penalized or clipped:
                g[n] = v
            square += np.float64(v) * np.float64(v)
            n += cuda.gridsize(1)
        squares[t] = square
        penalties[t] = cost
        bad[t] = ill
        cuda.syncthreads()
        step = THREADS // 2
        while step > 0:
            if t < step:
                squares[t] += squares[t + step]
                penalties[t] += penalties[t + step]
                bad[t] += bad[t + step]
            cuda.syncthreads()
            step //= 2
        if t == 0:
            block = 3 * cuda.blockIdx.x
            partials[block] = squares[0]
            partials[block + 1] = penalties[0]
            partials[block + 2] = bad[0]

    return Kernel(gradient_pass)


def gradient_pass(
    stream: Any,
    g: Any,
    partials: Any,
    w: Any,
    penalties: tuple[Any, ...] | None,
    factor: Any,
    clip_value: float | None,
    N: int,
) -> None:
    """Add the penalties to the gradient g (N) of the parameters w (N), and clip its elements.

    Leaves in `partials`, 3 * PARTIALS elements of float64, what `finish_batch` adds up.

    Parameters
    ----------
    stream : object
    g, partials, w : device arrays
    penalties : tuple of device arrays, or None
        For every GROUP elements: l1 and l2 of their parameter, and, as uint8, whether the factor is
        theirs. None where no parameter has a penalty.
    factor : device array of float64, shape (1,), or None
        1 over the sum of the weights of the batch; needed for penalties only.
    clip_value : float or None
    N : int
    """
    real = np.dtype(g.dtype).type
    kernel = _gradient_pass(real, penalties is not None, clip_value is not None)
    told = (g, g, g, g) if penalties is None else (*penalties, factor)
    limit = real(clip_value or 0.0)
    kernel.launch(stream, *flat_grid(N), g, partials, w, *told, limit, N)


@functools.cache
def _finish_batch(real: Any, with_hits: bool, weighted: bool, with_norm: bool) -> Kernel:
    none, one, missing = np.float64(0), np.float64(1), np.float64("nan")
    infinite = np.float64("inf")

    def finish_batch(
        losses, shares, clip, clock, partials, count, row_loss, hits, weight, states, S, limit, B
    ):
        part = cuda.shared.array((6, THREADS), np.float64)
        t = cuda.threadIdx.x
        loss, right, weights = none, none, none
        square, cost, ill = none, none, none
        for r in range(t, B, THREADS):
            share = np.float64(weight[r]) if weighted else one
            weights += share
            loss += share * row_loss[r]
            if with_hits:
                right += share * hits[r]
        for i in range(t, count, THREADS):
            square += partials[3 * i]
            cost += partials[3 * i + 1]
            ill += partials[3 * i + 2]
        for s in range(t, S, THREADS):
            if not math.isfinite(states[s]):
                ill += one
        part[0, t] = loss
        part[1, t] = right
        part[2, t] = weights
        part[3, t] = square
        part[4, t] = cost
        part[5, t] = ill
        cuda.syncthreads()
        step = THREADS // 2
        while step > 0:
            if t < step:
                for i in range(6):
                    part[i, t] += part[i, t + step]
            cuda.syncthreads()
            step //= 2
        if t == 0:
            at = clock[0]
            loss = part[0, 0] / part[2, 0] + part[4, 0]
            losses[at] = loss
            shares[at] = part[1, 0] / part[2, 0] if with_hits else missing
            # Not isfinite of a sum: a float64 gradient may be finite and its squares not.
            if part[5, 0] > none or loss != loss or math.fabs(loss) == infinite:
                clock[1] = 1
            factor = one
            if with_norm:
                norm = math.sqrt(part[3, 0])
                if norm > limit:
                    factor = limit / norm
            clip[0] = real(factor)

    return Kernel(finish_batch)


def finish_batch(
    stream: Any,
    losses: Any,
    shares: Any,
    clip: Any,
    clock: Any,
    partials: Any,
    row_loss: Any,
    hits: Any,
    weight: Any,
    states: Any,
    clip_norm: float | None,
    N: int,
    B: int,
) -> None:
    """Set the loss of a batch, its share of hits and the factor of its gradient, in one block.

    Stops the clock where the loss, the gradient or the statistics are not finite.

    Parameters
    ----------
    stream : object
    losses, shares : device arrays of float64
        Set at the position of the clock.
    clip : device array, shape (1,)
        Of the dtype of the parameters; set to the factor that clips the norm of the gradient.
    clock, partials : device arrays
        What `gradient_pass` left for a gradient of N elements; 0 where there is no gradient.
    row_loss : device array of float64, shape (B,)
    hits : device array of float64, shape (B,), or None
    weight : device array, shape (B,), or None
    states : device array or None
        The statistics of the batch.
    clip_norm : float or None
    N, B : int
    """
    real = np.dtype(clip.dtype).type
    kernel = _finish_batch(real, hits is not None, weight is not None, clip_norm is not None)
    (count,) = flat_grid(N)[0]
    rows = (row_loss if hits is None else hits, clip if weight is None else weight)
    statistics = (clip, 0) if states is None else (states, len(states))
    outputs, numbers = (losses, shares, clip, clock), (np.float64(clip_norm or 0.0), B)
    kernel.launch(
        stream, (1,), (THREADS,), *outputs, partials, count, row_loss, *rows, *statistics, *numbers
    )


@functools.cache
def _advance() -> Kernel:
    def advance(clock):
        if clock[1] == 0:
            clock[0] += 1

    return Kernel(advance)


def advance(stream: Any, clock: Any) -> None:
    """Move the clock on by a step, unless it has stopped: the last launch of every step."""
    _advance().launch(stream, (1,), (1,), clock)
