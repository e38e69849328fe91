"""The steps of the optimizers of fastnn/optimizers.py, on flat vectors.

The constants are worked out in float64 and rounded once, as NumPy does with Python's floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numba

from fastnn.backends.jit.instructions import root, select
from fastnn.backends.numba_cpu.activations import sign
from fastnn.backends.numba_cpu.memory import INLINED, Doubles, Reals, present, vector

__all__ = ["SETTINGS", "update"]

# What an optimizer consists of, in the vector of float64 that an update gets. Steps count from 1;
# the product is that of the momenta of all steps up to this one.
SETTINGS = (
    "momentum",
    "nesterov",
    "beta1",
    "beta2",
    "momentum_decay",
    "decoupled",
    "decay",
    "epsilon",
    "epsilon_hat",
    "step",
    "product",
)
(
    MOMENTUM,
    NESTEROV,
    BETA1,
    BETA2,
    MOMENTUM_DECAY,
    DECOUPLED,
    DECAY,
    EPSILON,
    EPSILON_HAT,
    STEP,
    PRODUCT,
) = range(len(SETTINGS))


def sgd(
    w: Reals,
    first: Reals,
    second: Reals,
    g: Reals,
    optimizer: Doubles,
    rate: float,
    weight_decay: float,
    N: int,
) -> None:
    """m = momentum * m + g;  w -= rate * m, nesterov: rate * (g + momentum * m)."""
    settings = vector(optimizer, len(SETTINGS))
    weights, m, gradient = vector(w, N), vector(first, N), vector(g, N)
    real = weights.dtype.type
    step, decay, momentum = real(rate), real(weight_decay), real(settings[MOMENTUM])
    nesterov = settings[NESTEROV] != 0
    if present(first):
        for n in range(N):
            slope = gradient[n] + decay * weights[n]
            moving = momentum * m[n] + slope
            m[n] = moving
            weights[n] -= step * select(nesterov, slope + momentum * moving, moving)
    else:
        for n in range(N):
            weights[n] -= step * (gradient[n] + decay * weights[n])


def adam(
    w: Reals,
    first: Reals,
    second: Reals,
    g: Reals,
    optimizer: Doubles,
    rate: float,
    weight_decay: float,
    N: int,
) -> None:
    """m = beta1 * m + (1 - beta1) * g;  v = beta2 * v + (1 - beta2) * g**2.

    w -= rate / (1 - beta1**step) * m / (sqrt(v / (1 - beta2**step)) + epsilon);  decoupled: g the
    gradient, and w *= 1 - rate * weight_decay before;  epsilon_hat: epsilon /
    sqrt(1 - beta2**step) in its place.
    """
    settings = vector(optimizer, len(SETTINGS))
    weights, m, v, gradient = vector(w, N), vector(first, N), vector(second, N), vector(g, N)
    real = weights.dtype.type
    beta1, beta2, count = settings[BETA1], settings[BETA2], settings[STEP]
    keep1, take1, keep2, take2 = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    # Both sides of the fraction are multiplied by the root of the correction: one division.
    correction = math.sqrt(1 - beta2**count)
    size = real(rate * correction / (1 - beta1**count))
    decay, shrink = real(weight_decay), real(1 - rate * weight_decay)
    epsilon = real(settings[EPSILON] * select(settings[EPSILON_HAT] != 0, 1.0, correction))
    decoupled = settings[DECOUPLED] != 0
    for n in range(N):
        old = select(decoupled, weights[n] * shrink, weights[n])
        slope = select(decoupled, gradient[n], gradient[n] + decay * old)
        m[n] = keep1 * m[n] + take1 * slope
        v[n] = keep2 * v[n] + take2 * (slope * slope)
        weights[n] = old - size * (m[n] / (root(v[n]) + epsilon))


def rmsprop(
    w: Reals,
    first: Reals,
    second: Reals,
    g: Reals,
    optimizer: Doubles,
    rate: float,
    weight_decay: float,
    N: int,
) -> None:
    """m = decay * m + (1 - decay) * g**2;  s = g / (sqrt(m) + epsilon);  w -= rate * s.

    With momentum: v = momentum * v + s;  w -= rate * v.
    """
    settings = vector(optimizer, len(SETTINGS))
    weights, m, v, gradient = vector(w, N), vector(first, N), vector(second, N), vector(g, N)
    real = weights.dtype.type
    keep, take = real(settings[DECAY]), real(1 - settings[DECAY])
    step, decay, epsilon = real(rate), real(weight_decay), real(settings[EPSILON])
    momentum = real(settings[MOMENTUM])
    if present(second):
        for n in range(N):
            slope = gradient[n] + decay * weights[n]
            m[n] = keep * m[n] + take * (slope * slope)
            v[n] = momentum * v[n] + slope / (root(m[n]) + epsilon)
            weights[n] -= step * v[n]
    else:
        for n in range(N):
            slope = gradient[n] + decay * weights[n]
            m[n] = keep * m[n] + take * (slope * slope)
            weights[n] -= step * (slope / (root(m[n]) + epsilon))


def adagrad(
    w: Reals,
    first: Reals,
    second: Reals,
    g: Reals,
    optimizer: Doubles,
    rate: float,
    weight_decay: float,
    N: int,
) -> None:
    """m += g**2;  w -= rate * g / (sqrt(m) + epsilon)."""
    settings = vector(optimizer, len(SETTINGS))
    weights, m, gradient = vector(w, N), vector(first, N), vector(g, N)
    real = weights.dtype.type
    step, decay, epsilon = real(rate), real(weight_decay), real(settings[EPSILON])
    for n in range(N):
        slope = gradient[n] + decay * weights[n]
        m[n] += slope * slope
        weights[n] -= step * (slope / (root(m[n]) + epsilon))


@numba.njit(**INLINED)
def _nadam_momentum(beta1: float, momentum_decay: float, step: float) -> float:
    return beta1 * (1 - 0.5 * math.pow(0.96, step * momentum_decay))


def nadam(
    w: Reals,
    first: Reals,
    second: Reals,
    g: Reals,
    optimizer: Doubles,
    rate: float,
    weight_decay: float,
    N: int,
) -> None:
    """Change m and v as Adam does;  d = sqrt(v / (1 - beta2**step)) + epsilon.

    w -= rate * ((1 - mu) / (1 - product) * g + mu' / (1 - product * mu') * m) / d with the momenta
    mu of this step and mu' of the next, and the product of all up to this one.
    """
    settings = vector(optimizer, len(SETTINGS))
    weights, m, v, gradient = vector(w, N), vector(first, N), vector(second, N), vector(g, N)
    real = weights.dtype.type
    beta1, beta2, count = settings[BETA1], settings[BETA2], settings[STEP]
    keep1, take1, keep2, take2 = real(beta1), real(1 - beta1), real(beta2), real(1 - beta2)
    mu = _nadam_momentum(beta1, settings[MOMENTUM_DECAY], count)
    coming = _nadam_momentum(beta1, settings[MOMENTUM_DECAY], count + 1)
    product = settings[PRODUCT]
    size = real(rate * (1 - mu) / (1 - product))
    ahead = real(rate * coming / (1 - product * coming))
    scale, epsilon = real(math.sqrt(1 - beta2**count)), real(settings[EPSILON])
    decay = real(weight_decay)
    for n in range(N):
        slope = gradient[n] + decay * weights[n]
        m[n] = keep1 * m[n] + take1 * slope
        v[n] = keep2 * v[n] + take2 * (slope * slope)
        d = root(v[n]) / scale + epsilon
        weights[n] = weights[n] - size * (slope / d) - ahead * (m[n] / d)


def lion(
    w: Reals,
    first: Reals,
    second: Reals,
    g: Reals,
    optimizer: Doubles,
    rate: float,
    weight_decay: float,
    N: int,
) -> None:
    """w = w * (1 - rate * weight_decay) - rate * sign(beta1 * m + (1 - beta1) * g).

    With g the gradient;  m = beta2 * m + (1 - beta2) * g.
    """
    settings = vector(optimizer, len(SETTINGS))
    weights, m, gradient = vector(w, N), vector(first, N), vector(g, N)
    real = weights.dtype.type
    keep1, take1 = real(settings[BETA1]), real(1 - settings[BETA1])
    keep2, take2 = real(settings[BETA2]), real(1 - settings[BETA2])
    step, shrink = real(rate), real(1 - rate * weight_decay)
    for n in range(N):
        weights[n] = weights[n] * shrink - step * sign(keep1 * m[n] + take1 * gradient[n])
        m[n] = keep2 * m[n] + take2 * gradient[n]


OPTIMIZERS = {f.__name__: f for f in (sgd, adam, rmsprop, adagrad, nadam, lion)}


def update(optimizer: str) -> Callable[..., Any]:
    """Return the kernel of an optimizer.

    w, first, second, g (N): the moments are absent where it has none. Changes w and the moments by
    a step, where g is the gradient + weight_decay * w.
    """
    return OPTIMIZERS[optimizer]
