"""Sizes of losses and of their slopes in the scores."""

import numpy as np

from tolerance.activations import sigmoid
from tolerance.layers import ROUNDINGS, softmax


def _cross_entropy(z, t, smoothing):
    target = np.abs((1 - smoothing) * t) + smoothing / z.shape[1]
    p, p_size, moved = softmax(z)
    mass = target.sum(axis=1)
    log_sum = np.log(np.exp(-moved).sum(axis=1)) + (p * moved).sum(axis=1) + 1
    return mass * log_sum + (target * moved).sum(axis=1), mass[:, None] * p_size + target


def _binary(z, t):
    return np.logaddexp(0, -np.abs(z)) + np.maximum(z, 0) + np.abs(z * t), sigmoid(z) + np.abs(t)


PER_OUTPUT = {
    "mse": lambda d, c: (d * d, 2 * d),
    "mae": lambda d, c: (d, np.ones_like(d)),
    "huber": lambda d, c: (np.where(d <= c, d * d / 2, c * (d + c / 2)), np.minimum(d, c)),
    "quantile": lambda d, c: (max(c, 1 - c) * d, np.ones_like(d)),
}
PER_SCORE = {
    "binary_cross_entropy": _binary,
    "poisson": lambda z, t: (np.exp(z) + np.abs(t * z), np.exp(z) + np.abs(t)),
    "hinge": lambda z, t: (1 + np.abs(t * z), np.abs(t)),
}


def loss(Z, T, weight, function, constant, factor, **_):
    n = Z.shape[1] + ROUNDINGS
    if function == "cross_entropy":
        value, slope = _cross_entropy(Z, T, constant)
    else:
        per = PER_OUTPUT.get(function)
        values, slopes = per(np.abs(Z - T), constant) if per else PER_SCORE[function](Z, T)
        value, slope = values.mean(axis=1), slopes / Z.shape[1]
    share = np.full(len(Z), abs(factor)) if weight is None else abs(factor) * weight
    # A hit is counted, not rounded.
    return {"row_loss": (n, value), "dZ": (n, slope * share[:, None]), "hits": (n, 0.0)}


def loss_labels(Z, labels, weight, constant, factor, **_):
    one_hot = (labels[:, None] == np.arange(Z.shape[1])).astype(np.float64)
    return loss(Z, one_hot, weight, "cross_entropy", constant, factor)
