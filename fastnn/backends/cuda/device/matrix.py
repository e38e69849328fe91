"""How matrices lie on the device, and over how many threads a kernel is spread."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends.cuda import target

__all__ = [
    "BLOCKS",
    "COLUMNS",
    "DEPTH",
    "THREADS",
    "Matrix",
    "column_grid",
    "flat_grid",
    "flattened",
    "row_block",
    "sheet",
]


class Matrix(NamedTuple):
    """A matrix on the device.

    Attributes
    ----------
    at : device array
        One-dimensional and contiguous, from the first element of the matrix on.
    ld : int
        Elements from one row to the next.
    """

    at: Any
    ld: int

    @property
    def real(self) -> Any:
        """The type of its elements, `numpy.float32` or `numpy.float64`."""
        return np.dtype(self.at.dtype).type


# Threads of a block of an elementwise kernel, and the most blocks along each axis: the threads
# take strides over what is left. The simulator has a Python thread for each.
THREADS = 8 if target.SIMULATED else 256
BLOCKS = (3, 2) if target.SIMULATED else (4096, 4096)
# The most threads that share a row where its columns are summed, and threads of such a block.
LANES, ROW_THREADS = (4, 8) if target.SIMULATED else (32, 256)
# Columns that a block sums, and threads that share each.
COLUMNS, DEPTH = (4, 2) if target.SIMULATED else (32, 16)


def _blocks(size: int, threads: int, most: int) -> int:
    return min(-(-size // threads), most)


def sheet(B: int, O: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return grid and block for a kernel with a thread for every element of (B, O)."""
    x = 1
    while x < min(O, THREADS):
        x *= 2
    y = THREADS // x
    return (_blocks(O, x, BLOCKS[0]), _blocks(B, y, BLOCKS[1])), (x, y)


def flattened(B: int, O: int, *matrices: Matrix) -> tuple[int, int]:
    """Return the shape as one row where all matrices lie without gaps, else as it is."""
    return (1, B * O) if all(m.ld == O for m in matrices) else (B, O)


def flat_grid(N: int) -> tuple[tuple[int], tuple[int]]:
    """Return grid and block for a kernel over a flat vector."""
    return (_blocks(N, THREADS, BLOCKS[0]),), (THREADS,)


def row_block(O: int) -> tuple[int, int]:
    """Return how many threads share a row of O columns, and how many rows a block takes."""
    lanes = LANES if O > 2 * LANES // 4 else max(LANES // 4, 1)
    return lanes, ROW_THREADS // lanes


def column_grid(O: int) -> tuple[tuple[int], tuple[int, int]]:
    """Return grid and block for a kernel in which DEPTH threads share a column."""
    return (-(-O // COLUMNS),), (COLUMNS, DEPTH)
