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
    report.replace_blocks(blocks(results), root)
    for part, threads in groups(results):
        image = root / IMAGES / f"benchmarks-{part}-{threads}.svg"
        title = f"{part}, {threads} thread{'s' * (threads > 1)}"
        drawn = chart.draw_ratios(groups(results)[part, threads], title, image)
        said = "drawn" if drawn else "not drawn: matplotlib is not installed"
        print(f"{image.relative_to(root)}: {said}")


def blocks(results: dict[str, Any]) -> dict[str, str]:
    """Return the text of every block: ``machine``, ``cost``, and such as ``training 1``."""
    told = {"machine": f"{report.machine_text(results)}\n{report.versions_text(results)}"}
    for (part, threads), measured in groups(results).items():
        names = list(dict.fromkeys(n for r in measured for n in r["contestants"]))
        columns = report.header(part, names, threads)
        rows = [report.row(result, names) for result in measured]
        table = report.markdown(columns, [*rows, report.summary_row(measured, names)])
        told[f"{part} {threads if threads == 1 else 'all'}"] = table
    if results["cost"]:
        told["cost"] = report.markdown(*report.cost_table(results["cost"]))
    return told


def groups(results: dict[str, Any]) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """Return the results by part and number of threads."""
    found: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for result in results["cases"]:
        found.setdefault((result["part"], result["threads"]), []).append(result)
    return found
