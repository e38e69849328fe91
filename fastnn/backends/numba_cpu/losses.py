"""The losses on the scores, as in fastnn/losses.py. The sums over a row are in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import overload

from fastnn.backends.jit.instructions import (
    INLINE,
    fma,
    inlined,
    larger,
    magnitude,
    select,
    smaller,
)
from fastnn.backends.jit.vecmath import exp, log, log1p_of_unit
from fastnn.backends.numba_cpu.activations import sign
from fastnn.backends.numba_cpu.blocks import (
    BLOCK,
    NARROW,
    ROWS,
    TURNED,
    get,
    look,
    put,
    turn,
    turn_back,
    whole,
)
from fastnn.backends.numba_cpu.few import FEW, argmax, few_cross_entropy
from fastnn.backends.numba_cpu.memory import (
    INLINED,
    Doubles,
    Integers,
    Reals,
    local,
    part,
    plus,
    present,
    row,
    vector,
)
from fastnn.backends.numba_cpu.rows import row_max, rows_max

__all__ = ["loss"]

ZERO, HALF, ONE, TWO = np.float32(0), np.float32(0.5), np.float32(1), np.float32(2)

# -- means over outputs: the loss of one with score z and target t, and its slope ------------------


@inlined
def _mse(z: Any, t: Any, c: Any) -> Any:
    d = z - t
    return d * d, TWO * d


@inlined
def _mae(z: Any, t: Any, c: Any) -> Any:
    d = z - t
    return magnitude(d), sign(d)


@inlined
def _huber(z: Any, t: Any, c: Any) -> Any:
    d = z - t
    size = magnitude(d)
    value = select(size <= c, HALF * d * d, c * (size - HALF * c))
    return value, smaller(c, larger(-c, d))


@inlined
def _quantile(z: Any, t: Any, c: Any) -> Any:
    d = z - t
    above = ONE - c
    return select(d < ZERO, -c * d, above * d), select(d > ZERO, above, select(d < ZERO, -c, d))


@inlined
def _binary_cross_entropy(z: Any, t: Any, c: Any) -> Any:
    # softplus(z) - t z, by exp(-|z|)
    e = exp(-magnitude(z))
    slope = select(z < ZERO, e, ONE) / (ONE + e) - t
    return fma(-t, z, larger(ZERO, z)) + log1p_of_unit(e), slope


@inlined
def _poisson(z: Any, t: Any, c: Any) -> Any:
    e = exp(z)
    return fma(-t, z, e), e - t


@inlined
def _hinge(z: Any, t: Any, c: Any) -> Any:
    e = fma(-t, z, ONE)
    return larger(ZERO, e), select(e > ZERO, -t, select(e <= ZERO, ZERO, e))


OUTPUT_LOSSES = {
    "mse": _mse,
    "mae": _mae,
    "huber": _huber,
    "quantile": _quantile,
    "binary_cross_entropy": _binary_cross_entropy,
    "poisson": _poisson,
    "hinge": _hinge,
}


def output_loss(function: str, z: Any, t: Any, c: Any) -> Any:
    """Return the loss of one output and its slope in z; in compiled code only."""


@overload(output_loss, prefer_literal=True, strict=False, jit_options=INLINE)
def _output_loss_of(function: Any, z: Any, t: Any, c: Any) -> Any:
    if not isinstance(function, types.StringLiteral):
        return None
    formula = OUTPUT_LOSSES[function.literal_value]
    return lambda function, z, t, c: formula(z, t, c)


def loss(function: str) -> Callable[..., Any]:
    """Return the kernel of a loss.

    The loss of every row, its share of right outputs, and dZ = factor * weight * d(loss)/dZ.
    row_loss (B), hits (B) or absent, dZ (B, O) or absent, Z, T (B, O), or for cross entropy labels
    (B) in 0..O-1 for a T that is one-hot there, weight (B), or absent for 1. Sets its outputs; hits
    only for the losses of classes, probabilities and signs. O is at least 1.
    """
    if function == "cross_entropy":
        return cross_entropy
    judges = function in ("binary_cross_entropy", "hinge")
    yes = 0.0 if function == "hinge" else 0.5  # a target above it means yes

    def mean_of_outputs(
        row_loss: Doubles,
        hits: Doubles,
        dZ: Reals,
        lddZ: int,
        Z: Reals,
        ldZ: int,
        T: Reals,
        ldT: int,
        labels: Integers,
        weight: Reals,
        constant: float,
        factor: float,
        B: int,
        O: int,
    ) -> None:
        losses, right, weights = vector(row_loss, B), vector(hits, B), vector(weight, B)
        block0, block1, shares = local(Z, BLOCK), local(Z, BLOCK), local(Z, BLOCK)
        value, slope = local(Z, BLOCK), local(Z, BLOCK)
        c = shares.dtype.type(constant)
        together = max(BLOCK // O, 1)  # rows of a block; a longer one takes several
        for r in range(B):
            losses[r] = 0.0
            if judges and present(hits):
                right[r] = 0.0
        for first in range(0, B, together):
            rows = min(together, B - first)
            for o in range(0, O, BLOCK):
                width = min(BLOCK, O - o)
                n = rows * width
                z = look(block0, Z, ldZ, O, first * O + o, n)
                t = look(block1, T, ldT, O, first * O + o, n)
                if judges and present(hits):
                    for r in range(rows):
                        count = 0
                        scores, targets = part(z, r * width, width), part(t, r * width, width)
                        for k in range(width):
                            count += (scores[k] > 0) == (targets[k] > yes)
                        right[first + r] += count
                for r in range(rows):
                    share = factor * weights[first + r] if present(weight) else factor
                    of_row = part(shares, r * width, width)
                    for k in range(width):
                        of_row[k] = share / O
                for k in range(whole(n)):
                    one, change = output_loss(function, z[k], t[k], c)
                    value[k], slope[k] = one, change * shares[k]
                for r in range(rows):
                    total, values = 0.0, part(value, r * width, width)
                    for k in range(width):
                        total = plus(total, np.float64(values[k]))
                    losses[first + r] += total
                if present(dZ):
                    put(dZ, lddZ, O, first * O + o, n, slope, False)
        for r in range(B):
            losses[r] /= O
            if judges and present(hits):
                right[r] /= O

    return mean_of_outputs


# -- cross entropy: logsumexp(z) - sum(t * z) for t smoothed --------------------------------------


@numba.njit(**INLINED)
def _targets(t: Any, T: Any, ldT: int, O: int, r: int, o: int, n: int, label: int) -> None:
    """Set t (n) to row r of T from column o on, or where there is no T, to one-hot at the label."""
    if present(T):
        get(t, T, ldT, O, r * O + o, n)
    else:
        for k in range(whole(n)):
            t[k] = 0
        if o <= label < o + n:
            t[label - o] = 1


@numba.njit(**INLINED)
def _wide(
    losses: Any,
    right: Any,
    hits: Doubles,
    dZ: Reals,
    lddZ: int,
    Z: Reals,
    ldZ: int,
    T: Reals,
    ldT: int,
    classes: Any,
    weights: Any,
    weight: Reals,
    smoothing: float,
    factor: float,
    B: int,
    O: int,
) -> None:
    block, t, e = local(Z, BLOCK), local(Z, BLOCK), local(Z, BLOCK)
    real = e.dtype.type
    keep, spread = real(1 - smoothing), real(smoothing / O)
    for r in range(B):
        label = -1 if present(T) else classes[r]
        score = row(Z, ldZ, r, O)
        largest = row_max(score, O)
        total, mass, inner = 0.0, 0.0, 0.0
        for o in range(0, O, BLOCK):
            n = min(BLOCK, O - o)
            _targets(t, T, ldT, O, r, o, n, label)
            z = look(block, Z, ldZ, O, r * O + o, n)
            for k in range(n):
                inner = plus(inner, np.float64(fma(t[k], keep, spread) * (z[k] - largest)))
            if present(T):
                for k in range(n):
                    mass = plus(mass, np.float64(fma(t[k], keep, spread)))
            for k in range(whole(n)):
                e[k] = exp(z[k] - largest)
            for k in range(n):
                total = plus(total, np.float64(e[k]))
            if present(dZ):
                put(dZ, lddZ, O, r * O + o, n, e, False)
        if not present(T):
            mass = 1.0
        losses[r] = mass * log(total) - inner
        if present(dZ):
            share = factor * weights[r] if present(weight) else factor
            scale, much = real(share * mass / total), real(share)
            for o in range(0, O, BLOCK):
                n = min(BLOCK, O - o)
                _targets(t, T, ldT, O, r, o, n, label)
                z = look(block, dZ, lddZ, O, r * O + o, n)
                for k in range(whole(n)):
                    e[k] = fma(z[k], scale, -fma(t[k], much * keep, much * spread))
                put(dZ, lddZ, O, r * O + o, n, e, False)
        if present(hits):
            right[r] = argmax(score, O) == (argmax(row(T, ldT, r, O), O) if present(T) else label)


@numba.njit(**INLINED)
def _rows_argmax(found: Any, x: Any, largest: Any, R: int, O: int) -> None:
    """Set `found` (R) to the number of the first column that reaches the largest, as argmax."""
    rows_max(largest, x, R, O)
    for r in range(R):
        found[r] = 0
    for j in range(O - 1, -1, -1):
        number = found.dtype.type(j)
        column = part(x, j * R, R)
        for r in range(R):
            found[r] = select(column[r] < largest[r], found[r], number)


@numba.njit(**INLINED)
def _narrow(
    losses: Any,
    right: Any,
    hits: Doubles,
    dZ: Reals,
    lddZ: int,
    Z: Reals,
    ldZ: int,
    T: Reals,
    ldT: int,
    classes: Any,
    weights: Any,
    weight: Reals,
    smoothing: float,
    factor: float,
    B: int,
    O: int,
) -> None:
    z, t = local(Z, TURNED), local(Z, TURNED)
    largest, guess, wanted = local(Z, ROWS), local(Z, ROWS), local(Z, ROWS)
    scale, shares = local(Z, ROWS), local(Z, ROWS)
    total, mass = local(np.float64, ROWS), local(np.float64, ROWS)
    inner, share = local(np.float64, ROWS), local(np.float64, ROWS)
    real = z.dtype.type
    keep, spread = real(1 - smoothing), real(smoothing / O)
    for first in range(0, B, ROWS):
        rows = min(ROWS, B - first)
        R = whole(rows)
        turn(z, Z, ldZ, first, rows, O)
        if present(T):
            turn(t, T, ldT, first, rows, O)
            _rows_argmax(wanted, t, largest, R, O)
        else:
            for k in range(R * O):
                t[k] = 0
            for r in range(rows):
                t[classes[first + r] * R + r] = 1
                wanted[r] = classes[first + r]
        _rows_argmax(guess, z, largest, R, O)
        for r in range(R):
            total[r] = mass[r] = inner[r] = share[r] = 0.0
        for j in range(O):
            score, target = part(z, j * R, R), part(t, j * R, R)
            for r in range(R):
                score[r] -= largest[r]
                target[r] = fma(target[r], keep, spread)
                mass[r] += target[r]
                inner[r] += target[r] * score[r]
            for r in range(R):
                score[r] = exp(score[r])
            for r in range(R):
                total[r] += score[r]
        for r in range(rows):
            share[r] = factor * weights[first + r] if present(weight) else factor
        if not present(T):
            for r in range(R):
                mass[r] = 1.0
        for r in range(R):
            scale[r], shares[r] = real(share[r] * mass[r] / total[r]), real(share[r])
            total[r] = mass[r] * log(total[r]) - inner[r]
        for r in range(rows):
            losses[first + r] = total[r]
            if present(hits):
                right[first + r] = guess[r] == wanted[r]
        if present(dZ):
            for j in range(O):
                score, target = part(z, j * R, R), part(t, j * R, R)
                for r in range(R):
                    score[r] = fma(score[r], scale[r], -shares[r] * target[r])
            turn_back(dZ, lddZ, first, rows, O, z)


def cross_entropy(
    row_loss: Doubles,
    hits: Doubles,
    dZ: Reals,
    lddZ: int,
    Z: Reals,
    ldZ: int,
    T: Reals,
    ldT: int,
    labels: Integers,
    weight: Reals,
    constant: float,
    factor: float,
    B: int,
    O: int,
) -> None:
    """See `loss`; the constant is the smoothing of the targets.

    The loss is mass * log(sum(exp(z - max))) - sum(t * (z - max)), its slope mass * softmax(z) - t,
    where mass = sum(t). A row is right where its largest z and t stand in one place.
    """
    losses, right = vector(row_loss, B), vector(hits, B)
    classes, weights = vector(labels, B), vector(weight, B)
    arguments = dZ, lddZ, Z, ldZ, T, ldT, classes, weights, weight, constant, factor, B, O
    if B * O <= FEW:
        few_cross_entropy(losses, right, hits, *arguments)
    elif O <= NARROW:
        _narrow(losses, right, hits, *arguments)
    else:
        _wide(losses, right, hits, *arguments)
