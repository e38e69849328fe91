"""The numbers of `fastnn.backends.jit.vecmath`: each a pair, for float32 and for float64.

They are those of the C core, so both are off by the same; `docs/vecmath.md` of the project tells
how they were found.
"""

from __future__ import annotations

import math

Pair = tuple[float, float]
Terms = tuple[tuple[float, ...], tuple[float, ...]]


def _parsed(float32: str, float64: str) -> Terms:
    """Read two lists of hexadecimal floats."""
    return (
        tuple(float.fromhex(number) for number in float32.split()),
        tuple(float.fromhex(number) for number in float64.split()),
    )


def _pair(float32: str, float64: str) -> Pair:
    return float.fromhex(float32), float.fromhex(float64)


def _both(value: float) -> Pair:
    return value, value


# (exp(r) - 1 - r) / r**2 for |r| <= log(2) / 2
EXP_TERMS = _parsed(
    "0x1.fffffcp-2 0x1.55548cp-3 0x1.5558a6p-5 0x1.123cfap-7 0x1.6a36a2p-10",
    "0x1.000000000000ap-1 0x1.5555555555502p-3 0x1.55555555504fbp-5 0x1.111111111ff16p-7 "
    "0x1.6c16c18534b91p-10 0x1.a01a016cd1c9bp-13 0x1.a019969755c02p-16 0x1.71de6339fc3c2p-19 "
    "0x1.28b11cdd1f028p-22 0x1.aef220015f4f8p-26",
)
# (2 atanh(s) / s - 2) / s**2 in s**2, for |s| <= 0.2
LOG_TERMS = _parsed(
    "0x1.555554p-1 0x1.999c0cp-2 0x1.23e044p-2 0x1.ee9f24p-3",
    "0x1.555555555577dp-1 0x1.99999998eec52p-2 0x1.249249b39276dp-2 0x1.c71c0073af721p-3 "
    "0x1.74750a081ea2cp-3 0x1.384fb6875720fp-3 0x1.3ad6dc08b7079p-3",
)
# (log(1 + f) - f + f**2 / 2) / f**3 for 1 + f from sqrt(1/2) to sqrt(2), where no division may be,
# which costs as much as all the rest; float64 would need too many of them.
LOG_DIRECT_TERMS = _parsed(
    "0x1.555552p-2 -0x1.000238p-2 0x1.99a132p-3 -0x1.546f34p-3 0x1.22c28cp-3 -0x1.0d88e2p-3 "
    "0x1.05ee74p-3 -0x1.3a035ep-4",
    "0x0p0",
)
# (sin(r) / r - 1) / r**2 in r**2, for |r| <= pi / 4
SIN_TERMS = _parsed(
    "-0x1.555546p-3 0x1.110776p-7 -0x1.995302p-13",
    "-0x1.5555555555548p-3 0x1.111111110f73p-7 -0x1.a01a019be9fdep-13 0x1.71de3556b3adap-19 "
    "-0x1.ae5e4c92ff731p-26 0x1.5d8b5e762709ep-33",
)
# (cos(r) - 1 + r**2 / 2) / r**4 in r**2, for |r| <= pi / 4
COS_TERMS = _parsed(
    "0x1.55554ap-5 -0x1.6c0c28p-10 0x1.99e82ap-16",
    "0x1.555555555554bp-5 -0x1.6c16c16c1500dp-10 0x1.a01a019c8dd2ep-16 -0x1.27e4f7f051963p-22 "
    "0x1.1ee9daccebda6p-29 -0x1.8fa5ed633d1cbp-37",
)
# (1 + TAIL_SLOPE t) Phi(-t) exp(t**2 / 2) in (t - TAIL_CENTRE) / (t + TAIL_CENTRE), t >= 0
TAIL_TERMS = _parsed(
    "0x1.98f01ep-2 -0x1.ea4fd8p-4 0x1.7023fap-6 0x1.4d8378p-6 -0x1.2c4b7ep-6 0x1.37f33ep-8 "
    "0x1.56f5c8p-10 -0x1.c348dep-11 -0x1.6634b6p-13 0x1.01bedep-13 0x1.599abcp-15",
    "0x1.8dfb00fedb7c2p-2 -0x1.9f46d1c91b35bp-4 0x1.822e31790b5e3p-5 -0x1.d8ede4135f61fp-8 "
    "-0x1.94202c2f467bbp-7 0x1.fa5926e1a4fd8p-7 -0x1.5b1b991709bf7p-7 0x1.3ce9b6ad73e8fp-8 "
    "-0x1.593a63b4f5231p-10 0x1.0a6098b83ae3cp-15 0x1.1dee2a0d8275bp-13 "
    "-0x1.6af87c81a8be6p-15 -0x1.c5d34c5ef3c39p-18 0x1.dcafeb2018d6bp-18 "
    "-0x1.8c68e79414798p-23 -0x1.104a28404032bp-20 0x1.f8bdcbcc110bcp-24 "
    "0x1.4747261a74fbcp-23 -0x1.80a9f8d562aebp-26 -0x1.a20203c2d6a51p-26 "
    "0x1.5e2a7ab581001p-29 0x1.d3606475a9277p-29 -0x1.6be8b86e5f386p-35 "
    "-0x1.fa49eda989675p-33",
)
# (erf(x) / x - 2 / sqrt(pi)) / x**2 in x**2, for |x| <= 1/2
ERF_TERMS = _parsed(
    "-0x1.812746p-2 0x1.ce2eacp-4 -0x1.b81302p-6 0x1.53d95cp-8 -0x1.86f772p-11",
    "-0x1.812746b0379e7p-2 0x1.ce2f21a042c30p-4 -0x1.b82ce31289c6fp-6 0x1.565bcd0dd4108p-8 "
    "-0x1.c02db353e8bb1p-11 0x1.f9a2de13a2808p-14 -0x1.f4c2141a33e4bp-17 "
    "0x1.b7dd2d7f5e4dcp-20 -0x1.3ca48950ae4a4p-23",
)

ROUNDER = (1.5 * 2.0**23, 1.5 * 2.0**52)
LOG2_E = _both(1 / math.log(2))
# log(2) in two parts, the first so short that n times it is exact for the n of exp and log.
LN2_HIGH = _pair("0x1.62e4p-1", "0x1.62e42fefa38p-1")
LN2_LOW = _pair("0x1.7f7d1cp-20", "0x1.ef35793c7673p-45")
LN2 = _both(math.log(2))
# log10(e) in two parts.
LOG10_E = _pair("0x1.bcb7b20000000p-2", "0x1.bcb7b1526e50ep-2")
LOG10_E_LOW = _pair("-0x1.5b235e0000000p-27", "0x1.95355baaafad3p-57")
# Beyond these, exp is 0 and infinite, and so is 2**x.
EXP_LOWEST = (-104.0, -746.0)
EXP_HIGHEST = (89.0, 710.0)
EXP2_LOWEST = (-151.0, -1076.0)
EXP2_HIGHEST = (128.0, 1024.0)
TWO_THIRDS_BELOW = _both(-2 / 3)
# Beyond this, Phi(-t) is 0.
TAIL_END = (14.5, 38.8)
TAIL_CENTRE = (3.25, 5.0)
TAIL_SLOPE = (0.775390625, 0.810546875)
TAIL_GRID = (1.5 * 2.0**15, 1.5 * 2.0**32)
INVERSE_SQRT_2PI = _both(0.39894228040143267794)
# The square root of 2 in two parts.
SQRT_2 = _pair("0x1.6a09e6p0", "0x1.6a09e667f3bcdp0")
SQRT_2_LOW = _pair("0x1.9fcef4p-26", "-0x1.bdd3413b26456p-54")
SQRT_HALF = _both(math.sqrt(0.5))
# 2 / sqrt(pi) - 1
ERF_SLOPE = _both(0.12837916709551257390)
# The smallest normal number, and what makes a normal one of every other.
SMALLEST_NORMAL = (2.0**-126, 2.0**-1022)
LIFT = (2.0**24, 2.0**54)
LIFTED_BY = (24.0, 54.0)
TWO_OF_PI = _both(2 / math.pi)
# pi / 2 in three parts. Without a fused product the first two are short, so that n times them is
# exact.
HALF_PI = (
    _pair("0x1.921fb6p0", "0x1.921fb54442d18p0"),
    _pair("-0x1.777a5cp-25", "0x1.1a62633145c07p-54"),
    _pair("-0x1.ee59dap-50", "-0x1.f1976b7ed8fbcp-110"),
)
SHORT_HALF_PI = (
    _pair("0x1.921ep0", "0x1.921fb5444p0"),
    _pair("0x1.b544p-16", "0x1.68c234c4cp-39"),
    _pair("0x1.0b4612p-34", "0x1.98a2e03707345p-77"),
)
