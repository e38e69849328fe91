"""Memory as the loops over a tile see it: by pointers, with nothing checked.

What is read by `get` is promised not to overlap what is written by `put`, or to be it, element for
element. Without the promise, LLVM would have a loop for each case, and none with vectors for the
second.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["VECTORS", "attempted", "get", "held", "hold", "local", "loop", "put", "there"]

# As many vectors as a loop works on at once. Half of them take up to half as long again.
VECTORS = 4


def _scopes(module: Any) -> Any:
    """Return the list of alias scopes that stands for what is only read."""
    domain = module.add_metadata(["fastnn"])
    return module.add_metadata([module.add_metadata(["fastnn: read", domain])])


@intrinsic
def get(typing: Any, pointer: Any, index: Any) -> Any:
    """Return an element of what is only read, or is written element for element."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        loaded = builder.load(builder.gep(values[0], [values[1]], inbounds=True))
        loaded.set_metadata("alias.scope", _scopes(builder.module))
        return loaded

    return pointer.dtype(pointer, types.int64), generate


@intrinsic
def held(typing: Any, pointer: Any, index: Any) -> Any:
    """Return an element of what may be written at any place."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(builder.gep(values[0], [values[1]], inbounds=True))

    return pointer.dtype(pointer, types.int64), generate


@intrinsic
def hold(typing: Any, pointer: Any, index: Any, value: Any) -> Any:
    """Write an element of what may be read at any place."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.store(values[2], builder.gep(values[0], [values[1]], inbounds=True))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, pointer.dtype), generate


@intrinsic
def put(typing: Any, pointer: Any, index: Any, value: Any) -> Any:
    """Write an element."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        stored = builder.store(values[2], builder.gep(values[0], [values[1]], inbounds=True))
        stored.set_metadata("noalias", _scopes(builder.module))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, pointer.dtype), generate


@intrinsic
def there(typing: Any, pointer: Any) -> Any:
    """Return whether a pointer is not NULL."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return cgutils.is_not_null(builder, values[0])

    return types.boolean(pointer), generate


@intrinsic(prefer_literal=True)
def local(typing: Any, pointer: Any, count: Any) -> Any:
    """Return memory on the stack for so many elements, a constant, like those of a pointer."""
    number = count.literal_value

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        kind = context.get_value_type(pointer.dtype)
        return cgutils.alloca_once(builder, kind, ir.Constant(ir.IntType(64), number))

    return pointer(pointer, count), generate


@intrinsic
def loop(typing: Any, count: Any, body: Any, values: Any) -> Any:
    """Call a compiled function with every index below a count, and with a tuple of values.

    Unlike a loop of Python's, this one tells LLVM to work on `VECTORS` at once where it makes any:
    each function is a long chain of operations, which wait for one another.
    """
    called = body.get_call_type(typing, (types.int64, values), {})

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        n, _, several = arguments
        function = context.get_function(body, called)
        before = builder.block
        inside, after = (builder.append_basic_block(name) for name in ("each", "done"))
        zero, one = (ir.Constant(n.type, k) for k in (0, 1))
        builder.cbranch(builder.icmp_signed(">", n, zero), inside, after)
        builder.position_at_end(inside)
        index = builder.phi(n.type)
        function(builder, (index, several))
        following = builder.add(index, one, flags=["nsw"])
        index.add_incoming(zero, before)
        index.add_incoming(following, builder.block)
        again = builder.cbranch(builder.icmp_signed("<", following, n), inside, after)
        again.set_metadata("llvm.loop", _several_at_once(builder.module))
        builder.position_at_end(after)
        return context.get_dummy_value()

    return types.void(types.int64, body, values), generate


@intrinsic
def attempted(typing: Any, function: Any, values: Any) -> Any:
    """Call a compiled function of floats, and return NaN in its place where it raises anything.

    What is raised would end the loop around it, and leave what is behind in memory as it was.
    """
    arguments = tuple(values)
    function.get_call_type(typing, arguments, {})
    result = arguments[0]

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        compiled = function.dispatcher.overloads[arguments]
        context.active_code_library.add_linking_library(compiled.library)
        status, value = context.call_internal_no_propagate(
            builder,
            compiled.fndesc,
            compiled.signature,
            cgutils.unpack_tuple(builder, given[1], len(arguments)),
        )
        value = context.cast(builder, value, compiled.signature.return_type, result)
        nan = ir.Constant(context.get_value_type(result), float("nan"))
        return builder.select(status.is_ok, value, nan)

    return result(function, values), generate


def _several_at_once(module: Any) -> Any:
    """Return what LLVM is told about a loop. A node of its own for each, which holds itself."""
    count = ir.Constant(ir.IntType(32), VECTORS)
    hint = module.add_metadata(["llvm.loop.interleave.count", count])
    own = ir.MDValue(module, [hint], name=str(len(module.metadata)))
    own.operands = (own, hint)
    return own
