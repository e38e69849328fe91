"""How the time of a training step grows with width, batch and depth, on one, two and all threads.

Beside every time stand two bounds from the same run: the arithmetic at the peak of the cores, and
the bytes at the bandwidth of the memory. ``python benchmarks/scaling.py --quick`` shows it.
"""

from __future__ import annotations

import argparse
import datetime
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import chart
import machine
import report
from cases import Case
from compare import QUICK_RESULTS, RESULTS, measure_roof, say
from contestants import CONTESTANTS, Worker
from measure import Settings, cores_for
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
    settings = Settings(3, 0.05) if arguments.quick else Settings(5, 0.3)
    measuring = machine.Roof()
    roof = measure_roof(measuring)
    results: dict[str, Any] = {
        "format": 1,
        "date": datetime.date.today().isoformat(),
        "commit": report.version_of_the_code(),
        "machine": machine.describe(),
        "roof": roof,
        "axes": {},
    }
    fastnn = next(c for c in CONTESTANTS if c.name == "fastnn")
    counts = sorted({1, min(2, len(machine.cores())), len(machine.cores())})
    workers = {n: Worker(fastnn, cores_for(str(n))) for n in counts}
    try:
        for axis in arguments.axes:
            results["axes"][axis] = measure_axis(
                axis, workers, settings, roof, measuring, arguments.quick
            )
    finally:
        for worker in workers.values():
            worker.close()
    folder = arguments.output or (QUICK_RESULTS if arguments.quick else RESULTS) / machine.slug()
    print(f"\nwritten: {report.save(results, folder, 'scaling-')}")
    if arguments.write:
        told = {"scaling": tables(results)}
        if chart.draw_scaling(results, report.ROOT / "docs" / "images" / "scaling.svg"):
            told["scaling chart"] = "![time of a step and its bounds](images/scaling.svg)"
        report.replace_blocks(told)
    return 0


def measure_axis(
    axis: str,
    workers: dict[int, Worker],
    settings: Settings,
    roof: dict[str, Any],
    measuring: machine.Roof,
    quick: bool,
) -> list[dict[str, Any]]:
    """Return the points of a curve: the value, the counts, the bounds, and a time per threads."""
    print(f"\n{axis}")
    columns = columns_of(axis, list(workers))
    print(report.text_row(columns, columns))
    points = []
    values = AXES[axis]
    step = max(1, len(values) // QUICK_VALUES) if quick else 1
    for value in list(values)[::step]:
        case = values[value].shortened(QUICK_FLOPS if quick else EPOCH_FLOPS)
        say(f"{axis} {value}")
        runs = {}
        for threads, worker in workers.items():
            worker.ask("prepare", case=asdict(case))
            runs[str(threads)] = worker.run
        steps = {name: calibrate(run, settings.seconds) for name, run in runs.items()}
        times = play(runs, steps, settings.rounds)
        cores = machine.cores()
        points.append(
            {
                "value": value,
                "flops": case.flops,
                "bytes": case.bytes,
                "bounds": bounds(case, roof),
                "seconds": {n: sorted(t)[len(t) // 2] for n, t in times.items()},
                "ping_pong": measuring.ping_pong(cores[0], cores[-1]),
            }
        )
        say("")
        print(report.text_row(cells_of(points[-1]), columns), flush=True)
    return points


def bounds(case: Case, roof: dict[str, Any]) -> dict[str, float | None]:
    """Return the seconds that a step takes one core at least, by arithmetic and by memory."""
    peak, stream = roof["float32"], roof["stream"]
    return {
        "arithmetic": case.flops / peak * 1e-9 if peak else None,
        "memory": case.bytes / stream * 1e-9 if stream else None,
    }


def columns_of(axis: str, threads: list[int]) -> list[str]:
    """Return the columns of a table."""
    times = [f"{n} thread{'s' * (n > 1)} µs" for n in threads]
    return [axis, "MFLOP", "kB", "1 core, arithmetic µs", "1 core, memory µs", *times, "of peak, 1"]


def cells_of(point: dict[str, Any]) -> list[str]:
    """Return a row of a table."""
    bound = point["bounds"]
    times = point["seconds"]
    share = bound["arithmetic"] / times["1"] if bound["arithmetic"] else None
    return [
        str(point["value"]),
        report.number(point["flops"] / 1e6),
        report.number(point["bytes"] / 1e3),
        report.microseconds(bound["arithmetic"]),
        report.microseconds(bound["memory"]),
        *(report.microseconds(t) for t in times.values()),
        "–" if share is None else f"{share:.0%}",
    ]


def tables(results: dict[str, Any]) -> str:
    """Return the tables of all axes in Markdown."""
    parts = []
    for axis, points in results["axes"].items():
        columns = columns_of(axis, [int(n) for n in points[0]["seconds"]])
        parts.append(report.markdown(columns, [cells_of(point) for point in points]))
    return "\n\n".join(parts)


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
