"""What Python does not say of a float: one instruction each, by LLVM, for float32 and float64.

None of them branches, so that LLVM makes vectors of the loops in which they stand.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import njit, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from fastnn.backends.jit import coefficients

__all__ = [
    "ARM",
    "FASTMATH",
    "FUSED",
    "INLINE",
    "TRIPLE",
    "WIDE",
    "constant",
    "exponent",
    "fma",
    "has",
    "inlined",
    "is_double",
    "larger",
    "like",
    "magnitude",
    "mantissa",
    "polynomial",
    "power",
    "root",
    "roughly_inverse",
    "scale_by",
    "select",
    "smaller",
    "upper_half",
    "with_sign",
]

# What LLVM may do beyond IEEE 754: nothing. `nnan` and `ninf` break NaN, `nsz` the sign of 0, and
# with `reassoc` or `contract` the bits of a value would depend on whether it falls into the vectors
# of a loop or into what is left over. What is to be fused says `fma`.
FASTMATH = False

# How a function is compiled that vanishes into others: nothing that Python or C could call is made.
INLINE = {
    "forceinline": True,
    "error_model": "numpy",
    "fastmath": FASTMATH,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
}

TRIPLE, _CPU, _FEATURES = cpu_target.target_context.codegen().magic_tuple()


def has(feature: str) -> bool:
    """Tell whether LLVM may use a feature of the processor, by its name there."""
    return f"+{feature}," in f"{_FEATURES},"


ARM = TRIPLE.startswith(("aarch64", "arm64"))

# Whether the processor multiplies and adds in one instruction, rounding once.
FUSED = has("fma") or ARM

# Whether it has vectors of 64 bytes.
WIDE = has("avx512f")

# Whether it scales by powers of two in one instruction, and LLVM knows.
SCALES = WIDE and binding.llvm_version_info >= (20, 0, 0)

MANTISSA_BITS = {32: 23, 64: 52}
BIAS = {32: 127, 64: 1023}


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function so that it vanishes into whoever calls it."""
    return njit(**INLINE)(function)


def widest(*arguments: Any) -> Any:
    """Return float64 where one of the arguments is one, else float32."""
    return types.float64 if types.float64 in arguments else types.float32


def bits_of(real: ir.Type) -> int:
    """Return the bits of a float, or of each of a vector."""
    return 64 if isinstance(getattr(real, "element", real), ir.DoubleType) else 32


def integer_of(real: ir.Type) -> ir.Type:
    """Return the whole number of the same size, or a vector of as many."""
    integer = ir.IntType(bits_of(real))
    return ir.VectorType(integer, real.count) if isinstance(real, ir.VectorType) else integer


def number(kind: ir.Type, value: float) -> ir.Constant:
    """Return a constant of a type, which is that of all elements where it is a vector."""
    if isinstance(kind, ir.VectorType):
        return ir.Constant(kind, [ir.Constant(kind.element, value)] * kind.count)
    return ir.Constant(kind, value)


def rounder(bits: int) -> float:
    """Return 1.5 * 2**MANTISSA_BITS: added, it leaves the nearest whole number in the last bits."""
    return 1.5 * 2.0 ** MANTISSA_BITS[bits]


def pattern(value: float, real: ir.Type) -> int:
    """Return the bits of a float as a whole number."""
    dtype = (np.float32, np.int32) if bits_of(real) == 32 else (np.float64, np.int64)
    return int(dtype[0](value).view(dtype[1]))


def call(builder: Any, name: str, *values: Any) -> Any:
    """Call an intrinsic of LLVM whose values all have the type of the first, and which gives it."""
    real = values[0].type
    lanes = f"v{real.count}" if isinstance(real, ir.VectorType) else ""
    name = f"llvm.{name}.{lanes}f{bits_of(real)}"
    kind = ir.FunctionType(real, [value.type for value in values])
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, kind, name)
    return builder.call(function, values)


def horner(builder: Any, x: Any, terms: tuple[tuple[float, ...], tuple[float, ...]]) -> Any:
    """Return c[0] + c[1] x + c[2] x**2 + ... by Horner's rule."""
    *rest, total = (number(x.type, c) for c in terms[bits_of(x.type) == 64])
    for c in reversed(rest):
        total = fused(builder, total, x, c)
    return total


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    if FUSED:
        return call(builder, "fma", a, b, c)
    return builder.fadd(builder.fmul(a, b), c)


def emitted(emit: Callable[..., Any]) -> Callable[..., Any]:
    """Return the code generator of an intrinsic: `emit` gets the builder and the values."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return emit(builder, *values)

    return generate


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once where the processor does that, else twice."""
    real = widest(a, b, c)
    return real(real, real, real), emitted(fused)


@intrinsic
def select(typing: Any, condition: Any, a: Any, b: Any) -> Any:
    """Return a where the condition holds, else b; both are computed."""
    real = widest(a, b)
    emit = emitted(lambda builder, c, x, y: builder.select(c, x, y))
    return real(types.boolean, real, real), emit


@intrinsic
def larger(typing: Any, a: Any, b: Any) -> Any:
    """Return a > b ? a : b, which is b where one is NaN."""

    def emit(builder: Any, x: Any, y: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", x, y), x, y)

    real = widest(a, b)
    return real(real, real), emitted(emit)


@intrinsic
def smaller(typing: Any, a: Any, b: Any) -> Any:
    """Return a < b ? a : b, which is b where one is NaN."""

    def emit(builder: Any, x: Any, y: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", x, y), x, y)

    real = widest(a, b)
    return real(real, real), emitted(emit)


@intrinsic
def magnitude(typing: Any, x: Any) -> Any:
    """Return |x|."""
    return x(x), emitted(lambda builder, value: call(builder, "fabs", value))


@intrinsic
def with_sign(typing: Any, x: Any, of: Any) -> Any:
    """Return |x| with the sign of another."""
    return x(x, x), emitted(lambda builder, a, b: call(builder, "copysign", a, b))


@intrinsic
def like(typing: Any, x: Any, value: Any) -> Any:
    """Return a number in the dtype of x."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return context.cast(builder, values[1], signature.args[1], signature.return_type)

    return x(x, value), generate


@intrinsic
def root(typing: Any, x: Any) -> Any:
    """Return the square root."""
    return x(x), emitted(lambda builder, value: call(builder, "sqrt", value))


@intrinsic
def is_double(typing: Any, x: Any) -> Any:
    """Return whether x is a float64: a constant of the compiled code."""
    wide = x == types.float64
    return types.boolean(x), emitted(lambda builder, value: ir.Constant(ir.IntType(1), wide))


@intrinsic(prefer_literal=True)
def constant(typing: Any, x: Any, name: Any) -> Any:
    """Return the constant of `coefficients` with this name, in the dtype of x."""
    pair = getattr(coefficients, name.literal_value)

    def emit(builder: Any, value: Any, _: Any) -> Any:
        return ir.Constant(value.type, pair[bits_of(value.type) == 64])

    return x(x, name), emitted(emit)


@intrinsic(prefer_literal=True)
def polynomial(typing: Any, x: Any, name: Any) -> Any:
    """Return c[0] + c[1] x + c[2] x**2 + ... of `coefficients`, for a table of `coefficients`."""
    terms = getattr(coefficients, name.literal_value)
    return x(x, name), emitted(lambda builder, value, _: horner(builder, value, terms))


def _whole(builder: Any, shifted: Any) -> Any:
    """Return the whole number n in the last bits of n + ROUNDER."""
    integer = integer_of(shifted.type)
    zero = ir.Constant(integer, pattern(rounder(bits_of(shifted.type)), shifted.type))
    return builder.sub(builder.bitcast(shifted, integer), zero)


@intrinsic
def power(typing: Any, shifted: Any) -> Any:
    """Return 2**n for a normal result; shifted is n + ROUNDER."""

    def emit(builder: Any, value: Any) -> Any:
        bits, integer = bits_of(value.type), integer_of(value.type)
        moved = builder.shl(
            builder.bitcast(value, integer), ir.Constant(integer, MANTISSA_BITS[bits])
        )
        one = ir.Constant(integer, pattern(1.0, value.type))
        return builder.bitcast(builder.add(moved, one), value.type)

    return shifted(shifted), emitted(emit)


def _ldexp(builder: Any, x: Any, whole: Any) -> Any:
    word = ir.IntType(32)
    exponent = whole if whole.type == word else builder.trunc(whole, word)
    name = f"llvm.ldexp.f{bits_of(x.type)}.i32"
    kind = ir.FunctionType(x.type, [x.type, word])
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(function, [x, exponent])


def _scale_by(builder: Any, x: Any, shifted: Any) -> Any:
    whole, bits, integer = _whole(builder, shifted), bits_of(x.type), integer_of(x.type)
    if SCALES:
        return _ldexp(builder, x, whole)
    # By two powers: first as far down as the result is normal, which is exact, then by the rest,
    # which rounds. Upwards the last doubling is left to the second.
    least = ir.Constant(integer, 3 - BIAS[bits])
    first = builder.select(builder.icmp_signed(">", whole, least), whole, least)
    rest = builder.sub(whole, first)

    def moved(exponent: Any, more: int) -> Any:
        biased = builder.add(exponent, ir.Constant(integer, BIAS[bits] + more))
        shift = ir.Constant(integer, MANTISSA_BITS[bits])
        return builder.bitcast(builder.shl(biased, shift), x.type)

    return builder.fmul(builder.fmul(x, moved(first, -1)), moved(rest, 1))


@intrinsic
def scale_by(typing: Any, x: Any, shifted: Any) -> Any:
    """Return x * 2**n, rounded once, n of an exponential; shifted is n + ROUNDER."""
    return x(x, x), emitted(_scale_by)


@intrinsic
def exponent(typing: Any, x: Any) -> Any:
    """Return the whole number k of a normal x = 2**k m > 0, m from sqrt(1/2) to sqrt(2)."""

    def emit(builder: Any, value: Any) -> Any:
        real, bits, integer = value.type, bits_of(value.type), integer_of(value.type)
        k = builder.ashr(_above_root(builder, value), ir.Constant(integer, MANTISSA_BITS[bits]))
        # No conversion of whole numbers: AVX2 has none for those of 64 bits.
        zero = ir.Constant(integer, pattern(rounder(bits), real))
        return builder.fsub(
            builder.bitcast(builder.add(k, zero), real), ir.Constant(real, rounder(bits))
        )

    return x(x), emitted(emit)


@intrinsic
def mantissa(typing: Any, x: Any) -> Any:
    """Return the m of x = 2**k m; see exponent."""

    def emit(builder: Any, value: Any) -> Any:
        bits, integer = bits_of(value.type), integer_of(value.type)
        above = ir.Constant(integer, -1 << MANTISSA_BITS[bits])
        lifted = builder.and_(_above_root(builder, value), above)
        return builder.bitcast(builder.sub(builder.bitcast(value, integer), lifted), value.type)

    return x(x), emitted(emit)


def _above_root(builder: Any, x: Any) -> Any:
    """Return the bits of x less those of sqrt(1/2): the exponent changes where x passes it."""
    integer = integer_of(x.type)
    root_half = ir.Constant(integer, pattern(coefficients.SQRT_HALF[bits_of(x.type) == 64], x.type))
    return builder.sub(builder.bitcast(x, integer), root_half)


@intrinsic
def upper_half(typing: Any, x: Any) -> Any:
    """Return the upper half of the digits of x: a product of two such is exact."""

    def emit(builder: Any, value: Any) -> Any:
        integer = integer_of(value.type)
        mask = ir.Constant(integer, -1 << (MANTISSA_BITS[bits_of(value.type)] + 2) // 2)
        upper = builder.and_(builder.bitcast(value, integer), mask)
        return builder.bitcast(upper, value.type)

    return x(x), emitted(emit)


@intrinsic
def roughly_inverse(typing: Any, x: Any) -> Any:
    """Return 1 / x for a normal x > 0, to one in twenty: as logarithms, bits only change sign."""

    def emit(builder: Any, value: Any) -> Any:
        integer = integer_of(value.type)
        bits = 0x7EF311C7 if bits_of(value.type) == 32 else 0x7FDE6238502484BA
        inverse = builder.sub(ir.Constant(integer, bits), builder.bitcast(value, integer))
        return builder.bitcast(inverse, value.type)

    return x(x), emitted(emit)
