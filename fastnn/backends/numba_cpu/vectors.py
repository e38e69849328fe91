"""Vectors in the code that LLVM compiles: what a tile of a product does with them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from fastnn.backends.jit.instructions import FUSED, bits_of

__all__ = ["I64", "Vectors"]

I1, I32, I64 = ir.IntType(1), ir.IntType(32), ir.IntType(64)


class Vectors:
    """Makes code with vectors of a width.

    Parameters
    ----------
    module : llvmlite.ir.Module
    real : llvmlite.ir.Type
        Of an element.
    width : int
        Bytes of a vector.
    """

    def __init__(self, module: Any, real: Any, width: int) -> None:
        self.module, self.real, self.item = module, real, bits_of(real) // 8
        self.lanes = width // self.item
        self.kind = ir.VectorType(real, self.lanes)
        self.zero = ir.Constant(self.kind, None)

    def intrinsic(self, name: str, result: Any, *arguments: Any) -> Any:
        """Return the declaration of an intrinsic of LLVM."""
        name = f"llvm.{name}.v{self.lanes}f{8 * self.item}"
        if name.startswith("llvm.masked."):
            name += ".p0"
        found = self.module.globals.get(name)
        kind = ir.FunctionType(result, arguments)
        return found or ir.Function(self.module, kind, name)

    def at(self, builder: Any, address: Any, elements: int = 0) -> Any:
        """Return a pointer to a vector so many elements behind an address."""
        if elements:
            address = builder.add(address, I64(elements * self.item))
        return builder.inttoptr(address, self.kind.as_pointer())

    def scaled(self, builder: Any, elements: Any) -> Any:
        """Return a number of elements as one of bytes."""
        return builder.shl(elements, I64(self.item.bit_length() - 1))

    def splat(self, builder: Any, value: Any) -> Any:
        """Return a vector with the same value in every lane."""
        lanes = ir.VectorType(value.type, self.lanes)
        first = builder.insert_element(ir.Constant(lanes, ir.Undefined), value, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), None)
        return builder.shuffle_vector(first, ir.Constant(lanes, ir.Undefined), zeros)

    def broadcast(self, builder: Any, address: Any) -> Any:
        """Return a vector with the number at an address in every lane."""
        at = builder.inttoptr(address, self.real.as_pointer())
        return self.splat(builder, builder.load(at, align=self.item))

    def first(self, builder: Any, count: Any) -> Any:
        """Return the mask of the first lanes, so many as an int64 says."""
        lanes = ir.VectorType(I32, self.lanes)
        numbers = ir.Constant(lanes, list(range(self.lanes)))
        count = self.splat(builder, builder.trunc(count, I32))
        return builder.icmp_signed("<", numbers, count)

    def load(self, builder: Any, at: Any, mask: Any = None) -> Any:
        """Return the vector at a pointer, of which a mask leaves 0 in the other lanes."""
        if mask is None:
            return builder.load(at, align=self.item)
        kinds = at.type, I32, mask.type, self.kind
        load = self.intrinsic("masked.load", self.kind, *kinds)
        return builder.call(load, [at, I32(self.item), mask, self.zero])

    def store(self, builder: Any, value: Any, at: Any, mask: Any = None) -> None:
        """Store a vector, or those of its lanes that are in a mask."""
        if mask is None:
            builder.store(value, at, align=self.item)
            return
        kinds = self.kind, at.type, I32, mask.type
        store = self.intrinsic("masked.store", ir.VoidType(), *kinds)
        builder.call(store, [value, at, I32(self.item), mask])

    def fma(self, builder: Any, a: Any, b: Any, c: Any) -> Any:
        """Return a * b + c, rounded once where the processor does that, else twice."""
        if not FUSED:
            return builder.fadd(builder.fmul(a, b), c)
        fma = self.intrinsic("fma", self.kind, self.kind, self.kind, self.kind)
        return builder.call(fma, [a, b, c])

    def zipped(self, builder: Any, a: Any, b: Any, upper: bool) -> Any:
        """Return the lower, or the upper, halves of two vectors, lane by lane in turn."""
        half = self.lanes // 2
        start = half if upper else 0
        lanes = [start + lane // 2 + lane % 2 * self.lanes for lane in range(self.lanes)]
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, self.lanes), lanes))
