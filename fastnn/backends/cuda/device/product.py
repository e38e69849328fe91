"""The three matrix products of a dense layer, with what comes before and behind them.

A block computes a tile of C = A @ B. It takes tiles of A and B along the inner size into shared
memory, and each thread a small tile of C in registers. Whatever is done to an element of C is done
before it is stored. Sums run in the order of the inner size in the dtype of the matrices, so equal
calls give equal bits.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

from fastnn.backends.cuda.device.functions import slope, value
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.cuda.target import SIMULATED, Kernel, cuda

__all__ = ["backward_data", "backward_weights", "forward"]


class Tile(NamedTuple):
    """The tile of a block.

    Attributes
    ----------
    rows, columns : int
        Of C.
    depth : int
        How much of the inner size lies in shared memory at a time.
    own_rows, own_columns : int
        Of the part of C that a thread holds, whose rows and columns lie as far apart as there are
        threads along them: so neighbours read neighbouring words. The number of threads follows; it
        is a multiple of rows, columns and depth.
    """

    rows: int
    columns: int
    depth: int
    own_rows: int
    own_columns: int

    @property
    def block(self) -> tuple[int, int]:
        """The threads of a block, along the columns and the rows."""
        return self.columns // self.own_columns, self.rows // self.own_rows

    def blocks(self, M: int, N: int) -> int:
        """Return how many tiles cover a C of shape (M, N)."""
        return -(-M // self.rows) * -(-N // self.columns)


# Words of shared memory that a warp can reach at once.
BANKS = 32
# 256 threads each: shared memory gives 2 to 8 multiplications for a number that is read from it.
# From the largest on, the first is taken that a C fills: no more than half of a tile lies outside,
# and there are tiles enough for the multiprocessors of a device. Not measured: no GPU was at hand.
TILES: tuple[Tile, ...] = (
    Tile(128, 128, 8, 8, 8),
    Tile(64, 64, 16, 4, 4),
    Tile(32, 32, 32, 2, 2),
)
ENOUGH = 96
if SIMULATED:  # a Python thread for every thread of a block
    TILES = (Tile(8, 16, 4, 2, 4),)


def _tile(M: int, N: int) -> Tile:
    fitting = (tile for tile in TILES if tile.rows <= 2 * M and tile.columns <= 2 * N)
    return next((tile for tile in fitting if tile.blocks(M, N) >= ENOUGH), TILES[-1])


# Of a thread, so that two such blocks fit into a multiprocessor, which has 65536.
REGISTERS = 128


# Functions short enough to stand in the code for every element that a thread holds. Longer ones
# would keep the loops over these from being unrolled, and what is indexed by a loop is in no
# register: a thread takes its elements through them once they are stored.
SHORT = ("identity", "heaviside", "relu", "leaky_relu")


class Form(NamedTuple):
    """What is compiled into a product: no choice is left inside of the loops.

    Attributes
    ----------
    left, right : bool
        Whether A and B are stored transposed: A as (K, M), B as (N, K).
    bias : bool
        Whether a vector is added to every row of C.
    function : str
        The activation of every element.
    mask : str
        The function by whose slope, taken at an output, every element is multiplied; "" for none.
    sums : bool
        Whether the columns of B are summed too.
    accumulate : bool
        Whether C and the sums are added to.
    """

    left: bool = False
    right: bool = False
    bias: bool = False
    function: str = "identity"
    mask: str = ""
    sums: bool = False
    accumulate: bool = False


@functools.cache
def _product(real: Any, tile: Tile, form: Form) -> Kernel:
    """Return the kernel; an array that its form has no use for is any array."""
    TM, TN, TK, m, n = tile
    X, Y = tile.block
    THREADS = X * Y
    LEFT, RIGHT, BIAS, _, MASK, SUMS, ACCUMULATE = form
    MASKED, LATER = bool(MASK), form.function not in SHORT
    f, df = value(form.function, real), slope(MASK or "identity", real)
    zero = real(0)
    # Threads that load a tile stand along what is contiguous in memory: so many in a line.
    LINE_A, LINE_B = (TM if LEFT else TK), (TK if RIGHT else TN)
    STEP_A, STEP_B = THREADS // LINE_A, THREADS // LINE_B
    LOADS_A, LOADS_B = TM * TK // THREADS, TN * TK // THREADS
    # The threads of a warp that stand along the depth then write to different banks.
    PITCH_A, PITCH_B = TM + max(1, BANKS // TK), TN + max(1, BANKS // TK)

    def product(C, ldC, A, ldA, B, ldB, b, S, Z, ldZ, c, M, N, K):
        a_tile = cuda.shared.array((TK, PITCH_A), real)
        b_tile = cuda.shared.array((TK, PITCH_B), real)
        total = cuda.local.array((m, n), real)
        a_own = cuda.local.array(m, real)
        b_own = cuda.local.array(n, real)
        sums = cuda.local.array(n, real)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        row, column = cuda.blockIdx.x * TM, cuda.blockIdx.y * TN
        thread = y * X + x
        at_a, line_a = thread % LINE_A, thread // LINE_A
        at_b, line_b = thread % LINE_B, thread // LINE_B
        for j in range(n):
            sums[j] = zero
            for i in range(m):
                total[i, j] = zero
        for start in range(0, K, TK):
            for load in range(LOADS_A):
                if LEFT:
                    i, k = at_a, line_a + load * STEP_A
                    there = row + i < M and start + k < K
                    a_tile[k, i] = A[(start + k) * ldA + row + i] if there else zero
                else:
                    i, k = line_a + load * STEP_A, at_a
                    there = row + i < M and start + k < K
                    a_tile[k, i] = A[(row + i) * ldA + start + k] if there else zero
            for load in range(LOADS_B):
                if RIGHT:
                    j, k = line_b + load * STEP_B, at_b
                    there = column + j < N and start + k < K
                    b_tile[k, j] = B[(column + j) * ldB + start + k] if there else zero
                else:
                    j, k = at_b, line_b + load * STEP_B
                    there = column + j < N and start + k < K
                    b_tile[k, j] = B[(start + k) * ldB + column + j] if there else zero
            cuda.syncthreads()
            for k in range(TK):
                for i in range(m):
                    a_own[i] = a_tile[k, y + i * Y]
                for j in range(n):
                    b_own[j] = b_tile[k, x + j * X]
                    if SUMS:
                        sums[j] += b_own[j]
                for i in range(m):
                    for j in range(n):
                        total[i, j] += a_own[i] * b_own[j]
            cuda.syncthreads()
        for i in range(m):
            for j in range(n):
                r, o = row + y + i * Y, column + x + j * X
                if r < M and o < N:
                    z = total[i, j]
                    if BIAS:
                        z += b[o]
                    if ACCUMULATE:
                        z += C[r * ldC + o]
                    if MASKED:
                        z *= df(Z[r * ldZ + o], Z[r * ldZ + o], c)
                    C[r * ldC + o] = z if LATER else f(z, c)
        if LATER:
            for i in range(m):
                for j in range(n):
                    r, o = row + y + i * Y, column + x + j * X
                    if r < M and o < N:
                        C[r * ldC + o] = f(C[r * ldC + o], c)
        if SUMS and y == 0 and cuda.blockIdx.x == 0:
            for j in range(n):
                o = column + x + j * X
                if o < N:
                    S[o] = S[o] + sums[j] if ACCUMULATE else sums[j]

    return Kernel(product, REGISTERS)


def _launch(
    stream: Any,
    form: Form,
    C: Matrix,
    A: Matrix,
    B: Matrix,
    sizes: tuple[int, int, int],
    b: Any = None,
    S: Any = None,
    Z: Matrix | None = None,
    constant: float = 0.0,
) -> None:
    real, (M, N, K) = C.real, sizes
    tile = _tile(M, N)
    # Rows go along x, where a grid has no limit; sums of columns are wanted of a C without any too.
    grid = max(-(-M // tile.rows), int(form.sums)), -(-N // tile.columns)
    mask = Z or C
    vectors = (C.at if v is None else v for v in (b, S))
    _product(real, tile, form).launch(
        stream, grid, tile.block, *C, *A, *B, *vectors, *mask, real(constant), M, N, K
    )


def forward(
    stream: Any,
    Y: Matrix,
    X: Matrix,
    W: Matrix,
    b: Any,
    function: str,
    constant: float,
    B: int,
    I: int,
    O: int,
) -> None:
    """Y = f(X @ W + b) with Y (B, O), X (B, I), W (I, O), b (O) or None. Sets Y."""
    form = Form(bias=b is not None, function=function)
    _launch(stream, form, Y, X, W, (B, O, I), b=b, constant=constant)


def backward_data(
    stream: Any,
    dX: Matrix,
    dY: Matrix,
    W: Matrix,
    X: Matrix | None,
    function: str,
    constant: float,
    accumulate: bool,
    B: int,
    I: int,
    O: int,
) -> None:
    """Set or add to dX = dY @ W.T, and where X = f(.) is given, take it times the slope of f.

    With dX, X (B, I), dY (B, O), W (I, O). The slope is that of the whole sum; it must follow from
    the output of f, which is one of `functions.FROM_OUTPUT`.
    """
    form = Form(right=True, mask=function if X else "", accumulate=accumulate)
    _launch(stream, form, dX, dY, W, (B, I, O), Z=X, constant=constant)


def backward_weights(
    stream: Any,
    dW: Matrix,
    db: Any,
    X: Matrix,
    dY: Matrix,
    accumulate: bool,
    B: int,
    I: int,
    O: int,
) -> None:
    """Set or add to dW = X.T @ dY and db = dY.sum(axis=0).

    With dW (I, O), db (O) or None, X (B, I), dY (B, O).
    """
    form = Form(left=True, sums=db is not None, accumulate=accumulate)
    _launch(stream, form, dW, X, dY, (I, O, B), S=db)
