"""Tables of the estimators: steps, whole fits and what they came to, predictions."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import report
from report import OURS
from sklearn_cases import PREDICTION_GOALS, RIVAL

__all__ = ["document", "prediction_columns", "prediction_row", "step_columns", "step_row", "wholes"]

Table = tuple[list[str], list[list[str]]]


def step_columns(names: list[str], threads: int) -> list[str]:
    """Return the columns of the table of steps."""
    return [*report.header("training", names, threads), "goal"]


def step_row(result: dict[str, Any], names: list[str]) -> list[str]:
    """Return the cells of a fit in the table of steps, with the goal and whether it is met."""
    ratio, goal = result["contestants"].get(RIVAL, {}).get("ratio"), result["goal"]
    if goal is None:
        return [*report.row(result, names), ""]
    met = None if ratio is None else ratio["median"] >= goal
    return [*report.row(result, names), _verdict(f"{goal:g}×", met)]


def wholes(results: list[dict[str, Any]], names: list[str]) -> Table:
    """Return the table of whole fits: their times, and their losses after the last epoch."""
    rivals = [name for name in names if name != OURS]
    columns = ["net, batch", "rows", "epochs", "fastnn ms", *rivals]
    columns += [f"loss, {name}" for name in names] + ["seeds", "apart at most"]
    rows = []
    for result in results:
        told = [result["contestants"].get(name, {}) for name in names]
        times = dict(zip(names, map(_whole, names, told), strict=True))
        losses = [entry.get("losses", []) for entry in told]
        apart = [f"{entry['apart']:.2%}" for entry in told if entry.get("apart")]
        rows.append(
            [
                result["name"],
                str(result["case"]["rows"]),
                str(result["epochs"]),
                times[OURS],
                *(times[name] for name in rivals),
                *(f"{statistics.fmean(values):.4g}" if values else "–" for values in losses),
                str(max(map(len, losses))),
                " / ".join(apart) or "–",
            ]
        )
    return columns, rows


def prediction_columns(names: list[str], threads: int) -> list[str]:
    """Return the columns of the table of predictions."""
    return [*report.header("inference", names, threads), "goal for a call"]


def prediction_row(result: dict[str, Any], names: list[str]) -> list[str]:
    """Return the cells of a prediction, with the goal for one row and whether it is met."""
    goal = PREDICTION_GOALS.get(tuple(result["case"]["widths"]))
    each = result["contestants"].get(OURS, {}).get("each", {})
    said = ""
    if result["case"]["batch"] == 1 and goal is not None:
        met = each["p50"] <= goal if "p50" in each else None
        said = _verdict(f"{report.microseconds(goal)} µs", met)
    return [*report.row(result, names), said]


def document(results: dict[str, Any]) -> str:
    """Return everything in Markdown: the machine, then the tables for each number of threads."""
    parts = [f"{report.machine_text(results)}\n{report.versions_text(results)}"]
    measured = results["fits"] + results["predictions"]
    for threads in sorted({result["threads"] for result in measured}):
        fits, predictions = (
            [result for result in results[key] if result["threads"] == threads]
            for key in ("fits", "predictions")
        )
        for title, (columns, rows) in (
            ("A step of `fit`", _table(fits, step_columns, step_row)),
            ("Whole fits", wholes(fits, _names(fits))),
            ("`predict_proba`", _table(predictions, prediction_columns, prediction_row)),
            ("Single calls of `predict_proba`", report.latency_table(predictions)),
        ):
            if rows:
                parts += [f"{title}, {report.plural(threads)}:"]
                parts += [report.markdown(columns, rows)]
        notes = [*report.footnotes(fits), *report.footnotes(predictions)]
        parts += [report.bullets(list(dict.fromkeys(notes)))] if notes else []
    return "\n\n".join(parts)


def _names(measured: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(name for result in measured for name in result["contestants"]))


def _table(
    measured: list[dict[str, Any]],
    columns: Callable[[list[str], int], list[str]],
    row: Callable[[dict[str, Any], list[str]], list[str]],
) -> Table:
    if not measured:
        return [], []
    names = _names(measured)
    return columns(names, measured[0]["threads"]), [row(result, names) for result in measured]


def _whole(name: str, entry: dict[str, Any]) -> str:
    """Return the ms of a whole fit and in a rival's brackets how many times fastnn's they are."""
    if "fit" not in entry:
        return "–"
    rival = name != OURS and "fit_ratio" in entry
    ratio = f" ({entry['fit_ratio']['median']:.2f}×)" if rival else ""
    return f"{report.number(1e3 * entry['fit'])}{ratio}"


def _verdict(goal: str, met: bool | None) -> str:
    return f"{goal}: {'not compared' if met is None else 'met' if met else 'MISSED'}"
