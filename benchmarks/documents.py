"""The figures in README.md and docs/benchmarks.md: written between markers by the tool alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import chart
import report

__all__ = ["blocks", "write"]

IMAGES = "docs/images"


def write(results: dict[str, Any], root: Path = report.ROOT) -> None:
    """Put tables between the markers of the documents, and draw the charts; tell what was done."""
    told = blocks(results)
    for (part, threads), measured in groups(results).items():
        name = f"benchmarks-{part}-{threads}.svg"
        title = f"{part}, {threads} thread{'s' * (threads != '1')}"
        if chart.draw_ratios(measured, title, root / IMAGES / name):
            print(f"{IMAGES}/{name}: drawn")
            told[f"{part} {threads} chart"] = f"![{title}: times as long](images/{name})"
        else:
            print(f"{IMAGES}/{name}: not drawn, matplotlib is not installed")
    report.replace_blocks(told, root)


def blocks(results: dict[str, Any]) -> dict[str, str]:
    """Return the tables by the names of their markers: ``machine``, ``training 1`` and so on."""
    told = {"machine": f"{report.machine_text(results)}\n{report.versions_text(results)}"}
    for (part, threads), measured in groups(results).items():
        names = _names(measured)
        columns = report.header(part, names, measured[0]["threads"])
        rows = [report.row(result, names) for result in measured]
        table = report.markdown(columns, [*rows, report.summary_row(measured, names)])
        told[f"{part} {threads}"] = table
    if results["cost"]:
        told["cost"] = report.markdown(*report.cost_table(results["cost"]))
    if results["cases"]:
        told["summary"] = _summary(results)
    return told


def _summary(results: dict[str, Any]) -> str:
    """Return the table of the geometric means: a library a row."""
    columns = {
        f"{part}, {threads} thread{'s' * (threads != '1')}": report.means(measured)
        for (part, threads), measured in groups(results).items()
    }
    names = [n for n in _names(results["cases"]) if not n.startswith("fastnn")]
    rows = [[name, *(means.get(name, "–") for means in columns.values())] for name in names]
    return report.markdown(["times as long as fastnn", *columns], rows)


def _names(measured: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(n for result in measured for n in result["contestants"]))


def groups(results: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the results by part and threads: ``1`` or, whatever their number, ``all``."""
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for result in results["cases"]:
        threads = "1" if result["threads"] == 1 else "all"
        found.setdefault((result["part"], threads), []).append(result)
    return found
