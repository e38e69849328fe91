"""The charts: how many times as long the others take, and how the time of a step grows."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import report
from rounds import geometric_mean

__all__ = ["draw_ratios", "draw_scaling"]

# Readable in grey: a library is a panel of its own, and no meaning is in a colour.
SLOWER, FASTER, MEAN = "0.55", "1.0", "0.15"
MARKERS = ("o", "s", "^", "D", "v")
GREYS = ("0.0", "0.35", "0.55", "0.7", "0.2")
WIDTH = 8.6  # inches, of up to three panels beside each other
PANEL = 2.4  # inches, of one more
NOTE_LETTERS = 20  # an inch, under the chart
SETTINGS = {"font.size": 8, "axes.titlesize": 9, "hatch.linewidth": 0.6, "savefig.dpi": 160}
ROOM = 1.7  # the axis goes on so many times beyond the longest bar, where its figure stands


def draw_ratios(results: list[dict[str, Any]], title: str, note: str, file: Path) -> bool:
    """Draw the ratios of some cases as bars, a panel for every library.

    Parameters
    ----------
    results : list of dict
        Of `measure.measure_case`.
    title, note : str
        Above and below.
    file : Path
        Its ending chooses the format.

    Returns
    -------
    bool
        Whether it was drawn: not where matplotlib or any ratio is missing.
    """
    plt = _pyplot()
    ratios = {
        name: found
        for name, found in report.ratios_by_name(results).items()
        if not name.startswith(report.OURS)
    }
    if plt is None or not ratios:
        return False
    rows = 1 if len(ratios) < 4 else 2
    columns = math.ceil(len(ratios) / rows)
    everything = [ratio for found in ratios.values() for ratio in found]
    limits = min(0.8, min(everything) / ROOM), ROOM * max(everything) * 1.3
    with plt.rc_context(SETTINGS):
        height = 1.2 + rows * (0.5 + 0.165 * (len(results) + 1))
        figure, panels = plt.subplots(
            rows,
            columns,
            figsize=(WIDTH + PANEL * max(0, columns - 3), height),
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        for panel, name in zip(panels.flat, ratios, strict=False):
            _panel(panel, results, name)
            panel.set_xlim(limits)
        for panel in list(panels.flat)[len(ratios) :]:
            panel.set_visible(False)
        ticks = [10.0**n for n in range(-2, 6) if limits[0] <= 10.0**n <= limits[1]]
        if len(ticks) < 3:
            ticks = sorted(
                s * 10.0**n
                for n in range(-2, 6)
                for s in (1, 2, 5)
                if limits[0] <= s * 10.0**n <= limits[1]
            )
        panels[0][0].set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
        for panel in panels.flat:
            panel.minorticks_off()
            panel.tick_params(labelbottom=True)
        heading = f"{title}: how many times as long as fastnn (log scale)"
        _frame(figure, heading, f"Left of the line: faster than fastnn. {note}")
        _save(plt, figure, file)
    return True


def draw_scaling(results: dict[str, Any], note: str, file: Path) -> bool:
    """Draw the times of a step and their bounds; return False where matplotlib is missing.

    Parameters
    ----------
    results : dict
        Of `scaling.main`.
    note : str
        Below.
    file : Path
        Its ending chooses the format.
    """
    plt = _pyplot()
    if plt is None or not results["axes"]:
        return False
    curves = dict(results["axes"])
    several = any(len(point["seconds"]) > 1 for points in curves.values() for point in points)
    with plt.rc_context(SETTINGS):
        count = len(curves) + several
        columns = min(2, count)
        rows = math.ceil(count / columns)
        figure, panels = plt.subplots(
            rows, columns, figsize=(WIDTH, 0.8 + 3.0 * rows), squeeze=False
        )
        for panel, (axis, points) in zip(panels.flat, curves.items(), strict=False):
            _curve(panel, axis, points)
        if several:
            axis, points = next(iter(curves.items()))
            _threads(panels.flat[len(curves)], axis, points)
        for panel in list(panels.flat)[count:]:
            panel.set_visible(False)
        _frame(figure, "Time of a training step", note)
        _save(plt, figure, file)
    return True


def _panel(panel: Any, results: list[dict[str, Any]], name: str) -> None:
    """Draw the bars of a library, their geometric mean below them."""
    counted = [r for r in results if r["case"]["optimizer"] == "sgd"] or results
    names = [result["name"] for result in results]
    ratios = [result["contestants"].get(name, {}).get("ratio") for result in results]
    values = [ratio and ratio["median"] for ratio in ratios]
    mean = geometric_mean(
        r["contestants"][name]["ratio"]["median"]
        for r in counted
        if "ratio" in r["contestants"].get(name, {})
    )
    for place, value in enumerate([*values, mean]):
        if value is None:
            panel.text(1.06, place, "–", va="center", fontsize=6.5)
            continue
        last = place == len(values)
        low, high = sorted((1.0, value))
        panel.barh(
            place,
            high - low,
            left=low,
            height=0.72,
            color=MEAN if last else SLOWER if value >= 1 else FASTER,
            hatch="" if value >= 1 else "//////",
            edgecolor="black",
            linewidth=0.5,
        )
        where = max(value, 1.0) * 1.06  # to the right, where the scale leaves room
        text = f"{value:.0f}×" if value >= 100 else f"{value:.3g}×"
        panel.text(where, place, text, va="center", fontsize=6.5, fontweight="bold" * last or None)
    panel.axvline(1, color="black", linewidth=1)
    panel.set_xscale("log")
    label = "mean" if len(counted) == len(results) else "mean, SGD"
    panel.set_yticks(range(len(names) + 1), [*names, f"geometric {label}"])
    panel.set_ylim(len(names) + 0.6, -0.6)
    panel.tick_params(axis="y", length=0)
    panel.grid(axis="x", color="0.85", linewidth=0.6)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)
    panel.set_title(name, loc="left")


def _curve(panel: Any, axis: str, points: list[dict[str, Any]]) -> None:
    """Draw the times of a step against what grows, and their bounds."""
    values = [point["value"] for point in points]
    for n, threads in enumerate(points[0]["seconds"]):
        times = [1e6 * point["seconds"][threads] for point in points]
        style = {"marker": MARKERS[n % 5], "color": GREYS[n % 5], "markersize": 4}
        panel.plot(values, times, label=report.plural(threads), **style)
    for bound, style in (("arithmetic", "--"), ("memory", ":")):
        if points[0]["bounds"][bound] is not None:
            times = [1e6 * point["bounds"][bound] for point in points]
            panel.plot(values, times, style, color="black", label=f"bound of 1 core, {bound}")
    panel.set(xscale="log", yscale="log", xlabel=axis, ylabel="µs a step")
    panel.set_xticks(values, [str(value) for value in values])
    panel.xaxis.minorticks_off()
    panel.grid(color="0.9", linewidth=0.6)
    panel.legend(frameon=False, fontsize=7)


def _threads(panel: Any, axis: str, points: list[dict[str, Any]]) -> None:
    """Draw how many times as fast a step is on more threads, for some values of an axis."""
    counts = [int(threads) for threads in points[0]["seconds"]]
    panel.plot(counts, counts, "--", color="black", label="as many times as threads")
    for n, point in enumerate(points[1::2]):
        gains = [point["seconds"]["1"] / seconds for seconds in point["seconds"].values()]
        style = {"marker": MARKERS[n % 5], "color": GREYS[n % 5], "markersize": 4}
        panel.plot(counts, gains, label=f"{axis} {point['value']}", **style)
    panel.set(xlabel="threads", ylabel="times as fast as on 1 thread")
    panel.set_xticks(counts)
    panel.grid(color="0.9", linewidth=0.6)
    panel.legend(frameon=False, fontsize=7)


def _frame(figure: Any, title: str, text: str) -> None:
    """Put a title above the panels and a small text below them."""
    width, height = figure.get_size_inches()
    lines = textwrap.wrap(text, int(NOTE_LETTERS * width))
    figure.suptitle(title, fontweight="bold", y=1 - 0.08 / height, va="top")
    figure.text(0.01, 0.05 / height, "\n".join(lines), fontsize=6.5, va="bottom", color="0.25")
    figure.tight_layout(rect=(0, (0.1 + 0.13 * len(lines)) / height, 1, 1))


def _pyplot() -> Any:
    """Return pyplot, drawing into files; None where matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        return None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _save(plt: Any, figure: Any, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file)
    plt.close(figure)
