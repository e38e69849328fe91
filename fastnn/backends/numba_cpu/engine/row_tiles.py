"""The items of phase A and of predictions: a tile of rows, from the input to what is wanted."""

from __future__ import annotations

from typing import Any

from numba import njit

from fastnn.backends.numba_cpu.engine.passes import forward
from fastnn.backends.numba_cpu.engine.polling import FINE, diverge, go_on, outcome
from fastnn.backends.numba_cpu.engine.records import PREDICTIONS, slot_at, tile_at
from fastnn.backends.numba_cpu.memory import INLINED, address_of, call, call_int64, integers_at

__all__ = ["run_tile"]


@njit(**INLINED)
def _begin_prediction(run: Any, tile: Any, item: int) -> None:
    """Find the rows of a tile; every worker has some of the workspace for itself."""
    size = run.element
    I, O = slot_at(run.slots, 0).width, slot_at(run.slots, run.op_count).width
    start = item * run.tile
    tile.first, tile.rows = tile.worker * run.most_tile, min(run.tile, run.batch_rows - start)
    tile.X, tile.X_ld = run.batch_X + start * I * size, I
    tile.scores, tile.scores_ld = run.out + start * O * size, O
    if run.only_finite and call_int64(run.first_nonfinite, tile.X, I, tile.rows, I) >= 0:
        diverge(run)


@njit(**INLINED)
def _apply_head(run: Any, tile: Any) -> None:
    """Turn scores into predictions."""
    Z, ld, B, O = tile.scores, tile.scores_ld, tile.rows, slot_at(run.slots, run.op_count).width
    if run.head_is_activation:
        call(run.head_kernel, Z, ld, Z, ld, 0.0, B, O)
    elif run.head_kernel:
        call(run.head_kernel, Z, ld, Z, ld, B, O)


@njit(**INLINED)
def _gathered(run: Any, first: int, B: int, O: int) -> None:
    """Bring targets and weights of rows of the chunk together, which `chunk_order` numbers."""
    size, order = run.element, run.chunk_order + first * 8
    if run.batch_Y:
        call(run.gather_rows, run.Y + first * O * size, O, run.batch_Y, O, order, B, O)
    if run.batch_labels:
        numbers = integers_at(order, B)
        labels = integers_at(run.labels, first + B)
        given = integers_at(run.batch_labels, 1)
        for r in range(B):
            labels[first + r] = given[numbers[r]]
    if run.batch_weight:
        call(run.gather_rows, run.weight + first * size, 1, run.batch_weight, 1, order, B, 1)


@njit(**INLINED)
def _loss_of(run: Any, tile: Any) -> None:
    """Set the losses and hits of a tile's rows, and the gradient of its scores if it is wanted."""
    size, first, B = run.element, tile.first, tile.rows
    scores = slot_at(run.slots, run.op_count)
    O, row = scores.width, run.first_row + first
    Y = run.batch_Y + row * O * size if run.batch_Y else 0
    labels = run.batch_labels + row * 8 if run.batch_labels else 0
    weight = run.batch_weight + row * size if run.batch_weight else 0
    if run.chunk_order:
        _gathered(run, first, B, O)
        Y = run.Y + first * O * size if run.batch_Y else 0
        labels = run.labels + first * 8 if run.batch_labels else 0
        weight = run.weight + first * size if run.batch_weight else 0
    dZ = scores.gradients + first * scores.ld * size if scores.gradients else 0
    row_loss, hits = run.row_loss + first * 8, run.hits + first * 8
    known = run.judge if run.custom_loss else run.loss
    if known:
        slopes = 0 if run.custom_loss else dZ
        call(
            known, row_loss, hits, slopes, scores.ld, tile.scores, tile.scores_ld, Y, O, labels,
            weight, run.loss_constant, run.factor, B, O,
        )  # fmt: skip
    if run.custom_loss:
        call(
            run.custom_loss, row_loss, dZ, scores.ld, tile.scores, tile.scores_ld, Y, O, weight,
            run.factor, B, O,
        )  # fmt: skip


@njit(**INLINED)
def _begin_loss(run: Any, tile: Any, item: int) -> None:
    """Find the rows of a tile of the chunk, or bring them together."""
    size, first = run.element, item * run.tile
    input_slot, scores = slot_at(run.slots, 0), slot_at(run.slots, run.op_count)
    I, B = input_slot.width, min(run.tile, run.B - first)
    tile.first, tile.rows = first, B
    tile.X, tile.X_ld = input_slot.values + first * input_slot.ld * size, input_slot.ld
    tile.scores, tile.scores_ld = scores.values + first * scores.ld * size, scores.ld
    tile.dX, tile.dX_ld = 0, I
    if run.input_gradient:
        tile.dX = run.input_gradient + (run.row_in_batch + first) * I * size
    if run.chunk_order:
        order = run.chunk_order + first * 8
        call(run.gather_rows, tile.X, tile.X_ld, run.batch_X, I, order, B, I)


@njit(**INLINED)
def run_tile(run: Any, item: int, worker: int, task: int) -> None:
    """Take a tile of rows to the predictions; or forward, to the loss, and backward."""
    tile = tile_at(run.tiles, worker)
    tile.worker = worker
    if task == PREDICTIONS:
        _begin_prediction(run, tile, item)
    else:
        _begin_loss(run, tile, item)
    if outcome(run) != FINE or not go_on(run, worker, 0) or not forward(run, tile):
        return
    if task == PREDICTIONS:
        _apply_head(run, tile)
        return
    _loss_of(run, tile)
    if slot_at(run.slots, run.op_count).gradients:
        call(run.go_back, address_of(run), address_of(tile))
