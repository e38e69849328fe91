"""The child process of a benchmark: one library, pinned, that answers a line with a line.

A request is a JSON object on stdin, an answer one on stdout. ``do`` is one of

========== ==================================== ==============================================
request    with                                 answer
========== ==================================== ==============================================
hello                                           versions, threads, details
prepare    case                                 seconds without those of the data, note
check      steps                                loss after so many consecutive steps; outputs
run        count                                count (may be more: whole epochs), seconds, and
                                                those of all cores together (cpu)
each       seconds                              times: those of single steps or calls, for so long
fit        epochs, seed                         seconds of a whole fit from the first weights, cpu,
                                                loss after it, and what the library says of it
memory                                          now, peak, in MB; the peak is begun anew
quit
========== ==================================== ==============================================

Whatever cannot be done is answered with ``unable``, the reason.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from pathlib import Path
from typing import Any, TextIO

# Rows of predictions that are shown for a comparison.
SHOWN = 4
REASON = 200  # characters of an error


def main() -> None:
    """Serve requests until the pipe closes."""
    options = json.loads(sys.argv[1])
    if options["cores"] and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, options["cores"])  # before any library counts the cores
    # What libraries print must not reach the pipe.
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    library = importlib.import_module(f"peers.{options['module']}")
    serve(sys.stdin, replies, library, options["threads"], options["mode"])


def serve(requests: TextIO, replies: TextIO, library: Any, threads: int, mode: str) -> None:
    """Answer requests about one library.

    Parameters
    ----------
    requests, replies : text streams
    library : module
        Has ``describe(threads)``, ``Trainer(case, threads, mode)`` and ``Predictor(...)`` likewise.
    threads : int
    mode : str
        Which way of using the library; what the words mean is the module's business.
    """
    from cases import Case, forget_data
    from peers import Unable

    contestant: Any = None
    for line in requests:
        request = json.loads(line)
        do = request.pop("do")
        if do == "quit":
            break
        reply: dict[str, Any]
        try:
            if do == "hello":
                reply = library.describe(threads)
            elif do == "prepare":
                contestant = None  # frees the last case first
                forget_data()
                case = Case(**request["case"])
                case.data()
                started = time.perf_counter()
                kind = library.Trainer if case.training else library.Predictor
                contestant = kind(case, threads, mode)
                taken = time.perf_counter() - started
                reply = {"seconds": taken, "note": contestant.note, "threads": living_threads()}
            elif do == "check":
                reply = check(contestant, **request)
            elif do == "run":
                started, used = time.perf_counter(), time.process_time()
                count = contestant.run(request["count"])
                seconds, used = time.perf_counter() - started, time.process_time() - used
                reply = {"seconds": seconds, "count": count, "cpu": used}
            elif do == "fit":
                reply = contestant.fit(**request)
            elif do == "each":
                reply = {"times": contestant.each(request["seconds"])}
            else:
                reply = memory()
        except Unable as reason:
            reply = {"unable": str(reason)}
        except Exception as error:  # whatever a library raises: the next case may go well
            reply = {"unable": f"{type(error).__name__}: {error}".splitlines()[0][:REASON]}
        replies.write(json.dumps(reply) + "\n")


def check(contestant: Any, steps: int) -> dict[str, Any]:
    """Return what shows that a contestant does the same work as the others."""
    case = contestant.case
    if not case.training:
        return {"outputs": contestant.outputs()[:SHOWN].tolist()}
    X, y = contestant.data
    before = case.mean_loss(case.first_weights(), X, y)
    contestant.restart(steps)
    return {"loss": case.mean_loss(contestant.weights(), X, y), "before": before}


def living_threads() -> int | None:
    """Return how many threads this process has; None where the system does not tell."""
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else None


def memory() -> dict[str, float]:
    """Return what is resident, and the most that was since the last call where Linux can tell."""
    status = Path("/proc/self/status")
    if not status.exists():
        import resource

        unit = 1 if sys.platform == "darwin" else 1024
        return {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6}
    told = dict(line.split(":", 1) for line in status.read_text().splitlines())
    now, peak = (int(told[key].split()[0]) * 1024 / 1e6 for key in ("VmRSS", "VmHWM"))
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:  # a container may forbid it
        return {"peak": peak}
    return {"now": now, "peak": peak}


if __name__ == "__main__":
    main()
