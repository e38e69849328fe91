"""Tables of results, for the terminal and for Markdown."""

from __future__ import annotations

import textwrap
from functools import partial
from typing import Any

from machine import latency_word
from rounds import geometric_mean

__all__ = [
    "OURS",
    "bullets",
    "busy_table",
    "core_to_core",
    "cost_table",
    "footnotes",
    "header",
    "latency_table",
    "machine_text",
    "markdown",
    "means",
    "microseconds",
    "number",
    "plural",
    "ratios_by_name",
    "row",
    "scaling_table",
    "summary_row",
    "summary_table",
    "text_row",
    "versions_text",
]

OURS = "fastnn"
COLUMNS = 100  # of a line in a document, but for those of tables
FIRST_COLUMNS = ["net, batch", "fastnn µs", "GFLOP/s", "of peak"]
# Preparations below this many seconds are not worth a word.
LONG_PREPARATION = 1.0
# What three digits would show in powers of ten.
TINY = 1e-4


def plural(threads: int | str) -> str:
    """Return ``1 thread``, ``2 threads``, ``all threads``."""
    return f"{threads} thread{'s' * (str(threads) != '1')}"


def header(part: str, names: list[str], threads: int) -> list[str]:
    """Return the columns of a table: the case, fastnn's figures, then its rivals."""
    first = list(FIRST_COLUMNS)
    if part == "inference":
        first[0] = "net, rows"
    latency = ["core to core"] if threads > 1 else []
    return [*first, *latency, *(name for name in names if name != OURS)]


def row(result: dict[str, Any], names: list[str]) -> list[str]:
    """Return the cells of a case; a rival's are its µs and how many times fastnn's they are."""
    told = result["contestants"]
    ours = told.get(OURS, {}).get("seconds")
    cells = [result["name"], microseconds(ours)]
    speed = result["flops"] / ours * 1e-9 if ours else None
    cells.append(number(speed))
    peak = result["roof"]["before"]["peak"]
    share = speed / (peak * result["threads"]) if speed and peak else None
    cells.append("" if share is None else f"{share:.0%}")
    if result["threads"] > 1:
        cells.append(core_to_core(result["roof"]))
    return cells + [_rival(told.get(name)) for name in names if name != OURS]


def summary_row(results: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Return the row of geometric means under a table."""
    threads, told = results[0]["threads"], means(results)
    rivals = [name for name in names if name != OURS]
    empty = [""] * (len(header("", names, threads)) - 1 - len(rivals))
    return [_mean_label(results), *empty, *(told.get(name, "") for name in rivals)]


def means(results: list[dict[str, Any]]) -> dict[str, str]:
    """Return the geometric mean of the ratios by rival, over the cases that it took part in.

    Plain SGD alone counts where there are cases of it: with Adam, a net would count twice.
    """
    counted = _counted(results)
    told = {}
    for name, ratios in ratios_by_name(counted).items():
        partial = "" if len(ratios) == len(counted) else f" of {len(ratios)}"
        told[name] = f"{geometric_mean(ratios):.2f}×{partial}"
    return told


def ratios_by_name(results: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Return the ratios to fastnn of everybody who has any."""
    found: dict[str, list[float]] = {}
    for result in results:
        for name, entry in result["contestants"].items():
            if "ratio" in entry:
                found.setdefault(name, []).append(entry["ratio"]["median"])
    return found


def summary_table(
    groups: dict[tuple[str, str], list[dict[str, Any]]],
) -> tuple[list[str], list[list[str]]]:
    """Return the table of geometric means, a library a row, with the case nearest to fastnn."""
    columns = ["times as long as fastnn", *(f"{p}, {plural(threads)}" for p, threads in groups)]
    lines: dict[str, dict[int, str]] = {}
    for place, measured in enumerate(groups.values()):
        lowest = {n: min(r) for n, r in ratios_by_name(_counted(measured)).items()}
        for name, mean in means(measured).items():
            lines.setdefault(name, {})[place] = f"{mean} (least {lowest[name]:.2f}×)"
    rows = [
        [name, *(cells.get(place, "–") for place in range(len(groups)))]
        for name, cells in lines.items()
        if not name.startswith(OURS)
    ]
    return columns, rows


def _counted(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    plain = [result for result in results if result["case"]["optimizer"] == "sgd"]
    return plain or results


def _mean_label(results: list[dict[str, Any]]) -> str:
    left_out = len(_counted(results)) < len(results)
    return "geometric mean, SGD" if left_out else "geometric mean"


def footnotes(measured: list[dict[str, Any]]) -> list[str]:
    """Return what belongs under a table: preparations, cores in use, and who was left out."""
    longest: dict[str, float] = {}
    used: dict[str, float] = {}
    reasons: dict[str, list[str]] = {}
    for result in measured:
        for name, entry in result["contestants"].items():
            longest[name] = max(longest.get(name, 0.0), entry.get("prepare", 0.0))
            used[name] = max(used.get(name, 0.0), entry.get("cores_used", 0.0))
            if "left_out" in entry:
                reasons.setdefault(f"{name}: {entry['left_out']}", []).append(result["name"])
    slow = [f"{n} {number(s)} s" for n, s in longest.items() if s >= LONG_PREPARATION]
    lines = [f"not counted, compilation and warm-up: at most {', '.join(slow)}"] if slow else []
    if measured and measured[0]["threads"] > 1 and any(used.values()):
        lines.append("cores in use at most: " + ", ".join(f"{n} {u:.1f}" for n, u in used.items()))
    return lines + [f"left out, {why} ({'; '.join(names)})" for why, names in reasons.items()]


def latency_table(measured: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of single predictions of one row; without rows where none were timed."""
    single = [r for r in measured if any("p50" in _each(e) for e in r["contestants"].values())]
    names = list(dict.fromkeys(n for r in single for n in r["contestants"]))
    latency = ["core to core"] if single and single[0]["threads"] > 1 else []
    rows = []
    for result in single:
        cells = [result["name"].partition(",")[0]]
        if latency:
            cells.append(core_to_core(result["roof"]))
        for name in names:
            each = _each(result["contestants"].get(name, {}))
            p50, p99 = (microseconds(each.get(key)) for key in ("p50", "p99"))
            cells.append(f"{p50} / {p99}" if "p50" in each else "–")
        rows.append(cells)
    return ["net, p50 / p99 in µs", *latency, *names], rows


def busy_table(measured: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of single steps beside busy processes; brackets: times the quiet median."""
    columns = ["net, batch", "", "quiet p50 µs", "quiet p99", "busy p50", "busy p99", "busy worst"]
    columns.append("steps, quiet and busy")
    rows = []
    for result in measured:
        for name, entry in result["contestants"].items():
            quiet, busy = entry.get("quiet", {}), entry.get("busy", {})
            if "p50" not in quiet or "p50" not in busy:
                continue
            calm = [microseconds(quiet[key]) for key in ("p50", "p99")]
            loud = [
                f"{microseconds(busy[key])} ({number(busy[key] / quiet['p50'])}×)"
                for key in ("p50", "p99", "worst")
            ]
            steps = f"{quiet['count']}, {busy['count']}"
            rows.append([result["name"], name, *calm, *loud, steps, core_to_core(result["roof"])])
    return [*columns, "core to core"], rows


def cost_table(costs: dict[str, dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of what it costs to have a library."""
    columns = [
        "",
        "import ms",
        "installed MB",
        "with all it needs MB",
        "peak memory MB",
        "of it by training MB",
        "large net, peak MB",
        "by training MB",
    ]
    rows = []
    for name, entry in costs.items():
        cells = [number(entry.get(key)) for key in ("import", "alone", "installed")]
        for key in ("memory", "memory of a large net"):
            cells += [number(entry.get(key, {}).get(which)) for which in ("peak", "beyond")]
        rows.append([name, *cells])
    return columns, rows


def scaling_table(axis: str, points: list[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of a curve: counts, bounds, times, and what grew by how much."""
    several = len(points[0]["seconds"]) > 1
    columns = [
        axis,
        "MFLOP",
        "kB",
        "1 core, arithmetic µs",
        "1 core, memory µs",
        *(f"{plural(n)} µs" for n in points[0]["seconds"]),
        "of peak, 1",
        "grew by: time / FLOP / bytes",
        *(["core to core"] if several else []),
    ]
    return columns, [
        _scaling_row(point, before, several)
        for point, before in zip(points, [None, *points], strict=False)
    ]


def _scaling_row(point: dict[str, Any], before: dict[str, Any] | None, several: bool) -> list[str]:
    bound, times = point["bounds"], point["seconds"]
    share = bound["arithmetic"] / times["1"] if bound["arithmetic"] else None
    growth = "–"
    if before is not None:
        pairs = (
            (times["1"], before["seconds"]["1"]),
            (point["flops"], before["flops"]),
            (point["bytes"], before["bytes"]),
        )
        growth = " / ".join(f"{number(now / then)}×" for now, then in pairs)
    cells = [
        str(point["value"]),
        number(point["flops"] / 1e6),
        number(point["bytes"] / 1e3),
        microseconds(bound["arithmetic"]),
        microseconds(bound["memory"]),
        *(microseconds(t) for t in times.values()),
        "–" if share is None else f"{share:.0%}",
        growth,
    ]
    return [*cells, core_to_core(point["roof"])] if several else cells


def text_row(cells: list[str], columns: list[str]) -> str:
    """Return a line for the terminal, its cells as wide as the columns and their figures need."""
    narrow, wide = 8, 15
    widths = [max(len(name), narrow if n < 4 else wide) for n, name in enumerate(columns)]
    widths[0] = 26
    first = cells[0].ljust(widths[0])
    return "  ".join([first, *(c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True))])


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown, figures to the right."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def bullets(lines: list[str]) -> str:
    """Return a list in Markdown, its lines no longer than those of the documents."""
    wrap = partial(
        textwrap.fill,
        width=COLUMNS,
        initial_indent="- ",
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return "\n".join(map(wrap, lines))


def machine_text(results: dict[str, Any]) -> str:
    """Return where and with what the figures were measured, as a list in Markdown."""
    told, roof = results["machine"], results["roof"]
    dtype = results.get("dtype", "float32")
    lines = [f"{told['cpu']}, {told['usable cores']} cores used at most, {dtype}"]
    for run in results["runs"]:
        commit = f" at {run['commit']}" if run["commit"] else ""
        load = f", load {run['load']} before" if run.get("load") else ""
        lines.append(f"measured on {run['date']}{commit}: {run['what']}{load}")
    if roof["float32"]:
        lines.append(
            f"FMA peak of a core {roof['float32']:.0f} GFLOP/s in float32, {roof['float64']:.0f} "
            f"in float64; memory {roof['stream']:.0f} GB/s (triad)"
        )
    else:
        lines.append(f"the peak was not measured: {roof['missing']}")
    if roof["ping_pong"]:
        lines.append(f"core to core {roof['ping_pong']:.0f} ns")
    return bullets(lines)


def versions_text(results: dict[str, Any]) -> str:
    """Return who took part in which version, and who did not, as a list in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [versions]
    for name, blas in results["details"].items():
        if name.startswith(("NumPy", "scikit-learn")) and "core" in blas:
            lines.append(f"{name}: OpenBLAS core {blas['core']}")
    if results["left_out"]:
        lines.append("left out: " + "; ".join(f"{k} ({v})" for k, v in results["left_out"].items()))
    return bullets(lines)


def _each(entry: dict[str, Any]) -> dict[str, float]:
    return entry.get("each", {})


def _rival(entry: dict[str, Any] | None) -> str:
    if entry is None or "seconds" not in entry:
        return "–"
    if "ratio" not in entry:
        return microseconds(entry["seconds"])
    return f"{microseconds(entry['seconds'])} ({entry['ratio']['median']:.2f}×)"


def core_to_core(roof: dict[str, dict[str, float | None]]) -> str:
    """Return how far the cores were from each other before and after; empty where unknown."""
    told = [moment["ping_pong"] for moment in roof.values()]
    if None in told:
        return ""
    return f"{told[0]:.0f}–{told[1]:.0f} ns {latency_word(max(told))}"


def microseconds(seconds: float | None) -> str:
    """Return a time in microseconds, as `number` does."""
    return number(None if seconds is None else seconds * 1e6)


def number(value: float | None) -> str:
    """Return three significant digits, never in powers of ten."""
    if value is None:
        return "–"
    if abs(value) < TINY:
        return "0"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
