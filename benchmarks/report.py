"""Tables of results: for the terminal, for Markdown between markers, and the JSON file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from machine import latency_word
from rounds import geometric_mean

__all__ = [
    "ROOT",
    "cost_table",
    "header",
    "insert",
    "machine_text",
    "markdown",
    "means",
    "microseconds",
    "number",
    "replace_blocks",
    "row",
    "save",
    "summary_row",
    "text_row",
    "version_of_the_code",
    "versions_text",
]

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/benchmarks.md")
OURS = "fastnn"
FIRST_COLUMNS = ["net, batch", "fastnn µs", "GFLOP/s", "of peak"]


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
        cells.append(_latency(result["roof"]))
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
    for name in dict.fromkeys(n for result in counted for n in result["contestants"]):
        entries = [result["contestants"].get(name, {}) for result in counted]
        ratios = [entry["ratio"]["median"] for entry in entries if "ratio" in entry]
        mean = geometric_mean(ratios)
        if mean is not None:
            partial = "" if len(ratios) == len(counted) else f" of {len(ratios)}"
            told[name] = f"{mean:.2f}×{partial}"
    return told


def _counted(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    plain = [result for result in results if result["case"]["optimizer"] == "sgd"]
    return plain or results


def _mean_label(results: list[dict[str, Any]]) -> str:
    left_out = len(_counted(results)) < len(results)
    return "geometric mean, SGD" if left_out else "geometric mean"


def cost_table(costs: dict[str, dict[str, float]]) -> tuple[list[str], list[list[str]]]:
    """Return the table of what it costs to have a library."""
    columns = ["", "import ms", "installed MB", "with all it needs MB", "peak memory MB"]
    keys = ("import", "alone", "installed", "memory")
    rows = [[name, *(number(entry.get(key)) for key in keys)] for name, entry in costs.items()]
    return columns, rows


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


def machine_text(results: dict[str, Any]) -> str:
    """Return where and with what the figures were measured, as a list in Markdown."""
    told, roof = results["machine"], results["roof"]
    lines = [f"{told['cpu']}, {told['usable cores']} cores used at most, {results['date']}"]
    if roof["float32"]:
        lines.append(
            f"FMA peak of a core {roof['float32']:.0f} GFLOP/s in float32, {roof['float64']:.0f} "
            f"in float64; memory {roof['stream']:.0f} GB/s (triad)"
        )
    else:
        lines.append(f"the peak was not measured: {roof['missing']}")
    if roof["ping_pong"]:
        lines.append(f"core to core {roof['ping_pong']:.0f} ns")
    return "\n".join(f"- {line}" for line in lines)


def versions_text(results: dict[str, Any]) -> str:
    """Return who took part in which version, and who did not, as a list in Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [versions]
    for name, blas in results["details"].items():
        if name.startswith("NumPy") and "core" in blas:
            lines.append(f"{name}: OpenBLAS core {blas['core']}")
    if results["left_out"]:
        lines.append("left out: " + "; ".join(f"{k} ({v})" for k, v in results["left_out"].items()))
    return "\n".join(f"- {line}" for line in lines)


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


def replace_blocks(blocks: dict[str, str], root: Path = ROOT) -> None:
    """Put texts between their markers in every document that has them; tell what was done."""
    for name in DOCUMENTS:
        file = root / name
        text = before = file.read_text(encoding="utf-8") if file.exists() else ""
        for block, body in blocks.items():
            if f"<!-- benchmarks {block} begin -->" in text:
                text = insert(text, block, body)
        if text != before:
            file.write_text(text, encoding="utf-8")
        print(f"{name}: {'written' if text != before else 'nothing to write'}")


def save(results: dict[str, Any], folder: Path, prefix: str = "") -> Path:
    """Write the results as JSON, without the paths of this machine; return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{prefix}{results['date']}-{results['commit'] or 'no-commit'}.json"
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    for place, word in ((sys.prefix, "PYTHON"), (str(ROOT), "FASTNN"), (str(Path.home()), "HOME")):
        text = text.replace(place, word)
    file.write_text(text, encoding="utf-8")
    return file


def version_of_the_code() -> str:
    """Return the short hash of the commit of this checkout, ``-changed`` behind it if it is not."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("-changed" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def _rival(entry: dict[str, Any] | None) -> str:
    if entry is None or "seconds" not in entry:
        return "–"
    if "ratio" not in entry:
        return microseconds(entry["seconds"])
    return f"{microseconds(entry['seconds'])} ({entry['ratio']['median']:.2f}×)"


def _latency(roof: dict[str, dict[str, float | None]]) -> str:
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
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
