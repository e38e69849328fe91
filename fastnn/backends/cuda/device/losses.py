"""The losses on the scores, as in fastnn/losses.py. The sums over a row are in float64.

As in `rows`, some threads share a row. The factor of the slopes is read from the device, for it may
be the weights of a batch that are summed there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from fastnn.backends.cuda.device.functions import slope
from fastnn.backends.cuda.device.matrix import Matrix, row_block
from fastnn.backends.cuda.target import Kernel, cuda, device_function, math

__all__ = ["loss", "loss_labels", "row_function"]

# A target above it means yes, where there are outputs that are right or wrong.
YES = {"binary_cross_entropy": 0.5, "hinge": 0.0}


@functools.cache
def _element(name: Any, real: Any) -> Callable[..., Any]:
    """Return a device function of z, t and c: the loss of an output, and its derivative in z.

    What is no name is a loss of the user's, compiled, with attributes `element` and `yes`.
    """
    if not isinstance(name, str):
        made: Callable[..., Any] = name.element
        return made
    zero, one, two, half = real(0), real(1), real(2), real(0.5)

    def mse(z, t, c):
        d = z - t
        return d * d, two * d

    def mae(z, t, c):
        d = z - t
        return math.fabs(d), one if d > zero else -one if d < zero else d

    def huber(z, t, c):
        d = z - t
        size = math.fabs(d)
        value = half * d * d if size <= c else c * (size - half * c)
        return value, -c if d < -c else c if d > c else d

    def quantile(z, t, c):
        d = z - t
        value = -c * d if d < zero else (one - c) * d
        return value, one - c if d > zero else -c if d < zero else d

    def binary_cross_entropy(z, t, c):
        e = math.exp(-math.fabs(z))
        value = (zero if z <= zero else z) - z * t + math.log1p(e)
        return value, (e if z < zero else one) / (one + e) - t

    def poisson(z, t, c):
        rate = math.exp(z)
        return rate - t * z, rate - t

    def hinge(z, t, c):
        margin = one - t * z
        value = zero if margin <= zero else margin
        return value, -t if margin > zero else zero if margin <= zero else margin

    functions = (mse, mae, huber, quantile, binary_cross_entropy, poisson, hinge)
    return device_function(next(f for f in functions if f.__name__ == name))


@device_function
def _above(v, top):  # a NaN is above all numbers, and the first of equals stays
    return v > top or (v != v and top == top)


@functools.cache
def _elements(
    real: Any, LANES: int, ROWS: int, element: Any, yes: float | None, wanted: tuple[bool, ...]
) -> Kernel:
    hits_wanted, slope_wanted, weighted = wanted
    judged = hits_wanted and yes is not None
    zero, limit, one = real(0), real(yes or 0.0), np.float64(1)
    none = np.float64(0)

    def elements(row_loss, hits, dZ, lddZ, Z, ldZ, T, ldT, weight, factor, c, columns, B, O):
        losses = cuda.shared.array((ROWS, LANES), np.float64)
        rights = cuda.shared.array((ROWS, LANES), np.float64)
        lane, own = cuda.threadIdx.x, cuda.threadIdx.y
        r = cuda.blockIdx.x * ROWS + own
        end, row = (O, r) if r < B else (0, 0)
        share = factor[0] * weight[row] if weighted else factor[0]
        part = real(share / columns)
        total, right = none, none
        for o in range(lane, end, LANES):
            z, t = Z[r * ldZ + o], T[r * ldT + o]
            value, slope = element(z, t, c)
            total += value
            if judged and (z > zero) == (t > limit):
                right += one
            if slope_wanted:
                dZ[r * lddZ + o] = slope * part
        losses[own, lane] = total
        rights[own, lane] = right
        cuda.syncthreads()
        if lane == 0 and r < B:
            total, right = none, none
            for i in range(LANES):
                total += losses[own, i]
                right += rights[own, i]
            row_loss[r] = total / columns
            if judged:
                hits[r] = right / columns

    return Kernel(elements)


@functools.cache
def _cross_entropy(
    real: Any, LANES: int, ROWS: int, labelled: bool, wanted: tuple[bool, ...]
) -> Kernel:
    hits_wanted, slope_wanted, weighted = wanted
    least, none, one = real(float("-inf")), np.float64(0), np.float64(1)

    def cross_entropy(
        row_loss, hits, dZ, lddZ, Z, ldZ, T, ldT, labels, weight, factor, keep, spread, B, O
    ):
        tops = cuda.shared.array((ROWS, LANES), real)
        columns = cuda.shared.array((ROWS, LANES), np.int64)
        target_tops = cuda.shared.array((ROWS, LANES), real)
        target_columns = cuda.shared.array((ROWS, LANES), np.int64)
        totals = cuda.shared.array((ROWS, LANES), np.float64)
        masses = cuda.shared.array((ROWS, LANES), np.float64)
        inners = cuda.shared.array((ROWS, LANES), np.float64)
        lane, own = cuda.threadIdx.x, cuda.threadIdx.y
        r = cuda.blockIdx.x * ROWS + own
        end, row = (O, r) if r < B else (0, 0)
        label = labels[row] if labelled else 0
        top, target_top = least, least
        column, target_column = 0, label
        for o in range(lane, end, LANES):
            if _above(Z[r * ldZ + o], top):
                top, column = Z[r * ldZ + o], o
            if hits_wanted and not labelled and _above(T[r * ldT + o], target_top):
                target_top, target_column = T[r * ldT + o], o
        tops[own, lane] = top
        columns[own, lane] = column
        target_tops[own, lane] = target_top
        target_columns[own, lane] = target_column
        cuda.syncthreads()
        top, target_top = least, least
        column, target_column = O, O
        for i in range(LANES):
            v, o = tops[own, i], columns[own, i]
            if _above(v, top) or (not _above(top, v) and o < column):
                top, column = v, o
            if hits_wanted and not labelled:
                v, o = target_tops[own, i], target_columns[own, i]
                if _above(v, target_top) or (not _above(target_top, v) and o < target_column):
                    target_top, target_column = v, o
        if labelled:
            target_column = label
        total, mass, inner = none, none, none
        for o in range(lane, end, LANES):
            shifted = Z[r * ldZ + o] - top
            e = math.exp(shifted)
            if labelled:
                target = keep + spread if o == label else spread
            else:
                target = T[r * ldT + o] * keep + spread
            total += e
            mass += target
            inner += target * shifted
            if slope_wanted:
                dZ[r * lddZ + o] = e
        totals[own, lane] = total
        masses[own, lane] = mass
        inners[own, lane] = inner
        cuda.syncthreads()
        total, mass, inner = none, none, none
        for i in range(LANES):
            total += totals[own, i]
            mass += masses[own, i]
            inner += inners[own, i]
        if labelled:
            mass = one
        if lane == 0 and r < B:
            row_loss[r] = mass * math.log(total) - inner
            if hits_wanted:
                hits[r] = one if column == target_column else none
        if slope_wanted:
            share = factor[0] * weight[row] if weighted else factor[0]
            factor_e, part = real(share * mass / total), real(share)
            for o in range(lane, end, LANES):
                if labelled:
                    target = keep + spread if o == label else spread
                else:
                    target = T[r * ldT + o] * keep + spread
                dZ[r * lddZ + o] = dZ[r * lddZ + o] * factor_e - part * target

    return Kernel(cross_entropy)


@functools.cache
def row_function(
    real: Any, O: int, last: str, function: str, labelled: bool, hits_wanted: bool, weighted: bool
) -> Callable[..., Any]:
    """Return a device function for one thread: the loss of a row of scores in shared memory.

    They turn into the gradient, times the slope of the function named `last`, of which they are
    outputs. Cross entropy has raw scores only.
    """
    none, one, zero, least = np.float64(0), np.float64(1), real(0), real(float("-inf"))
    columns, unit, width = np.float64(O), real(1), real(O)

    if function != "cross_entropy":
        element, last_slope = _element(function, real), slope(last, real)
        judged, limit = hits_wanted and function in YES, real(YES.get(function, 0.0))

        @device_function
        def row_loss_of(s, z, row_loss, hits, T, ldT, labels, weight, factor, c, r):
            share = factor[0] * weight[r] if weighted else factor[0]
            part = real(share / columns)
            total, right = none, none
            for o in range(O):
                a, t = s[z + o], T[r * ldT + o]
                value, d = element(a, t, c)
                total += value
                if judged and (a > zero) == (t > limit):
                    right += one
                s[z + o] = d * part * last_slope(a, a, zero)
            row_loss[r] = total / columns
            if judged:
                hits[r] = right / columns

        return row_loss_of

    @device_function
    def cross_entropy_of(s, z, row_loss, hits, T, ldT, labels, weight, factor, c, r):
        label = labels[r] if labelled else 0
        keep, spread = unit - c, c / width
        top, column, target_top, target_column = least, 0, least, label
        for o in range(O):
            if _above(s[z + o], top):
                top, column = s[z + o], o
            if hits_wanted and not labelled and _above(T[r * ldT + o], target_top):
                target_top, target_column = T[r * ldT + o], o
        total, mass, inner = none, none, none
        for o in range(O):
            shifted = s[z + o] - top
            e = math.exp(shifted)
            if labelled:
                target = keep + spread if o == label else spread
            else:
                target = T[r * ldT + o] * keep + spread
            total += e
            mass += target
            inner += target * shifted
            s[z + o] = e
        if labelled:
            mass = one
        row_loss[r] = mass * math.log(total) - inner
        if hits_wanted:
            hits[r] = one if column == target_column else none
        share = factor[0] * weight[r] if weighted else factor[0]
        factor_e, part = real(share * mass / total), real(share)
        for o in range(O):
            if labelled:
                target = keep + spread if o == label else spread
            else:
                target = T[r * ldT + o] * keep + spread
            s[z + o] = s[z + o] * factor_e - part * target

    return cross_entropy_of


def loss(
    stream: Any,
    row_loss: Any,
    hits: Any,
    dZ: Matrix | None,
    Z: Matrix,
    T: Matrix,
    weight: Any,
    factor: Any,
    function: Any,
    constant: float,
    B: int,
    O: int,
) -> None:
    """Set the loss of every row, its share of right outputs, and dZ, the slope in the scores.

    With row_loss, hits (B) of float64, factor (1) of float64, dZ, Z, T (B, O), weight (B); hits, dZ
    and weight may be None. dZ = factor * weight * d(loss)/dZ. Hits are set only for the losses of
    classes, probabilities and signs. O is at least 1.
    """
    if function == "cross_entropy":
        _launch_cross_entropy(
            stream, row_loss, hits, dZ, Z, T, None, weight, factor, constant, B, O
        )
        return
    real, block = Z.real, row_block(O)
    wanted = tuple(a is not None for a in (hits, dZ, weight))
    yes = YES.get(function) if isinstance(function, str) else function.yes
    kernel = _elements(real, *block, _element(function, real), yes, wanted)
    arrays = (*_or(hits, row_loss), *(dZ or Z), *Z, *T, *_or(weight, Z.at), factor)
    numbers = real(constant), np.float64(O), B, O
    kernel.launch(stream, (-(-B // block[1]),), block, row_loss, *arrays, *numbers)


def loss_labels(
    stream: Any,
    row_loss: Any,
    hits: Any,
    dZ: Matrix | None,
    Z: Matrix,
    labels: Any,
    weight: Any,
    factor: Any,
    constant: float,
    B: int,
    O: int,
) -> None:
    """Cross entropy as in `loss`, against labels (B) in 0..O-1 of int64."""
    _launch_cross_entropy(
        stream, row_loss, hits, dZ, Z, None, labels, weight, factor, constant, B, O
    )


def _launch_cross_entropy(
    stream: Any,
    row_loss: Any,
    hits: Any,
    dZ: Matrix | None,
    Z: Matrix,
    T: Matrix | None,
    labels: Any,
    weight: Any,
    factor: Any,
    smoothing: float,
    B: int,
    O: int,
) -> None:
    real, block = Z.real, row_block(O)
    wanted = tuple(a is not None for a in (hits, dZ, weight))
    kernel = _cross_entropy(real, *block, labels is not None, wanted)
    # Where no labels are, any array stands in their place that the kernel is compiled for.
    arrays = (*_or(hits, row_loss), *(dZ or Z), *Z, *(T or Z), *_or(labels, row_loss))
    numbers = real(1 - smoothing), real(smoothing / O), B, O
    weights = _or(weight, Z.at)
    kernel.launch(
        stream, (-(-B // block[1]),), block, row_loss, *arrays, *weights, factor, *numbers
    )


def _or(array: Any, other: Any) -> tuple[Any]:
    return (other if array is None else array,)
