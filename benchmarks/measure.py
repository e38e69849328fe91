"""The measurement of a case: everybody prepares, shows equal work, and runs in rounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import machine
from cases import Case
from contestants import Contestant, Worker, WorkerDied
from rounds import agreement, calibrate, paired_ratio, play

__all__ = ["Settings", "cores_for", "measure_case", "open_workers"]

# Steps after which the losses are compared.
CHECK_STEPS = 20

OURS = "fastnn"


@dataclass(frozen=True)
class Settings:
    """How long to measure.

    Attributes
    ----------
    rounds : int
        Runs of every contestant, interleaved.
    seconds : float
        Length of a run.
    """

    rounds: int = 7
    seconds: float = 0.5


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
    cores_of_blas = {n: w.description["details"].get("core") for n, w in workers.items()}
    if "NumPy" in workers and cores_of_blas.get("NumPy SkylakeX") == cores_of_blas["NumPy"]:
        workers.pop("NumPy SkylakeX").close()
        failed["NumPy SkylakeX"] = f"NumPy runs on {cores_of_blas['NumPy']} anyway"
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
        round (``rounds``), their median (``seconds``), and the ratio to fastnn of the same rounds
        (``ratio``).
    """
    part = "training" if case.training else "inference"
    cores = next(iter(workers.values())).cores
    told: dict[str, dict[str, Any]] = {}
    before = _roof(roof, cores)
    for name, worker in list(workers.items()):
        if part in worker.contestant.parts:
            say(f"{case.name}: {name} prepares")
            told[name] = _prepare(worker, case, workers)
    ready = [name for name, entry in told.items() if "left_out" not in entry]
    if OURS in ready:
        for name in ready:
            differs = agreement(told[OURS]["check"], told[name]["check"])
            if differs:
                told[name]["left_out"] = differs
    ready = [name for name, entry in told.items() if "left_out" not in entry]
    counts = {}
    for name in ready:
        say(f"{case.name}: {name} warms up")
        try:
            counts[name] = calibrate(workers[name].run, settings.seconds)
        except WorkerDied as error:
            told[name]["left_out"] = f"it failed: {error}"
    say(f"{case.name}: {settings.rounds} rounds")
    ready = list(counts)
    times = play({name: workers[name].run for name in ready}, counts, settings.rounds)
    for name in ready:
        entry = told[name]
        entry["rounds"], entry["steps_of_a_round"] = times[name], counts[name]
        entry["seconds"] = sorted(times[name])[len(times[name]) // 2]
        if OURS in ready:
            entry["ratio"] = paired_ratio(times[name], times[OURS])
    return {
        "name": case.name,
        "part": part,
        "case": asdict(case),
        "flops": case.flops,
        "bytes": case.bytes,
        "threads": len(cores),
        "cores": cores,
        "roof": {"before": before, "after": _roof(roof, cores)},
        "contestants": told,
    }


def _prepare(worker: Worker, case: Case, workers: dict[str, Worker]) -> dict[str, Any]:
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
    return {"note": answer["note"], "prepare": answer["seconds"], "check": check}


def _roof(roof: machine.Roof, cores: list[int]) -> dict[str, float | None]:
    """Measure a core's peak, and the way between the first two where more than one is used."""
    with machine.pinned([cores[-1]]):
        peak = roof.peak()
    latency = roof.ping_pong(cores[0], cores[1]) if len(cores) > 1 else None
    return {"peak": peak, "ping_pong": latency}
