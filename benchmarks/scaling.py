"""How the time of a training step grows with width, batch and depth, on 1, 2, 4 and all threads.

Beside every time stand two bounds from the same run: the arithmetic at the peak of the cores, and
the bytes at the bandwidth of the memory. ``python benchmarks/scaling.py --quick`` shows it.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import documents
import machine
import report
import store
from cases import Case
from contestants import CONTESTANTS, Worker
from frame import empty_results, measure_roof, say, show
from measure import PAUSE, Settings, cores_for, roof_of
from rounds import calibrate, play

__all__ = ["main"]

# What grows, and the case at each of its values.
AXES = {
    "width": {n: Case((n, n, n, 10), 128) for n in (16, 32, 64, 128, 256, 512, 1024, 2048)},
    "batch": {n: Case((256, 256, 256, 10), n) for n in (1, 4, 16, 64, 256, 1024, 4096)},
    "depth": {n: Case((128, *[128] * n, 10), 128) for n in (1, 2, 4, 8, 16, 32)},
}
# An epoch of a large network has no more than so many FLOP.
EPOCH_FLOPS = 2e10
QUICK_FLOPS = 1e9
QUICK_VALUES = 3


def main(argv: list[str] | None = None) -> int:
    """Measure the curves; return the exit status."""
    arguments = parser().parse_args(argv)
    if arguments.quick and arguments.write:
        parser().error("--write needs a whole run: the figures of --quick are for a look")
    settings = Settings(3, 0.05) if arguments.quick else Settings(5, 0.3)
    roof = machine.Roof()
    results = empty_results(f"scaling of {', '.join(arguments.axes)}", measure_roof(roof))
    results["axes"] = {}
    print(report.machine_text(results))
    fastnn = next(c for c in CONTESTANTS if c.name == report.OURS)
    workers = {n: Worker(fastnn, cores_for(str(n))) for n in thread_counts(len(machine.cores()))}
    results["versions"] |= next(iter(workers.values())).description["versions"]
    try:
        for axis in arguments.axes:
            results["axes"][axis] = measure_axis(
                axis, workers, settings, results["roof"], roof, arguments.quick
            )
    except KeyboardInterrupt:
        print("\nstopped; the curves that were done are kept", file=sys.stderr)
    finally:
        for worker in workers.values():
            worker.close()
    folder = store.QUICK_RESULTS if arguments.quick else store.RESULTS
    file, kept = store.keep(results, arguments.output or folder / machine.slug(), "scaling")
    print(f"\nwritten: {file}")
    if arguments.write and kept["axes"]:
        documents.write_scaling(kept)
    return 0


def thread_counts(cores: int) -> list[int]:
    """Return 1, 2, 4 and so on, and all."""
    return sorted({1, cores, *(2**n for n in range(cores.bit_length()) if 2**n <= cores)})


def measure_axis(
    axis: str,
    workers: dict[int, Worker],
    settings: Settings,
    roof: dict[str, Any],
    measuring: machine.Roof,
    quick: bool,
) -> list[dict[str, Any]]:
    """Return the points of a curve: the value, the counts, the bounds, and a time per threads."""
    points: list[dict[str, Any]] = []
    most = workers[max(workers)].cores
    values = AXES[axis]
    step = max(1, len(values) // QUICK_VALUES) if quick else 1
    for value in list(values)[::step]:
        case = values[value].shortened(QUICK_FLOPS if quick else EPOCH_FLOPS)
        say(f"{axis} {value}")
        runs = {}
        for threads, worker in workers.items():
            worker.must("prepare", case=asdict(case))
            runs[str(threads)] = worker.run
        steps = {name: calibrate(run, settings.seconds) for name, run in runs.items()}
        before = roof_of(measuring, most)
        pause = PAUSE if len(most) > 1 else 0.0
        runs_of = play(runs, steps, settings.rounds, pause)
        times = {n: [run["seconds"] / run["count"] for run in told] for n, told in runs_of.items()}
        points.append(
            {
                "value": value,
                "flops": case.flops,
                "bytes": case.bytes,
                "bounds": bounds(case, roof),
                "seconds": {n: sorted(t)[len(t) // 2] for n, t in times.items()},
                "roof": {"before": before, "after": roof_of(measuring, most)},
            }
        )
    say("")
    show(axis, *report.scaling_table(axis, points))
    return points


def bounds(case: Case, roof: dict[str, Any]) -> dict[str, float | None]:
    """Return the seconds that a step takes one core at least, by arithmetic and by memory."""
    peak, stream = roof["float32"], roof["stream"]
    return {
        "arithmetic": case.flops / peak * 1e-9 if peak else None,
        "memory": case.bytes / stream * 1e-9 if stream else None,
    }


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    told = argparse.ArgumentParser(prog="scaling.py", description=__doc__.partition("\n")[0])
    told.add_argument("--axes", nargs="+", choices=list(AXES), default=list(AXES))
    told.add_argument("--quick", action="store_true", help="few values, short epochs")
    told.add_argument("--output", type=Path, help="folder of the JSON file")
    told.add_argument("--write", action="store_true", help="put tables and chart into the docs")
    return told


if __name__ == "__main__":
    sys.exit(main())
