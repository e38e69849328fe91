"""The activation functions and their derivatives, with the formulas of fastnn/activations.py.

In float32, CUDA's library is within 2 units in the last place for exp, expm1, log1p, sin and cos,
2 for tanh and 4 for erfc (CUDA C++ Programming Guide, "Mathematical Functions"); division and roots
are rounded correctly. All of them take denormal numbers as they are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from fastnn.activations import (
    FORMULAS,
    GELU_TANH_CUBIC,
    GELU_TANH_SCALE,
    INVERSE_SQRT_2PI,
    SELU_ALPHA,
    SELU_SCALE,
    SQRT_HALF,
)
from fastnn.backends.cuda.target import device_function, math

__all__ = ["FROM_OUTPUT", "slope", "value"]

# Functions whose derivative needs only their output: the scores need not be kept.
FROM_OUTPUT = ("identity", "relu", "sigmoid", "tanh", "exp")


@functools.cache
def value(name: Any, real: Any) -> Callable[[Any, Any], Any]:
    """Return f as a device function of the score z and the constant c.

    What is no name is a function of the user's, compiled, with an attribute `value`.
    """
    found: Callable[[Any, Any], Any]
    found = _values(real)[name] if isinstance(name, str) else name.value
    return found


@functools.cache
def slope(name: Any, real: Any) -> Callable[[Any, Any, Any], Any]:
    """Return f' as a device function of the score z, the output a = f(z) and the constant c.

    What is no name is a function of the user's, compiled, with an attribute `slope`.
    """
    found: Callable[[Any, Any, Any], Any]
    found = _slopes(real)[name] if isinstance(name, str) else name.slope
    return found


@functools.cache
def _parts(real: Any) -> dict[str, Any]:
    """Return what several functions share."""
    # All constants have the type of the arithmetic: a Python float would turn it into float64.
    zero, one, two, twenty = real(0), real(1), real(2), real(20)
    half, sqrt_half = real(0.5), real(SQRT_HALF)
    tanh_twice, cubic = real(2 * GELU_TANH_SCALE), real(GELU_TANH_CUBIC)

    @device_function
    def sigmoid(z):
        e = math.exp(-math.fabs(z))  # never overflows
        return (e if z < zero else one) / (one + e)

    @device_function
    def normal_cdf(z):
        tail = half * math.erfc(sqrt_half * math.fabs(z))
        return tail if z < zero else one - tail

    @device_function
    def gelu_tanh_cdf(z):
        return sigmoid(tanh_twice * (z + cubic * (z * z * z)))

    @device_function
    def softplus(z):
        return (z if z > zero else zero if z <= zero else z) + math.log1p(math.exp(-math.fabs(z)))

    @device_function
    def mish_exp(z):  # tanh(softplus(z)) = m / (m + 2), m = e (e + 2); it is 1 from z = 20 on
        return math.exp(twenty if z > twenty else z)

    return {
        "sigmoid": sigmoid,
        "normal_cdf": normal_cdf,
        "gelu_tanh_cdf": gelu_tanh_cdf,
        "softplus": softplus,
        "mish_exp": mish_exp,
        "two": two,
    }


@functools.cache
def _values(real: Any) -> dict[str, Any]:
    part = _parts(real)
    sigmoid, normal_cdf, gelu_tanh_cdf = (
        part[name] for name in ("sigmoid", "normal_cdf", "gelu_tanh_cdf")
    )
    softplus, mish_exp = part["softplus"], part["mish_exp"]
    zero, one, two = real(0), real(1), real(2)
    selu_scale, selu_left = real(SELU_SCALE), real(SELU_SCALE * SELU_ALPHA)

    functions = {
        "identity": lambda z, c: z,
        "heaviside": lambda z, c: zero if z < zero else one if z >= zero else z,
        "sigmoid": lambda z, c: sigmoid(z),
        "tanh": lambda z, c: math.tanh(z),
        "relu": lambda z, c: zero if z <= zero else z,
        "leaky_relu": lambda z, c: z if z > zero else c * z,
        "elu": lambda z, c: z if z >= zero else c * math.expm1(z),
        "selu": lambda z, c: selu_scale * z if z >= zero else selu_left * math.expm1(z),
        "gelu": lambda z, c: z * normal_cdf(z),
        "gelu_tanh": lambda z, c: z * gelu_tanh_cdf(z),
        "silu": lambda z, c: z * sigmoid(c * z),
        "softplus": lambda z, c: softplus(z),
        "softsign": lambda z, c: z / (one + math.fabs(z)),
        "sine": lambda z, c: math.sin(z),
        "exp": lambda z, c: math.exp(z),
    }

    def mish(z, c):
        e = mish_exp(z)
        m = e * (e + two)
        return z * (m / (m + two))

    functions["mish"] = mish
    return _compiled(functions)


@functools.cache
def _slopes(real: Any) -> dict[str, Any]:
    part = _parts(real)
    sigmoid, normal_cdf, gelu_tanh_cdf = (
        part[name] for name in ("sigmoid", "normal_cdf", "gelu_tanh_cdf")
    )
    mish_exp = part["mish_exp"]
    zero, one, two, four, twenty = real(0), real(1), real(2), real(4), real(20)
    half, inverse_sqrt_2pi = real(0.5), real(INVERSE_SQRT_2PI)
    selu_scale, selu_left = real(SELU_SCALE), real(SELU_SCALE * SELU_ALPHA)
    tanh_twice, cubic_3, far = real(2 * GELU_TANH_SCALE), real(3 * GELU_TANH_CUBIC), real(1e3)

    functions = {
        "identity": lambda z, a, c: one,
        "heaviside": lambda z, a, c: zero,
        "sigmoid": lambda z, a, c: a * (one - a),
        "tanh": lambda z, a, c: one - a * a,
        "relu": lambda z, a, c: zero if z <= zero else one,
        "leaky_relu": lambda z, a, c: one if z > zero else c,
        "elu": lambda z, a, c: one if z > zero else c * math.exp(z),
        "selu": lambda z, a, c: selu_scale if z > zero else selu_left * math.exp(z),
        "gelu": lambda z, a, c: normal_cdf(z) + z * (inverse_sqrt_2pi * math.exp(-half * z * z)),
        "softplus": lambda z, a, c: sigmoid(z),
        "sine": lambda z, a, c: math.cos(z),
        "exp": lambda z, a, c: a,
    }

    def gelu_tanh(z, a, c):
        z = -far if z < -far else far if z > far else z  # constant there, and squares overflow
        s = gelu_tanh_cdf(z)
        return s + z * s * (one - s) * (tanh_twice * (one + cubic_3 * z * z))

    def silu(z, a, c):
        s = sigmoid(c * z)
        return s + c * z * s * (one - s)

    def softsign(z, a, c):
        s = one / (one + math.fabs(z))
        return s * s

    def mish(z, a, c):  # t + z (1 - t**2) sigmoid(z), with 1 - t**2 = 4 (1 + e)**2 / (m + 2)**2
        e = mish_exp(z)
        s = one / (e * (e + two) + two)
        rest = zero if z >= twenty else four * e * (one + e) * s * s
        return e * (e + two) * s + z * rest

    functions |= {"gelu_tanh": gelu_tanh, "silu": silu, "softsign": softsign, "mish": mish}
    return _compiled(functions)


def _compiled(functions: dict[str, Any]) -> dict[str, Any]:
    assert set(functions) == set(FORMULAS)
    return {name: device_function(function) for name, function in functions.items()}
