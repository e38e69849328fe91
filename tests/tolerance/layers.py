"""Sizes of what layers compute, forward and backward."""

import numpy as np

from tolerance.activations import SLOPE, VALUE, sigmoid

# Operations around a sum: what forms a summand, and what is done with the total.
ROUNDINGS = 4


def dense_forward(X, W, b, **_):
    bias = 0 if b is None else np.abs(b)
    return {"Y": (len(W) + 2, np.abs(X) @ np.abs(W) + bias)}


def dense_forward_bfloat16(X, W, b, **_):
    # the factors are rounded before the truth is told, to 8 bits: a little larger at most
    return dense_forward(X * (1 + 2**-8), W * (1 + 2**-8), b)


def dense_backward_data(dY, W, X, **_):
    return {"dX": (W.shape[1] + 2, np.abs(dY) @ np.abs(W).T)}


def dense_backward_weights(X, dY, **_):
    n = len(X) + 2
    return {"dW": (n, np.abs(X).T @ np.abs(dY)), "db": (n, np.abs(dY).sum(axis=0))}


def activation_forward(X, function, constant, **_):
    return {"Y": (1, VALUE[function](X, constant), np.where(np.isfinite(X), np.abs(X), 1))}


def activation_backward(dY, X, function, constant, **_):
    # Slopes such as that of mish multiply what has underflowed by the score.
    gain = np.abs(dY) * np.where(np.isfinite(X), np.maximum(1, np.abs(X)), 1)
    return {"dX": (1, np.abs(dY) * SLOPE[function](X, constant), gain)}


def gate_forward(U, V, function, constant, **_):
    return {"Y": (1, np.abs(U) * VALUE[function](V, constant), np.abs(U))}


def gate_backward(dY, U, V, function, constant, **_):
    dY, U = np.abs(dY), np.abs(U)
    return {
        "dU": (1, dY * VALUE[function](V, constant), dY),
        "dV": (1, dY * U * SLOPE[function](V, constant), (1 + dY) * (1 + U)),
    }


def gate_backward_beta(dY, U, V, beta, **_):
    s = sigmoid(beta * V)
    summands = np.abs(dY * U * V * V) * s * (1 + s) * (1 + np.abs(beta * V))
    return {"dbeta": (V.size + ROUNDINGS, np.atleast_1d(summands.sum()))}


def softmax(z):
    """Return the probabilities, and the size of each: exp takes a rounded argument."""
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted)
    p /= p.sum(axis=1, keepdims=True)
    moved = np.abs(shifted)
    return p, p * (1 + moved + (p * moved).sum(axis=1, keepdims=True)), moved


def softmax_forward(X, **_):
    return {"Y": (X.shape[1] + ROUNDINGS, softmax(X)[1])}


def softmax_backward(dY, Y, **_):
    total = np.abs(dY * Y).sum(axis=1, keepdims=True)
    return {"dX": (Y.shape[1] + ROUNDINGS, np.abs(Y) * (np.abs(dY) + total))}


def dropout(X, rate, **_):
    return {"Y": (1, np.abs(X) / (1 - rate))}


def layer_norm_forward(X, scale, shift, epsilon, **_):
    n = X.shape[1] + ROUNDINGS
    size = np.abs(X).mean(axis=1)
    centred = np.abs(X - X.mean(axis=1, keepdims=True))
    centred_size = centred + size[:, None]
    inverse = 1 / np.sqrt((centred**2).mean(axis=1) + epsilon)
    variance_size = (centred**2 + 2 * centred * centred_size).mean(axis=1)
    inverse_size = inverse + 0.5 * inverse**3 * variance_size
    straight = centred * inverse_size[:, None] + centred_size * inverse[:, None]
    return {
        "mean": (n, size),
        "inverse_deviation": (n, inverse_size),
        "Y": (n, straight * np.abs(scale) + np.abs(shift)),
    }


def _normalized(X, mean, inverse_deviation):
    return (np.abs(X) + np.abs(mean)[:, None]) * inverse_deviation[:, None]


def layer_norm_backward_data(dY, X, mean, inverse_deviation, scale, **_):
    H, dH = _normalized(X, mean, inverse_deviation), np.abs(dY * scale)
    pull = dH.mean(axis=1, keepdims=True) + H * (dH * H).mean(axis=1, keepdims=True)
    return {"dX": (X.shape[1] + ROUNDINGS, inverse_deviation[:, None] * (dH + pull))}


def layer_norm_backward_parameters(dY, X, mean, inverse_deviation, **_):
    n, H = len(X) + ROUNDINGS, _normalized(X, mean, inverse_deviation)
    return {"dscale": (n, np.abs(dY * H).sum(axis=0)), "dshift": (n, np.abs(dY).sum(axis=0))}


def batch_norm_statistics(X, **_):
    n = len(X) + ROUNDINGS
    size, centred = np.abs(X).mean(axis=0), np.abs(X - X.mean(axis=0))
    variance_size = (centred**2 + 2 * centred * (centred + size)).mean(axis=0)
    return {"mean": (n, size), "variance": (n, variance_size)}


def _column_normalized(X, mean, variance, epsilon):
    """Return 1 / sqrt(variance + epsilon), and the size of what it normalizes."""
    inverse = 1 / np.sqrt(variance + epsilon)
    return inverse, (np.abs(X) + np.abs(mean)) * inverse


def batch_norm_forward(X, mean, variance, scale, shift, epsilon, **_):
    _, H = _column_normalized(X, mean, variance, epsilon)
    return {"Y": (1, H * np.abs(scale) + np.abs(shift), np.abs(scale))}


def batch_norm_backward_data(dY, X, mean, variance, scale, epsilon, batch_statistics, **_):
    inverse, H = _column_normalized(X, mean, variance, epsilon)
    dY, gain = np.abs(dY), np.abs(scale) * inverse
    pull = dY.mean(axis=0) + H * (dY * H).mean(axis=0) if batch_statistics else 0
    return {"dX": (len(X) + ROUNDINGS, (dY + pull) * gain, gain * (1 + H))}


def batch_norm_backward_parameters(dY, X, mean, variance, epsilon, **_):
    n, dY = len(X) + ROUNDINGS, np.abs(dY)
    inverse, H = _column_normalized(X, mean, variance, epsilon)
    return {"dscale": (n, (dY * H).sum(axis=0), inverse), "dshift": (n, dY.sum(axis=0))}


def batch_norm_update(running_mean, running_variance, mean, variance, momentum, rows, **_):
    factor = momentum * rows / max(rows - 1, 1)
    return {
        "running_mean": (1, (1 - momentum) * np.abs(running_mean) + momentum * np.abs(mean)),
        "running_variance": (1, (1 - momentum) * running_variance + factor * variance),
    }
