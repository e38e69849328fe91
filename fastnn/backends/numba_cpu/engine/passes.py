"""Phase A: a tile of rows through the ops, forward, and backward to the gradients of the slots."""

from __future__ import annotations

from typing import Any

import numba
from numba import njit

from fastnn.backends.numba_cpu.engine.polling import go_on
from fastnn.backends.numba_cpu.engine.records import (
    ACTIVATION,
    ADD,
    BATCH_NORM,
    CUSTOM_ACTIVATION,
    DENSE,
    DROPOUT,
    GATE,
    LAYER_NORM,
    SLICE,
    SOFTMAX,
    op_at,
    parameter_at,
    slot_at,
)
from fastnn.backends.numba_cpu.memory import INLINED, call, pointer, vector

__all__ = ["backward", "forward", "gate_constant", "kept", "real_at", "value"]

# Multiply-adds in one call of a dense kernel: some milliseconds even without wide vectors, so that
# a wide layer can be interrupted. Pieces are columns or rows of the weights; the sums stay whole.
PIECE_WORK = 1 << 26
PIECE_STEP = 64  # in numbers: whole cache lines

# An elementwise function takes about as long as this many multiply-adds.
FUNCTION_WORK = 16

# Where a matrix stands, and the elements from one of its rows to the next.
Matrix = tuple[int, int]


# -- where things stand ---------------------------------------------------------------------------


@njit(**INLINED)
def real_at(run: Any, address: int) -> float:
    """Return the number of the run's dtype at an address."""
    if run.element == 4:
        return numba.float64(vector(pointer(address, numba.float32), 1)[0])
    return vector(pointer(address, numba.float64), 1)[0]


@njit(**INLINED)
def _rows_of(run: Any, tile: Any, address: int, ld: int) -> Matrix:
    """Return the rows of a tile in the memory of a slot."""
    apart = run.row_ld if run.row_ld != 0 else ld
    return address + tile.first * apart * run.element, ld


@njit(**INLINED)
def _slot(run: Any, tile: Any, number: int) -> Matrix:
    source = slot_at(run.slots, number).source
    if source == 0:
        return tile.X, tile.X_ld
    if source == run.op_count:
        return tile.scores, tile.scores_ld
    slot = slot_at(run.slots, source)
    return _rows_of(run, tile, slot.values, slot.ld)


@njit(**INLINED)
def _gradient(run: Any, tile: Any, number: int) -> Matrix:
    if number == 0:
        return tile.dX, tile.dX_ld
    slot = slot_at(run.slots, number)
    return _rows_of(run, tile, slot.gradients, slot.ld)


@njit(**INLINED)
def value(run: Any, number: int) -> int:
    """Return where a parameter stands, 0 where there is none."""
    if number < 0:
        return 0
    return run.values + parameter_at(run.parameters, number).offset * run.element


@njit(**INLINED)
def gate_constant(run: Any, op: Any) -> float:
    """Return the beta of a gate, or its constant."""
    return op.constant if op.weight < 0 else real_at(run, value(run, op.weight))


@njit(**INLINED)
def kept(run: Any, op: Any, first: int) -> Matrix:
    """Return where the two things stand that a norm keeps.

    Of a layer norm they are mean and inverse deviation of the rows from `first` on; of a batch norm
    mean and variance of the columns: those of the batch in training, else the running ones.
    """
    if op.kind == LAYER_NORM:
        mean = run.saved + (2 * op.number * run.capacity + first) * run.element
        return mean, mean + run.capacity * run.element
    statistics = run.statistics if run.training else run.states_at
    return statistics + op.mean * run.element, statistics + op.variance * run.element


# -- the ops --------------------------------------------------------------------------------------


@njit(**INLINED)
def _piece(B: int, depth: int) -> int:
    return max(PIECE_STEP, PIECE_WORK // (B * depth + 1) // PIECE_STEP * PIECE_STEP)


@njit(**INLINED)
def _dense_forward(run: Any, tile: Any, op: Any, Y: Matrix, X: Matrix) -> bool:
    p = parameter_at(run.parameters, op.weight)
    W, b, I, O, size = value(run, op.weight), value(run, op.bias), p.rows, p.columns, run.element
    step = _piece(tile.rows, I)
    x, x_ld = X
    if run.bfloat16:  # the weights are rounded already
        x_ld = slot_at(run.slots, op.first).ld
        x = run.scratch + tile.worker * run.scratch_size * size
        call(run.round_bfloat16, x, x_ld, X[0], X[1], tile.rows, I)
    for o in range(0, O, step):
        n, bias = min(step, O - o), b + o * size if b != 0 else 0
        call(
            op.forward, Y[0] + o * size, Y[1], x, x_ld, W + o * size, p.stride, bias, op.function,
            tile.rows, I, n,
        )  # fmt: skip
        if not go_on(run, tile.worker, tile.rows * I * n):
            return False
    return True


@njit(**INLINED)
def _dense_backward(run: Any, tile: Any, op: Any, dX: Matrix, dY: Matrix, X: Matrix) -> bool:
    p = parameter_at(run.parameters, op.weight)
    W, I, O, size = value(run, op.weight), p.rows, p.columns, run.element
    step = _piece(tile.rows, O)
    for i in range(0, I, step):
        n, mask = min(step, I - i), X[0] + i * size if op.masks else 0
        call(
            op.backward, dX[0] + i * size, dX[1], dY[0], dY[1], W + i * p.stride * size, p.stride,
            mask, X[1], op.adds_to_first, tile.rows, n, O,
        )  # fmt: skip
        if not go_on(run, tile.worker, tile.rows * n * O):
            return False
    return True


@njit(**INLINED)
def _drop(
    run: Any, tile: Any, op: Any, kernel: int, Y: Matrix, X: Matrix, adds: int, O: int
) -> None:
    """Do what a dropout does, forward and backward."""
    B = tile.rows
    if run.training and op.constant > 0:
        first = run.row_in_batch + tile.first
        call(
            kernel, Y[0], Y[1], X[0], X[1], op.constant, run.seed, run.step, op.number, first, adds,
            B, O,
        )  # fmt: skip
    elif Y[0] != X[0]:
        call(run.copy, Y[0], Y[1], X[0], X[1], adds, B, O)


@njit(**INLINED)
def _forward(run: Any, tile: Any, op: Any) -> bool:
    Y, X, second = _slot(run, tile, op.output), _slot(run, tile, op.first), (0, 0)
    if op.second >= 0:
        second = _slot(run, tile, op.second)
    if op.kind == DENSE:
        return _dense_forward(run, tile, op, Y, X)
    B, O = tile.rows, slot_at(run.slots, op.output).width
    if op.kind == ACTIVATION:
        call(op.forward, Y[0], Y[1], X[0], X[1], op.constant, B, O)
    elif op.kind == SOFTMAX or op.kind == CUSTOM_ACTIVATION:
        call(op.forward, Y[0], Y[1], X[0], X[1], B, O)
    elif op.kind == DROPOUT:
        _drop(run, tile, op, op.forward, Y, X, 0, O)
    elif op.kind == LAYER_NORM:
        mean, spread = kept(run, op, tile.first)
        p, q = value(run, op.weight), value(run, op.bias)
        call(op.forward, Y[0], Y[1], mean, spread, X[0], X[1], p, q, op.constant, B, O)
    elif op.kind == BATCH_NORM:
        mean, spread = kept(run, op, 0)
        p, q = value(run, op.weight), value(run, op.bias)
        if run.training:
            call(run.batch_norm_statistics, mean, spread, X[0], X[1], B, O)
        call(op.forward, Y[0], Y[1], X[0], X[1], mean, spread, p, q, op.constant, B, O)
    elif op.kind == GATE:
        constant = gate_constant(run, op)
        call(op.forward, Y[0], Y[1], X[0], X[1], second[0], second[1], constant, B, O)
    elif op.kind == ADD:
        call(run.copy, Y[0], Y[1], X[0], X[1], 0, B, O)
        call(run.copy, Y[0], Y[1], second[0], second[1], 1, B, O)
    elif op.kind == SLICE:
        first = int(op.constant) * run.element
        call(run.copy, Y[0], Y[1], X[0] + first, X[1], 0, B, O)
    else:  # concat
        I = slot_at(run.slots, op.first).width
        call(run.copy, Y[0], Y[1], X[0], X[1], 0, B, I)
        call(run.copy, Y[0] + I * run.element, Y[1], second[0], second[1], 0, B, O - I)
    return go_on(run, tile.worker, FUNCTION_WORK * B * O)


@njit(**INLINED)
def _wanted(run: Any, tile: Any, number: int) -> bool:
    """Tell whether anybody asks for the gradient of a slot."""
    if number == 0:
        return tile.dX != 0
    return run.input_gradient != 0 or slot_at(run.slots, number).trainable != 0


@njit(**INLINED)
def _share(run: Any, tile: Any, op: Any, dX: Matrix, dY: Matrix, O: int) -> None:
    """Pass a gradient on to the inputs of a sum, or a part of it to each that was joined."""
    I, start = O, 0
    if op.kind != ADD:
        I = start = slot_at(run.slots, op.first).width
    if _wanted(run, tile, op.first):
        call(run.copy, dX[0], dX[1], dY[0], dY[1], op.adds_to_first, tile.rows, I)
    if _wanted(run, tile, op.second):
        to, place = _gradient(run, tile, op.second), dY[0] + start * run.element
        call(run.copy, to[0], to[1], place, dY[1], op.adds_to_second, tile.rows, O - start)


@njit(**INLINED)
def _backward(run: Any, tile: Any, op: Any) -> bool:
    wanted = _wanted(run, tile, op.first)
    if not wanted and (op.second < 0 or not _wanted(run, tile, op.second)):
        return True
    X, dX = _slot(run, tile, op.first), _gradient(run, tile, op.first)
    dY, adds = _gradient(run, tile, op.output), op.adds_to_first
    if op.kind == DENSE:
        return _dense_backward(run, tile, op, dX, dY, X)
    Y = _slot(run, tile, op.output)
    B, O = tile.rows, slot_at(run.slots, op.output).width
    if op.kind == ACTIVATION:
        call(
            op.backward, dX[0], dX[1], dY[0], dY[1], X[0], X[1], Y[0], Y[1], op.constant, adds, B, O
        )  # fmt: skip
    elif op.kind == CUSTOM_ACTIVATION:
        call(op.backward, dX[0], dX[1], dY[0], dY[1], X[0], X[1], adds, B, O)
    elif op.kind == SOFTMAX:
        call(op.backward, dX[0], dX[1], dY[0], dY[1], Y[0], Y[1], adds, B, O)
    elif op.kind == DROPOUT:
        _drop(run, tile, op, op.backward, dX, dY, adds, O)
    elif op.kind == LAYER_NORM:
        mean, spread = kept(run, op, tile.first)
        p = value(run, op.weight)
        call(op.backward, dX[0], dX[1], dY[0], dY[1], X[0], X[1], mean, spread, p, adds, B, O)
    elif op.kind == BATCH_NORM:
        mean, spread = kept(run, op, 0)
        p = value(run, op.weight)
        call(
            op.backward, dX[0], dX[1], dY[0], dY[1], X[0], X[1], mean, spread, p, op.constant,
            run.training, adds, B, O,
        )  # fmt: skip
    elif op.kind == GATE:
        second, dsecond = _slot(run, tile, op.second), _gradient(run, tile, op.second)
        call(
            op.backward, dX[0], dX[1], dsecond[0], dsecond[1], dY[0], dY[1], X[0], X[1], second[0],
            second[1], gate_constant(run, op), B, O,
        )  # fmt: skip
    elif op.kind == SLICE:
        first = int(op.constant) * run.element
        call(run.copy, dX[0] + first, dX[1], dY[0], dY[1], adds, B, O)
    else:
        _share(run, tile, op, dX, dY, O)
    return go_on(run, tile.worker, FUNCTION_WORK * B * O)


@njit(**INLINED)
def forward(run: Any, tile: Any) -> bool:
    """Take a tile through all ops; false when interrupted."""
    for number in range(run.op_count):
        op = op_at(run.ops, number)
        if op.done_forward == 0 and not _forward(run, tile, op):
            return False
    return True


@njit(**INLINED)
def backward(run: Any, tile: Any) -> bool:
    """Take a tile from the gradient of its scores to those of all slots; false when interrupted."""
    for number in range(run.op_count - 1, -1, -1):
        op = op_at(run.ops, number)
        if op.done_backward == 0 and not _backward(run, tile, op):
            return False
    return True
