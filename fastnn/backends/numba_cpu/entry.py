"""Functions of C with nothing between them and their code.

Numba's own functions of C call the code that they stand for, and hand over every argument once
more, which takes as long as a kernel on a small layer.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.compiler import Flags
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from fastnn.backends.numba_cpu.memory import OPTIONS

__all__ = ["maker"]


def _flags() -> Any:
    """Return how a kernel is compiled that vanishes into its function of C."""
    flags = Flags()
    cpu_target.options.parse_as_flags(flags, {**OPTIONS, "nopython": True, "forceinline": True})
    return flags


def _definer(function: Callable[..., Any], signature: Any, name: str) -> Any:
    """Return the intrinsic that makes a function of C, and returns its address."""

    def define(typingctx: Any) -> Any:
        def codegen(context: Any, builder: Any, _: Any, args: Any) -> Any:
            compiled = context.compile_subroutine(
                builder, function, signature, flags=_flags(), caching=False
            )
            inner = context.declare_function(builder.module, compiled.fndesc)
            returned = context.get_value_type(signature.return_type)
            if signature.return_type == types.none:
                returned = ir.VoidType()
            kinds = [context.get_value_type(kind) for kind in signature.args]
            outer = ir.Function(builder.module, ir.FunctionType(returned, kinds), name)
            b = ir.IRBuilder(outer.append_basic_block())
            _, value = context.call_conv.call_function(
                b, inner, signature.return_type, signature.args, outer.args
            )
            if signature.return_type == types.none:
                b.ret_void()
            else:
                b.ret(value)
            return builder.ptrtoint(outer, ir.IntType(64))

        return types.int64(), codegen

    return intrinsic(define)


def _address() -> int:
    # `maker` copies this, with a global `define` for each copy.
    return define()  # type: ignore[name-defined] # noqa: F821


def maker(function: Callable[..., Any], signature: Any, name: str) -> Callable[[], int]:
    """Return a function for numba.cfunc that returns the address of a function of C.

    Parameters
    ----------
    function : callable
        A plain function that Numba can compile. It raises nothing.
    signature : numba signature
    name : str
        Of the symbol, and of the files in the cache.
    """
    # A global, not a variable of an enclosing function: Numba would take that for a part of the
    # key in its cache, and finds a new one in every process.
    made = FunctionType(
        _address.__code__, {"define": _definer(function, signature, name), "__name__": __name__}
    )
    made.__qualname__ = name
    return made
