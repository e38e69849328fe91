"""What every measuring tool here begins with: the frame of its results, the roof, and a voice."""

from __future__ import annotations

import datetime
import os
import sys
from typing import Any

import machine
import report
import store
from contestants import DROPPED

__all__ = ["empty_results", "measure_roof", "say", "show"]


def empty_results(what: str, roof: dict[str, Any]) -> dict[str, Any]:
    """Return the frame of results: the run, the machine and its roof.

    Parameters
    ----------
    what : str
        What this run measures, in words.
    roof : dict
        Of `measure_roof`.
    """
    described = machine.describe()
    commit = store.version_of_the_code()
    return {
        "format": 2,
        "commit": commit,
        "runs": [
            {
                "date": datetime.date.today().isoformat(),
                "commit": commit,
                "what": what,
                "load": described["load at the start"],
                "ignored": [f"{k}={os.environ[k]}" for k in DROPPED if k in os.environ],
            }
        ],
        "machine": described,
        "roof": roof,
        "versions": {"Python": sys.version.split()[0]},
    }


def measure_roof(roof: machine.Roof) -> dict[str, Any]:
    """Return what the machine can do at most, measured now."""
    there = machine.cores()
    with machine.pinned([there[-1]]):
        told: dict[str, Any] = {d: roof.peak(d) for d in ("float32", "float64")}
        told["stream"] = roof.stream
    told["ping_pong"] = roof.ping_pong(there[0], there[-1])
    return {**told, "missing": roof.missing}


def say(text: str) -> None:
    """Show what goes on, on one line, where somebody looks at a terminal."""
    if sys.stderr.isatty():
        print(f"\r{text[:100]:<100}\r", end="", file=sys.stderr, flush=True)


def show(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """Print a table."""
    print(f"\n{title}")
    for cells in [columns, *rows]:
        print(report.text_row(cells, columns))
