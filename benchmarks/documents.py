"""The figures in README.md and docs: written between markers by the tool alone.

``python benchmarks/documents.py`` writes them from the newest results of this machine;
``python benchmarks/documents.py FILE...`` from the files that it names, later ones first where
both have measured a case.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import reduce
from pathlib import Path, PurePosixPath
from typing import Any

import cases
import chart
import report
import sklearn_report
import store

__all__ = [
    "blocks",
    "groups",
    "insert",
    "main",
    "scaling_blocks",
    "write",
    "write_scaling",
    "write_sklearn",
]

DOCUMENTS = ("README.md", "docs/benchmarks.md", "docs/sklearn.md")
IMAGES = "docs/images"
PREFIXES = ("compare", "scaling", "estimators-float32", "estimators-float64")
HERE = "{images}"  # in a block: the way from its document to the images


def main(argv: list[str] | None = None) -> int:
    """Write the documents from files of results; return the exit status."""
    told = argparse.ArgumentParser(prog="documents.py", description=__doc__.partition("\n")[0])
    told.add_argument("files", nargs="*", type=Path, help="default: the newest of this machine")
    files = told.parse_args(argv).files
    files = files or [file for prefix in PREFIXES for file in store.latest(prefix)]
    if not files:
        told.error("there are no results of this machine yet; make bench measures them")
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for kind, writer in (("cases", write), ("axes", write_scaling)):
        fitting = [results for results in found if kind in results]
        if fitting:
            writer(reduce(store.merge, fitting))
    for results in found:
        if "fits" in results:
            write_sklearn(results)
    return 0


def write(results: dict[str, Any], root: Path = store.ROOT) -> None:
    """Put the tables of a comparison into the documents, and draw the charts; tell of both."""
    told = blocks(results)
    for (part, threads), measured in groups(results).items():
        name = f"benchmarks-{part}-{threads}.png"
        title = f"{part.capitalize()}, {report.plural(measured[0]['threads'])}"
        roofs = [m["roof"] for m in measured if m["threads"] > 1]
        note = chart_note(results, roofs)
        if chart.draw_ratios(measured, title, note, root / IMAGES / name):
            print(f"{IMAGES}/{name}: drawn")
            told[f"{part} {threads} chart"] = f"![{title}: times as long as fastnn]({HERE}/{name})"
        else:
            print(f"{IMAGES}/{name}: not drawn, matplotlib is not installed or there are no ratios")
    if "training 1 chart" in told:
        told["summary"] += f"\n\n{told['training 1 chart']}"
    replace_blocks(told, root)


def write_scaling(results: dict[str, Any], root: Path = store.ROOT) -> None:
    """Put the tables of the curves into the documents, and draw them."""
    told = scaling_blocks(results)
    roofs = [point["roof"] for points in results["axes"].values() for point in points]
    if chart.draw_scaling(results, chart_note(results, roofs), root / IMAGES / "scaling.png"):
        print(f"{IMAGES}/scaling.png: drawn")
        told["scaling chart"] = f"![time of a step and its bounds]({HERE}/scaling.png)"
    replace_blocks(told, root)


def write_sklearn(results: dict[str, Any], root: Path = store.ROOT) -> None:
    """Put the tables of the estimators between the markers of their dtype."""
    replace_blocks({f"sklearn {results['dtype']}": sklearn_report.document(results)}, root)


def blocks(results: dict[str, Any]) -> dict[str, str]:
    """Return the tables by the names of their markers: ``machine``, ``training 1`` and so on."""
    told = {"machine": f"{report.machine_text(results)}\n{report.versions_text(results)}"}
    found = groups(results)
    for (part, threads), measured in found.items():
        names = list(dict.fromkeys(n for result in measured for n in result["contestants"]))
        columns = report.header(part, names, measured[0]["threads"])
        rows = [report.row(result, names) for result in measured]
        table = report.markdown(columns, [*rows, report.summary_row(measured, names)])
        told[f"{part} {threads}"] = _with_notes(table, report.footnotes(measured))
        columns, rows = report.latency_table(measured)
        if rows:
            told[f"latency {threads}"] = report.markdown(columns, rows)
    if results.get("busy"):
        told["busy"] = report.markdown(*report.busy_table(results["busy"]))
    if results.get("cost"):
        told["cost"] = report.markdown(*report.cost_table(results["cost"]))
    if found:
        told["summary"] = _with_notes(
            report.markdown(*report.summary_table(found)), [chart_note(results, [])]
        )
    return told


def scaling_blocks(results: dict[str, Any]) -> dict[str, str]:
    """Return the tables of the curves in Markdown, under the name of their marker."""
    parts = [report.machine_text(results)]
    for axis, points in results["axes"].items():
        parts.append(report.markdown(*report.scaling_table(axis, points)))
    return {"scaling": "\n\n".join(parts)}


def chart_note(results: dict[str, Any], roofs: list[dict[str, Any]]) -> str:
    """Return the line that says where, when and with what; and how far the cores were, if told."""
    runs = results["runs"]
    commits = ", ".join(dict.fromkeys(run["commit"] for run in runs if run["commit"]))
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    machine = results["machine"]
    line = (
        f"{machine['cpu']}, {machine['usable cores']} cores, float32, {runs[-1]['date']}, "
        f"commit {commits}; {versions}"
    )
    if roofs:
        told = [roof[when]["ping_pong"] for roof in roofs for when in ("before", "after")]
        if None not in told:
            line += f"; core to core {min(told):.0f} to {max(told):.0f} ns"
    return line


def groups(results: dict[str, Any]) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Return the results by part and threads (``1`` or ``all``), as `cases` orders them."""
    order = [case.name for case in (*cases.TRAINING, *cases.INFERENCE)]
    found: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for part in ("training", "inference"):
        for threads in ("1", "all"):
            measured = [
                result
                for result in results["cases"]
                if result["part"] == part and (result["threads"] == 1) == (threads == "1")
            ]
            if measured:
                found[part, threads] = sorted(
                    measured, key=lambda r: order.index(r["name"]) if r["name"] in order else -1
                )
    return found


def insert(text: str, name: str, body: str) -> str:
    """Return a text with what stands between the markers of a name replaced.

    The markers are ``<!-- benchmarks NAME begin -->`` and ``<!-- benchmarks NAME end -->``.

    Raises
    ------
    ValueError
        When it does not have both, once each and in this order.
    """
    begin, end = (f"<!-- benchmarks {name} {which} -->" for which in ("begin", "end"))
    if text.count(begin) != 1 or text.count(end) != 1 or text.index(begin) > text.index(end):
        raise ValueError(f"there must be one {begin} and behind it one {end}")
    head, _, rest = text.partition(begin)
    _, _, tail = rest.partition(end)
    return f"{head}{begin}\n{body}\n{end}{tail}"


def replace_blocks(told: dict[str, str], root: Path) -> None:
    """Put texts between their markers in every document that has them; tell what was done."""
    for name in DOCUMENTS:
        file = root / name
        images = PurePosixPath(IMAGES).relative_to(PurePosixPath(name).parent)
        text = before = file.read_text(encoding="utf-8") if file.exists() else ""
        for block, body in told.items():
            if f"<!-- benchmarks {block} begin -->" in text:
                text = insert(text, block, body.replace(HERE, str(images)))
        if text != before:
            file.write_text(text, encoding="utf-8")
        print(f"{name}: {'written' if text != before else 'nothing to write'}")


def _with_notes(table: str, lines: list[str]) -> str:
    return f"{table}\n\n{report.bullets(lines)}" if lines else table


if __name__ == "__main__":
    sys.exit(main())
