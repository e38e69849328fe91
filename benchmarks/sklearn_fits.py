"""The measurement of a fit: whole fits in rounds, a seed a round, and what they came to."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import machine
from contestants import Worker, WorkerDied
from measure import OURS, PAUSE, roof_of
from rounds import paired_ratio, play
from sklearn_cases import Fit

__all__ = ["LOSS_SHARE", "farthest_loss", "measure_fit"]

# The first epoch is timed alone, and taken off: with it goes what a fit costs once.
FIRST = 1

# How far final losses may differ, as a share.
LOSS_SHARE = 0.01


def measure_fit(
    fit: Fit,
    workers: dict[str, Worker],
    rounds: int,
    roof: machine.Roof,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure a fit; the seed of the estimators is the number of the round.

    Parameters
    ----------
    fit : Fit
    workers : dict of str to Worker
        By name of the contestant, all bound to the same cores.
    rounds : int
    roof : Roof
    say : callable
        Told what goes on.

    Returns
    -------
    dict
        As of `measure.measure_case`, and ``epochs`` and ``goal``. A contestant has also the seconds
        of whole fits (``fits``), their median (``fit``), the ratio of these (``fit_ratio``), the
        processor time of a step in every round (``cpu``), the final losses by two counts
        (``losses``, ``said``), and how far they are at most from those of fastnn (``apart``);
        whoever is too far off has no ratio, but is ``left_out``.
    """
    case, cores = fit.case, next(iter(workers.values())).cores
    before = roof_of(roof, cores)
    told: dict[str, dict[str, Any]] = {}
    for name, worker in workers.items():
        say(f"{case.name}: {name} prepares")
        told[name] = prepared(worker, fit)
    ready = [name for name, entry in told.items() if "left_out" not in entry]
    say(f"{case.name}: {rounds} rounds")
    runs = {name: seeded(workers[name], fit) for name in ready}
    pause = PAUSE if len(cores) > 1 else 0.0
    for name, fits in play(runs, dict.fromkeys(runs, fit.epochs), rounds, pause).items():
        told[name] |= summary(fits, (fit.epochs - FIRST) * case.steps)
    if OURS in ready:
        for name in ready:
            compare(told[name], told[OURS])
    return {
        "name": case.name,
        "part": "fit",
        "case": asdict(case),
        "epochs": fit.epochs,
        "goal": fit.goal,
        "flops": case.flops,
        "bytes": case.bytes,
        "threads": len(cores),
        "cores": cores,
        "roof": {"before": before, "after": roof_of(roof, cores)},
        "contestants": told,
    }


def prepared(worker: Worker, fit: Fit) -> dict[str, Any]:
    """Make the data and fit once to warm up; return an entry, which says it where that fails."""
    try:
        worker.must("prepare", case=asdict(fit.case))
        worker.must("fit", epochs=FIRST, seed=0)
    except WorkerDied as error:
        return {"left_out": str(error)}
    return {}


def seeded(worker: Worker, fit: Fit) -> Callable[[int], dict[str, Any]]:
    """Return what fits with one seed after the other, for one epoch and then for all."""
    seed = 0

    def run(epochs: int) -> dict[str, Any]:
        nonlocal seed
        first = worker.must("fit", epochs=FIRST, seed=seed)
        # What the threads of a library still do is not for the clock.
        time.sleep(PAUSE if len(worker.cores) > 1 else 0.0)
        whole = worker.must("fit", epochs=epochs, seed=seed)
        seed += 1
        return whole | {"first": first["seconds"], "first_cpu": first["cpu"]}

    return run


def summary(fits: list[Any], steps: int) -> dict[str, Any]:
    """Return what the fits of a contestant tell of it; `steps` are those behind the first epoch."""
    times = [fit["seconds"] for fit in fits]
    rounds = [(fit["seconds"] - fit["first"]) / steps for fit in fits]
    return {
        "fits": times,
        "fit": statistics.median(times),
        "rounds": rounds,
        "seconds": statistics.median(rounds),
        "cpu": [(fit["cpu"] - fit["first_cpu"]) / steps for fit in fits],
        "cores_used": round(sum(fit["cpu"] for fit in fits) / sum(times), 2),
        "losses": [fit["loss"] for fit in fits],
        "said": [fit["said"] for fit in fits],
    }


def compare(entry: dict[str, Any], ours: dict[str, Any]) -> None:
    """Give an entry its ratios, or the reason why it has none."""
    entry["apart"] = farthest_loss(entry, ours)
    # A NaN fails this too.
    if not entry["apart"] <= LOSS_SHARE:
        entry["left_out"] = f"a final loss is {entry['apart']:.1%} from that of fastnn"
        return
    entry["ratio"] = paired_ratio(entry["rounds"], ours["rounds"])
    entry["fit_ratio"] = paired_ratio(entry["fits"], ours["fits"])


def farthest_loss(entry: dict[str, Any], ours: dict[str, Any]) -> float:
    """Return how far the final losses are from those of the same seeds, as a share.

    Those that the estimators say, means over an epoch, are compared seed by seed. Those that the
    weights give after the very last step depend on its rows: of these, the means over the seeds.
    """
    pairs = list(zip(entry["said"], ours["said"], strict=True))
    pairs.append((statistics.fmean(entry["losses"]), statistics.fmean(ours["losses"])))
    shares = [abs(theirs - own) / abs(own) for theirs, own in pairs]
    return max(shares, key=lambda share: (share != share, share))
