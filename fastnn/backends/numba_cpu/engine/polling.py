"""Whether a run goes on: Ctrl-C, and what else the handlers of signals raise.

Only the thread that called asks, the others hear of it. The error is taken out of Python's hands,
so that the run can end in peace, and is raised by whoever called.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from fastnn.backends.numba_cpu.engine.lowlevel import (
    atomic_load,
    atomic_store,
    check_signals,
    fetch_error,
    nanoseconds,
    release_gil,
    take_gil,
)
from fastnn.backends.numba_cpu.engine.records import RUN, offset
from fastnn.backends.numba_cpu.memory import INLINED, address_of

__all__ = ["DIVERGED", "FINE", "INTERRUPTED", "ask_in_time", "diverge", "go_on", "outcome"]

# How a run stands.
FINE, INTERRUPTED, DIVERGED = range(3)

# The clock is read after this many multiply-adds, and Python asked after this much time: to ask may
# mean to wait for the GIL.
POLL_WORK = 1 << 20
POLL_NANOSECONDS = 5_000_000

DIVERGED_AT = offset(RUN, "diverged")
INTERRUPTED_AT = offset(RUN, "interrupted")
ERROR_AT = offset(RUN, "error")
WORD = 8


@njit(**INLINED)
def _ask(run: Any) -> None:
    """Let the handlers of signals run; what they raise ends the run."""
    at = address_of(run)
    if atomic_load(at + INTERRUPTED_AT) != 0:
        return
    state = take_gil()
    if check_signals() != 0:
        error = at + ERROR_AT
        fetch_error(error, error + WORD, error + 2 * WORD)
        atomic_store(at + INTERRUPTED_AT, 1)
    release_gil(state)


@njit(**INLINED)
def ask_in_time(run: Any) -> None:
    """Ask, unless that was only just done."""
    now = nanoseconds()
    run.work = 0
    if run.asked_at == 0:  # the first look
        run.asked_at = now
    if now - run.asked_at >= POLL_NANOSECONDS:
        run.asked_at = now
        _ask(run)


@njit(**INLINED)
def go_on(run: Any, worker: int, work: int) -> bool:
    """Count work, in multiply-adds or as long; tell whether the run goes on."""
    if worker == 0 and run.polls != 0:
        run.work += work
        if run.work >= POLL_WORK:
            ask_in_time(run)
    return atomic_load(address_of(run) + INTERRUPTED_AT) == 0


@njit(**INLINED)
def diverge(run: Any) -> None:
    """Note that a number is not finite."""
    atomic_store(address_of(run) + DIVERGED_AT, 1)


@njit(**INLINED)
def outcome(run: Any) -> int:
    """Return how a run stands."""
    at = address_of(run)
    if atomic_load(at + INTERRUPTED_AT) != 0:
        return INTERRUPTED
    return DIVERGED if atomic_load(at + DIVERGED_AT) != 0 else FINE
