"""The charts: how many times as long the others take, and how the time of a step grows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__all__ = ["draw_ratios", "draw_scaling"]

OURS = "fastnn"
# Told apart in grey too.
FILLS = ("0.15", "0.95", "0.45", "1.0", "0.7", "0.85", "1.0", "0.6", "1.0")
HATCHES = ("", "///", "", "xxx", "...", "", "\\\\\\", "---", "")
MARKERS = ("o", "s", "^", "D")
# The same figures give the same file, and its text stays text.
SETTINGS = {
    "font.size": 8,
    "hatch.linewidth": 0.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "fastnn",
}


def draw_ratios(results: list[dict[str, Any]], title: str, file: Path) -> bool:
    """Draw the ratios of some cases as bars; return False where matplotlib is missing.

    Parameters
    ----------
    results : list of dict
        Of `measure.measure_case`.
    title : str
    file : Path
        Its ending chooses the format.
    """
    plt = _pyplot()
    if plt is None:
        return False
    told = [item for result in results for item in result["contestants"].items()]
    names = list(dict.fromkeys(n for n, entry in told if "ratio" in entry and n != OURS))
    with plt.rc_context(SETTINGS):
        height = 1.2 + 0.13 * len(results) * (len(names) + 1)
        figure, axes = plt.subplots(figsize=(7.2, height), layout="constrained")
        for number in range(len(names)):
            _bars(axes, results, names, number)
        axes.axvline(1, color="black", linewidth=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(plt.matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}×")
        axes.xaxis.set_minor_formatter("")
        axes.set_yticks(range(len(results)), [r["name"] for r in results])
        axes.set_ylim(len(results) - 0.5, -0.5)
        axes.set_xlabel("time, fastnn = 1 (left of the line: faster than fastnn)")
        axes.margins(x=0.1)
        axes.set_title(title)
        if names:
            figure.legend(loc="outside upper center", ncols=min(4, len(names)), frameon=False)
        _save(plt, figure, file)
    return True


def draw_scaling(results: dict[str, Any], file: Path) -> bool:
    """Draw the times of a step and their bounds; return False where matplotlib is missing.

    Parameters
    ----------
    results : dict
        Of `scaling.main`.
    file : Path
        Its ending chooses the format.
    """
    plt = _pyplot()
    if plt is None:
        return False
    panels = results["axes"]
    with plt.rc_context(SETTINGS):
        size = (2.6 * len(panels) + 0.5, 3.2)
        figure, all_axes = plt.subplots(
            1, len(panels), figsize=size, layout="constrained", squeeze=False
        )
        for axes, (name, points) in zip(all_axes[0], panels.items(), strict=True):
            values = [point["value"] for point in points]
            for n, threads in enumerate(points[0]["seconds"]):
                times = [1e6 * point["seconds"][threads] for point in points]
                label = f"{threads} thread{'s' * (threads != '1')}"
                axes.plot(values, times, f"{MARKERS[n % 4]}-", color=FILLS[2 * n % 6], label=label)
            for bound, style in (("arithmetic", "--"), ("memory", ":")):
                if points[0]["bounds"][bound] is not None:
                    times = [1e6 * point["bounds"][bound] for point in points]
                    axes.plot(values, times, style, color="black", label=f"1 core, {bound}")
            axes.set(xscale="log", yscale="log", xlabel=name, ylabel="µs a step")
            axes.set_xticks(values, values)
            axes.minorticks_off()
        handles, labels = all_axes[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=5, frameon=False)
        _save(plt, figure, file)
    return True


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
    figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)


def _bars(axes: Any, results: list[dict[str, Any]], names: list[str], number: int) -> None:
    """Draw the bars of a contestant, each with its figure."""
    thickness = 0.85 / len(names)
    places, ratios = [], []
    for place, result in enumerate(results):
        entry = result["contestants"].get(names[number], {})
        if "ratio" in entry:
            places.append(place + (number - (len(names) - 1) / 2) * thickness)
            ratios.append(entry["ratio"]["median"])
    bars = axes.barh(
        places,
        [ratio - 1 for ratio in ratios],
        left=1,
        height=0.9 * thickness,
        label=names[number],
        color=FILLS[number % len(FILLS)],
        hatch=HATCHES[number % len(HATCHES)],
        edgecolor="black",
        linewidth=0.4,
    )
    axes.bar_label(bars, [f"{ratio:.3g}×" for ratio in ratios], padding=2, fontsize=6)
