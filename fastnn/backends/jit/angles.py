"""Sine and cosine in Numba, for float32 and float64: those of the C core, bit for bit.

`near_sin` and `near_cos` have no branch, and are right up to `limit`. Beyond it `sin` and `cos` ask
the C library, where a longer pi / 2 is needed. LLVM makes no vectors of a loop in which one element
may go another way than the next; but where a function that is called says what does the same for
several numbers, as vector libraries of C do, it calls that. `sin` and `cos` are such functions.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from fastnn.backends.jit import coefficients
from fastnn.backends.jit.instructions import (
    FUSED,
    WIDE,
    bits_of,
    call,
    emitted,
    fused,
    horner,
    integer_of,
    number,
)

__all__ = ["cos", "limit", "near_cos", "near_sin", "sin"]

LIMIT = (1e5, 1e9) if FUSED else (200.0, 5e4)
HALF_PI = coefficients.HALF_PI if FUSED else coefficients.SHORT_HALF_PI

# The vectors that LLVM may take: the widest, or the next.
BYTES = (64, 32) if WIDE else (32, 16)

# What LLVM is told of `sin` and `cos`: they do nothing but compute. Put in their place before there
# are vectors, they would be a branch.
PURE = ("noinline", "nounwind", "willreturn", "memory(none)")


def _emit_near(builder: Any, x: Any, turns: int) -> Any:
    """Return sin(x + turns pi / 2), turns 0 or 1, by |x| = n pi / 2 + r: see `vecmath.inc`.

    x is a number or a vector.
    """
    real, bits, integer = x.type, bits_of(x.type), integer_of(x.type)
    wide = bits == 64
    a = call(builder, "fabs", x)
    rounder = number(real, coefficients.ROUNDER[wide])
    shifted = fused(builder, a, number(real, coefficients.TWO_OF_PI[wide]), rounder)
    n, r = builder.fsub(shifted, rounder), a
    for part in HALF_PI:
        r = fused(builder, n, number(real, -part[wide]), r)
    z = builder.fmul(r, r)
    sin_r = fused(builder, builder.fmul(r, z), horner(builder, z, coefficients.SIN_TERMS), r)
    rest = builder.fsub(number(real, 1.0), builder.fmul(z, number(real, 0.5)))
    cos_r = fused(builder, builder.fmul(z, z), horner(builder, z, coefficients.COS_TERMS), rest)
    quarter = builder.add(builder.bitcast(shifted, integer), number(integer, turns))
    odd = builder.trunc(quarter, _flags(real))
    flips = builder.shl(quarter, number(integer, bits - 2))
    if not turns:
        flips = builder.xor(flips, builder.bitcast(x, integer))
    y = builder.bitcast(builder.select(odd, cos_r, sin_r), integer)
    sign = builder.and_(flips, number(integer, -1 << bits - 1))
    return builder.bitcast(builder.xor(y, sign), real)


def _flags(real: ir.Type) -> ir.Type:
    flag = ir.IntType(1)
    return ir.VectorType(flag, real.count) if isinstance(real, ir.VectorType) else flag


@intrinsic
def limit(typing: Any, x: Any) -> Any:
    """Return the largest argument, in the dtype of x, for `near_sin` and `near_cos`."""
    return x(x), emitted(lambda builder, value: number(value.type, _limit(value.type)))


def _limit(real: ir.Type) -> float:
    return LIMIT[bits_of(real) == 64]


@intrinsic
def near_sin(typing: Any, x: Any) -> Any:
    """Return the sine for |x| up to limit."""
    return x(x), emitted(lambda builder, value: _emit_near(builder, value, 0))


@intrinsic
def near_cos(typing: Any, x: Any) -> Any:
    """Return the cosine for |x| up to limit."""
    return x(x), emitted(lambda builder, value: _emit_near(builder, value, 1))


def _anywhere(name: str, turns: int) -> Any:
    """Return the function for any argument: a call in compiled code, of what stands beside it."""

    def emit(builder: Any, x: Any) -> Any:
        return builder.call(_defined(builder.module, name, x.type, turns), [x])

    @intrinsic
    def called(typing: Any, x: Any) -> Any:
        return x(x), emitted(emit)

    return called


def _defined(module: Any, name: str, real: ir.Type, turns: int) -> ir.Function:
    """Define the function of one number in a module, and those of several."""
    symbol = f"fastnn_{name}_float{bits_of(real)}"
    if symbol in module.globals:
        return module.globals[symbol]
    function, builder, (x,) = _function(module, symbol, real)
    near = builder.fcmp_unordered("<=", call(builder, "fabs", x), number(real, _limit(real)))
    with builder.if_then(near, likely=True):
        builder.ret(_emit_near(builder, x, turns))
    double = ir.DoubleType()
    far = call(builder, name, x if real == double else builder.fpext(x, double))
    builder.ret(far if real == double else builder.fptrunc(far, real))
    variants = {
        width: _several(function, width, turns)
        for width in (size * 8 // bits_of(real) for size in BYTES)
    }
    mappings = ",".join(f"_ZGV_LLVM_N{n}v_{symbol}({v.name})" for n, v in variants.items())
    for attribute in (*PURE, f'"vector-function-abi-variant"="{mappings}"'):
        set.add(function.attributes, attribute)  # llvmlite knows few of them by name
    return function


def _function(module: Any, name: str, real: ir.Type) -> tuple[ir.Function, ir.IRBuilder, Any]:
    """Begin a function of one argument, which gives its type."""
    function = ir.Function(module, ir.FunctionType(real, [real]), name)
    # The same in every module, and no pass may drop it before there are calls of it.
    function.linkage = "weak_odr"
    return function, ir.IRBuilder(function.append_basic_block()), function.args


def _several(one: ir.Function, count: int, turns: int) -> ir.Function:
    """Define what does the same for so many numbers: one by one where any is beyond the limit."""
    vector = ir.VectorType(one.ftype.return_type, count)
    function, builder, (x,) = _function(one.module, f"{one.name}_x{count}", vector)
    size = call(builder, "fabs", x)
    beyond = builder.fcmp_ordered(">", size, number(vector, _limit(vector)))
    mask = ir.IntType(count)
    none = builder.icmp_signed("==", builder.bitcast(beyond, mask), ir.Constant(mask, 0))
    with builder.if_then(none, likely=True):
        builder.ret(_emit_near(builder, x, turns))
    y = x
    for k in range(count):
        lane = ir.Constant(ir.IntType(32), k)
        value = builder.call(one, [builder.extract_element(x, lane)])
        y = builder.insert_element(y, value, lane)
    builder.ret(y)
    return function


sin = _anywhere("sin", 0)
cos = _anywhere("cos", 1)
