"""The calls without training: predictions, the loss, its gradient."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from fastnn.backends.numba_cpu.engine.blocks import penalty_on
from fastnn.backends.numba_cpu.engine.passes import real_at
from fastnn.backends.numba_cpu.engine.polling import DIVERGED, FINE, outcome
from fastnn.backends.numba_cpu.engine.records import (
    BLOCKS,
    LOSSES,
    PREDICTIONS,
    parameter_at,
    slot_at,
)
from fastnn.backends.numba_cpu.memory import (
    INLINED,
    address_of,
    call,
    doubles_at,
    integers_at,
)

__all__ = ["batch_loss", "gradients", "predict"]


@njit(**INLINED)
def _parallel(run: Any, task: int, count: int, threads: int) -> None:
    """Do all items of a job, on at most so many threads."""
    call(run.do_job, address_of(run), task, count, threads)


@njit(**INLINED)
def even_tile(most: int, rows: int, threads: int) -> int:
    """Return how many rows a tile has: shares of the rows that are as even as tiles allow."""
    return min(most, (rows - 1) // threads + 1)


@njit(**INLINED)
def predict(run: Any) -> int:
    """Write the predictions for a batch; return how it went."""
    run.tile = even_tile(run.most_tile, run.batch_rows, run.threads)
    _parallel(run, PREDICTIONS, (run.batch_rows - 1) // run.tile + 1, run.threads)
    return outcome(run)


@njit(**INLINED)
def _weight_at(run: Any, order: int, first: int, row: int) -> float:
    """Return the weight of a row of a batch, or of what `order` numbers."""
    if run.batch_weight == 0:
        return 1.0
    number = first + row
    if order:
        number = integers_at(order, row + 1)[row]
    return real_at(run, run.batch_weight + number * run.element)


@njit(**INLINED)
def gradients(run: Any, threads: int) -> float:
    """Phase B over the chunk; return the penalties of parameters that are updated on the spot."""
    _parallel(run, BLOCKS, run.block_count, threads)
    total = 0.0
    if run.on_the_spot:
        parts = doubles_at(run.block_penalty, run.block_count)
        for n in range(run.block_count):
            total += parts[n]
    return total


@njit(**INLINED)
def _penalties(run: Any) -> float:
    """Return the penalties on the parameters, and add their gradient to the flat one."""
    total = 0.0
    for n in range(run.parameter_count):
        p = parameter_at(run.parameters, n)
        gradient = run.gradient + p.offset * run.element if run.gradient else 0
        total += penalty_on(run, p, p.offset, p.rows * p.stride, gradient)
    return total


@njit(**INLINED)
def batch_loss(run: Any, order: int, first: int, rows: int, threads: int) -> int:
    """Set the mean loss, the share of hits, and the gradients that are wanted, of rows of a batch.

    The rows are those that `order` numbers, or without one those from `first` on. Parameters that
    are to be updated on the spot are.
    """
    total, loss, hits, penalty = float(rows), 0.0, 0.0, 0.0
    if run.batch_weight:
        total = 0.0
        for r in range(rows):
            total += _weight_at(run, order, first, r)
    run.factor = 1 / total
    input_slot = slot_at(run.slots, 0)
    row_loss, row_hits = doubles_at(run.row_loss, run.capacity), doubles_at(run.hits, run.capacity)
    at = 0
    while at < rows:
        B = min(run.capacity, rows - at)
        run.B, run.first_row, run.row_in_batch = B, first + at, at
        run.chunk_order = order + at * 8 if order else 0
        if not order:
            input_slot.values = run.batch_X + run.first_row * input_slot.width * run.element
        run.tile = B if run.couples_rows and run.training else even_tile(run.most_tile, B, threads)
        _parallel(run, LOSSES, (B - 1) // run.tile + 1, threads)
        if outcome(run) != FINE:
            return outcome(run)
        for r in range(B):
            weight = _weight_at(run, run.chunk_order, run.first_row, r)
            loss += weight * row_loss[r]
            hits += weight * row_hits[r]
        run.mean_loss, run.mean_hits = loss / total, hits / total
        if run.on_the_spot and not math.isfinite(run.mean_loss):
            return DIVERGED  # before anything is updated
        if run.on_the_spot or run.gradient:
            penalty = gradients(run, threads)
        at += B
    run.mean_loss += penalty if run.on_the_spot else _penalties(run)
    return outcome(run)
