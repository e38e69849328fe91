"""Sizes of activations and of their slopes."""

import math

import numpy as np


def sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def _normal_cdf(x):
    flat = [0.5 * math.erfc(-v * math.sqrt(0.5)) for v in np.ravel(x).tolist()]
    return np.reshape(flat, np.shape(x))


def _gaussian(x):
    # exp(-x²/2) from a rounded square
    return np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi) * (1 + 0.5 * x * x)


def _gelu_tanh_score(x):
    root = math.sqrt(2 / math.pi)
    return root * (x + 0.044715 * x**3), root * (1 + 3 * 0.044715 * x * x)


def _gelu_tanh(x):
    # x (1 + tanh u) / 2, and the rounded u moves tanh by its slope
    u, _ = _gelu_tanh_score(x)
    t = np.abs(np.tanh(u))
    return 0.5 * np.abs(x) * (1 + t + np.abs(u) * 4 * sigmoid(2 * u) * sigmoid(-2 * u))


def _gelu_tanh_slope(x):
    u, inner = _gelu_tanh_score(np.clip(x, -1e4, 1e4))
    t = np.abs(np.tanh(u))
    # Beyond 20, tanh is 1 in float64 even if its last bits are wrong, and the second term vanishes.
    return 0.5 * (1 + t) + 0.5 * np.abs(x) * np.where(np.abs(u) < 20, (1 + t * t) * inner, 0)


def _mish_tanh(x):
    return np.tanh(np.logaddexp(0, x))


# sigmoid(βx) from a rounded βx
def _swish(x, beta):
    z = beta * x
    return sigmoid(z) * (1 + np.abs(z) * sigmoid(-z))


VALUE = {
    "identity": lambda x, c: np.abs(x),
    "heaviside": lambda x, c: np.ones_like(x),
    "sigmoid": lambda x, c: sigmoid(x),
    "tanh": lambda x, c: np.abs(np.tanh(x)),
    "relu": lambda x, c: np.abs(x),
    "leaky_relu": lambda x, c: np.abs(np.where(x > 0, x, c * x)),
    "elu": lambda x, c: np.abs(np.where(x > 0, x, c * np.expm1(np.minimum(x, 0)))),
    "selu": lambda x, c: np.abs(np.where(x > 0, 1.0507 * x, 1.7581 * np.expm1(np.minimum(x, 0)))),
    "gelu": lambda x, c: np.abs(x) * _normal_cdf(x) * (1 + np.where(x < 0, 0.5 * x * x, 0)),
    "gelu_tanh": lambda x, c: _gelu_tanh(x),
    "silu": lambda x, c: np.abs(x) * _swish(x, c),
    "softplus": lambda x, c: np.logaddexp(0, x),
    "softsign": lambda x, c: np.abs(x) / (1 + np.abs(x)),
    "mish": lambda x, c: np.abs(x) * _mish_tanh(x),
    "sine": lambda x, c: np.abs(np.sin(x)),
    "exp": lambda x, c: np.exp(x),
}

SLOPE = {
    "identity": lambda x, c: np.ones_like(x),
    "heaviside": lambda x, c: np.zeros_like(x),
    "sigmoid": lambda x, c: sigmoid(x) * (1 + sigmoid(x)),  # a (1 - a)
    "tanh": lambda x, c: 1 + np.tanh(x) ** 2,  # 1 - a²
    "relu": lambda x, c: np.ones_like(x),
    "leaky_relu": lambda x, c: np.where(x > 0, 1, np.abs(c)),
    "elu": lambda x, c: np.where(x > 0, 1, np.abs(c) * np.exp(np.minimum(x, 0))),
    "selu": lambda x, c: np.where(x > 0, 1.0507, 1.7581 * np.exp(np.minimum(x, 0))),
    "gelu": lambda x, c: _normal_cdf(x) + np.abs(x) * _gaussian(x),
    "gelu_tanh": lambda x, c: _gelu_tanh_slope(x),
    "silu": lambda x, c: _swish(x, c) * (1 + np.abs(c * x) * (1 + sigmoid(c * x))),
    "softplus": lambda x, c: sigmoid(x),
    "softsign": lambda x, c: 1 / (1 + np.abs(x)) ** 2,
    "mish": lambda x, c: _mish_tanh(x) + np.abs(x) * (1 + _mish_tanh(x) ** 2) * sigmoid(x),
    "sine": lambda x, c: np.abs(np.cos(x)),
    "exp": lambda x, c: np.exp(x),
}
