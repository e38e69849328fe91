"""Single training steps while every core has other work too: what the slow ones take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import machine
from cases import Case
from contestants import Worker
from measure import PAUSE, prepare_all, roof_of, single_calls

__all__ = ["busy_cores", "measure_busy"]

# Ends with its parent, whatever becomes of that: the pipe closes.
SPIN = """
import os, sys, threading
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [int(sys.argv[1])])
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
print("here", flush=True)
while True:
    pass
"""


@contextmanager
def busy_cores(cores: list[int]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Keep a process computing on each of some cores for a while."""
    command = [sys.executable, "-c", SPIN]
    pipe = subprocess.PIPE
    spinning = [subprocess.Popen([*command, str(c)], stdin=pipe, stdout=pipe) for c in cores]
    try:
        for process in spinning:
            process.stdout.readline()
        yield spinning
    finally:
        for process in spinning:
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


def measure_busy(
    case: Case,
    workers: dict[str, Worker],
    seconds: float,
    roof: machine.Roof,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Time single steps on a quiet machine, then beside one busy process on every core.

    Parameters
    ----------
    case : Case
    workers : dict of str to Worker
        By name of the contestant, all bound to the same cores. The dead are taken out.
    seconds : float
        Length of a turn of each; there are three, quiet and busy.
    roof : Roof
    say : callable
        Told what goes on.

    Returns
    -------
    dict
        ``name``, ``threads``, ``roof``, and ``contestants``: by name ``left_out`` or the
        percentiles ``quiet`` and ``busy``.
    """
    cores = next(iter(workers.values())).cores
    before = roof_of(roof, cores)
    told = prepare_all("busy", case, workers, say)
    ready = [name for name, entry in told.items() if "left_out" not in entry]
    say(f"{case.name}: quiet")
    quiet = single_calls(workers, ready, seconds, PAUSE)
    say(f"{case.name}: busy")
    with busy_cores(machine.cores()):
        busy = single_calls(workers, ready, seconds, PAUSE)
    for name in ready:
        told[name] |= {"quiet": quiet[name], "busy": busy[name]}
    return {
        "name": case.name,
        "part": "busy",
        "case": asdict(case),
        "threads": len(cores),
        "cores": cores,
        "roof": {"before": before, "after": roof_of(roof, cores)},
        "contestants": told,
    }
