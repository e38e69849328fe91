"""How kernels call the matrix product and the transpose: by the names of symbols.

So these are compiled once for all kernels. Which one a kernel calls says the width of its vectors
in bytes, 64, 32 or 16; 0 stands for plain loops. The processor has one that suits it best; the
environment variable FASTNN_NUMBA_VECTOR, read when this module is imported, asks for another one.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from numba import types
from numba.extending import intrinsic

from fastnn.backends.jit.instructions import has
from fastnn.backends.numba_cpu import panels, plain
from fastnn.backends.numba_cpu.blocks import by_symbol

__all__ = ["VECTOR", "block_columns", "product", "shared", "transpose"]

WIDTHS = ("64", "32", "16", "0")


def _width() -> str:
    """Return the bytes of the vectors that suit the processor, or that are asked for."""
    asked = os.environ.get("FASTNN_NUMBA_VECTOR", "")
    if asked and asked not in WIDTHS:
        raise ImportError(f"FASTNN_NUMBA_VECTOR is {asked!r}, expected one of {', '.join(WIDTHS)}")
    if asked:
        return asked
    if has("avx512f"):
        return "64"
    return "32" if has("avx2") and has("fma") else "16"


VECTOR = _width()


@intrinsic(prefer_literal=True)
def product(typingctx: Any, width: Any, *arguments: Any) -> Any:
    """Set C = start + A @ B, or add to it: C += A @ B. Every element is one sum, in the order of k.

    After the width come: C (M, N), and its leading dimension; A (M, K), the distance of its rows,
    and of its columns; B (K, N), and its leading dimension; start (N), or nothing for 0; active
    (M, N) or nothing, and its leading dimension: what a relu gave, by whose slope C is multiplied
    at last; whether sums go on from C; whether C goes through a relu at last; M, N, K.
    """
    kinds, codegen = by_symbol(f"product_{width.literal_value}", arguments)
    return types.none(width, kinds), codegen


@intrinsic(prefer_literal=True)
def transpose(typingctx: Any, width: Any, *arguments: Any) -> Any:
    """Set T (columns, rows) = X.T.

    After the width come: T, its leading dimension, X, its leading dimension, rows, columns.
    """
    kinds, codegen = by_symbol(f"transpose_{width.literal_value}", arguments)
    return types.none(width, kinds), codegen


def block_columns(width: str) -> int:
    """Return the columns of a block that is transposed: two vectors of float32."""
    return 2 * (int(width) or 64) // 4


def shared(width: str) -> dict[str, Callable[..., Any]]:
    """Return the functions that have to be there, by the names of their symbols."""
    functions = plain.product, plain.transpose
    if width != "0":
        functions = panels.product(width), panels.transpose(width)
    return dict(zip((f"product_{width}", f"transpose_{width}"), functions, strict=True))
