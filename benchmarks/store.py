"""The JSON files of results, by machine and commit: what is measured again joins the rest."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import machine

__all__ = ["QUICK_RESULTS", "RESULTS", "ROOT", "keep", "latest", "merge", "version_of_the_code"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
QUICK_RESULTS = ROOT / "build" / "benchmarks"  # too short to be kept

# What decides the speed of fastnn and how it is measured; documents and results do not.
CODE = ("fastnn", "src_c", "setup.py", "pyproject.toml", "benchmarks", ":!benchmarks/results")


def keep(results: dict[str, Any], folder: Path, prefix: str) -> tuple[Path, dict[str, Any]]:
    """Write results as JSON; return the file, and what it holds.

    Results of the same code on the same machine are in one file: what is measured again replaces
    what was there, the rest stays. Paths of this machine are taken out.

    Parameters
    ----------
    results : dict
        Of `compare.main` or `scaling.main`.
    folder : Path
        That of this kind of machine.
    prefix : str
        Beginning of the file's name, which ends with the commit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{prefix}-{results['commit'] or 'no-commit'}.json"
    text = json.dumps(results, ensure_ascii=False)
    for place, word in ((sys.prefix, "PYTHON"), (str(ROOT), "FASTNN"), (str(Path.home()), "HOME")):
        text = text.replace(place, word)
    kept = json.loads(text)
    if file.exists():
        kept = merge(json.loads(file.read_text(encoding="utf-8")), kept)
    file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return file, kept


def latest(prefix: str, folder: Path | None = None) -> list[Path]:
    """Return the file of this machine that was written last, in a list; none where there is none.

    Parameters
    ----------
    prefix : str
        As for `keep`.
    folder : Path, optional
        Another one than that of this machine.
    """
    folder = folder or RESULTS / machine.slug()
    return sorted(folder.glob(f"{prefix}-*.json"), key=lambda file: file.stat().st_mtime)[-1:]


def merge(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the old results with the new ones in their places.

    A case that was measured again keeps the contestants that took no part this time: their ratios
    were paired within their own run, and hold.
    """
    merged = {**old, **new, "runs": old["runs"] + new["runs"]}
    for key in ("versions", "details", "cost", "axes"):
        if key in old or key in new:
            merged[key] = old.get(key, {}) | new.get(key, {})
    for key in ("cases", "busy", "fits", "predictions"):
        if key in old or key in new:
            merged[key] = _merge_cases(old.get(key, []), new.get(key, []))
    measured = [case for key in ("cases", "fits") for case in merged.get(key, [])]
    took_part = {name for case in measured for name in case["contestants"]}
    left_out = old.get("left_out", {}) | new.get("left_out", {})
    merged["left_out"] = {n: why for n, why in left_out.items() if n not in took_part}
    return merged


def _merge_cases(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept = {(case["part"], case["threads"], case["name"]): case for case in old}
    for case in new:
        place = (case["part"], case["threads"], case["name"])
        before = kept.get(place)
        if before is not None and before["case"] == case["case"]:
            case = case | {"contestants": before["contestants"] | case["contestants"]}
        kept[place] = case
    return list(kept.values())


def version_of_the_code() -> str:
    """Return the short hash of the commit of this checkout, ``-changed`` behind it if it is not."""
    try:
        head = _git("rev-parse", "--short", "HEAD")
        return head + ("-changed" if _git("status", "--porcelain", "-uno", "--", *CODE) else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
