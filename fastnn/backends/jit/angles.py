"""Sine and cosine in Numba, for float32 and float64: those of the C core, bit for bit.

`near_sin` and `near_cos` have no branch, and are right up to `limit`. Beyond it `sin` and `cos` ask
the C library, where a longer pi / 2 is needed. LLVM makes no vectors of a loop in which one element
may go another way than the next; but where a function that is called says what does the same for
several numbers, as vector libraries of C do, it calls that. `sin` and `cos` are such functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba.extending import intrinsic

from fastnn.backends.jit import coefficients
from fastnn.backends.jit.instructions import (
    FUSED,
    INLINE,
    WIDE,
    bits_of,
    call,
    emitted,
    fused,
    horner,
    integer_of,
    like,
    magnitude,
    number,
)

__all__ = ["cos", "limit", "near_cos", "near_sin", "sin"]

LIMIT = (1e5, 1e9) if FUSED else (200.0, 5e4)
HALF_PI = coefficients.HALF_PI if FUSED else coefficients.SHORT_HALF_PI

# The vectors that LLVM may take: the widest, or the next.
BYTES = (64, 32) if WIDE else (32, 16)

# What LLVM is told of `sin` and `cos` as functions of C: they do nothing but compute.
PURE = ("nounwind", "willreturn", "memory(none)")
OPTIONS = {key: value for key, value in INLINE.items() if key != "forceinline"}


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


@intrinsic  # type: ignore[untyped-decorator]
def limit(typing: Any, x: Any) -> Any:
    """Return the largest argument, in the dtype of x, for `near_sin` and `near_cos`."""
    return x(x), emitted(lambda builder, value: number(value.type, _limit(value.type)))


def _limit(real: ir.Type) -> float:
    return LIMIT[bits_of(real) == 64]


@intrinsic  # type: ignore[untyped-decorator]
def near_sin(typing: Any, x: Any) -> Any:
    """Return the sine for |x| up to limit."""
    return x(x), emitted(lambda builder, value: _emit_near(builder, value, 0))


@intrinsic  # type: ignore[untyped-decorator]
def near_cos(typing: Any, x: Any) -> Any:
    """Return the cosine for |x| up to limit."""
    return x(x), emitted(lambda builder, value: _emit_near(builder, value, 1))


def _anywhere(name: str, near: Any, far: Callable[[float], float], turns: int) -> Any:
    """Return the function for any argument."""

    def one(x: Any) -> Any:
        return like(x, far(np.float64(x))) if magnitude(x) > limit(x) else near(x)

    kept = []  # what is compiled lives as long as this process

    @cache
    def symbol(real: Any) -> str:
        """Compile it for a dtype as a function of C, and tell LLVM where it is."""
        code = numba.cfunc(real(real), **OPTIONS)(one)
        kept.append(code)
        binding.add_symbol(f"fastnn_{name}_{real}", code.address)
        return f"fastnn_{name}_{real}"

    def generate(builder: Any, x: Any, real: Any) -> Any:
        function = _declared(builder.module, symbol(real), x.type, turns)
        return builder.call(function, [x])

    @intrinsic  # type: ignore[untyped-decorator]
    def called(typing: Any, x: Any) -> Any:
        return x(x), emitted(lambda builder, value: generate(builder, value, x))

    return called


def _declared(module: Any, name: str, real: ir.Type, turns: int) -> ir.Function:
    """Declare the function of one number in a module, and define those of several."""
    if name in module.globals:
        return module.globals[name]
    function = ir.Function(module, ir.FunctionType(real, [real]), name)
    variants = {
        width: _several(function, width, turns)
        for width in (size * 8 // bits_of(real) for size in BYTES)
    }
    mappings = ",".join(f"_ZGV_LLVM_N{n}v_{name}({v.name})" for n, v in variants.items())
    for attribute in (*PURE, f'"vector-function-abi-variant"="{mappings}"'):
        set.add(function.attributes, attribute)  # llvmlite knows few of them by name
    return function


def _several(one: ir.Function, count: int, turns: int) -> ir.Function:
    """Define what does the same for so many numbers: one by one where any is beyond the limit."""
    vector = ir.VectorType(one.ftype.return_type, count)
    kind = ir.FunctionType(vector, [vector])
    function = ir.Function(one.module, kind, f"{one.name}_x{count}")
    function.linkage = "weak_odr"  # no pass may drop it before there are calls of it
    builder = ir.IRBuilder(function.append_basic_block())
    (x,) = function.args
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


sin = _anywhere("sin", near_sin, math.sin, 0)
cos = _anywhere("cos", near_cos, math.cos, 1)
