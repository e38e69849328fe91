"""One file a library: how it does the work of a case at its best.

Each has ``describe(threads)``, which sets the threads and says what is in use, and two classes.
``Trainer(case, threads, mode)`` has `data`, ``restart(steps)`` (first weights, then exactly so many
steps on consecutive batches), ``run(steps)`` (at least so many, from where it stands; it returns
how many and comes back when they are done) and ``weights()``. ``Predictor(case, threads, mode)``
has ``run(calls)`` and ``outputs()``. Both have `case` and `note`, a word on the settings, and are
warmed up when they are made. ``each(seconds)``, where there is one, returns the seconds of every
single step or call, for so long.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

__all__ = ["Unable", "times_of"]

# More is not kept: enough for a 99th percentile many times over.
MOST_TIMES = 20_000


class Unable(Exception):
    """A library cannot do the work of a case; the text says why."""


def times_of(call: Callable[[], Any], seconds: float) -> list[float]:
    """Return the seconds of every call, for so long.

    The clock itself is in them, some 50 ns.
    """
    clock, times = time.perf_counter, []
    end = clock() + seconds
    while True:
        before = clock()
        call()
        after = clock()
        times.append(after - before)
        if after >= end or len(times) == MOST_TIMES:
            return times
