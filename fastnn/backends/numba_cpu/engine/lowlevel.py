"""What C has and Numba has not, beside `memory`: structs, atomic words, the clock, and Python."""

from __future__ import annotations

import time
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "atomic_add",
    "atomic_load",
    "atomic_store",
    "check_signals",
    "clear_bytes",
    "compare_exchange",
    "copy_bytes",
    "fetch_error",
    "nanoseconds",
    "pause",
    "release_gil",
    "sched_yield",
    "sleep_microseconds",
    "take_gil",
    "view_of",
]

WORD = ir.IntType(64)

# -- structs and numbers in memory ----------------------------------------------------------------


def view_of(dtype: np.dtype[Any]) -> Any:
    """Return a function (address, index) that gives the record of a table, as a C pointer would."""
    record = numba.from_dtype(dtype)
    size = dtype.itemsize

    @intrinsic
    def at(typingctx: Any, address: Any, index: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            start = builder.add(values[0], builder.mul(values[1], ir.Constant(WORD, size)))
            return builder.inttoptr(start, context.get_value_type(record))

        return record(types.int64, types.int64), codegen

    return at


@intrinsic
def copy_bytes(typingctx: Any, to: Any, start: Any, count: Any) -> Any:
    """Copy bytes between places that do not overlap."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        byte = ir.IntType(8).as_pointer()
        to, start = (builder.inttoptr(value, byte) for value in values[:2])
        cgutils.raw_memcpy(builder, to, start, values[2], 1)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64, types.int64), codegen


@intrinsic
def clear_bytes(typingctx: Any, to: Any, count: Any) -> Any:
    """Set bytes to 0."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        cgutils.memset(builder, builder.inttoptr(values[0], cgutils.voidptr_t), values[1], 0)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


# -- atomic words ---------------------------------------------------------------------------------


def _word(builder: Any, address: Any) -> Any:
    return builder.inttoptr(address, WORD.as_pointer())


@intrinsic
def atomic_load(typingctx: Any, address: Any) -> Any:
    """Return a word that other threads may write."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(_word(builder, values[0]), "seq_cst", 8)

    return types.int64(types.int64), codegen


@intrinsic
def atomic_store(typingctx: Any, address: Any, value: Any) -> Any:
    """Set a word that other threads may read."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store_atomic(values[1], _word(builder, values[0]), "seq_cst", 8)
        return context.get_dummy_value()

    return types.none(types.int64, types.int64), codegen


@intrinsic
def atomic_add(typingctx: Any, address: Any, value: Any) -> Any:
    """Add to a word, and return what it was."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.atomic_rmw("add", _word(builder, values[0]), values[1], "seq_cst")

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def compare_exchange(typingctx: Any, address: Any, expected: Any, value: Any) -> Any:
    """Set a word if it is the expected one, and tell whether it was."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _word(builder, values[0])
        found = builder.cmpxchg(place, values[1], values[2], "seq_cst", "seq_cst")
        return builder.extract_value(found, 1)

    return types.boolean(types.int64, types.int64, types.int64), codegen


# -- time and waiting -----------------------------------------------------------------------------


@intrinsic
def nanoseconds(typingctx: Any) -> Any:
    """Return the time of a clock that only goes forward."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        timespec = ir.LiteralStructType([WORD, WORD])
        now = cgutils.alloca_once(builder, timespec)
        kind = ir.FunctionType(ir.IntType(32), [ir.IntType(32), timespec.as_pointer()])
        clock = cgutils.get_or_insert_function(builder.module, kind, "clock_gettime")
        builder.call(clock, [ir.Constant(ir.IntType(32), time.CLOCK_MONOTONIC), now])
        seconds, rest = (builder.load(cgutils.gep_inbounds(builder, now, 0, n)) for n in range(2))
        return builder.add(builder.mul(seconds, ir.Constant(WORD, 10**9)), rest)

    return types.int64(), codegen


@intrinsic
def pause(typingctx: Any) -> Any:
    """Tell the processor that this thread waits in a loop."""

    def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if builder.module.triple.startswith(("x86_64", "i686")):
            kind = ir.FunctionType(ir.VoidType(), [])
            name = "llvm.x86.sse2.pause"
            builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [])
        return context.get_dummy_value()

    return types.none(), codegen


sched_yield = types.ExternalFunction("sched_yield", types.int32())
sleep_microseconds = types.ExternalFunction("usleep", types.int32(types.uint32))


# -- Python ---------------------------------------------------------------------------------------

take_gil = types.ExternalFunction("PyGILState_Ensure", types.int32())
release_gil = types.ExternalFunction("PyGILState_Release", types.void(types.int32))
check_signals = types.ExternalFunction("PyErr_CheckSignals", types.int32())
# Sets three words to the type, the value and the traceback of the error.
fetch_error = types.ExternalFunction(
    "PyErr_Fetch", types.void(types.int64, types.int64, types.int64)
)
