"""fastnn beside other libraries: the same work, in the same run, on the same cores.

``python benchmarks/compare.py --quick`` takes a few minutes; ``--help`` tells the rest. A part that
is measured again joins what the file of this commit already holds.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import cases
import documents
import footprint
import machine
import report
import store
from busy import measure_busy
from contestants import CONTESTANTS, Contestant, called, present
from frame import empty_results, measure_roof, say, show
from measure import Settings, cores_for, measure_case, open_workers

__all__ = ["DEFAULT_THREADS", "main", "threads_of"]

PARTS = ("training", "inference", "busy", "cost")
DEFAULT_THREADS = ["1", "all"]
BUSY_SECONDS = 4.0  # a turn of a contestant; a percentile needs many steps

# --quick: few rounds, short epochs, and these cases where none is named.
QUICK = Settings(rounds=3, seconds=0.05, call_seconds=0.05)
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
    settings = Settings(
        arguments.rounds or settings.rounds,
        arguments.seconds or settings.seconds,
        arguments.seconds or settings.call_seconds,
    )
    started = time.monotonic()
    contestants, left_out = present(arguments.peers)
    roof = machine.Roof()
    results = empty_results(described(arguments), measure_roof(roof))
    results |= {"details": {}, "left_out": left_out, "cases": [], "busy": [], "cost": {}}
    results["runs"][0] |= {"rounds": settings.rounds, "seconds": settings.seconds}
    print(report.machine_text(results))
    if results["runs"][0]["ignored"]:
        print(f"- taken away from all: {', '.join(results['runs'][0]['ignored'])}")
    try:
        if {"training", "inference"} & set(arguments.parts):
            for threads in arguments.threads:
                run_cases(arguments, settings, contestants, cores_for(threads), roof, results)
        if "busy" in arguments.parts:
            run_busy(arguments, contestants, roof, results)
        if "cost" in arguments.parts:
            run_cost(arguments, settings, contestants, results)
    except KeyboardInterrupt:
        print("\nstopped; the cases that were done are kept", file=sys.stderr)
    results["runs"][0]["minutes"] = round((time.monotonic() - started) / 60, 1)
    folder = store.QUICK_RESULTS if arguments.quick else store.RESULTS
    file, kept = store.keep(results, arguments.output or folder / machine.slug(), "compare")
    print(f"\nwritten in {results['runs'][0]['minutes']} minutes: {file}")
    if arguments.write:
        documents.write(kept)
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
        for part in ("training", "inference"):
            if part not in arguments.parts:
                continue
            wanted = arguments.cases or (QUICK_CASES[part] if arguments.quick else [])
            everything = cases.TRAINING if part == "training" else cases.INFERENCE
            chosen = cases.select(everything, wanted)
            names = [n for n, w in workers.items() if part in w.contestant.parts]
            columns = report.header(part, names, len(cores))
            print(f"\n{part}, {report.plural(len(cores))}")
            print(report.text_row(columns, columns))
            measured = []
            for case in chosen:
                if case.training:
                    case = case.shortened(QUICK_FLOPS if arguments.quick else cases.EPOCH_FLOPS)
                measured.append(measure_case(case, workers, settings, roof, say))
                say("")
                print(report.text_row(report.row(measured[-1], names), columns), flush=True)
                results["cases"].append(measured[-1])
            if measured:
                print(report.text_row(report.summary_row(measured, names), columns))
            for line in report.footnotes(measured):
                print(f"  {line}")
            columns, rows = report.latency_table(measured)
            if rows:
                show("single predictions of one row", columns, rows)
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
    show("cost", *report.cost_table(told))


def run_busy(
    arguments: argparse.Namespace,
    contestants: list[Contestant],
    roof: machine.Roof,
    results: dict[str, Any],
) -> None:
    """Measure single steps on all cores, quiet and beside busy processes."""
    taking_part = [c for c in contestants if "busy" in c.parts]
    workers, failed = open_workers(taking_part, cores_for("all"))
    results["left_out"] |= failed
    try:
        for name, worker in workers.items():
            results["versions"] |= worker.description["versions"]
            results["details"].setdefault(f"{name}, busy", worker.description["details"])
        seconds = arguments.seconds or (QUICK.seconds if arguments.quick else BUSY_SECONDS)
        for case in cases.select(cases.BUSY, arguments.cases):
            short = case.shortened(QUICK_FLOPS if arguments.quick else cases.EPOCH_FLOPS)
            results["busy"].append(measure_busy(short, workers, seconds, roof, say))
    finally:
        for worker in workers.values():
            worker.close()
    say("")
    if results["busy"]:
        columns, rows = report.busy_table(results["busy"])
        show(f"steps beside a busy process on every core, {report.plural('all')}", columns, rows)
        for line in report.footnotes(results["busy"]):
            print(f"  {line}")


def described(arguments: argparse.Namespace) -> str:
    """Return in words what a run measures."""
    words = ", ".join(arguments.parts)
    if arguments.threads != DEFAULT_THREADS:
        words += f"; threads {', '.join(arguments.threads)}"
    if arguments.cases:
        words += f"; cases {', '.join(arguments.cases)}"
    if arguments.peers:
        words += f"; peers {', '.join(arguments.peers)}"
    return words


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    told = argparse.ArgumentParser(prog="compare.py", description=__doc__.partition("\n")[0])
    told.add_argument("--parts", type=_parts, default=list(PARTS), help=",".join(PARTS))
    told.add_argument(
        "--cases",
        type=_case,
        action="append",
        default=[],
        metavar="TEXT",
        help="cases with this in their name; give it again for more",
    )
    told.add_argument(
        "--peers", type=_peers, default=[], metavar="NAMES", help="such as torch,jax; default: all"
    )
    told.add_argument(
        "--threads", type=threads_of, default=DEFAULT_THREADS, help="such as 1; default: 1,all"
    )
    told.add_argument("--rounds", type=int, help="interleaved rounds")
    told.add_argument("--seconds", type=float, help="length of a run in a round, of whatever part")
    told.add_argument("--quick", action="store_true", help="few cases, short epochs, 3 rounds")
    told.add_argument(
        "--output", type=Path, help="folder of the JSON file, in place of that of this machine"
    )
    told.add_argument(
        "--write", action="store_true", help="put tables and charts into README.md and docs"
    )
    return told


def threads_of(text: str) -> list[str]:
    """Return the numbers of threads of a list, such as ``1,all``."""
    wanted = _list(text)
    try:
        for threads in wanted:
            cores_for(threads)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return wanted


def _list(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _parts(text: str) -> list[str]:
    wanted = _list(text)
    unknown = [part for part in wanted if part not in PARTS]
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"unknown part {text!r}; there are {', '.join(PARTS)}")
    return wanted


def _case(text: str) -> str:
    everything = (*cases.TRAINING, *cases.INFERENCE, *cases.BUSY)
    if not cases.select(everything, [text]):
        nets = dict.fromkeys(case.name.partition(",")[0] for case in everything)
        raise argparse.ArgumentTypeError(f"no case has {text!r} in it; nets: {', '.join(nets)}")
    return text


def _peers(text: str) -> list[str]:
    wanted = _list(text)
    for name in wanted:
        if not any(called(contestant, name) for contestant in CONTESTANTS):
            known = ", ".join(contestant.name for contestant in CONTESTANTS)
            raise argparse.ArgumentTypeError(f"unknown library {name!r}; there are {known}")
    return wanted


if __name__ == "__main__":
    sys.exit(main())
