"""Activations and losses of one's own as device functions, compiled into the kernels of others.

A function is copied as for the processor: its floats become those of the network, and what it calls
of NumPy, math and scipy.special becomes what the GPU has for it. Before that it is compiled for the
processor, so that what cannot be compiled is named by function and line, before anything runs.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import numpy as np

from fastnn.backends.cuda.target import device_function, math
from fastnn.backends.jit.functions import scalar_functions
from fastnn.backends.jit.translate import Translator

__all__ = ["Activation", "ElementLoss"]

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
# Which outputs are right, by what the targets are: those above it on both sides, or below on both.
YES = {"probabilities": 0.5, "signs": 0.0}


class Activation:
    """An activation of the user's on the device; it stands where the name of another one would.

    Parameters
    ----------
    definition : CustomActivation
    dtype : numpy.dtype

    Attributes
    ----------
    value : device function
        Of the score and a constant that it does not use.
    slope : device function
        Of the score, the output and a constant.

    Raises
    ------
    CompilationError
        Where one of the functions cannot be compiled.
    """

    def __init__(self, definition: Any, dtype: np.dtype[Any]) -> None:
        scalar_functions(definition, dtype)  # for its errors
        real = dtype.type
        function, derivative = _functions(definition, dtype)
        self.name = definition.name

        @device_function
        def value(z, c):  # type: ignore[no-untyped-def]
            return real(function(z))

        @device_function
        def slope(z, a, c):  # type: ignore[no-untyped-def]
            return real(derivative(z))

        self.value, self.slope = value, slope


class ElementLoss:
    """A loss of the user's on the device; it stands where the name of another one would.

    Parameters
    ----------
    definition : LossDefinition
    dtype : numpy.dtype

    Attributes
    ----------
    element : device function
        Of the score, the target and a constant: the loss of an output, and its derivative.
    yes : float or None
        A target above it means yes; None where nothing is right or wrong.

    Raises
    ------
    CompilationError
        Where one of the functions cannot be compiled.
    """

    def __init__(self, definition: Any, dtype: np.dtype[Any]) -> None:
        scalar_functions(definition, dtype, 2)
        real = dtype.type
        function, derivative = _functions(definition, dtype)
        self.name, self.yes = definition.name, YES.get(definition.targets)

        @device_function
        def element(z, t, c):  # type: ignore[no-untyped-def]
            return real(function(z, t)), real(derivative(z, t))

        self.element = element


def _functions(definition: Any, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return function and derivative as device functions."""
    translator = Translator(_library(dtype.name), dtype.name, device_function)
    pair = []
    for function in (definition.function, definition.derivative):
        plain = getattr(function, "py_func", function)
        if isinstance(plain, types.FunctionType):
            pair.append(device_function(translator.copy(plain)))
        else:  # a function of NumPy or math itself
            pair.append(translator.callee(function))
    return pair[0], pair[1]


def _of_one(name: str, real: Any) -> Any:
    """Return a function of math or NumPy as a device function of any number."""
    named = OF_ONE.get(name) or name
    # What a simulated GPU computes with, where NumPy has more names than our stand-in for math.
    function = getattr(math, named, None) or getattr(np, name)

    @device_function
    def of_one(x):  # type: ignore[no-untyped-def]
        return function(real(x))

    return of_one


@functools.cache
def _library(dtype: str) -> dict[str, Any]:
    """Return what takes the place of functions of NumPy, math and scipy.special, by their names."""
    real: Any = np.dtype(dtype).type
    found = {name: _of_one(name, real) for name in (*OF_ONE, *TESTS)}
    found |= {function.__name__: device_function(function) for function in _of_more(real)}
    found["expit"], found["ndtr"] = _sigmoid(real), _normal_cdf(real)
    return found | {alias: found[name] for alias, name in ALIASES.items()}


def _sigmoid(real: Any) -> Any:
    exp, zero, one = math.exp, real(0), real(1)

    @device_function
    def expit(x):  # type: ignore[no-untyped-def]
        z = real(x)
        e = exp(z if z < zero else -z)  # never overflows
        return (e if z < zero else one) / (one + e)

    return expit


def _normal_cdf(real: Any) -> Any:
    erfc, half, root = math.erfc, real(0.5), real(-np.sqrt(0.5))

    @device_function
    def ndtr(x):  # type: ignore[no-untyped-def]
        return half * erfc(root * real(x))

    return ndtr


def _of_more(real: Any) -> tuple[Any, ...]:
    """Return what has several arguments, or is made of arithmetic; NaN comes through."""
    zero, one, ln2 = real(0), real(1), real(np.log(2))
    exp, log1p, fabs = math.exp, math.log1p, math.fabs

    def maximum(a, b):  # type: ignore[no-untyped-def]
        x, y = real(a), real(b)
        return x if x >= y or x != x else y

    def minimum(a, b):  # type: ignore[no-untyped-def]
        x, y = real(a), real(b)
        return x if x <= y or x != x else y

    def fmax(a, b):  # type: ignore[no-untyped-def]
        x, y = real(a), real(b)
        return x if x >= y or y != y else y

    def fmin(a, b):  # type: ignore[no-untyped-def]
        x, y = real(a), real(b)
        return x if x <= y or y != y else y

    def clip(x, a_min, a_max):  # type: ignore[no-untyped-def]
        z, low, high = real(x), real(a_min), real(a_max)
        return low if z < low else high if z > high else z

    def where(condition, a, b):  # type: ignore[no-untyped-def]
        return real(a) if condition else real(b)

    def sign(x):  # type: ignore[no-untyped-def]
        z = real(x)
        return one if z > zero else -one if z < zero else z

    def heaviside(x, at_zero):  # type: ignore[no-untyped-def]
        z = real(x)
        return one if z > zero else zero if z < zero else real(at_zero) if z == zero else z

    def copysign(x, of):  # type: ignore[no-untyped-def]
        size, y = fabs(real(x)), real(of)
        return -size if y < zero or (y == zero and one / y < zero) else size

    def logaddexp(a, b):  # type: ignore[no-untyped-def]
        x, y = real(a), real(b)
        if x == y:  # infinities too, whose difference is NaN
            return x + ln2
        return (x if x >= y else y) + log1p(exp(-fabs(x - y)))

    def square(x):  # type: ignore[no-untyped-def]
        return real(x) * real(x)

    def reciprocal(x):  # type: ignore[no-untyped-def]
        return one / real(x)

    def power(x, y):  # type: ignore[no-untyped-def]
        return real(x) ** y

    def zeros_like(x):  # type: ignore[no-untyped-def]
        return zero

    def ones_like(x):  # type: ignore[no-untyped-def]
        return one

    def full_like(x, value):  # type: ignore[no-untyped-def]
        return real(value)

    return (
        *(maximum, minimum, fmax, fmin, clip, where, sign, heaviside, copysign, logaddexp),
        *(square, reciprocal, power, zeros_like, ones_like, full_like),
    )
