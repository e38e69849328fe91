"""Activations and losses as users write them, at the head so that each is compiled once."""

import math

import numpy as np

import fastnn as fn
from fastnn import activations, losses

ROOT_HALF = math.sqrt(0.5)


def squareplus(z):
    return (z + np.sqrt(z * z + 4.0)) / 2


def squareplus_slope(z):
    return (1 + z / np.sqrt(z * z + 4.0)) / 2


def my_tanh(z):
    return np.tanh(z)


def my_tanh_slope(z):
    return 1 - np.tanh(z) ** 2


def my_relu(z):
    """Branch, as no array can."""
    return z if z > 0 else 0.0


def my_relu_slope(z):
    return 1.0 if z > 0 else 0.0


def normal_cdf(z):
    return 0.5 * math.erfc(-z * ROOT_HALF)


def my_gelu(z):
    """Use a helper, and functions of math."""
    return z * normal_cdf(z)


def my_gelu_slope(z):
    return normal_cdf(z) + z * math.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)


def log_cosh(z, t):
    return abs(z - t) + np.log1p(np.exp(-2 * abs(z - t))) - math.log(2)


def log_cosh_slope(z, t):
    return np.tanh(z - t)


def my_squares(z, t):
    return (z - t) ** 2


def my_squares_slope(z, t):
    return 2 * (z - t)


def my_binary(z, t):
    return max(z, 0.0) - t * z + np.log1p(np.exp(-abs(z)))


def my_binary_slope(z, t):
    return 1 / (1 + np.exp(-z)) - t


def my_hinge(z, t):
    return max(0.0, 1 - t * z)


def my_hinge_slope(z, t):
    return -t if t * z < 1 else 0.0


ACTIVATIONS = {
    function.__name__: (function, slope)
    for function, slope in (
        (squareplus, squareplus_slope),
        (my_tanh, my_tanh_slope),
        (my_relu, my_relu_slope),
        (my_gelu, my_gelu_slope),
    )
}
LOSSES = {
    "log_cosh": (log_cosh, {"derivative": log_cosh_slope}),
    "my_squares": (my_squares, {"derivative": my_squares_slope}),
    "my_binary": (
        my_binary,
        {
            "derivative": my_binary_slope,
            "heads": ("sigmoid", "identity"),
            "targets": "probabilities",
        },
    ),
    "my_hinge": (
        my_hinge,
        {"derivative": my_hinge_slope, "heads": ("identity",), "targets": "signs"},
    ),
}


def register(*names):
    """Register functions by their names, and return what the decorators make."""
    made = []
    for name in names:
        if name in ACTIVATIONS:
            function, slope = ACTIVATIONS[name]
            made.append(fn.activation(derivative=slope)(function))
        else:
            function, told = LOSSES[name]
            made.append(fn.loss(**told)(function))
    return made


def forget():
    """Take everything back that was registered."""
    activations.CUSTOM.clear()
    losses.CUSTOM.clear()
