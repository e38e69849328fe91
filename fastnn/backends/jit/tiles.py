"""What is left over of the rows of a tile behind whole vectors, gathered in a block of the stack.

One by one the elements would take as long as all the rest of a row.
"""

from __future__ import annotations

from typing import Any

from fastnn.backends.jit.instructions import inlined
from fastnn.backends.jit.memory import held, hold

__all__ = ["LINE", "clear", "gather", "scatter", "up_to"]

LINE = 64  # bytes of the widest vectors


@inlined
def up_to(n: Any, multiple: Any) -> Any:
    """Return the next multiple."""
    return (n + multiple - 1) // multiple * multiple


@inlined
def clear(block: Any, first: Any, past: Any) -> None:
    """Set what is computed beside the elements of a block, and dropped."""
    for k in range(first, past):
        hold(block, k, 0)


@inlined
def gather(block: Any, n: Any, first: Any, X: Any, ldX: Any, main: Any, O: Any) -> None:
    """Copy n elements of the columns from main on, row behind row from a first one on."""
    x, o, k = first // (O - main) * ldX, main + first % (O - main), 0
    while k < n:
        count = min(n - k, O - o)
        for j in range(count):
            hold(block, k + j, held(X, x + o + j))
        x, o, k = x + ldX, main, k + count


@inlined
def scatter(block: Any, n: Any, first: Any, Y: Any, ldY: Any, main: Any, O: Any, add: Any) -> None:
    """Copy them back, or add them to what is there."""
    y, o, k = first // (O - main) * ldY, main + first % (O - main), 0
    while k < n:
        count = min(n - k, O - o)
        for j in range(count):
            value = held(block, k + j)
            hold(Y, y + o + j, held(Y, y + o + j) + value if add else value)
        y, o, k = y + ldY, main, k + count
