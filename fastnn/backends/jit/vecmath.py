"""Elementary functions in Numba, for float32 and float64: those of the C core, value by value.

Each works on one number and has no branch, so that LLVM makes vectors of a loop that calls it:
within 2.5 ULP of the true value for every argument, denormals included, and NaN comes through. The
bits of a value depend on nothing but its argument and the processor. The algorithms, and where they
come from, are told in ``src_c/kernels/vecmath.inc``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.backends.jit.instructions import (
    FUSED,
    SCALES,
    constant,
    exponent,
    fma,
    inlined,
    is_double,
    larger,
    magnitude,
    mantissa,
    polynomial,
    power,
    roughly_inverse,
    scale_by,
    select,
    smaller,
    upper_half,
    with_sign,
)

__all__ = [
    "cosh",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "normal_cdf",
    "normal_tail",
    "sigmoid",
    "sinh",
    "softplus",
    "tanh",
]

# A float32 becomes no wider by them, and a float64 no narrower: they are exact in both.
ZERO = np.float32(0)
QUARTER = np.float32(0.25)
HALF = np.float32(0.5)
ONE = np.float32(1)
TWO = np.float32(2)
FIVE_HALVES = np.float32(2.5)
FORTY = np.float32(40)
LARGE = np.float32(2.0**60)
INFINITY = np.float32(np.inf)
NAN = np.float32(np.nan)


@inlined
def exp_reduced(x: Any, less: Any) -> Any:
    """Return exp(r) - 1, and n + ROUNDER, of x - less = n log(2) + r, |r| up to log(2) / 2."""
    shifted = fma(x - less, constant(x, "LOG2_E"), constant(x, "ROUNDER"))
    n = shifted - constant(x, "ROUNDER")
    near = fma(n, -constant(x, "LN2_HIGH"), x)
    r = fma(n, -constant(x, "LN2_LOW"), near) - less
    return fma(r * r, polynomial(r, "EXP_TERMS"), r), shifted


@inlined
def exp_reduced_closely(x: Any, less: Any) -> Any:
    """Do the same, and keep what r loses to rounding."""
    shifted = fma(x - less, constant(x, "LOG2_E"), constant(x, "ROUNDER"))
    n = shifted - constant(x, "ROUNDER")
    near = fma(n, -constant(x, "LN2_HIGH"), x)
    away = fma(n, -constant(x, "LN2_LOW"), -less)
    r = near + away
    return r + fma(r * r, polynomial(r, "EXP_TERMS"), (near - r) + away), shifted


@inlined
def exp_reduced_as_needed(x: Any, less: Any) -> Any:
    """Return whichever keeps tanh and gelu within 2.5 ULP."""
    if is_double(x):
        return exp_reduced_closely(x, less)
    return exp_reduced(x, less)


@inlined
def exp(x: Any) -> Any:
    """Return e**x."""
    x = smaller(constant(x, "EXP_HIGHEST"), larger(constant(x, "EXP_LOWEST"), x))
    p, shifted = exp_reduced(x, ZERO)
    return scale_by(ONE + p, shifted)


@inlined
def exp2(x: Any) -> Any:
    """Return 2**x."""
    x = smaller(constant(x, "EXP2_HIGHEST"), larger(constant(x, "EXP2_LOWEST"), x))
    shifted = x + constant(x, "ROUNDER")
    r = (x - (shifted - constant(x, "ROUNDER"))) * constant(x, "LN2")
    return scale_by(ONE + fma(r * r, polynomial(r, "EXP_TERMS"), r), shifted)


@inlined
def expm1_below(x: Any) -> Any:
    """Return e**x - 1 for x <= 0: 2**n (exp(r) - 1) + (2**n - 1), which keeps what is small."""
    p, shifted = exp_reduced_as_needed(larger(-FORTY, x), ZERO)  # -1 from there on
    scale = power(shifted)
    return fma(scale, p, scale - ONE)


@inlined
def expm1(x: Any) -> Any:
    """Return e**x - 1."""
    p, shifted = exp_reduced_as_needed(smaller(constant(x, "EXP_HIGHEST"), larger(-FORTY, x)), ZERO)
    half = power(shifted - ONE)  # of 2**n, which may be beyond the largest number
    scale = TWO * half
    small, large = fma(scale, p, scale - ONE), TWO * fma(half, p, half - HALF)
    return select(x == ZERO, x, select(x < ONE, small, large))  # -0 stays what it is


@inlined
def cosh(x: Any) -> Any:
    """Return (e**x + e**-x) / 2."""
    half = _half_exp(magnitude(x))
    return half + QUARTER / half


@inlined
def sinh(x: Any) -> Any:
    """Return (e**x - e**-x) / 2."""
    a = magnitude(x)
    half, m = _half_exp(a), expm1(smaller(ONE, a))
    return with_sign(select(a < ONE, HALF * (m + m / (m + ONE)), half - QUARTER / half), x)


@inlined
def _half_exp(a: Any) -> Any:
    """Return exp(a) / 2 for a >= 0, infinite only where that is."""
    p, shifted = exp_reduced(smaller(constant(a, "EXP_HIGHEST") + ONE, a), ZERO)
    return scale_by(ONE + p, shifted - ONE)


@inlined
def log_near_one(f: Any, low: Any) -> Any:
    """Return log(1 + f) + low = f - (h - (s (h + R) + low)), s = f / (2 + f), h = f**2 / 2."""
    s, h = f / (TWO + f), f * f * HALF
    z = s * s
    return f - (h - fma(s, fma(z, polynomial(z, "LOG_TERMS"), h), low))


@inlined
def _log_of_mantissa(f: Any, low: Any) -> Any:
    """Return log(1 + f) + low for 1 + f from sqrt(1/2) to sqrt(2)."""
    if is_double(f):
        return log_near_one(f, low)
    square = f * f
    rest = fma(square * f, polynomial(f, "LOG_DIRECT_TERMS"), low)
    return f + fma(square, -HALF, rest)


@inlined
def log1p_of_unit(x: Any) -> Any:
    """Return log(1 + x) for 0 <= x <= 1: log(2) + log(1 + (x - 1) / 2) above 1/2."""
    upper = x > HALF
    f = select(upper, (x - ONE) * HALF, x)
    near = log_near_one(f, select(upper, constant(x, "LN2_LOW"), ZERO))
    return select(upper, constant(x, "LN2_HIGH"), ZERO) + near


@inlined
def _log_ends(x: Any, y: Any) -> Any:
    """Return y, but -infinity at 0, NaN below, and what is no number as it is."""
    y = select(x < INFINITY, y, x)
    return select(x <= ZERO, select(x == ZERO, -INFINITY, NAN), y)


@inlined
def _log_parts(x: Any) -> Any:
    """Return k and f for x = 2**k (1 + f), 1 + f from sqrt(1/2) to sqrt(2)."""
    denormal = x < constant(x, "SMALLEST_NORMAL")
    lifted = select(denormal, x * constant(x, "LIFT"), x)
    k = exponent(lifted) - select(denormal, constant(x, "LIFTED_BY"), ZERO)
    return k, mantissa(lifted) - ONE


@inlined
def log(x: Any) -> Any:
    """Return the natural logarithm."""
    k, f = _log_parts(x)
    near = _log_of_mantissa(f, k * constant(x, "LN2_LOW"))
    return _log_ends(x, k * constant(x, "LN2_HIGH") + near)


@inlined
def log2(x: Any) -> Any:
    """Return the logarithm to base 2, exact for powers of 2."""
    k, f = _log_parts(x)
    return _log_ends(x, fma(_log_of_mantissa(f, ZERO), constant(x, "LOG2_E"), k))


@inlined
def log10(x: Any) -> Any:
    """Return the logarithm to base 10."""
    y = log(x)
    more = fma(y, constant(x, "LOG10_E"), y * constant(x, "LOG10_E_LOW"))
    return select(magnitude(y) == INFINITY, y, more)


@inlined
def log1p(x: Any) -> Any:
    """Return log(1 + x), which keeps what is small."""
    u = ONE + x
    k = exponent(u)
    near = k == ZERO
    # Of what u lost to rounding a few digits will do: 1 / u is right to one in twenty.
    part = u - ONE
    lost = (ONE - (u - part)) + (x - part)
    lost *= roughly_inverse(smaller(LARGE, u))
    low = fma(k, constant(x, "LN2_LOW"), select(near, ZERO, lost))
    y = k * constant(x, "LN2_HIGH") + _log_of_mantissa(select(near, x, mantissa(u) - ONE), low)
    return with_sign(_log_ends(u, y), x)


@inlined
def logaddexp(a: Any, b: Any) -> Any:
    """Return log(exp(a) + exp(b))."""
    apart = select(a == b, ZERO, magnitude(a - b))  # of two infinities too
    return select(a > b, a, b) + log1p_of_unit(exp(-apart))


@inlined
def sigmoid(x: Any) -> Any:
    """Return 1 / (1 + exp(-x)), by exp(-|x|), which never overflows."""
    e = exp(-magnitude(x))
    return select(x < ZERO, e, ONE) / (ONE + e)


@inlined
def softplus(x: Any) -> Any:
    """Return log(1 + exp(x))."""
    return larger(ZERO, x) + log1p_of_unit(exp(-magnitude(x)))


@inlined
def tanh(x: Any) -> Any:
    """Return -m / (2 + m) = 1 - 2 (1 + m) / (2 + m) of |x|, m = exp(-2|x|) - 1."""
    m = expm1_below(-TWO * magnitude(x))
    upper = m < constant(x, "TWO_THIRDS_BELOW")
    quotient = select(upper, ONE + m, m) / (TWO + m)
    return with_sign(select(upper, fma(-TWO, quotient, ONE), -quotient), x)


@inlined
def _times(a: Any, b: Any) -> Any:
    """Return a * b, and what its rounding lost; where nothing is fused, by products of halves."""
    if FUSED:
        high = a * b
        return high, fma(a, b, -high)
    a_high, b_high = upper_half(a), upper_half(b)
    return a_high * b_high, (a - a_high) * b + a_high * (b - b_high)


@inlined
def _scale_any_by(x: Any, shifted: Any) -> Any:
    """Return x * 2**n for any x."""
    if SCALES:
        return scale_by(x, shifted)
    n = shifted - constant(x, "ROUNDER")
    lower = n * HALF + constant(x, "ROUNDER")
    upper = n - (lower - constant(x, "ROUNDER"))
    return x * power(lower) * power(upper + constant(x, "ROUNDER"))


@inlined
def normal_tail(x: Any, low: Any, factor: Any) -> Any:
    """Return factor * Phi(-t), Phi the normal distribution, and exp(-t**2 / 2), t = |x| + low."""
    a = smaller(constant(x, "TAIL_END"), magnitude(x))
    near = (a + constant(x, "TAIL_GRID")) - constant(x, "TAIL_GRID")
    d = (a - near) + low
    p, shifted = exp_reduced_as_needed(near * near * -HALF, (near + near + d) * d * HALF)
    q = (near - constant(x, "TAIL_CENTRE")) / (near + constant(x, "TAIL_CENTRE"))
    above, below = polynomial(q, "TAIL_TERMS"), ONE + near * constant(x, "TAIL_SLOPE")
    w = above / below
    first = fma(near, w, -constant(x, "INVERSE_SQRT_2PI"))
    second = fma(near, first, w)
    tail, left = _times(w, factor)
    if is_double(x) or not FUSED:
        # More is lost there: what the quotient lost, lost w / above, where above is near 0.4.
        product, rest = _times(w, below)
        left = fma(((above - product) - rest) * w * FIVE_HALVES, factor, left)
    change = fma(d * fma(d * HALF, second, first), factor, left)
    return (
        _scale_any_by(tail + fma(p, tail, fma(p, change, change)), shifted),
        scale_by(ONE + p, shifted),
    )


@inlined
def normal_cdf(x: Any) -> Any:
    """Return the share of the normal distribution below x."""
    tail, _ = normal_tail(x, -ZERO, ONE)
    return select(x < ZERO, tail, ONE - tail)


@inlined
def _erf_within(x: Any) -> Any:
    """Return erf(x) for |x| up to 1/2 and a little."""
    z = x * x
    return fma(x, fma(z, polynomial(z, "ERF_TERMS"), constant(x, "ERF_SLOPE")), x)


@inlined
def erf(x: Any) -> Any:
    """Return the error function: 1 - 2 Phi(-sqrt(2) x) for x > 1/2."""
    a = magnitude(x)
    tail, _ = normal_tail(a * constant(x, "SQRT_2"), -ZERO, TWO)
    return select(a < HALF, _erf_within(x), with_sign(ONE - tail, x))


@inlined
def erfc(x: Any) -> Any:
    """Return 1 - erf(x), which keeps what is small: 2 Phi(-sqrt(2) x) for x > 1/2."""
    a = smaller(constant(x, "TAIL_END"), magnitude(x))
    t, left = _times(a, constant(x, "SQRT_2"))
    tail, _ = normal_tail(t, fma(a, constant(x, "SQRT_2_LOW"), left), TWO)
    outside = select(x < ZERO, TWO - tail, tail)
    return select(a < HALF, ONE - _erf_within(x), outside)
