"""What Python calls: functions that note arrays in the record of a run, and call the engine.

They are compiled for arrays that fit as they are, and look at the numbers in them, so that a call
costs little more than what it does. Other arrays are refused by Numba with a TypeError.
"""

from __future__ import annotations

import math
from typing import Any

from numba import njit, types

from fastnn.backends.numba_cpu.engine.entry import PREDICT, STEPS
from fastnn.backends.numba_cpu.engine.records import optimizer_at, run_at, slot_at
from fastnn.backends.numba_cpu.memory import (
    INLINED,
    address_of,
    call_int64,
    doubles_at,
)

__all__ = [
    "UNFIT",
    "enter",
    "first_nonfinite",
    "help_out",
    "predict",
    "signatures",
    "train",
    "train_labels",
]

# What a door returns where arrays are not what they have to be, and nothing was done.
UNFIT = -1


def signatures(door: str, dtype: str) -> list[Any]:
    """Return the types of the arguments that a door is made for; arrays may be read-only."""
    real, word, number = getattr(types, dtype or "float64"), types.int64, types.float64
    rows = types.Array(real, 2, "C", readonly=True)
    if door == "enter":
        return [(word, word)]
    if door == "help_out":
        return [(word,) * 4]
    if door == "first_nonfinite":
        return [(word, types.Array(real, n, "C", readonly=True)) for n in (1, 2)]
    if door == "predict":
        return [(word, rows, types.Array(real, 2, "C"), word, word)]
    targets = rows if door == "train" else types.Array(word, 1, "C", readonly=True)
    return [(word, rows, targets, word, word, number, word, word, number)]


def enter(address: int, command: int) -> int:
    """Call the engine on a run that is all prepared."""
    return call_int64(run_at(address, 0).execute, address, command)


def help_out(code: int, address: int, worker: int, generation: int) -> int:
    """Work for the run at an address, until it is over."""
    return call_int64(code, address, worker, generation)


def first_nonfinite(kernel: int, X: Any) -> int:
    """Return the position of the first number of X that is not finite, or -1."""
    return call_int64(kernel, address_of(X), X.size, 1, X.size)


@njit(**INLINED)
def _open(run: Any, X: Any, polls: int) -> bool:
    """Note the rows that a call brought, and tell whether they are as wide as they have to be."""
    rows, I = X.shape
    run.batch_X, run.batch_rows, run.polls = address_of(X), rows, polls
    run.asked_at, run.work, run.diverged, run.interrupted = 0, 0, 0, 0
    return rows > 0 and slot_at(run.slots, 0).width == I


@njit(**INLINED)
def _is_finite(run: Any, X: Any) -> bool:
    return call_int64(run.first_nonfinite, address_of(X), X.size, 1, X.size) < 0


def predict(address: int, X: Any, out: Any, polls: int, ours: int) -> int:
    """Write the predictions for X into out; return how it went.

    Many rows are looked at a tile at a time, while they are in the cache, unless the output is the
    caller's, who finds nothing of predictions in it that ended in an error.
    """
    run = run_at(address, 0)
    rows, O = out.shape
    if not _open(run, X, polls) or rows != len(X) or slot_at(run.slots, run.op_count).width != O:
        return UNFIT
    x, y = address_of(X), address_of(out)
    if x < y + out.size * run.element and y < x + X.size * run.element:
        return UNFIT
    run.only_finite = 1 if ours and polls else 0
    if not run.only_finite and not _is_finite(run, X):
        return UNFIT
    run.out = y
    return call_int64(run.execute, address, PREDICT)


@njit(**INLINED)
def _are_values(run: Any, y: Any, bounds: int) -> bool:
    """Tell whether targets are finite, and in a range of so many ends: none, 0, or 0 and 1.

    A target of -0.0 is out of range, since the thorough road would change it.
    """
    if not _is_finite(run, y):
        return False
    if bounds > 0:
        for row in y:
            for target in row:
                if math.copysign(1.0, target) < 0 or (bounds == 2 and target > 1):
                    return False
    return True


@njit(**INLINED)
def _step(
    run: Any, rows: int, Y: int, labels: int, rate: float, seed: int, step: int, product: float
) -> tuple[int, float, int, float]:
    """Take a step; return how it went, the loss, and step and product of the optimizer."""
    run.batch_Y, run.batch_labels, run.batch_weight, run.order = Y, labels, 0, 0
    run.batch_size, run.count_of_steps, run.seed = rows, 1, seed
    doubles_at(run.rates, 1)[0] = rate
    optimizer = optimizer_at(run.optimizer, 0)
    optimizer.steps, optimizer.product = step, product
    status = call_int64(run.execute, address_of(run), STEPS)
    return status, doubles_at(run.losses, 1)[0], optimizer.steps, optimizer.product


def train(
    address: int,
    X: Any,
    Y: Any,
    bounds: int,
    polls: int,
    rate: float,
    seed: int,
    step: int,
    product: float,
) -> tuple[int, float, int, float]:
    """Take a step on rows of values; return how it went, and what `_step` does."""
    run, rows = run_at(address, 0), len(X)
    O = slot_at(run.slots, run.op_count).width
    fits = _open(run, X, polls) and len(Y) == rows and Y.shape[1] == O
    if fits and _is_finite(run, X) and _are_values(run, Y, bounds):
        return _step(run, rows, address_of(Y), 0, rate, seed, step, product)
    return UNFIT, 0.0, step, product


def train_labels(
    address: int,
    X: Any,
    labels: Any,
    bounds: int,
    polls: int,
    rate: float,
    seed: int,
    step: int,
    product: float,
) -> tuple[int, float, int, float]:
    """Take a step on rows of classes; return how it went, and what `_step` does."""
    run, rows = run_at(address, 0), len(X)
    fits = _open(run, X, polls) and len(labels) == rows and _is_finite(run, X)
    classes = slot_at(run.slots, run.op_count).width
    for label in labels:
        fits = fits and 0 <= label < classes
    if fits:
        return _step(run, rows, 0, address_of(labels), rate, seed, step, product)
    return UNFIT, 0.0, step, product
