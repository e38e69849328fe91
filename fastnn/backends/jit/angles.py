"""Sine and cosine in Numba, for float32 and float64: those of the C core, bit for bit.

`near_sin` and `near_cos` have no branch, and are right up to `limit`. Beyond it `sin` and `cos` ask
the C library, where a longer pi / 2 is needed: a loop that calls them does not become vectors.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from fastnn.backends.jit.instructions import (
    FUSED,
    bits_of,
    constant,
    emitted,
    fma,
    inlined,
    integer_of,
    like,
    magnitude,
    polynomial,
)

__all__ = ["cos", "limit", "near_cos", "near_sin", "sin"]

HALF = np.float32(0.5)
ONE = np.float32(1)


@intrinsic  # type: ignore[untyped-decorator]
def limit(typing: Any, x: Any) -> Any:
    """Return the largest argument, in the dtype of x, for `near_sin` and `near_cos`."""
    pair = (1e5, 1e9) if FUSED else (200.0, 5e4)

    def emit(builder: Any, value: Any) -> Any:
        return ir.Constant(value.type, pair[bits_of(value.type) == 64])

    return x(x), emitted(emit)


@intrinsic(prefer_literal=True)  # type: ignore[untyped-decorator]
def _turned(typing: Any, sine: Any, cosine: Any, shifted: Any, x: Any, turns: Any) -> Any:
    """Return whichever of sin(r) and cos(r) is that of x + turns pi / 2, with its sign.

    shifted is n + ROUNDER of |x| = n pi / 2 + r, turns 0 or 1.
    """
    more = turns.literal_value

    def emit(builder: Any, sin_r: Any, cos_r: Any, n: Any, value: Any, _: Any) -> Any:
        real, bits, integer = value.type, bits_of(value.type), integer_of(value.type)
        one, sign = ir.Constant(integer, 1), ir.Constant(integer, -1 << bits - 1)
        quarter = builder.add(builder.bitcast(n, integer), ir.Constant(integer, more))
        odd = builder.icmp_signed("==", builder.and_(quarter, one), one)
        flips = builder.shl(quarter, ir.Constant(integer, bits - 2))
        if not more:
            flips = builder.xor(flips, builder.bitcast(value, integer))
        y = builder.bitcast(builder.select(odd, cos_r, sin_r), integer)
        return builder.bitcast(builder.xor(y, builder.and_(flips, sign)), real)

    return x(x, x, x, x, turns), emitted(emit)


@inlined
def _near(a: Any) -> Any:
    """Return n + ROUNDER and r of a = n pi / 2 + r: Cody & Waite, chapter 8."""
    shifted = fma(a, constant(a, "TWO_OF_PI"), constant(a, "ROUNDER"))
    n = shifted - constant(a, "ROUNDER")
    if FUSED:
        r = fma(n, -constant(a, "HALF_PI_0"), a)
        r = fma(n, -constant(a, "HALF_PI_1"), r)
        return shifted, fma(n, -constant(a, "HALF_PI_2"), r)
    r = fma(n, -constant(a, "SHORT_HALF_PI_0"), a)
    r = fma(n, -constant(a, "SHORT_HALF_PI_1"), r)
    return shifted, fma(n, -constant(a, "SHORT_HALF_PI_2"), r)


@inlined
def _sine_of(r: Any) -> Any:
    z = r * r
    return fma(r * z, polynomial(z, "SIN_TERMS"), r)


@inlined
def _cosine_of(r: Any) -> Any:
    z = r * r
    return fma(z * z, polynomial(z, "COS_TERMS"), ONE - z * HALF)


@inlined
def near_sin(x: Any) -> Any:
    """Return the sine for |x| up to limit."""
    shifted, r = _near(magnitude(x))
    return _turned(_sine_of(r), _cosine_of(r), shifted, x, 0)


@inlined
def near_cos(x: Any) -> Any:
    """Return the cosine for |x| up to limit."""
    shifted, r = _near(magnitude(x))
    return _turned(_sine_of(r), _cosine_of(r), shifted, x, 1)


@inlined
def sin(x: Any) -> Any:
    """Return the sine."""
    return like(x, math.sin(np.float64(x))) if magnitude(x) > limit(x) else near_sin(x)


@inlined
def cos(x: Any) -> Any:
    """Return the cosine."""
    return like(x, math.cos(np.float64(x))) if magnitude(x) > limit(x) else near_cos(x)
