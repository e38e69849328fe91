"""A square of numbers whose rows become columns, in registers."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["SIDE", "turn_square"]

SIDE = 8  # rows and columns: each row in a vector, or in a few where vectors are shorter

INDEX = ir.IntType(32)


def _lanes(numbers: Any) -> Any:
    """Return a vector of integers."""
    kind = ir.VectorType(INDEX, len(numbers))
    return ir.Constant(kind, [ir.Constant(INDEX, number) for number in numbers])


def _first(builder: Any, n: Any) -> Any:
    """Return the mask of the first n lanes, all where n is larger."""
    limit = ir.Constant(ir.VectorType(INDEX, SIDE), ir.Undefined)
    limit = builder.insert_element(limit, builder.trunc(n, INDEX), ir.Constant(INDEX, 0))
    limit = builder.shuffle_vector(limit, limit, _lanes([0] * SIDE))
    return builder.icmp_signed("<", _lanes(range(SIDE)), limit)


def _masked(builder: Any, name: str, vector: Any, mask: Any, *first: Any, rest: Any = ()) -> Any:
    """Call the load or store of LLVM that leaves alone what the mask does not name."""
    item = vector.element
    bits = 64 if isinstance(item, ir.DoubleType) else 32
    align = ir.Constant(INDEX, bits // 8)
    arguments = [*first, align, mask, *rest]
    returned = vector if name == "load" else ir.VoidType()
    kind = ir.FunctionType(returned, [argument.type for argument in arguments])
    symbol = f"llvm.masked.{name}.v{SIDE}f{bits}.p0"
    function = builder.module.globals.get(symbol) or ir.Function(builder.module, kind, symbol)
    return builder.call(function, arguments)


def _zip(builder: Any, rows: list[Any]) -> list[Any]:
    """Turn the square: zip the first half of the rows with the second, log2(SIDE) times."""
    half = SIDE // 2
    low = _lanes([k // 2 + k % 2 * SIDE for k in range(SIDE)])
    high = _lanes([half + k // 2 + k % 2 * SIDE for k in range(SIDE)])
    for _ in range(SIDE.bit_length() - 1):
        rows = [
            builder.shuffle_vector(rows[i], rows[i + half], lanes)
            for i in range(half)
            for lanes in (low, high)
        ]
    return rows


@intrinsic
def turn_square(
    typingctx: Any, to: Any, ldto: Any, source: Any, ldsource: Any, rows: Any, columns: Any
) -> Any:
    """Set to (columns, rows) = source.T, of at most SIDE rows and columns, behind pointers."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        to, ldto, source, ldsource, rows, columns = args
        vector = ir.VectorType(context.get_data_type(signature.args[0].dtype), SIDE)
        nothing, zero = ir.Constant(vector, None), ir.Constant(rows.type, 0)

        def row_of(matrix: Any, ld: Any, r: int) -> Any:
            at = builder.gep(matrix, [builder.mul(ld, ir.Constant(ld.type, r))])
            return builder.bitcast(at, vector.as_pointer())

        def mask_of(r: int, count: Any, lanes: Any) -> Any:
            there = builder.icmp_signed("<", ir.Constant(count.type, r), count)
            return _first(builder, builder.select(there, lanes, zero))

        turned = _zip(
            builder,
            [
                _masked(
                    builder,
                    "load",
                    vector,
                    mask_of(r, rows, columns),
                    row_of(source, ldsource, r),
                    rest=(nothing,),
                )
                for r in range(SIDE)
            ],
        )
        for r, values in enumerate(turned):
            mask = mask_of(r, columns, rows)
            _masked(builder, "store", vector, mask, values, row_of(to, ldto, r))
        return context.get_dummy_value()

    size = types.int64
    return types.none(to, size, source, size, size, size), codegen
