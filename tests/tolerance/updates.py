"""Sizes of what the flat vectors hold after the steps of optimizers."""

import math

import numpy as np

from tolerance.layers import ROUNDINGS


def penalty(dW, W, l1, l2, **_):
    size = l1 + l2 * np.abs(W)
    total = (l1 * np.abs(W) + l2 / 2 * W * W).sum()
    sizes = {"return": (W.size + ROUNDINGS, total)}
    return sizes if dW is None else {**sizes, "dW": (ROUNDINGS, np.abs(dW) + size)}


def sum_of_squares(g, **_):
    return {"return": (g.size + ROUNDINGS, (g * g).sum())}


def scale(g, factor, **_):
    return {"g": (1, np.abs(g * factor))}


def sgd_update(w, velocity, g, rate, momentum, nesterov, weight_decay, **_):
    slope = np.abs(g) + weight_decay * np.abs(w)
    moving = slope if velocity is None else momentum * np.abs(velocity) + slope
    step = slope + momentum * moving if nesterov else moving
    return {"velocity": (1, moving), "w": (1, np.abs(w) + rate * step)}


def _root(square, square_size):
    """Return the root of a moving square and the size of that root."""
    root = np.sqrt(square)
    return root, root + 0.5 * np.divide(square_size, root, out=np.zeros_like(root), where=root > 0)


def _square(v, g, g_size, decay):
    """Return ``decay v + (1 - decay) g²`` and its size, for a g that may have cancelled."""
    size = decay * v + (1 - decay) * np.abs(g) * (np.abs(g) + 2 * g_size)
    return decay * v + (1 - decay) * g * g, size


def _slope(w, g, weight_decay):
    """Return the gradient of the weights with their decay, and its size."""
    return g + weight_decay * w, np.abs(g) + weight_decay * np.abs(w)


def _quotient(value, size, root, root_size, epsilon):
    """Return the size of ``value / (root + epsilon)``, both of which are rounded."""
    below = root + epsilon
    return size / below + np.abs(value) * (root_size + epsilon) / below**2


def adam_update(
    w, m, v, g, rate, beta1, beta2, epsilon, epsilon_hat, weight_decay, decoupled, step, **_
):
    slope, slope_size = _slope(w, g, 0 if decoupled else weight_decay)
    mean = beta1 * m + (1 - beta1) * slope
    mean_size = beta1 * np.abs(m) + (1 - beta1) * slope_size
    square, square_size = _square(v, slope, slope_size, beta2)
    correction = math.sqrt(1 - beta2**step)
    root, root_size = (r / correction for r in _root(square, square_size))
    epsilon /= correction if epsilon_hat else 1
    move = _quotient(mean, mean_size, root, root_size, epsilon)
    w_size = np.abs(w) + rate / (1 - beta1**step) * move
    return {"m": (1, mean_size), "v": (1, square_size), "w": (1, w_size, 1 / epsilon)}


def rmsprop_update(w, v, buffer, g, rate, decay, momentum, epsilon, weight_decay, **_):
    slope, slope_size = _slope(w, g, weight_decay)
    square, square_size = _square(v, slope, slope_size, decay)
    root, root_size = _root(square, square_size)
    move = _quotient(slope, slope_size, root, root_size, epsilon)
    if buffer is not None:
        move = move + momentum * np.abs(buffer)
    w_size = np.abs(w) + rate * move
    return {"v": (1, square_size), "buffer": (1, move, 1 / epsilon), "w": (1, w_size, 1 / epsilon)}


def adagrad_update(w, v, g, rate, epsilon, weight_decay, **_):
    slope, slope_size = _slope(w, g, weight_decay)
    square_size = v + np.abs(slope) * (np.abs(slope) + 2 * slope_size)
    root, root_size = _root(v + slope * slope, square_size)
    move = _quotient(slope, slope_size, root, root_size, epsilon)
    return {"v": (1, square_size), "w": (1, np.abs(w) + rate * move, 1 / epsilon)}


def nadam_update(
    w, m, v, g, rate, beta1, beta2, epsilon, momentum_decay, weight_decay, product, step, **_
):
    slope, slope_size = _slope(w, g, weight_decay)
    mean, mean_size = (
        beta1 * a + (1 - beta1) * b for a, b in ((m, slope), (np.abs(m), slope_size))
    )
    square, square_size = _square(v, slope, slope_size, beta2)
    correction = math.sqrt(1 - beta2**step)
    root, root_size = (r / correction for r in _root(square, square_size))
    mu, ahead = (beta1 * (1 - 0.96 ** (n * momentum_decay) / 2) for n in (step, step + 1))
    old, new = (1 - mu) / (1 - product), ahead / (1 - product * ahead)
    move, size = old * np.abs(slope) + new * np.abs(mean), old * slope_size + new * mean_size
    w_size = np.abs(w) + rate * _quotient(move, size, root, root_size, epsilon)
    return {"m": (1, mean_size), "v": (1, square_size), "w": (1, w_size, 1 / epsilon)}


def lion_update(w, m, g, rate, beta1, beta2, weight_decay, **_):
    summands = beta1 * np.abs(m) + (1 - beta1) * np.abs(g)
    # A sum that rounding may take for 0, or over it, has no sign that could be judged.
    unsure = np.abs(beta1 * m + (1 - beta1) * g) <= 1e-6 * summands + 1e-37
    w_size = np.abs(w) * (1 + rate * weight_decay) + rate
    m_size = beta2 * np.abs(m) + (1 - beta2) * np.abs(g)
    return {"w": (1, np.where(unsure, np.inf, w_size)), "m": (1, m_size)}


def max_norm(W, **_):
    return {"W": (len(W) + ROUNDINGS, np.abs(W))}
