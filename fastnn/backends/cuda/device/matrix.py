"""How matrices lie on the device, and over how many threads a kernel is spread."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastnn.backends.cuda import target

__all__ = ["Matrix", "flat_grid", "flattened", "row_grid", "sheet"]


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
# Threads that share a row where its columns are summed, and rows of a block; and the same for
# sums down the columns.
LANES, ROWS = (4, 2) if target.SIMULATED else (32, 8)


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


def row_grid(B: int) -> tuple[tuple[int], tuple[int, int]]:
    """Return grid and block for a kernel in which LANES threads share a row."""
    return (_blocks(B, ROWS, BLOCKS[0]),), (LANES, ROWS)


def column_grid(O: int) -> tuple[tuple[int], tuple[int, int]]:
    """Return grid and block for a kernel in which ROWS threads share a column."""
    return (-(-O // LANES),), (LANES, ROWS)
