"""Phase B: the gradients of the parameters, block by block, and their updates on the spot."""

from __future__ import annotations

from typing import Any

from numba import njit

from fastnn.backends.numba_cpu.engine.passes import gate_constant, kept, value
from fastnn.backends.numba_cpu.engine.polling import diverge, go_on
from fastnn.backends.numba_cpu.engine.records import (
    BATCH_NORM,
    DENSE,
    LAYER_NORM,
    SETTINGS_AT,
    block_at,
    op_at,
    optimizer_at,
    parameter_at,
    slot_at,
)
from fastnn.backends.numba_cpu.memory import INLINED, call, call_float64, call_int64, doubles_at

__all__ = ["nadam_momentum", "penalty_on", "run_block", "update", "update_parameter"]


@njit(**INLINED)
def nadam_momentum(optimizer: Any, step: float) -> float:
    """Return NAdam's momentum of a step, counted from 1."""
    return optimizer.beta1 * (1 - 0.5 * 0.96 ** (step * optimizer.momentum_decay))


@njit(**INLINED)
def _moment(run: Any, optimizer: Any, which: int, offset: int) -> int:
    """Return where a moment stands, 0 where the optimizer has fewer."""
    if which >= optimizer.moment_count:
        return 0
    return optimizer.moments + (which * run.size + offset) * run.element


@njit(**INLINED)
def update(run: Any, offset: int, N: int, g: int, weight_decay: float) -> None:
    """Update the elements [offset, offset + N) of the flat vector by their gradient g."""
    optimizer = optimizer_at(run.optimizer, 0)
    w = run.values + offset * run.element
    first, second = _moment(run, optimizer, 0, offset), _moment(run, optimizer, 1, offset)
    settings = run.optimizer + SETTINGS_AT
    call(optimizer.update, w, first, second, g, settings, run.rate, weight_decay, N)


@njit(**INLINED)
def update_parameter(run: Any, p: Any, offset: int, N: int, g: int) -> None:
    """Update a part of a parameter; with a largest norm, the part is the whole of it."""
    decay = optimizer_at(run.optimizer, 0).weight_decay if p.regularized else 0.0
    update(run, offset, N, g, decay)
    if p.max_norm > 0:
        w = run.values + offset * run.element
        call(run.max_norm, w, p.stride, p.max_norm, p.rows, p.columns)


@njit(**INLINED)
def penalty_on(run: Any, p: Any, offset: int, N: int, g: int) -> float:
    """Return the penalty on a part of a parameter, and add its gradient to g, unless that is 0."""
    if p.l1 == 0 and p.l2 == 0:
        return 0.0
    share = run.factor if p.penalty_per_row else 1.0
    w = run.values + offset * run.element
    return call_float64(run.penalty, g, w, share * p.l1, share * p.l2, N)


@njit(**INLINED)
def _finish(run: Any, p: Any, offset: int, N: int, g: int) -> float:
    """Clip and update a part of a parameter whose gradient is complete, and return its penalty.

    Nothing is updated by a gradient that is not finite.
    """
    penalty = penalty_on(run, p, offset, N, g)
    if call_int64(run.first_nonfinite, g, N, 1, N) >= 0:
        diverge(run)
        return penalty
    optimizer = optimizer_at(run.optimizer, 0)
    if optimizer.clip_value > 0:
        call(optimizer.clip, g, optimizer.clip_value, N)
    update_parameter(run, p, offset, N, g)
    return penalty


@njit(**INLINED)
def _sum_up(run: Any, op: Any, block: Any, p: Any, g: int, h: int) -> None:
    """Set, or add to, the gradients g and h of a block, summed over the rows of the chunk."""
    source = slot_at(run.slots, slot_at(run.slots, op.first).source)
    output = slot_at(run.slots, op.output)
    X, X_ld, dY, dY_ld = source.values, source.ld, output.gradients, output.ld
    adds, B, O = run.row_in_batch > 0, run.B, output.width
    if op.kind == DENSE:
        bias = h if block.first == 0 else 0
        X += block.first * run.element
        call(op.sums, g, p.stride, bias, X, X_ld, dY, dY_ld, adds, B, block.rows, O)
    elif op.kind == LAYER_NORM:
        mean, spread = kept(run, op, 0)
        call(op.sums, g, h, dY, dY_ld, X, X_ld, mean, spread, adds, B, O)
    elif op.kind == BATCH_NORM:
        mean, spread = kept(run, op, 0)
        call(op.sums, g, h, dY, dY_ld, X, X_ld, mean, spread, op.constant, adds, B, O)
    else:  # a gate
        second = slot_at(run.slots, slot_at(run.slots, op.second).source)
        V, V_ld, beta = second.values, second.ld, gate_constant(run, op)
        call(op.sums, g, dY, dY_ld, X, X_ld, V, V_ld, beta, adds, B, O)


@njit(**INLINED)
def run_block(run: Any, item: int, worker: int) -> None:
    """Work out the gradient of a block, and update its parameters if that is done on the spot."""
    if not go_on(run, worker, 0):
        return
    block = block_at(run.blocks, item)
    op, size = op_at(run.ops, block.op), run.element
    p, has_second = parameter_at(run.parameters, op.weight), op.bias >= 0
    start, N = block.first * p.stride, block.rows * p.stride
    if not run.on_the_spot:
        g = run.gradient + (p.offset + start) * size
        h = run.gradient + value(run, op.bias) - run.values if has_second else 0
        _sum_up(run, op, block, p, g, h)
        go_on(run, worker, run.B * block.rows * slot_at(run.slots, op.output).width)
        return
    scratch = run.scratch + worker * run.scratch_size * size
    g = scratch + block.weight * size
    h = scratch + block.bias * size if has_second else 0
    _sum_up(run, op, block, p, g, h)
    penalty = _finish(run, p, p.offset + start, N, g)
    if has_second and block.first == 0:
        q = parameter_at(run.parameters, op.bias)
        penalty += _finish(run, q, q.offset, q.stride, h)
    doubles_at(run.block_penalty, run.block_count)[item] = penalty
