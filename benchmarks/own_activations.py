"""Copies of the activations that fastnn has, as somebody would write them who has none of them.

The formulas are those of `fastnn/activations.py`, for numbers; a derivative gets the score alone,
where the built-in one may use the value that was kept.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["COPIES"]

SLOPE = 0.01
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543773


def sigmoid(z):
    e = np.exp(-np.abs(z))  # never overflows
    return np.where(z < 0, e, 1) / (1 + e)


def sigmoid_slope(z):
    s = sigmoid(z)
    return s * (1 - s)


def normal_cdf(z):
    return 0.5 * math.erfc(-z * math.sqrt(0.5))


def softplus(z):
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def elu(z):
    return z if z > 0 else np.expm1(z)


def elu_slope(z):
    return 1.0 if z > 0 else np.exp(z)


def gelu_tanh_cdf(z):
    return sigmoid(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z))


def gelu_tanh_slope(z):
    z = np.clip(z, -1e3, 1e3)
    s = gelu_tanh_cdf(z)
    return s + z * s * (1 - s) * 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z * z)


def mish_slope(z):
    t = np.tanh(softplus(z))
    return t + z * (1 - t * t) * sigmoid(z)


# By the name of what is copied: the function and its derivative.
COPIES = {
    "identity": (lambda z: z, lambda z: 1.0),
    "heaviside": (lambda z: np.heaviside(z, 1.0), lambda z: 0.0),
    "sigmoid": (sigmoid, sigmoid_slope),
    "tanh": (lambda z: np.tanh(z), lambda z: 1 - np.tanh(z) ** 2),
    "relu": (lambda z: np.maximum(z, 0), lambda z: 1.0 if z > 0 else 0.0),
    "leaky_relu": (lambda z: z if z > 0 else SLOPE * z, lambda z: 1.0 if z > 0 else SLOPE),
    "elu": (elu, elu_slope),
    "selu": (
        lambda z: SELU_SCALE * (z if z > 0 else SELU_ALPHA * np.expm1(z)),
        lambda z: SELU_SCALE * (1.0 if z > 0 else SELU_ALPHA * np.exp(z)),
    ),
    "gelu": (
        lambda z: z * normal_cdf(z),
        lambda z: normal_cdf(z) + z * np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi),
    ),
    "gelu_tanh": (lambda z: z * gelu_tanh_cdf(z), gelu_tanh_slope),
    "silu": (lambda z: z * sigmoid(z), lambda z: sigmoid(z) + z * sigmoid_slope(z)),
    "softplus": (softplus, sigmoid),
    "softsign": (lambda z: z / (1 + abs(z)), lambda z: 1 / (1 + abs(z)) ** 2),
    "mish": (lambda z: z * np.tanh(softplus(z)), mish_slope),
    "sine": (lambda z: np.sin(z), lambda z: np.cos(z)),
    "exp": (lambda z: np.exp(z), lambda z: np.exp(z)),
}
