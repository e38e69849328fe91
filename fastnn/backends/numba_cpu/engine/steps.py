"""Training steps: on the spot or by a flat gradient, clipping, states, and whether threads pay."""

from __future__ import annotations

import math
from typing import Any

from numba import njit

from fastnn.backends.numba_cpu.engine.blocks import nadam_momentum, update, update_parameter
from fastnn.backends.numba_cpu.engine.lowlevel import clear_bytes, copy_bytes, nanoseconds
from fastnn.backends.numba_cpu.engine.passes import kept
from fastnn.backends.numba_cpu.engine.polling import DIVERGED, FINE, INTERRUPTED
from fastnn.backends.numba_cpu.engine.records import (
    BATCH_NORM,
    op_at,
    optimizer_at,
    parameter_at,
    slot_at,
)
from fastnn.backends.numba_cpu.engine.runs import batch_loss
from fastnn.backends.numba_cpu.memory import (
    INLINED,
    call,
    call_float64,
    call_int64,
    doubles_at,
    integers_at,
)

__all__ = ["TRIAL_WORDS", "take_steps"]

# How many steps a trial has with all threads, and then alone; the least time counts. Then nobody
# tries until the period is over: cores of a virtual machine move.
TRIES = 3
PERIOD = 512

# Of a trial: the step in the period, and the best time with all threads and alone.
TRIAL_WORDS = 3


@njit(**INLINED)
def _is_finite(run: Any, vector: int, length: int) -> bool:
    """Tell whether all numbers of a vector are finite."""
    return call_int64(run.first_nonfinite, vector, length, 1, length) < 0


@njit(**INLINED)
def _count_step(optimizer: Any) -> None:
    """Count a step: updates count from 1, the masks of dropout from 0."""
    optimizer.steps += 1
    optimizer.step = float(optimizer.steps)
    if optimizer.is_nadam:
        optimizer.product *= nadam_momentum(optimizer, optimizer.step)


@njit(**INLINED)
def _update_states(run: Any, rows: int) -> None:
    """Take the statistics of a batch of so many rows into the running ones."""
    for number in range(run.op_count):
        op = op_at(run.ops, number)
        if op.kind != BATCH_NORM:
            continue
        mean, variance = kept(run, op, 0)
        running_mean = run.states_at + op.mean * run.element
        running_variance = run.states_at + op.variance * run.element
        call(
            run.batch_norm_update, running_mean, running_variance, mean, variance, op.momentum,
            rows, slot_at(run.slots, op.output).width,
        )  # fmt: skip


@njit(**INLINED)
def _update_all(run: Any) -> None:
    """Clip the flat gradient, and update all parameters by it."""
    optimizer, P = optimizer_at(run.optimizer, 0), run.size
    if optimizer.clip_value > 0:
        call(optimizer.clip, run.gradient, optimizer.clip_value, P)
    if optimizer.clip_norm > 0:
        norm = math.sqrt(call_float64(optimizer.sum_of_squares, run.gradient, P))
        if norm > optimizer.clip_norm:
            call(optimizer.scale, run.gradient, optimizer.clip_norm / norm, P)
    if optimizer.weight_decay == 0 and not run.limits_norms:  # all alike
        update(run, 0, P, run.gradient, 0.0)
        return
    for n in range(run.parameter_count):
        p = parameter_at(run.parameters, n)
        gradient = run.gradient + p.offset * run.element
        update_parameter(run, p, p.offset, p.rows * p.stride, gradient)


@njit(**INLINED)
def _take_step(run: Any, order: int, first: int, rows: int, threads: int) -> int:
    """Take one step, and return how it went.

    Where the gradient is collected in the flat vector, it is whole before the first update, so that
    parameters and optimizer change last, and only together; else every block of parameters is
    updated as soon as its gradient is known. Without an optimizer, nothing is updated at all.
    """
    optimizer, step, product = optimizer_at(run.optimizer, 0), 0, 0.0
    if run.optimizer:
        step, product = optimizer.steps, optimizer.product
        run.step = step
    if run.on_the_spot:
        _count_step(optimizer)
    status = batch_loss(run, order, first, rows, threads)
    if not run.optimizer:
        return status
    if status == FINE and not run.on_the_spot:
        if not (
            math.isfinite(run.mean_loss)
            and _is_finite(run, run.gradient, run.size)
            and _is_finite(run, run.statistics, run.state_size)
        ):
            return DIVERGED
        _count_step(optimizer)
        _update_all(run)
    if status == FINE:
        _update_states(run, rows)
    else:
        optimizer.steps, optimizer.product = step, product
    return status


@njit(**INLINED)
def _threads_that_pay(run: Any) -> int:
    """Return how many threads the next step has, by what the trial says so far.

    Cores may be so far from each other that a small step is quicker alone.
    """
    trial = integers_at(run.trial, TRIAL_WORDS)
    if trial[0] < TRIES or (trial[0] >= 2 * TRIES and trial[1] <= trial[2]):
        return run.threads
    return 1


@njit(**INLINED)
def _note_time(run: Any, time: int) -> None:
    trial = integers_at(run.trial, TRIAL_WORDS)
    if trial[0] < 2 * TRIES:
        best = 1 + trial[0] // TRIES
        trial[best] = time if trial[0] % TRIES == 0 else min(trial[best], time)
    trial[0] = (trial[0] + 1) % PERIOD


@njit(**INLINED)
def _save(run: Any) -> None:
    """Note what parameters and states are."""
    size = run.size * run.element
    copy_bytes(run.kept, run.values, size)
    copy_bytes(run.kept + size, run.states_at, run.state_size * run.element)


@njit(**INLINED)
def _settle(run: Any, status: int) -> int:
    """Return how a step went, with a look at all that it changed.

    Where anything is not finite, parameters and states become what they were, and moments that are
    not finite become 0.
    """
    if status == INTERRUPTED:
        return status
    optimizer, size = optimizer_at(run.optimizer, 0), run.size * run.element
    moments = optimizer.moment_count * run.size
    finite = _is_finite(run, optimizer.moments, moments)
    if (
        status == FINE
        and finite
        and _is_finite(run, run.values, run.size)
        and _is_finite(run, run.states_at, run.state_size)
    ):
        return FINE
    copy_bytes(run.values, run.kept, size)  # some blocks may be updated, and others not
    copy_bytes(run.states_at, run.kept + size, run.state_size * run.element)
    if not finite:
        clear_bytes(optimizer.moments, moments * run.element)
    return DIVERGED


@njit(**INLINED)
def take_steps(run: Any) -> int:
    """Take the steps of a run, and count those that were taken whole; return how it went."""
    count = run.count_of_steps
    rates = doubles_at(run.rates, count)
    losses, shares = doubles_at(run.losses, count), doubles_at(run.shares_of_hits, count)
    status, run.taken = FINE, 0
    if run.kept:
        _save(run)
    while run.taken < count and status == FINE:
        s, first = run.taken, run.taken * run.batch_size
        rows = min(run.batch_rows - first, run.batch_size)
        order = run.order + first * 8 if run.order else 0
        tried = run.threads > 1 and rows == min(run.batch_rows, run.batch_size)
        threads = _threads_that_pay(run) if tried else run.threads
        started = nanoseconds() if tried else 0
        run.rate = rates[s]
        status = _take_step(run, order, first, rows, threads)
        losses[s], shares[s] = run.mean_loss, run.mean_hits
        if status == FINE:
            run.taken += 1
        if tried:
            _note_time(run, nanoseconds() - started)
    return _settle(run, status) if run.kept else status
