"""The kernels that pass over flat vectors, in plain NumPy; their formulas stand in `optimizers`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop

__all__ = [
    "adagrad_update",
    "adam_update",
    "clip",
    "lion_update",
    "max_norm",
    "nadam_update",
    "penalty",
    "rmsprop_update",
    "scale",
    "sgd_update",
    "sum_of_squares",
]

Array = npt.NDArray[Any]


def penalty(dW: Array | None, W: Array, l1: float, l2: float) -> float:
    # l1 * sum|W| + l2/2 * sum(W**2)
    if dW is not None:
        dW += l1 * np.sign(W) + l2 * W
    wide = W.astype(np.float64)
    return float(l1 * np.abs(wide).sum() + 0.5 * l2 * (wide * wide).sum())


def sum_of_squares(g: Array) -> float:
    wide = g.astype(np.float64)
    return float((wide * wide).sum())


def clip(g: Array, limit: float) -> None:
    g[...] = np.clip(g, -limit, limit)


def scale(g: Array, factor: float) -> None:
    g *= factor


def sgd_update(
    w: Array,
    velocity: Array | None,
    g: Array,
    rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    moments = [] if velocity is None else [velocity]
    SGD(momentum=momentum, nesterov=nesterov).update(w, g, moments, rate, 1, weight_decay)


def adam_update(
    w: Array,
    m: Array,
    v: Array,
    g: Array,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    epsilon_hat: bool,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    kind = AdamW if decoupled else Adam
    constants = kind(beta1=beta1, beta2=beta2, epsilon=epsilon, epsilon_hat=epsilon_hat)
    constants.update(w, g, [m, v], rate, step, weight_decay)


def rmsprop_update(
    w: Array,
    v: Array,
    buffer: Array | None,
    g: Array,
    rate: float,
    decay: float,
    momentum: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    moments = [v] if buffer is None else [v, buffer]
    constants = RMSprop(decay=decay, momentum=momentum, epsilon=epsilon)
    constants.update(w, g, moments, rate, 1, weight_decay)


def adagrad_update(
    w: Array, v: Array, g: Array, rate: float, epsilon: float, weight_decay: float
) -> None:
    Adagrad(epsilon=epsilon).update(w, g, [v], rate, 1, weight_decay)


def nadam_update(
    w: Array,
    m: Array,
    v: Array,
    g: Array,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    momentum_decay: float,
    weight_decay: float,
    product: float,
    step: int,
) -> None:
    constants = NAdam(beta1=beta1, beta2=beta2, epsilon=epsilon, momentum_decay=momentum_decay)
    constants.update(w, g, [m, v], rate, step, weight_decay, product)


def lion_update(
    w: Array, m: Array, g: Array, rate: float, beta1: float, beta2: float, weight_decay: float
) -> None:
    Lion(beta1=beta1, beta2=beta2).update(w, g, [m], rate, 1, weight_decay)


def max_norm(W: Array, limit: float) -> None:
    wide = W.astype(np.float64)
    norm = np.sqrt((wide * wide).sum(axis=0))
    # Weights that have diverged stay as they are: zeros would hide it.
    above = (norm > limit) & np.isfinite(norm)
    W *= np.divide(limit, norm, out=np.ones_like(norm), where=above).astype(W.dtype)
