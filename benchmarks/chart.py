"""The chart of a comparison: how many times as long the others take, on a logarithmic scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["draw"]

OURS = "fastnn"
# Told apart in grey too.
FILLS = ("0.25", "0.85", "0.55", "1.0", "0.7", "0.95")
HATCHES = ("", "///", "", "xxx", "...", "\\\\\\")


def draw(results: list[dict[str, Any]], title: str, file: Path) -> bool:
    """Draw the ratios of some cases as bars; return whether it could be done.

    Parameters
    ----------
    results : list of dict
        Of `measure.measure_case`.
    title : str
    file : Path
        Its ending chooses the format.
    """
    try:
        import matplotlib as mpl
    except ImportError:
        return False
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = list(
        dict.fromkeys(n for r in results for n, e in r["contestants"].items() if "ratio" in e)
    )
    names = [n for n in names if n != OURS]
    settings = {"svg.hashsalt": "fastnn", "svg.fonttype": "none", "hatch.linewidth": 0.5}
    with mpl.rc_context({**settings, "font.size": 8}):
        height = 1.2 + 0.15 * len(results) * (len(names) + 1)
        figure, axes = plt.subplots(figsize=(7.2, height), layout="constrained")
        for number, name in enumerate(names):
            _bars(axes, results, names, number, name)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}×")
        axes.set_yticks(range(len(results)), [r["name"] for r in results])
        axes.set_ylim(len(results) - 0.5, -0.5)
        axes.set_xlabel("time, fastnn = 1 (left of the line: faster than fastnn)")
        axes.margins(x=0.1)
        figure.legend(loc="outside upper center", ncols=min(4, len(names)), frameon=False)
        axes.set_title(title)
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
        plt.close(figure)
    return True


def _bars(
    axes: Any, results: list[dict[str, Any]], names: list[str], number: int, name: str
) -> None:
    """Draw the bars of a contestant, each with its figure."""
    thickness = 0.85 / len(names)
    places, ratios = [], []
    for place, result in enumerate(results):
        entry = result["contestants"].get(name, {})
        if "ratio" in entry:
            places.append(place + (number - (len(names) - 1) / 2) * thickness)
            ratios.append(entry["ratio"]["median"])
    bars = axes.barh(
        places,
        [ratio - 1 for ratio in ratios],
        left=1,
        height=0.9 * thickness,
        label=name,
        color=FILLS[number % len(FILLS)],
        hatch=HATCHES[number % len(HATCHES)],
        edgecolor="black",
        linewidth=0.4,
    )
    axes.bar_label(bars, [f"{ratio:.3g}×" for ratio in ratios], padding=2, fontsize=6)
