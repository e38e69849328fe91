"""Memory as compiled code sees it: addresses, the arrays over them, and functions of C.

Nothing here counts references or checks a bound: who takes an array over an address knows that the
memory is there. An array over an address lives no longer than the call that made it.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = [
    "INLINED",
    "OPTIONS",
    "Doubles",
    "Integers",
    "Reals",
    "address_of",
    "bits",
    "call",
    "call_float64",
    "call_int64",
    "doubles_at",
    "float_of",
    "integers_at",
    "local",
    "matrix",
    "null",
    "part",
    "place",
    "plus",
    "pointer",
    "prefetch",
    "present",
    "rank",
    "ranked",
    "row",
    "unsigned",
    "vector",
]

# What the arguments of a kernel in C point at: numbers of its dtype, float64, int64.
Reals = Any
Doubles = Any
Integers = Any

# Flags of floating-point operations that compiled code may use: none. All of them would let the
# bits of an element depend on where in a loop it stands, or lose NaN or infinity.
FASTMATH: set[str] = set()

# How all code of this backend is compiled. Division by 0 gives infinity, as in C; without the
# counting of references, no array may be made that owns its memory.
OPTIONS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
    "fastmath": FASTMATH,
    "_nrt": False,
}
# The same for what is only called from compiled code: nothing that Python could call is made.
INLINED: dict[str, Any] = {**OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}

LINE = 64  # bytes of a cache line, and of the widest vector


def _array(context: Any, builder: Any, kind: Any, data: Any, shape: Any) -> Any:
    """Return an array, contiguous in the order of C, over memory that it does not own."""
    array = context.make_array(kind)(context, builder)
    item = context.get_abi_sizeof(context.get_data_type(kind.dtype))
    strides = [context.get_constant(types.intp, item)]
    for size in shape[:0:-1]:
        strides.insert(0, builder.mul(strides[0], size))
    context.populate_array(
        array,
        data=builder.bitcast(data, array.data.type),
        shape=shape,
        strides=strides,
        itemsize=context.get_constant(types.intp, item),
        meminfo=None,
    )
    return array._getvalue()


@intrinsic
def pointer(typingctx: Any, address: Any, dtype: Any) -> Any:
    """Return a pointer to numbers of a dtype, such as np.float32, at an address."""
    kind = types.CPointer(dtype.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.int64, dtype), codegen


@intrinsic
def address_of(typingctx: Any, place: Any) -> Any:
    """Return the address behind a pointer, or of the first element of an array, as an int64."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = args[0]
        if isinstance(place, types.Array):
            at = context.make_array(place)(context, builder, at).data
        return builder.ptrtoint(at, ir.IntType(64))

    return types.int64(place), codegen


@intrinsic
def present(typingctx: Any, place: Any) -> Any:
    """Tell whether a pointer points anywhere: whether an optional array is there."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return cgutils.is_not_null(builder, args[0])

    return types.boolean(place), codegen


@intrinsic
def null(typingctx: Any, place: Any) -> Any:
    """Return a pointer of the same kind that points nowhere."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return ir.Constant(args[0].type, None)

    return place(place), codegen


@intrinsic
def place(typingctx: Any, place: Any, n: Any) -> Any:
    """Return a pointer to the n-th element behind a pointer."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.gep(args[0], [args[1]])

    return place(place, types.int64), codegen


@intrinsic
def unsigned(typingctx: Any, a: Any, b: Any) -> Any:
    """Return a // b of whole numbers that are not negative; b is not 0, and nothing asks."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.udiv(*args)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def vector(typingctx: Any, place: Any, n: Any) -> Any:
    """Return the array (n) behind a pointer."""
    kind = types.Array(place.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _array(context, builder, kind, args[0], [args[1]])

    return kind(place, types.int64), codegen


@intrinsic
def matrix(typingctx: Any, place: Any, rows: Any, ld: Any) -> Any:
    """Return the array (rows, ld) behind a pointer, with what lies between rows."""
    kind = types.Array(place.dtype, 2, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _array(context, builder, kind, args[0], list(args[1:]))

    return kind(place, types.int64, types.int64), codegen


@intrinsic
def row(typingctx: Any, place: Any, ld: Any, r: Any, n: Any) -> Any:
    """Return the first n elements of row r behind a pointer to rows that are ld elements apart."""
    kind = types.Array(place.dtype, 1, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at, ld, r, n = args
        data = builder.gep(at, [builder.mul(ld, r)])
        return _array(context, builder, kind, data, [n])

    return kind(place, types.int64, types.int64, types.int64), codegen


@intrinsic
def part(typingctx: Any, array: Any, first: Any, n: Any) -> Any:
    """Return n elements of an array from the first one on.

    A loop counts from 0 over what it works on: of a sum such as ``first + k``, LLVM does not know
    that it is not negative, and leaves such a loop as it is.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(array)(context, builder, args[0]).data
        return _array(context, builder, array, builder.gep(data, [args[1]]), [args[2]])

    return array(array, types.int64, types.int64), codegen


@intrinsic(prefer_literal=True)
def local(typingctx: Any, place: Any, n: Any) -> Any:
    """Return an array (n) on the stack, not set, of a dtype or that of a pointer or array.

    There is one for each call that is written, however often it runs. The compiler knows that it
    overlaps nothing else. n is a constant.
    """
    if not isinstance(n, types.IntegerLiteral):
        return None
    kind = types.Array(place.dtype, 1, "C")
    length = n.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        item = context.get_data_type(place.dtype)
        with builder.goto_entry_block():
            block = builder.alloca(ir.ArrayType(item, length))
            block.align = LINE
        size = context.get_constant(types.intp, length)
        return _array(context, builder, kind, block, [size])

    return kind(place, n), codegen


@intrinsic
def bits(typingctx: Any, x: Any) -> Any:
    """Return the bits of a float as an integer with a sign."""
    integer = types.int32 if x == types.float32 else types.int64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(integer))

    return integer(x), codegen


@intrinsic
def float_of(typingctx: Any, x: Any) -> Any:
    """Return the float that has these bits."""
    real = types.float32 if x.bitwidth == 32 else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(real))

    return real(x), codegen


def _turned(builder: Any, digits: Any) -> Any:
    """Turn round all digits but the sign of what is negative."""
    top = digits.type.width - 1
    negative = builder.ashr(digits, ir.Constant(digits.type, top))
    return builder.xor(digits, builder.and_(negative, ir.Constant(digits.type, 2**top - 1)))


@intrinsic
def rank(typingctx: Any, x: Any) -> Any:
    """Return an integer: larger for larger floats, for NaN that of infinity.

    Of integers, LLVM finds the largest in vectors, whatever may be done with floats.
    """
    integer = types.int32 if x == types.float32 else types.int64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(integer)
        infinity = builder.bitcast(ir.Constant(args[0].type, float("inf")), kind)
        nan = builder.fcmp_unordered("uno", args[0], args[0])
        return builder.select(nan, infinity, _turned(builder, builder.bitcast(args[0], kind)))

    return integer(x), codegen


@intrinsic
def ranked(typingctx: Any, rank: Any) -> Any:
    """Return the float of a rank."""
    real = types.float32 if rank.bitwidth == 32 else types.float64

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(_turned(builder, args[0]), context.get_value_type(real))

    return real(rank), codegen


@intrinsic
def plus(typingctx: Any, total: Any, x: Any) -> Any:
    """Return total + x, a step of a sum whose order the compiler chooses.

    In a loop that does nothing but read, so that no check comes before it, the order depends on the
    number of summands alone, as do the bits.
    """

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args, flags=("reassoc",))

    return total(total, total), codegen


@intrinsic
def prefetch(typingctx: Any, array: Any, n: Any) -> Any:
    """Fetch the cache line of element n of an array that will be read; any n is safe."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(array)(context, builder, args[0]).data
        at = builder.bitcast(builder.gep(data, [args[1]]), cgutils.voidptr_t)
        flag = ir.IntType(32)
        function = builder.module.declare_intrinsic(
            "llvm.prefetch",
            [cgutils.voidptr_t],
            ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, flag, flag, flag]),
        )
        builder.call(function, [at, flag(0), flag(3), flag(1)])
        return context.get_dummy_value()

    return types.none(array, types.int64), codegen


def _caller(result: Any) -> Any:
    """Return the intrinsic that calls functions with such a result."""

    def call(typingctx: Any, address: Any, *arguments: Any) -> Any:
        kinds = [
            kind
            if isinstance(kind, types.CPointer)
            else types.float64
            if isinstance(kind, types.Float)
            else types.int64
            for kind in arguments
        ]

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            given = cgutils.unpack_tuple(builder, args[1], len(kinds))
            cast = [
                context.cast(builder, value, kind, wanted)
                for value, kind, wanted in zip(given, arguments, kinds, strict=True)
            ]
            returned = context.get_value_type(result) if result != types.none else ir.VoidType()
            function = ir.FunctionType(returned, [context.get_value_type(kind) for kind in kinds])
            at = builder.inttoptr(args[0], function.as_pointer())
            value = builder.call(at, cast)
            return context.get_dummy_value() if result == types.none else value

        return result(types.int64, types.StarArgTuple(arguments)), codegen

    return call


# Calls the function of C at an address: call(address, *arguments). Integers and booleans go as
# int64, numbers with a point as float64.
call = intrinsic(_caller(types.none))
call_float64 = intrinsic(_caller(types.float64))
call_int64 = intrinsic(_caller(types.int64))


def _over(dtype: Any) -> Any:
    """Return the intrinsic that makes arrays of a dtype over an address."""
    kind = types.Array(dtype, 1, "C")

    def array_at(typingctx: Any, address: Any, n: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            item = context.get_data_type(dtype)
            data = builder.inttoptr(args[0], item.as_pointer())
            return _array(context, builder, kind, data, [args[1]])

        return kind(types.int64, types.int64), codegen

    return array_at


# The array (n) of float64, or of int64, at an address.
doubles_at = intrinsic(_over(types.float64))
integers_at = intrinsic(_over(types.int64))
