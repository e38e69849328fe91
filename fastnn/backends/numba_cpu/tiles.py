"""The tile of a matrix product, and that of a transpose, written as code of LLVM.

A tile of C is some rows high and one to eight vectors wide, and stays in registers while k runs:
nothing that is left to a compiler's own judgement. Each element is one sum in the order of k, with
one rounding a term where the processor fuses, so its bits depend on no tile that it happened to be
in. A is read with any two strides, B and C by rows. Nothing is packed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastnn.backends.jit.instructions import ARM
from fastnn.backends.numba_cpu.vectors import I64, Vectors

__all__ = ["HEIGHTS", "lanes", "run_tile", "transpose_tile"]

# The heights of tiles, by the bytes of a vector, then by log2 of the vectors in a row: those whose
# last vector is whole, and those where it is not. The sums of the highest, the vectors of B and the
# broadcast of A fill the registers: 32 of AVX-512, whose masks cost nothing, and of ARM, else 16.
# Few rows have wider tiles.
FEW = (1, 2, 4, 6, 8, 10)
MANY = (*FEW, 12, 16, 20, 28)
WIDER = (((*FEW, 3, 5, 7, 12, 14), (*FEW, 14)), ((1, 2, 4, 6), ()), ((1, 2, 3), ()))
HEIGHTS = {
    "64": (((), MANY), *WIDER),
    "32": (((*FEW, 12), (*FEW, 12)), ((1, 2, 3, 4, 5, 6),) * 2, ((1, 2, 3), ()), ((1,), ())),
    "16": (((1, 2, 4, 6, 8),) * 2, ((1, 2, 3, 4),) * 2, ((1, 2), ()), ((), ())),
}
if ARM:
    HEIGHTS["16"] = ((MANY, FEW), *WIDER)


def lanes_of(width: Any, dtype: Any) -> int:
    return int(width.literal_value) // (dtype.bitwidth // 8)


@intrinsic(prefer_literal=True)
def lanes(typingctx: Any, width: Any, place: Any) -> Any:
    """Return how many numbers, such as a pointer points at, a vector holds: a constant."""
    count = lanes_of(width, place.dtype)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return I64(count)

    return types.int64(width, place), codegen


@dataclass(frozen=True)
class Tile:
    """A tile of rows by vectors, the last of which is `partial` or whole."""

    rows: int
    vectors: int
    partial: bool

    # K; A, from row to row, from column to column; B, from row to row; C, from row to row; lanes of
    # the last vector; start or 0; active or 0, from row to row; whether sums go on from C; whether
    # C goes through a relu. All distances are in elements. The result is the number of rows.
    TYPE = ir.FunctionType(I64, [I64] * 14)

    @property
    def cells(self) -> list[tuple[int, int]]:
        return [(i, v) for i in range(self.rows) for v in range(self.vectors)]

    def emit(self, V: Vectors) -> Any:
        """Return the function, made in the module of V."""
        part = "_partial" if self.partial else ""
        name = f"tile_{self.rows}x{self.vectors}{part}"
        function = ir.Function(V.module, self.TYPE, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        function.attributes.add("nounwind")
        self._body(V, function, *function.args)
        return function

    def _body(
        self, V: Vectors, function: Any, K: Any, A: Any, A_row: Any, A_step: Any, B: Any, ldB: Any,
        C: Any, ldC: Any, part: Any, start: Any, active: Any, ld_active: Any, adds: Any, relu: Any,
    ) -> None:  # fmt: skip
        blocks = {
            name: function.append_basic_block(name)
            for name in ("entry", "from_C", "fresh", "from_row", "started", "loop", "summed",
                         "active", "finished")
        }  # fmt: skip
        b = ir.IRBuilder(blocks["entry"])
        masks = [None] * self.vectors
        if self.partial:
            masks[-1] = V.first(b, part)
        ldC, ldB, A_row, A_step, ld_active = (
            V.scaled(b, distance) for distance in (ldC, ldB, A_row, A_step, ld_active)
        )
        b.cbranch(b.icmp_signed("!=", adds, I64(0)), blocks["from_C"], blocks["fresh"])

        def load_all(place: Any, distance: Any) -> Any:
            found = {}
            for i in range(self.rows):
                for v, mask in enumerate(masks):
                    found[i, v] = V.load(b, V.at(b, place, v * V.lanes), mask)
                place = b.add(place, distance)
            return found

        b.position_at_end(blocks["from_C"])
        there = load_all(C, ldC)
        b.branch(blocks["started"])
        b.position_at_end(blocks["fresh"])
        b.cbranch(b.icmp_signed("!=", start, I64(0)), blocks["from_row"], blocks["started"])
        b.position_at_end(blocks["from_row"])
        row = [V.load(b, V.at(b, start, v * V.lanes), m) for v, m in enumerate(masks)]
        b.branch(blocks["started"])

        b.position_at_end(blocks["started"])
        sums = {}
        for i, v in self.cells:
            sums[i, v] = phi = b.phi(V.kind)
            phi.add_incoming(there[i, v], blocks["from_C"])
            phi.add_incoming(V.zero, blocks["fresh"])
            phi.add_incoming(row[v], blocks["from_row"])
        bases = [b.add(A, b.mul(A_row, I64(8 * j))) for j in range((self.rows + 7) // 8)]
        odd = [A_row, *(b.mul(A_row, I64(n)) for n in (3, 5, 7) if n < self.rows)]
        b.cbranch(b.icmp_signed(">", K, I64(0)), blocks["loop"], blocks["summed"])

        b.position_at_end(blocks["loop"])
        totals, after = self._loop(V, b, sums, bases, odd, A_step, B, ldB, K, masks, blocks)

        b.position_at_end(blocks["summed"])
        for cell in self.cells:
            phi = b.phi(V.kind)
            phi.add_incoming(sums[cell], blocks["started"])
            phi.add_incoming(totals[cell], after)
            sums[cell] = phi
        one = V.splat(b, ir.Constant(V.real, 1.0))
        b.cbranch(b.icmp_signed("!=", active, I64(0)), blocks["active"], blocks["finished"])
        b.position_at_end(blocks["active"])
        given = load_all(active, ld_active)
        masked = {}
        for cell in self.cells:
            dead = b.fcmp_ordered("<=", given[cell], V.zero)
            masked[cell] = b.fmul(sums[cell], b.select(dead, V.zero, one))
        b.branch(blocks["finished"])

        b.position_at_end(blocks["finished"])
        for cell in self.cells:
            phi = b.phi(V.kind)
            phi.add_incoming(sums[cell], blocks["summed"])
            phi.add_incoming(masked[cell], blocks["active"])
            sums[cell] = phi
        least = b.select(
            b.icmp_signed("!=", relu, I64(0)),
            ir.Constant(V.real, 0.0),
            ir.Constant(V.real, float("-inf")),
        )
        floor = V.splat(b, least)
        for i in range(self.rows):
            for v, mask in enumerate(masks):
                # The second is taken where it is NaN.
                value = b.select(b.fcmp_ordered(">", floor, sums[i, v]), floor, sums[i, v])
                V.store(b, value, V.at(b, C, v * V.lanes), mask)
            C = b.add(C, ldC)
        b.ret(I64(self.rows))

    def _loop(
        self, V: Vectors, b: Any, sums: Any, bases: Any, odd: Any, A_step: Any, B: Any, ldB: Any,
        K: Any, masks: Any, blocks: Any,
    ) -> Any:  # fmt: skip
        """Make the loop over k; return the sums behind it, and its last block.

        The rows of A are found by one pointer for eight of them and by odd multiples of their
        distance, which addresses can scale: a pointer for every row would not fit into the
        registers. The multiples are hidden from LLVM, which would make such pointers of them.
        """
        header = blocks["loop"]

        def carried(value: Any) -> Any:
            phi = b.phi(value.type)
            phi.add_incoming(value, blocks["started"])
            return phi

        total = {cell: carried(sums[cell]) for cell in self.cells}
        at, steps, of_B, left = (
            [carried(x) for x in bases],
            [carried(x) for x in odd],
            carried(B),
            carried(K),
        )
        hide = ir.FunctionType(I64, [I64])
        hidden = [b.asm(hide, "", "=r,0", [step], False) for step in steps]
        multiples = self._multiples(b, hidden)

        def of_A(i: int) -> Any:
            j, multiple = divmod(i, 8)
            address = b.add(at[j], multiples[multiple]) if multiple else at[j]
            return V.broadcast(b, address)

        def vector_of_B(v: int) -> Any:
            return V.load(b, V.at(b, of_B, v * V.lanes), masks[v])

        new = {}
        if self.rows < self.vectors:  # what there is less of is held, the other streams
            held = [of_A(i) for i in range(self.rows)]
            for v in range(self.vectors):
                factor = vector_of_B(v)
                for i in range(self.rows):
                    new[i, v] = V.fma(b, held[i], factor, total[i, v])
        else:
            held = [vector_of_B(v) for v in range(self.vectors)]
            for i in range(self.rows):
                factor = of_A(i)
                for v in range(self.vectors):
                    new[i, v] = V.fma(b, factor, held[v], total[i, v])
        for cell in self.cells:
            total[cell].add_incoming(new[cell], header)
        for phi, value in zip(steps, hidden, strict=True):
            phi.add_incoming(value, header)
        for phi in at:
            phi.add_incoming(b.add(phi, A_step), header)
        of_B.add_incoming(b.add(of_B, ldB), header)
        less = b.sub(left, I64(1))
        left.add_incoming(less, header)
        b.cbranch(b.icmp_signed(">", less, I64(0)), header, blocks["summed"])
        return new, header

    def _multiples(self, b: Any, odd: Any) -> dict[int, Any]:
        """Return the multiples 1 to 7 of a distance, as far as there are rows."""
        found = dict(zip((1, 3, 5, 7), odd, strict=False))
        for n in (2, 4, 6):
            if n < self.rows:
                found[n] = b.mul(found[1 if n != 6 else 3], I64(n if n != 6 else 2))
        return found


def highest(heights: Any) -> int:
    """Return the height of the highest tile."""
    return max(max(there, default=0) for both in heights for there in both)


def table_of_tiles(V: Vectors, heights: Any) -> Any:
    """Return a table of functions: by log2 of the vectors, by partial, by rows.

    Where there is no tile of so many rows, stands the next lower one.
    """
    kind = Tile.TYPE.as_pointer()
    entries = []
    for number, both in enumerate(heights):
        for partial, there in enumerate(both):
            found = ir.Constant(kind, None)
            for height in range(highest(heights) + 1):
                if height in there:
                    found = Tile(height, 1 << number, bool(partial)).emit(V)
                entries.append(found)
    array = ir.Constant(ir.ArrayType(kind, len(entries)), entries)
    table = ir.GlobalVariable(V.module, array.type, "tiles")
    table.linkage, table.global_constant, table.initializer = "internal", True, array
    return table


@intrinsic(prefer_literal=True)
def run_tile(
    typingctx: Any, width: Any, number: Any, rows: Any, K: Any, A: Any, A_row: Any, A_step: Any,
    B: Any, ldB: Any, C: Any, ldC: Any, part: Any, start: Any, active: Any, ld_active: Any,
    adds: Any, relu: Any,
) -> Any:  # fmt: skip
    """Compute a tile of C of at most so many rows; return of how many.

    `number` is twice log2 of its vectors, plus 1 where the last has `part` lanes only.
    """
    wide, heights = int(width.literal_value), HEIGHTS[width.literal_value]

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        V = Vectors(builder.module, context.get_value_type(C.dtype), wide)
        table = builder.module.globals.get("tiles") or table_of_tiles(V, heights)
        _, number, rows, *rest = args
        entry = builder.add(builder.mul(number, I64(highest(heights) + 1)), rows)
        tile = builder.load(builder.gep(table, [I64(0), entry], inbounds=True))
        values = [
            builder.ptrtoint(value, I64) if isinstance(value.type, ir.PointerType) else value
            for value in rest
        ]
        return builder.call(tile, values)

    i = types.int64
    kinds = width, i, i, i, A, i, i, B, i, C, i, i, start, active, i, i, i
    return types.int64(*kinds), codegen


def emit_transpose(V: Vectors, partial: bool) -> Any:
    """Return a function that transposes as many rows and columns as a vector has lanes, or fewer.

    The rows go through the registers: they are zipped log2(lanes) times, each time the first half
    with the second.
    """
    name = "transpose_partial" if partial else "transpose_whole"
    function = ir.Function(V.module, ir.FunctionType(ir.VoidType(), [I64] * 6), name)
    function.linkage = "internal"
    function.attributes.add("noinline")
    function.attributes.add("nounwind")
    T, ldT, X, ldX, rows, columns = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    ldT, ldX = V.scaled(b, ldT), V.scaled(b, ldX)

    def mask(number: int, count: Any, length: Any) -> Any:
        """Return a mask of the first lanes, none of them where there is no such row."""
        if not partial:
            return None
        return V.first(b, b.select(b.icmp_signed("<", I64(number), count), length, I64(0)))

    lines = []
    for r in range(V.lanes):
        lines.append(V.load(b, V.at(b, X), mask(r, rows, columns)))
        X = b.add(X, ldX)
    half = V.lanes // 2
    for _ in range(V.lanes.bit_length() - 1):
        lines = [
            V.zipped(b, lines[r], lines[r + half], upper)
            for r in range(half)
            for upper in (False, True)
        ]
    for r in range(V.lanes):
        V.store(b, lines[r], V.at(b, T), mask(r, columns, rows))
        T = b.add(T, ldT)
    b.ret_void()
    return function


@intrinsic(prefer_literal=True)
def transpose_tile(
    typingctx: Any, width: Any, partial: Any, T: Any, ldT: Any, X: Any, ldX: Any, rows: Any,
    columns: Any,
) -> Any:  # fmt: skip
    """Set T (columns, rows) to the transpose of X, at most a vector long and as many rows."""
    name = "transpose_partial" if partial.literal_value else "transpose_whole"

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        V = Vectors(builder.module, context.get_value_type(T.dtype), int(width.literal_value))
        function = builder.module.globals.get(name) or emit_transpose(V, partial.literal_value)
        _, _, T_at, ldT, X_at, ldX, rows, columns = args
        places = [builder.ptrtoint(place, I64) for place in (T_at, X_at)]
        builder.call(function, [places[0], ldT, places[1], ldX, rows, columns])
        return context.get_dummy_value()

    i = types.int64
    return types.none(width, partial, T, i, X, i, i, i), codegen
