"""What a user's function finds in place of NumPy, math and scipy.special, by name, for one dtype.

Each takes numbers, of which whole ones become those of the dtype, and gives one; what is not here
is Numba's own. The semantics are NumPy's: NaN comes through, and nothing is raised.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import intrinsic

from fastnn.backends.jit import angles, vecmath
from fastnn.backends.jit.instructions import inlined, magnitude, root, select, with_sign

__all__ = ["library"]

ZERO = np.float32(0)
ONE = np.float32(1)


def _real_of(dtype: Any) -> Any:
    """Return what makes numbers of a dtype of whole numbers, and leaves floats as they are."""

    @intrinsic
    def real_of(typing: Any, x: Any) -> Any:
        if not isinstance(x, (types.Integer, types.Boolean, types.Float, types.Literal)):
            return None
        result = x if isinstance(x, types.Float) else dtype

        def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            return context.cast(builder, values[0], signature.args[0], signature.return_type)

        return result(x), generate

    return real_of


# NumPy's names; those of math and scipy.special are added below where they differ.
OF_ONE = {name: getattr(vecmath, name) for name in vecmath.__all__ if name != "logaddexp"}
OF_ONE |= {"sin": angles.sin, "cos": angles.cos, "sqrt": root, "absolute": magnitude}
ALIASES = {
    "abs": "absolute",
    "fabs": "absolute",
    "expit": "sigmoid",
    "ndtr": "normal_cdf",
    "pow": "power",
}


@cache
def library(dtype: str) -> dict[str, Any]:
    """Return the functions by name, for ``"float32"`` or ``"float64"``."""
    real_of = _real_of(getattr(types, dtype))
    found = {name: _of_one(function, real_of) for name, function in OF_ONE.items()}
    found.pop("normal_tail")
    found |= {function.__name__: function for function in _of_more(real_of)}
    return found | {alias: found[name] for alias, name in ALIASES.items()}


def _of_one(function: Any, real_of: Any) -> Any:
    return inlined(lambda x: function(real_of(x)))


def _of_more(real_of: Any) -> tuple[Any, ...]:
    """Return what has several arguments, or is made of what the others have."""

    @inlined
    def logaddexp(a: Any, b: Any) -> Any:
        return vecmath.logaddexp(real_of(a), real_of(b))

    @inlined
    def maximum(a: Any, b: Any) -> Any:
        a, b = real_of(a), real_of(b)
        return select((a >= b) | (a != a), a, b)

    @inlined
    def minimum(a: Any, b: Any) -> Any:
        a, b = real_of(a), real_of(b)
        return select((a <= b) | (a != a), a, b)

    @inlined
    def fmax(a: Any, b: Any) -> Any:
        a, b = real_of(a), real_of(b)
        return select((a >= b) | (b != b), a, b)

    @inlined
    def fmin(a: Any, b: Any) -> Any:
        a, b = real_of(a), real_of(b)
        return select((a <= b) | (b != b), a, b)

    @inlined
    def clip(x: Any, a_min: Any, a_max: Any) -> Any:
        if a_min is not None:
            x = maximum(x, a_min)
        if a_max is not None:
            x = minimum(x, a_max)
        return x

    @inlined
    def where(condition: Any, a: Any, b: Any) -> Any:
        return select(condition, real_of(a), real_of(b))

    @inlined
    def sign(x: Any) -> Any:
        x = real_of(x)
        return select(x > ZERO, ONE, select(x < ZERO, -ONE, select(x == ZERO, ZERO, x)))

    @inlined
    def heaviside(x: Any, at_zero: Any) -> Any:
        x = real_of(x)
        beside = select(x < ZERO, ZERO, select(x > ZERO, ONE, x))
        return select(x == ZERO, real_of(at_zero), beside)

    @inlined
    def copysign(x: Any, of: Any) -> Any:
        return with_sign(real_of(x), real_of(of))

    @inlined
    def square(x: Any) -> Any:
        return x * x

    @inlined
    def reciprocal(x: Any) -> Any:
        return ONE / real_of(x)

    @inlined
    def power(x: Any, y: Any) -> Any:
        return real_of(x) ** y

    @inlined
    def zeros_like(x: Any) -> Any:
        return real_of(0)

    @inlined
    def ones_like(x: Any) -> Any:
        return real_of(1)

    @inlined
    def full_like(x: Any, value: Any) -> Any:
        return real_of(value)

    return (
        *(logaddexp, maximum, minimum, fmax, fmin, clip, where, sign, heaviside, copysign),
        *(square, reciprocal, power, zeros_like, ones_like, full_like),
    )
