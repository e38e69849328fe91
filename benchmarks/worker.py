"""The child process of a benchmark: one library, pinned, that answers a line with a line.

A request is a JSON object on stdin, an answer one on stdout. ``do`` is one of

========== ==================================== ==============================================
request    with                                 answer
========== ==================================== ==============================================
hello                                           versions, threads, details
prepare    case                                 seconds, note
check      steps                                loss after so many consecutive steps; outputs
run        count                                count (may be more: whole epochs) and seconds
memory                                          peak, in MB
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
    from cases import Case
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
                started = time.perf_counter()
                case = Case(**request["case"])
                kind = library.Trainer if case.training else library.Predictor
                contestant = kind(case, threads, mode)
                reply = {"seconds": time.perf_counter() - started, "note": contestant.note}
            elif do == "check":
                reply = check(contestant, **request)
            elif do == "run":
                started = time.perf_counter()
                count = contestant.run(request["count"])
                reply = {"seconds": time.perf_counter() - started, "count": count}
            else:
                reply = {"peak": peak_memory()}
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


def peak_memory() -> float:
    """Return the largest resident size of this process so far, in MB."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
