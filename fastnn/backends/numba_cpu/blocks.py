"""Blocks of numbers on the stack, through which matrices go.

A row may be long or short, and lie anywhere: over another one, where a kernel works in place. In a
block the numbers stand one behind the other and overlap nothing, so that a loop over it becomes
vectors without a check, and with nothing left over: it goes on to the next multiple of LANES.

What moves numbers between matrices and blocks is compiled once, not into every kernel: kernels know
it by the name of a symbol.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastnn.backends.numba_cpu.memory import INLINED, Reals, row, vector

__all__ = [
    "BLOCK",
    "LANES",
    "NARROW",
    "ROWS",
    "SYMBOLS",
    "TURNED",
    "by_symbol",
    "get",
    "put",
    "symbol",
    "turn",
    "turn_back",
    "whole",
]

BLOCK = 512  # numbers: some of these fit into the first-level cache
LANES = 32  # a multiple of the lanes of all vectors
# Rows of at most so many columns are worked on together, this many at a time: each in a lane.
NARROW, ROWS = 32, 64
TURNED = NARROW * ROWS

ZERO = np.float32(0)


@numba.njit(**INLINED)  # type: ignore[untyped-decorator]
def whole(n: int) -> int:
    """Return n, rounded up to a multiple of LANES."""
    return (n + (LANES - 1)) & -LANES


def get_block(block: Reals, X: Reals, ldX: int, O: int, first: int, n: int) -> None:
    """Set the first n of a block to those of X (.., O) from the flat index `first` on."""
    b = vector(block, whole(n))
    r, o, at = first // O, first % O, 0
    while at < n:
        m = min(O - o, n - at)
        x = row(X, ldX, r, O)
        for k in range(m):
            b[at + k] = x[o + k]
        at, r, o = at + m, r + 1, 0
    for k in range(n, whole(n)):
        b[k] = ZERO


def put_block(
    Y: Reals, ldY: int, O: int, first: int, n: int, block: Reals, accumulate: int
) -> None:
    """Set Y (.., O) from the flat index `first` on to the first n of a block, or add them."""
    b = vector(block, n)
    r, o, at = first // O, first % O, 0
    while at < n:
        m = min(O - o, n - at)
        y = row(Y, ldY, r, O)
        if accumulate:
            for k in range(m):
                y[o + k] += b[at + k]
        else:
            for k in range(m):
                y[o + k] = b[at + k]
        at, r, o = at + m, r + 1, 0


def turn_block(block: Reals, X: Reals, ldX: int, first: int, rows: int, O: int) -> None:
    """Set row j of a block, whose rows are whole, to column j of X, of `rows` rows from `first`."""
    R = whole(rows)
    b = vector(block, R * O)
    for r in range(rows):
        x = row(X, ldX, first + r, O)
        for j in range(O):
            b[j * R + r] = x[j]
    for j in range(O):
        for k in range(rows, R):
            b[j * R + k] = ZERO


def turn_block_back(Y: Reals, ldY: int, first: int, rows: int, O: int, block: Reals) -> None:
    """Set `rows` rows of Y from `first` on to the columns of such a block."""
    R = whole(rows)
    b = vector(block, R * O)
    for r in range(rows):
        y = row(Y, ldY, first + r, O)
        for j in range(O):
            y[j] = b[j * R + r]


# What every kernel may call by its symbol: it has to be there before a kernel is loaded.
SYMBOLS = (get_block, put_block, turn_block, turn_block_back)


def symbol(function: str, dtype: str) -> str:
    """Return the name of the symbol of a function for a dtype."""
    return f"fastnn_{function}_{dtype}"


def by_symbol(function: str, arguments: Any) -> Any:
    """Return the signature of a call of a function by its symbol, and what makes its code.

    Arrays may stand for blocks.
    """
    arguments = tuple(types.unliteral(kind) for kind in arguments)
    (dtype,) = {a.dtype.name for a in arguments if isinstance(a, (types.Array, types.CPointer))}

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        cast = []
        given = cgutils.unpack_tuple(builder, args[-1], len(arguments))
        for kind, value in zip(arguments, given, strict=True):
            if isinstance(kind, types.Array):
                value = context.make_array(kind)(context, builder, value).data
            elif not isinstance(kind, types.CPointer):
                value = context.cast(builder, value, kind, types.int64)
            cast.append(value)
        called = ir.FunctionType(ir.VoidType(), [value.type for value in cast])
        at = cgutils.get_or_insert_function(builder.module, called, symbol(function, dtype))
        builder.call(at, cast)
        return context.get_dummy_value()

    return types.StarArgTuple(arguments), codegen


def _known_by_symbol(function: str) -> Any:
    """Return the intrinsic that calls a function by its symbol."""

    def call(typingctx: Any, *arguments: Any) -> Any:
        kinds, codegen = by_symbol(function, arguments)
        return types.none(kinds), codegen

    return intrinsic(call)


get = _known_by_symbol("get_block")
put = _known_by_symbol("put_block")
turn = _known_by_symbol("turn_block")
turn_back = _known_by_symbol("turn_block_back")
