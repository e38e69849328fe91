"""fastnn beside other libraries: the same work, in the same run, on the same cores.

``python benchmarks/compare.py --quick`` takes a minute or two; ``--help`` tells the rest.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
from pathlib import Path
from typing import Any

import cases
import documents
import footprint
import machine
import report
from contestants import DROPPED, Contestant, present
from measure import Settings, cores_for, measure_case, open_workers

__all__ = ["main"]

PARTS = ("training", "inference", "cost")
RESULTS = report.ROOT / "benchmarks" / "results"
QUICK_RESULTS = report.ROOT / "build" / "benchmarks"  # too short to be kept

# --quick: few rounds, short epochs, and these cases where none is named.
QUICK = Settings(rounds=3, seconds=0.05)
QUICK_FLOPS = 4e8
QUICK_CASES = {
    "training": ["4-6-2, 16", "784-30-10, 10", "784-128-64-10, 64"],
    "inference": ["784-30-10"],
}


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; return the exit status."""
    arguments = parser().parse_args(argv)
    if arguments.quick and arguments.write:
        parser().error("--write needs a whole run: the figures of --quick are for a look")
    settings = QUICK if arguments.quick else Settings()
    settings = Settings(arguments.rounds or settings.rounds, arguments.seconds or settings.seconds)
    contestants, left_out = present(arguments.peers)
    roof = machine.Roof()
    results: dict[str, Any] = {
        "format": 1,
        "date": datetime.date.today().isoformat(),
        "commit": report.version_of_the_code(),
        "settings": {"rounds": settings.rounds, "seconds": settings.seconds, **_told(arguments)},
        "machine": machine.describe(),
        "roof": measure_roof(roof),
        "versions": {"Python": sys.version.split()[0]},
        "details": {},
        "left_out": left_out,
        "ignored": [f"{k}={os.environ[k]}" for k in DROPPED if k in os.environ],
        "cases": [],
        "cost": {},
    }
    print(report.machine_text(results))
    if results["ignored"]:
        print(f"- taken away from all: {', '.join(results['ignored'])}")
    try:
        for threads in arguments.threads:
            run_cases(arguments, settings, contestants, cores_for(threads), roof, results)
        if "cost" in arguments.parts:
            run_cost(arguments, settings, contestants, results)
    except KeyboardInterrupt:
        print("\nstopped; the cases that were done are kept", file=sys.stderr)
    kept = QUICK_RESULTS if arguments.quick else RESULTS
    folder = arguments.output or kept / machine.slug()
    print(f"\nwritten: {report.save(results, folder)}")
    if arguments.write:
        documents.write(results)
    return 0


def run_cases(
    arguments: argparse.Namespace,
    settings: Settings,
    contestants: list[Contestant],
    cores: list[int],
    roof: machine.Roof,
    results: dict[str, Any],
) -> None:
    """Measure the training and inference cases on some cores; results go into `results`."""
    workers, failed = open_workers(contestants, cores)
    results["left_out"] |= failed
    for name, worker in workers.items():
        results["versions"] |= worker.description["versions"]
        results["details"][f"{name}, threads {len(cores)}"] = worker.description["details"]
    print(report.versions_text(results))
    try:
        for part in PARTS[:2]:
            if part not in arguments.parts:
                continue
            wanted = arguments.cases or (QUICK_CASES[part] if arguments.quick else [])
            everything = cases.TRAINING if part == "training" else cases.INFERENCE
            chosen = cases.select(everything, wanted)
            names = [n for n, w in workers.items() if part in w.contestant.parts]
            columns = report.header(part, names, len(cores))
            print(f"\n{part}, {len(cores)} thread{'s' * (len(cores) > 1)}")
            print(report.text_row(columns, columns))
            measured = []
            for case in chosen:
                if arguments.quick and case.training:
                    case = case.shortened(QUICK_FLOPS)
                measured.append(measure_case(case, workers, settings, roof, say))
                say("")
                print(report.text_row(report.row(measured[-1], names), columns), flush=True)
                results["cases"].append(measured[-1])
            if measured:
                print(report.text_row(report.summary_row(measured, names), columns))
            for line in notes(measured):
                print(line)
    finally:
        for worker in workers.values():
            worker.close()


def run_cost(
    arguments: argparse.Namespace,
    settings: Settings,
    contestants: list[Contestant],
    results: dict[str, Any],
) -> None:
    """Measure what it costs to have each library."""
    told = footprint.costs(contestants, cores_for("1"), settings.rounds, arguments.quick, say)
    say("")
    results["cost"] = told
    columns, rows = report.cost_table(told)
    print("\ncost")
    for cells in [columns, *rows]:
        print(report.text_row(cells, columns))


def notes(measured: list[dict[str, Any]]) -> list[str]:
    """Return a line for everybody who was left out of a case, with the reason."""
    reasons: dict[str, list[str]] = {}
    for result in measured:
        for name, entry in result["contestants"].items():
            if "left_out" in entry:
                reasons.setdefault(f"{name}: {entry['left_out']}", []).append(result["name"])
    return [f"  left out, {reason} ({'; '.join(names)})" for reason, names in reasons.items()]


def measure_roof(roof: machine.Roof) -> dict[str, Any]:
    """Return what the machine can do at most, measured now."""
    there = machine.cores()
    with machine.pinned([there[-1]]):
        told: dict[str, Any] = {d: roof.peak(d) for d in ("float32", "float64")}
        told["stream"] = roof.stream
    told["ping_pong"] = roof.ping_pong(there[0], there[-1])
    return {**told, "missing": roof.missing}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    told = argparse.ArgumentParser(prog="compare.py", description=__doc__.partition("\n")[0])
    told.add_argument("--parts", type=_list, default=list(PARTS), help="training,inference,cost")
    told.add_argument(
        "--cases", action="append", default=[], metavar="TEXT", help="cases with this in their name"
    )
    told.add_argument(
        "--peers", type=_list, default=[], metavar="NAMES", help="such as torch,jax; default: all"
    )
    told.add_argument("--threads", type=_list, default=["1", "all"], help="such as 1 or 1,all")
    told.add_argument("--rounds", type=int, help="interleaved rounds")
    told.add_argument("--seconds", type=float, help="length of a run in a round")
    told.add_argument("--quick", action="store_true", help="few cases, short epochs, 3 rounds")
    told.add_argument("--output", type=Path, help="folder of the JSON file")
    told.add_argument(
        "--write", action="store_true", help="put tables and charts into README.md and docs"
    )
    return told


def say(text: str) -> None:
    """Show what goes on, on one line, where somebody looks at a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text[:100]:<100}\r", end="", file=sys.stderr, flush=True)


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _told(arguments: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(arguments, name) for name in ("quick", "cases", "peers", "threads")}


if __name__ == "__main__":
    sys.exit(main())
