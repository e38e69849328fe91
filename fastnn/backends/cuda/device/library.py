"""What functions of one's own call of NumPy, math and scipy.special, as device functions."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from fastnn.backends.cuda.target import device_function, math

__all__ = ["activation", "element", "library"]

# Names of NumPy, and those of the same functions of math where they differ.
OF_ONE = {
    "absolute": "fabs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctanh": "atanh",
} | dict.fromkeys(
    (
        *("ceil", "cos", "cosh", "erf", "erfc", "exp", "expm1", "floor", "log", "log10", "log1p"),
        *("log2", "sin", "sinh", "sqrt", "tan", "tanh"),
    ),
    "",
)
TESTS = ("isfinite", "isinf", "isnan")
ALIASES = {
    "abs": "absolute",
    "fabs": "absolute",
    **{name: numpy for numpy, name in OF_ONE.items() if name and numpy != "absolute"},
    "pow": "power",
}


def activation(function: Any, derivative: Any, real: Any) -> tuple[Any, Any]:
    """Return an activation and its slope in the form of the others: with what they do not use."""

    @device_function
    def value(z, c):
        return real(function(z))

    @device_function
    def slope(z, a, c):
        return real(derivative(z))

    return value, slope


def element(function: Any, derivative: Any, real: Any) -> Any:
    """Return the loss of an output and its derivative, in the form of the others."""

    @device_function
    def of_one(z, t, c):
        return real(function(z, t)), real(derivative(z, t))

    return of_one


def _of_one(name: str, real: Any) -> Any:
    """Return a function of math or NumPy as a device function of any number."""
    named = OF_ONE.get(name) or name
    # What a simulated GPU computes with, where NumPy has more names than our stand-in for math.
    function = getattr(math, named, None) or getattr(np, name)

    @device_function
    def of_one(x):
        return function(real(x))

    return of_one


@functools.cache
def library(dtype: str) -> dict[str, Any]:
    """Return what takes the place of functions of NumPy, math and scipy.special, by their names."""
    real: Any = np.dtype(dtype).type
    found = {name: _of_one(name, real) for name in (*OF_ONE, *TESTS)}
    found |= {function.__name__: device_function(function) for function in _of_more(real)}
    found["expit"], found["ndtr"] = _sigmoid(real), _normal_cdf(real)
    return found | {alias: found[name] for alias, name in ALIASES.items()}


def _sigmoid(real: Any) -> Any:
    exp, zero, one = math.exp, real(0), real(1)

    @device_function
    def expit(x):
        z = real(x)
        e = exp(z if z < zero else -z)  # never overflows
        return (e if z < zero else one) / (one + e)

    return expit


def _normal_cdf(real: Any) -> Any:
    erfc, half, root = math.erfc, real(0.5), real(-np.sqrt(0.5))

    @device_function
    def ndtr(x):
        return half * erfc(root * real(x))

    return ndtr


def _of_more(real: Any) -> tuple[Any, ...]:
    """Return what has several arguments, or is made of arithmetic; NaN comes through."""
    zero, one, ln2 = real(0), real(1), real(np.log(2))
    exp, log1p, fabs = math.exp, math.log1p, math.fabs

    def maximum(a, b):
        x, y = real(a), real(b)
        return x if x >= y or x != x else y

    def minimum(a, b):
        x, y = real(a), real(b)
        return x if x <= y or x != x else y

    def fmax(a, b):
        x, y = real(a), real(b)
        return x if x >= y or y != y else y

    def fmin(a, b):
        x, y = real(a), real(b)
        return x if x <= y or y != y else y

    def clip(x, a_min, a_max):
        z, low, high = real(x), real(a_min), real(a_max)
        return low if z < low else high if z > high else z

    def where(condition, a, b):
        return real(a) if condition else real(b)

    def sign(x):
        z = real(x)
        return one if z > zero else -one if z < zero else z

    def heaviside(x, at_zero):
        z = real(x)
        return one if z > zero else zero if z < zero else real(at_zero) if z == zero else z

    def copysign(x, of):
        size, y = fabs(real(x)), real(of)
        return -size if y < zero or (y == zero and one / y < zero) else size

    def logaddexp(a, b):
        x, y = real(a), real(b)
        if x == y:  # infinities too, whose difference is NaN
            return x + ln2
        return (x if x >= y else y) + log1p(exp(-fabs(x - y)))

    def square(x):
        return real(x) * real(x)

    def reciprocal(x):
        return one / real(x)

    def power(x, y):
        return real(x) ** y

    def zeros_like(x):
        return zero

    def ones_like(x):
        return one

    def full_like(x, value):
        return real(value)

    return (
        *(maximum, minimum, fmax, fmin, clip, where, sign, heaviside, copysign, logaddexp),
        *(square, reciprocal, power, zeros_like, ones_like, full_like),
    )
