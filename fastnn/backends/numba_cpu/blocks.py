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

from fastnn.backends.numba_cpu.memory import INLINED, Reals, address_of, part, place, row, vector
from fastnn.backends.numba_cpu.squares import SIDE, turn_square

__all__ = [
    "BLOCK",
    "LANES",
    "NARROW",
    "ROWS",
    "SYMBOLS",
    "TURNED",
    "by_symbol",
    "get",
    "look",
    "put",
    "symbol",
    "turn",
    "turn_back",
    "whole",
]

BLOCK = 512  # numbers: some of these fit into the first-level cache
LANES = 64  # a multiple of the lanes of all vectors
# Rows of at most so many columns are worked on together, this many at a time: each in a lane.
NARROW, ROWS = 32, 64
TURNED = NARROW * ROWS

ZERO = np.float32(0)


@numba.njit(**INLINED)
def whole(n: int) -> int:
    """Return n, rounded up to a multiple of LANES."""
    return (n + (LANES - 1)) & -LANES


def symbol(function: str, dtype: str) -> str:
    """Return the name of the symbol of a function for a dtype."""
    return f"fastnn_{function}_{dtype}"


def by_symbol(function: str, arguments: Any, result: Any = types.none) -> Any:
    """Return the signature of a call of a function by its symbol, and what makes its code.

    Arrays may stand for blocks. The result is nothing, or the type of the first argument, an array:
    of a function that returns an address, what stands there.
    """
    arguments = tuple(types.unliteral(kind) for kind in arguments)
    (dtype,) = {a.dtype.name for a in arguments if isinstance(a, (types.Array, types.CPointer))}

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        passed = []
        given = cgutils.unpack_tuple(builder, args[-1], len(arguments))
        for kind, value in zip(arguments, given, strict=True):
            if isinstance(kind, types.Array):
                value = context.make_array(kind)(context, builder, value).data
            elif not isinstance(kind, types.CPointer):
                value = context.cast(builder, value, kind, types.int64)
            passed.append(value)
        returned = ir.VoidType() if result == types.none else ir.IntType(64)
        called = ir.FunctionType(returned, [value.type for value in passed])
        at = cgutils.get_or_insert_function(builder.module, called, symbol(function, dtype))
        address = builder.call(at, passed)
        if result == types.none:
            return context.get_dummy_value()
        array = cgutils.create_struct_proxy(result)(context, builder, given[0])
        array.data = builder.inttoptr(address, array.data.type)
        return array._getvalue()

    return types.StarArgTuple(arguments), codegen


def _known_by_symbol(function: str, *, gives_array: bool = False) -> Any:
    """Return the intrinsic that calls a function by its symbol."""

    def call(typingctx: Any, *arguments: Any) -> Any:
        result = arguments[0] if gives_array else types.none
        kinds, codegen = by_symbol(function, arguments, result)
        return result(kinds), codegen

    return intrinsic(call)


get = _known_by_symbol("get_block")


def get_block(block: Reals, X: Reals, ldX: int, O: int, first: int, n: int) -> None:
    """Set the first n of a block to those of X (.., O) from the flat index `first` on."""
    b = vector(block, whole(n))
    r, o, done = first // O, first % O, 0
    while done < n:
        m = min(O - o, n - done)
        x, into = part(row(X, ldX, r, O), o, m), part(b, done, m)
        for k in range(m):
            into[k] = x[k]
        done, r, o = done + m, r + 1, 0
    rest = part(b, n, whole(n) - n)
    for k in range(whole(n) - n):
        rest[k] = ZERO


def look_block(block: Reals, X: Reals, ldX: int, O: int, first: int, n: int) -> int:
    """Return where numbers of X (.., O) from the flat index `first` on stand one behind the other.

    That is in X itself, where their number is whole, else in the block.
    """
    if n == whole(n):
        if ldX == O:
            return address_of(part(row(X, 0, 0, first + n), first, n))
        if first % O + n <= O:
            return address_of(part(row(X, ldX, first // O, O), first % O, n))
    get(block, X, ldX, O, first, n)
    return address_of(block)


def put_block(
    Y: Reals, ldY: int, O: int, first: int, n: int, block: Reals, accumulate: int
) -> None:
    """Set Y (.., O) from the flat index `first` on to the first n of a block, or add them."""
    b = vector(block, n)
    r, o, done = first // O, first % O, 0
    while done < n:
        m = min(O - o, n - done)
        y, out = part(row(Y, ldY, r, O), o, m), part(b, done, m)
        if accumulate:
            for k in range(m):
                y[k] += out[k]
        else:
            for k in range(m):
                y[k] = out[k]
        done, r, o = done + m, r + 1, 0


def turn_block(block: Reals, X: Reals, ldX: int, first: int, rows: int, O: int) -> None:
    """Set row j of a block, whose rows are whole, to column j of X, of `rows` rows from `first`."""
    R = whole(rows)
    b = vector(block, R * O)
    for r in range(0, rows, SIDE):
        for j in range(0, O, SIDE):
            n, m = min(rows - r, SIDE), min(O - j, SIDE)
            turn_square(place(block, j * R + r), R, place(X, (first + r) * ldX + j), ldX, n, m)
    for j in range(O):
        rest = part(b, j * R + rows, R - rows)
        for k in range(R - rows):
            rest[k] = ZERO


def turn_block_back(Y: Reals, ldY: int, first: int, rows: int, O: int, block: Reals) -> None:
    """Set `rows` rows of Y from `first` on to the columns of such a block."""
    R = whole(rows)
    for r in range(0, rows, SIDE):
        for j in range(0, O, SIDE):
            n, m = min(rows - r, SIDE), min(O - j, SIDE)
            turn_square(place(Y, (first + r) * ldY + j), ldY, place(block, j * R + r), R, m, n)


# What every kernel may call by its symbol: it has to be there before a kernel is loaded.
SYMBOLS = (get_block, look_block, put_block, turn_block, turn_block_back)


put = _known_by_symbol("put_block")
look = _known_by_symbol("look_block", gives_array=True)
turn = _known_by_symbol("turn_block")
turn_back = _known_by_symbol("turn_block_back")
