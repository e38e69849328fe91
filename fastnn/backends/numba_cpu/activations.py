"""The activation functions and their derivatives, with the formulas of fastnn/activations.py.

`value` and `slope` take the name of a function as a constant of the compiled code, so that nothing
of the others is compiled, and no choice is left in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from fastnn.backends.jit.angles import cos, sin
from fastnn.backends.jit.instructions import (
    INLINE,
    constant,
    fma,
    inlined,
    larger,
    magnitude,
    select,
    smaller,
    with_sign,
)
from fastnn.backends.jit.vecmath import exp, expm1_below, normal_tail, sigmoid, softplus, tanh

__all__ = ["sign", "slope", "value"]

# A float32 becomes no wider by them, and a float64 no narrower: they are exact in both.
ZERO, ONE, TWO, THREE = np.float32(0), np.float32(1), np.float32(2), np.float32(3)
FOUR, TWENTY, THOUSAND = np.float32(4), np.float32(20), np.float32(1000)


def _number(real: float) -> Any:
    """Return what gives this number, rounded to the dtype of its argument."""

    def number(typingctx: Any, x: Any) -> Any:
        return x(x), lambda context, builder, signature, args: ir.Constant(args[0].type, real)

    return intrinsic(number)


# Klambauer et al. 2017, "Self-Normalizing Neural Networks", equation 14; the second times alpha.
_selu_scale = _number(1.0507009873554804934193349852946)
_selu_left = _number(1.7580993408473768599402175208123)
# Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", section 2: 2 sqrt(2 / pi).
_gelu_tanh_twice = _number(1.59576912160573071176)
_gelu_tanh_cubic = _number(0.044715)


@inlined
def sign(x: Any) -> Any:
    """1, -1, or x itself where it is 0 or NaN."""
    return select(x > ZERO, ONE, select(x < ZERO, -ONE, x))


@inlined
def _gelu_tanh_cdf(z: Any) -> Any:
    """(1 + tanh(u)) / 2 is sigmoid(2 u), which does not cancel in the left tail."""
    return sigmoid(_gelu_tanh_twice(z) * fma(z * z * z, _gelu_tanh_cubic(z), z))


@inlined
def _mish_exp(z: Any) -> Any:
    """e = exp(z), of which tanh(softplus(z)) is e (e + 2) / (e (e + 2) + 2): 1 from z = 20 on."""
    return exp(smaller(TWENTY, z))


# -- values ---------------------------------------------------------------------------------------


@inlined
def _identity(z: Any, c: Any) -> Any:
    return z


@inlined
def _heaviside(z: Any, c: Any) -> Any:
    return select(z < ZERO, ZERO, select(z >= ZERO, ONE, z))


@inlined
def _sigmoid(z: Any, c: Any) -> Any:
    return sigmoid(z)


@inlined
def _tanh(z: Any, c: Any) -> Any:
    return tanh(z)


@inlined
def _relu(z: Any, c: Any) -> Any:
    return larger(ZERO, z)


@inlined
def _leaky_relu(z: Any, c: Any) -> Any:
    return select(z > ZERO, z, c * z)


@inlined
def _elu(z: Any, c: Any) -> Any:
    return select(z >= ZERO, z, c * expm1_below(z))  # -0 stays what it is


@inlined
def _selu(z: Any, c: Any) -> Any:
    return select(z >= ZERO, _selu_scale(z) * z, _selu_left(z) * expm1_below(z))


@inlined
def _gelu(z: Any, c: Any) -> Any:
    # z Phi(z) = z - z Phi(-z); infinity times 0 is NaN, and what underflows keeps its sign
    factor = smaller(constant(z, "TAIL_END"), larger(-constant(z, "TAIL_END"), z))
    m, _ = normal_tail(z, -ZERO, factor)
    return with_sign(select(z < ZERO, m + (z - z), z - m), z)


@inlined
def _gelu_tanh(z: Any, c: Any) -> Any:
    return z * _gelu_tanh_cdf(z)


@inlined
def _silu(z: Any, c: Any) -> Any:
    return z * sigmoid(c * z)


@inlined
def _softplus(z: Any, c: Any) -> Any:
    return softplus(z)


@inlined
def _softsign(z: Any, c: Any) -> Any:
    return z / (ONE + magnitude(z))


@inlined
def _mish(z: Any, c: Any) -> Any:
    e = _mish_exp(z)
    m = e * (e + TWO)
    return z * (m / (m + TWO))


@inlined
def _sine(z: Any, c: Any) -> Any:
    return sin(z)


@inlined
def _exp(z: Any, c: Any) -> Any:
    return exp(z)


# -- slopes, where a = f(z) -----------------------------------------------------------------------


@inlined
def _identity_slope(z: Any, a: Any, c: Any) -> Any:
    return select(True, ONE, z)


@inlined
def _heaviside_slope(z: Any, a: Any, c: Any) -> Any:
    return select(True, ZERO, z)


@inlined
def _sigmoid_slope(z: Any, a: Any, c: Any) -> Any:
    return a * (ONE - a)


@inlined
def _tanh_slope(z: Any, a: Any, c: Any) -> Any:
    return ONE - a * a


@inlined
def _relu_slope(z: Any, a: Any, c: Any) -> Any:
    return select(z <= ZERO, ZERO, ONE)


@inlined
def _leaky_relu_slope(z: Any, a: Any, c: Any) -> Any:
    return select(z > ZERO, ONE, c)


@inlined
def _elu_slope(z: Any, a: Any, c: Any) -> Any:
    return select(z > ZERO, ONE, c * exp(z))


@inlined
def _selu_slope(z: Any, a: Any, c: Any) -> Any:
    return select(z > ZERO, _selu_scale(z), _selu_left(z) * exp(z))


@inlined
def _gelu_slope(z: Any, a: Any, c: Any) -> Any:
    s, e = normal_tail(z, -ZERO, ONE)
    return fma(z, constant(z, "INVERSE_SQRT_2PI") * e, select(z < ZERO, s, ONE - s))


@inlined
def _gelu_tanh_slope(z: Any, a: Any, c: Any) -> Any:
    # constant far inside, where squares overflow
    z = smaller(THOUSAND, larger(-THOUSAND, z))
    s = _gelu_tanh_cdf(z)
    inner = _gelu_tanh_twice(z) * (ONE + THREE * _gelu_tanh_cubic(z) * z * z)
    return s + z * s * (ONE - s) * inner


@inlined
def _silu_slope(z: Any, a: Any, c: Any) -> Any:
    s = sigmoid(c * z)
    return s + c * z * s * (ONE - s)


@inlined
def _softplus_slope(z: Any, a: Any, c: Any) -> Any:
    return sigmoid(z)


@inlined
def _softsign_slope(z: Any, a: Any, c: Any) -> Any:
    s = ONE / (ONE + magnitude(z))
    return s * s


@inlined
def _mish_slope(z: Any, a: Any, c: Any) -> Any:
    # t + z (1 - t**2) sigmoid(z), where 1 - t**2 = 4 (1 + e)**2 / (m + 2)**2
    e = _mish_exp(z)
    s = ONE / (e * (e + TWO) + TWO)
    return e * (e + TWO) * s + z * select(z >= TWENTY, ZERO, FOUR * e * (ONE + e) * s * s)


@inlined
def _sine_slope(z: Any, a: Any, c: Any) -> Any:
    return cos(z)


@inlined
def _exp_slope(z: Any, a: Any, c: Any) -> Any:
    return a


Formula = Callable[..., Any]
FORMULAS: dict[str, tuple[Formula, Formula]] = {
    "identity": (_identity, _identity_slope),
    "heaviside": (_heaviside, _heaviside_slope),
    "sigmoid": (_sigmoid, _sigmoid_slope),
    "tanh": (_tanh, _tanh_slope),
    "relu": (_relu, _relu_slope),
    "leaky_relu": (_leaky_relu, _leaky_relu_slope),
    "elu": (_elu, _elu_slope),
    "selu": (_selu, _selu_slope),
    "gelu": (_gelu, _gelu_slope),
    "gelu_tanh": (_gelu_tanh, _gelu_tanh_slope),
    "silu": (_silu, _silu_slope),
    "softplus": (_softplus, _softplus_slope),
    "softsign": (_softsign, _softsign_slope),
    "mish": (_mish, _mish_slope),
    "sine": (_sine, _sine_slope),
    "exp": (_exp, _exp_slope),
}


def value(function: str, z: Any, c: Any) -> Any:
    """Return f(z) of the function of this name, c its constant; in compiled code only."""


def slope(function: str, z: Any, a: Any, c: Any) -> Any:
    """Return f'(z) of the function of this name, where a = f(z); in compiled code only."""


@overload(value, prefer_literal=True, strict=False, jit_options=INLINE)
def _value_of(function: Any, z: Any, c: Any) -> Any:
    if not isinstance(function, types.StringLiteral):
        return None
    formula = FORMULAS[function.literal_value][0]
    return lambda function, z, c: formula(z, c)


@overload(slope, prefer_literal=True, strict=False, jit_options=INLINE)
def _slope_of(function: Any, z: Any, a: Any, c: Any) -> Any:
    if not isinstance(function, types.StringLiteral):
        return None
    formula = FORMULAS[function.literal_value][1]
    return lambda function, z, a, c: formula(z, a, c)
