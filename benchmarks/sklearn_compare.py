"""The estimators of fastnn beside those of scikit-learn: same arguments, data, cores and run.

``python benchmarks/sklearn_compare.py --quick`` takes a minute; ``--help`` tells the rest.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import documents
import machine
import report
import sklearn_report
import store
from cases import select
from compare import DEFAULT_THREADS, threads_of
from contestants import Worker
from frame import empty_results, measure_roof, say, show
from measure import Settings, cores_for, measure_case, open_workers
from sklearn_cases import FITS, PREDICTIONS, contestants, drop_needless_cores
from sklearn_fits import measure_fit

__all__ = ["main"]

PARTS = ("fit", "predict")
DTYPES = ("float32", "float64")  # the goals are for the first
# A round is a seed.
SETTINGS = Settings(rounds=5, call_seconds=0.1)
QUICK = Settings(rounds=2, call_seconds=0.02)
QUICK_EPOCHS = 3
QUICK_FLOPS = 1e9


def main(argv: list[str] | None = None) -> int:
    """Run the comparison; return 1 where final losses differ, so that a ratio means nothing."""
    arguments = parser().parse_args(argv)
    if arguments.quick and arguments.write:
        parser().error("--write needs a whole run: the figures of --quick are for a look")
    started = time.monotonic()
    settings = QUICK if arguments.quick else SETTINGS
    settings = Settings(arguments.rounds or settings.rounds, call_seconds=settings.call_seconds)
    roof = machine.Roof(arguments.dtype)
    results = empty_results(described(arguments), measure_roof(roof))
    results |= {"details": {}, "left_out": {}, "dtype": arguments.dtype}
    results |= {"fits": [], "predictions": []}
    results["runs"][0] |= {"rounds": settings.rounds}
    print(report.machine_text(results))
    try:
        for threads in arguments.threads:
            run_all(arguments, settings, cores_for(threads), roof, results)
    except KeyboardInterrupt:
        print("\nstopped; what was done is kept", file=sys.stderr)
    results["runs"][0]["minutes"] = round((time.monotonic() - started) / 60, 1)
    folder = store.QUICK_RESULTS if arguments.quick else store.RESULTS
    file, kept = store.keep(
        results, arguments.output or folder / machine.slug(), f"estimators-{arguments.dtype}"
    )
    print(f"\nwritten in {results['runs'][0]['minutes']} minutes: {file}")
    if arguments.write:
        documents.write_sklearn(kept)
    entries = [entry for result in results["fits"] for entry in result["contestants"].values()]
    return int(any("left_out" in entry for entry in entries))


def run_all(
    arguments: argparse.Namespace,
    settings: Settings,
    cores: list[int],
    roof: machine.Roof,
    results: dict[str, Any],
) -> None:
    """Measure all parts on some cores; results go into `results`."""
    workers, failed = open_workers(contestants(arguments.dtype), cores)
    failed |= drop_needless_cores(workers)
    results["left_out"] |= failed
    for name, worker in workers.items():
        results["versions"] |= worker.description["versions"]
        results["details"][f"{name}, threads {len(cores)}"] = worker.description["details"]
    print(report.versions_text(results))
    try:
        if "fit" in arguments.parts:
            run_fits(arguments, settings, workers, roof, results)
        if "predict" in arguments.parts:
            run_predictions(arguments, settings, workers, roof, results)
    finally:
        for worker in workers.values():
            worker.close()


def run_fits(
    arguments: argparse.Namespace,
    settings: Settings,
    workers: dict[str, Worker],
    roof: machine.Roof,
    results: dict[str, Any],
) -> None:
    """Measure the fits: print a line as each is done, then what they came to."""
    names, threads = list(workers), thread_count(workers)
    columns = sklearn_report.step_columns(names, threads)
    print(f"\na step of fit, {report.plural(threads)}")
    print(report.text_row(columns, columns))
    measured = []
    for fit in FITS:
        if not any(text in fit.case.name for text in arguments.cases or [""]):
            continue
        chosen = fit.shortened(QUICK_EPOCHS, QUICK_FLOPS) if arguments.quick else fit
        measured.append(measure_fit(chosen, workers, settings.rounds, roof, say))
        if arguments.dtype != DTYPES[0]:
            measured[-1]["goal"] = None
        say("")
        cells = sklearn_report.step_row(measured[-1], names)
        print(report.text_row(cells, columns), flush=True)
    results["fits"] += measured
    for line in report.footnotes(measured):
        print(f"  {line}")
    if measured:
        show(f"whole fits, {report.plural(threads)}", *sklearn_report.wholes(measured, names))


def run_predictions(
    arguments: argparse.Namespace,
    settings: Settings,
    workers: dict[str, Worker],
    roof: machine.Roof,
    results: dict[str, Any],
) -> None:
    """Measure `predict_proba`: print a line as each case is done, then single calls."""
    names, threads = list(workers), thread_count(workers)
    columns = sklearn_report.prediction_columns(names, threads)
    print(f"\npredict_proba, {report.plural(threads)}")
    print(report.text_row(columns, columns))
    measured = []
    for case in select(PREDICTIONS, arguments.cases):
        measured.append(measure_case(case, workers, settings, roof, say))
        say("")
        cells = sklearn_report.prediction_row(measured[-1], names)
        print(report.text_row(cells, columns), flush=True)
    results["predictions"] += measured
    columns, rows = report.latency_table(measured)
    if rows:
        show("single calls", columns, rows)
    for line in report.footnotes(measured):
        print(f"  {line}")


def thread_count(workers: dict[str, Worker]) -> int:
    """Return how many threads the contestants use."""
    return len(next(iter(workers.values())).cores)


def described(arguments: argparse.Namespace) -> str:
    """Return in words what a run measures."""
    words = f"{', '.join(arguments.parts)}; threads {', '.join(arguments.threads)}"
    return words + (f"; cases {', '.join(arguments.cases)}" if arguments.cases else "")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    described = __doc__.partition("\n")[0]
    told = argparse.ArgumentParser(prog="sklearn_compare.py", description=described)
    told.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    told.add_argument(
        "--cases", action="append", default=[], metavar="TEXT", help="those with this in their name"
    )
    told.add_argument(
        "--threads", type=threads_of, default=DEFAULT_THREADS, help="such as 1; default: 1,all"
    )
    told.add_argument("--dtype", choices=DTYPES, default=DTYPES[0], help="of the data")
    told.add_argument("--rounds", type=int, help="interleaved rounds, a seed each")
    told.add_argument("--quick", action="store_true", help="few epochs and rows, two seeds")
    told.add_argument("--output", type=Path, help="folder of the JSON file")
    told.add_argument("--write", action="store_true", help="put the tables into docs/sklearn.md")
    return told


if __name__ == "__main__":
    sys.exit(main())
