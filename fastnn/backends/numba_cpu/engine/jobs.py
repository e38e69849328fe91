"""Jobs: items of work that the caller shares with the workers that came to help.

A job is cut into one share of consecutive items for each thread, and a share is one atomic word:
how many of its items nobody has taken yet. An item is taken by counting that word down. Whoever has
emptied his own share goes on with the others', so the caller itself finishes what a late worker has
not begun, and then waits only for items that somebody is in the middle of.

A late worker is harmless: it knows nothing of a job until it has an item of it, and a job that
has items cannot end, nor another begin, before they are done. So what stands in the record of the
run is read behind the taking of an item, and never kept from one item to the next.
"""

from __future__ import annotations

from typing import Any

from numba import njit

from fastnn.backends.numba_cpu.engine.lowlevel import (
    atomic_add,
    atomic_load,
    atomic_store,
    compare_exchange,
    pause,
    sched_yield,
    sleep_microseconds,
)
from fastnn.backends.numba_cpu.engine.polling import ask_in_time
from fastnn.backends.numba_cpu.engine.records import BLOCKS, RUN, offset
from fastnn.backends.numba_cpu.memory import INLINED, address_of, call

__all__ = ["SHARE_BYTES", "assist", "parallel"]

# Two cache lines: processors fetch them in pairs, and some have such lines.
SHARE_BYTES = 128

# Who waits stays awake for some ten microseconds, then lets others have the processor, and where
# nothing comes for long, sleeps in naps: phases of a step follow each other more closely.
SPINS = 1000
YIELDS = SPINS + 500
NAP = 50  # microseconds

PENDING_AT = offset(RUN, "pending")
GENERATION_AT = offset(RUN, "generation")


@njit(**INLINED)
def _do(run: Any, task: int, item: int, worker: int) -> None:
    code = run.do_block if task == BLOCKS else run.do_tile
    call(code, address_of(run), task, item, worker)


@njit(**INLINED)
def _take(word: int) -> int:
    """Take a free item of a share; return how many were free, 0: none."""
    free = atomic_load(word)
    while free > 0 and not compare_exchange(word, free, free - 1):
        free = atomic_load(word)
    return free


@njit(**INLINED)
def _work(run: Any, worker: int) -> None:
    """Do items of all shares as long as there are any, the own share first."""
    shares, turn = run.threads, 0
    while turn < shares:
        share = (worker + turn) % shares
        free = _take(run.shares + share * SHARE_BYTES)
        if free == 0:
            turn += 1
            continue
        end = run.count * (share + 1) // run.active
        _do(run, run.task, end - free, worker)
        atomic_add(address_of(run) + PENDING_AT, -1)


@njit(**INLINED)
def _wait(turn: int) -> int:
    """Wait a little, the longer the more often in a row; return how often."""
    if turn < SPINS:
        pause()
    elif turn < YIELDS:
        sched_yield()
    else:
        sleep_microseconds(NAP)
    return turn + 1


@njit(**INLINED)
def assist(run: Any, worker: int, generation: int) -> None:
    """Work on the jobs of a run as they come, until it is over."""
    at, own, turn = address_of(run), run.shares + worker * SHARE_BYTES, 0
    while atomic_load(at + GENERATION_AT) == generation:
        if atomic_load(own) > 0:
            _work(run, worker)
            turn = 0
        else:
            turn = _wait(turn)


@njit(**INLINED)
def parallel(run: Any, task: int, count: int, threads: int) -> None:
    """Do all items of a job, on at most so many threads."""
    active = min(count, threads)
    if active <= 1:
        for item in range(count):
            _do(run, task, item, 0)
        return
    pending = address_of(run) + PENDING_AT
    run.task, run.count, run.active = task, count, active
    atomic_store(pending, count)
    for share in range(active):
        items = count * (share + 1) // active - count * share // active
        atomic_store(run.shares + share * SHARE_BYTES, items)
    _work(run, 0)
    turn = 0
    while atomic_load(pending) > 0:
        turn = _wait(turn)
        # Nothing is asked while parameters are updated, so that they stand at a whole step.
        if turn > YIELDS and run.polls and task != BLOCKS:
            ask_in_time(run)
