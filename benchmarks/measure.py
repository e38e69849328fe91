"""The measurement of a case: everybody prepares, shows equal work, and runs in rounds."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import machine
from cases import Case
from contestants import Contestant, Worker, WorkerDied
from rounds import agreement, calibrate, paired_ratio, percentile, play

__all__ = [
    "PAUSE",
    "Settings",
    "cores_for",
    "measure_case",
    "open_workers",
    "percentiles",
    "prepare",
    "roof_of",
    "single_calls",
]

# Steps after which the losses are compared.
CHECK_STEPS = 20

# The threads of some libraries spin for some 20 ms when their work is done, and would take the
# cores from the next one; where one thread is used there are none.
PAUSE = 0.03

# Single calls are timed for a prediction of one row, in as many turns.
EACH_TURNS = 3

OURS = "fastnn"


@dataclass(frozen=True)
class Settings:
    """How long to measure.

    Attributes
    ----------
    rounds : int
        Runs of every contestant, interleaved.
    seconds : float
        Length of a run that trains.
    call_seconds : float
        Length of a run that predicts.
    """

    rounds: int = 7
    seconds: float = 0.25
    call_seconds: float = 0.1


def cores_for(threads: str) -> list[int]:
    """Return the cores for a number of threads, or for ``all``.

    Raises
    ------
    ValueError
        When it is no number, or more than the cores that there are.
    """
    there = machine.cores()
    if threads == "all":
        return there
    if not threads.isdecimal() or not 1 <= int(threads) <= len(there):
        raise ValueError(f"threads must be 1 to {len(there)} or all, not {threads!r}")
    # The last ones: the system's own work tends to be on the first.
    return there[-int(threads) :]


def open_workers(
    contestants: list[Contestant], cores: list[int]
) -> tuple[dict[str, Worker], dict[str, str]]:
    """Start a process for every contestant; return them, and why the others did not start."""
    workers, failed = {}, {}
    for contestant in contestants:
        try:
            workers[contestant.name] = Worker(contestant, cores)
        except WorkerDied as error:
            failed[contestant.name] = str(error)
    return workers, failed


def measure_case(
    case: Case,
    workers: dict[str, Worker],
    settings: Settings,
    roof: machine.Roof,
    say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measure a case.

    Parameters
    ----------
    case : Case
    workers : dict of str to Worker
        By name of the contestant, all bound to the same cores. The dead are taken out.
    settings : Settings
    roof : Roof
    say : callable
        Told what goes on.

    Returns
    -------
    dict
        ``name``, ``case``, ``threads``, ``cores``, ``roof`` (before and after), and
        ``contestants``: by name either ``left_out``, the reason, or the seconds of a step in every
        round (``rounds``), their median (``seconds``), the ratio to fastnn of the same rounds
        (``ratio``), the cores that it kept busy (``cores_used``), and for a prediction of one row
        percentiles of single calls (``each``).
    """
    part = "training" if case.training else "inference"
    cores = next(iter(workers.values())).cores
    before = roof_of(roof, cores)
    told = prepare_all(part, case, workers, say)
    ready = [name for name, entry in told.items() if "left_out" not in entry]
    if OURS in ready:
        for name in ready:
            differs = agreement(told[OURS]["check"], told[name]["check"])
            if differs:
                told[name]["left_out"] = differs
    ready = [name for name, entry in told.items() if "left_out" not in entry]
    length = settings.seconds if case.training else settings.call_seconds
    pause = PAUSE if len(cores) > 1 else 0.0
    counts = {}
    for name in ready:
        say(f"{case.name}: {name} warms up")
        try:
            counts[name] = calibrate(workers[name].run, length)
        except WorkerDied as error:
            told[name]["left_out"] = f"it failed: {error}"
    say(f"{case.name}: {settings.rounds} rounds")
    ready = list(counts)
    runs = play({name: workers[name].run for name in ready}, counts, settings.rounds, pause)
    times = {name: [run["seconds"] / run["count"] for run in runs[name]] for name in ready}
    for name in ready:
        entry = told[name]
        entry["rounds"], entry["steps_of_a_round"] = times[name], counts[name]
        entry["seconds"] = sorted(times[name])[len(times[name]) // 2]
        if OURS in ready:
            entry["ratio"] = paired_ratio(times[name], times[OURS])
        if "cpu" in runs[name][0]:
            used = sum(run["cpu"] for run in runs[name])
            entry["cores_used"] = round(used / sum(run["seconds"] for run in runs[name]), 2)
    if not case.training and case.batch == 1:
        say(f"{case.name}: single calls")
        for name, each in single_calls(workers, ready, length, pause).items():
            told[name]["each"] = each
    return {
        "name": case.name,
        "part": part,
        "case": asdict(case),
        "flops": case.flops,
        "bytes": case.bytes,
        "threads": len(cores),
        "cores": cores,
        "roof": {"before": before, "after": roof_of(roof, cores)},
        "contestants": told,
    }


def prepare_all(
    part: str, case: Case, workers: dict[str, Worker], say: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Return what `prepare` tells of every worker whose library has this part."""
    told = {}
    for name, worker in list(workers.items()):
        if part in worker.contestant.parts:
            say(f"{case.name}: {name} prepares")
            told[name] = prepare(worker, case, workers)
    return told


def prepare(worker: Worker, case: Case, workers: dict[str, Worker]) -> dict[str, Any]:
    """Return the note, the seconds of the preparation, and the proof of equal work."""
    try:
        answer = worker.ask("prepare", case=asdict(case))
        if "unable" in answer:
            return {"left_out": answer["unable"]}
        check = worker.ask("check", steps=min(CHECK_STEPS, case.steps))
        if "unable" in check:
            return {"left_out": check["unable"]}
    except WorkerDied as error:
        worker.close()
        del workers[worker.contestant.name]
        return {"left_out": f"its process ended: {error}"}
    return {
        "note": answer["note"],
        "prepare": answer["seconds"],
        "os_threads": answer["threads"],
        "check": check,
    }


def single_calls(
    workers: dict[str, Worker], names: list[str], seconds: float, pause: float
) -> dict[str, dict[str, Any]]:
    """Time single calls or steps in turns; return their percentiles by name, or ``left_out``."""
    times: dict[str, list[float]] = {name: [] for name in names}
    failed: dict[str, dict[str, Any]] = {}
    for _ in range(EACH_TURNS):
        for name in names:
            if name in failed:
                continue
            time.sleep(pause)
            try:
                times[name] += workers[name].must("each", seconds=seconds)["times"]
            except WorkerDied as error:
                failed[name] = {"left_out": f"single calls failed: {error}"}
    return {name: failed.get(name) or percentiles(values) for name, values in times.items()}


def percentiles(times: list[float]) -> dict[str, float]:
    """Return the median, the 99th percentile, the worst, and of how many."""
    return {
        "p50": percentile(times, 0.5),
        "p99": percentile(times, 0.99),
        "worst": max(times),
        "count": len(times),
    }


def roof_of(roof: machine.Roof, cores: list[int]) -> dict[str, float | None]:
    """Measure a core's peak, and the way between the first two where more than one is used."""
    with machine.pinned([cores[-1]]):
        peak = roof.peak()
    latency = roof.ping_pong(cores[0], cores[1]) if len(cores) > 1 else None
    return {"peak": peak, "ping_pong": latency}
