"""What it costs to have a library: the time of its import, its size, its memory in an epoch."""

from __future__ import annotations

import importlib.metadata
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cases import MEMORY, Case
from contestants import Contestant, Worker, WorkerDied

__all__ = ["costs", "import_seconds", "install_size"]

HERE = Path(__file__).parent
# What users import, and the distribution that they install.
IMPORTS = {"sklearn": "sklearn.neural_network"}
DISTRIBUTIONS = {"fastnn": "fastnn-core", "sklearn": "scikit-learn"}
QUICK_FLOPS = 1e9
CODE = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"


def costs(
    contestants: list[Contestant],
    cores: list[int],
    rounds: int,
    quick: bool,
    say: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """Return import milliseconds and megabytes by library.

    Parameters
    ----------
    contestants : list of Contestant
        Each library counts once, as the first contestant that uses it.
    cores : list of int
        Cores for the epochs whose memory is told.
    rounds : int
        Imports of each library, interleaved.
    quick : bool
        Whether the epochs are short ones.
    say : callable
        Told what goes on.
    """
    libraries = {c.packages[0]: c for c in reversed(contestants)}
    libraries = dict(reversed(libraries.items()))
    say("imports")
    times: dict[str, list[float]] = {package: [] for package in libraries}
    for _ in range(rounds + 1):
        for package in libraries:
            times[package].append(import_seconds(IMPORTS.get(package, package)))
    told: dict[str, dict[str, Any]] = {}
    for package, contestant in libraries.items():
        alone, installed = install_size(DISTRIBUTIONS.get(package, package))
        say(f"memory of {package}")
        told[contestant.name] = {
            # The first import filled the file cache.
            "import": 1e3 * statistics.median(times[package][1:]),
            "alone": alone / 1e6,
            "installed": installed / 1e6,
        }
        for key, case in MEMORY.items():
            if "training" in contestant.parts:
                short = case.shortened(QUICK_FLOPS) if quick else case
                told[contestant.name][key] = _memory(contestant, cores, short)
    return told


def import_seconds(module: str) -> float:
    """Return the seconds that an import takes in a new process."""
    # Not from the root of the project, where the package that lies there would be imported.
    result = subprocess.run(
        [sys.executable, "-c", CODE.format(module)],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(result.stdout)


def install_size(distribution: str) -> tuple[int, int]:
    """Return the bytes of a distribution's files, alone and with all that it needs."""
    seen: dict[str, int] = {}
    waiting = [distribution]
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # needed elsewhere only: another system, another Python
        paths = {Path(found.locate_file(file)).resolve() for file in found.files or ()}
        seen[name] = sum(path.stat().st_size for path in paths if path.is_file())
        for requirement in found.requires or ():
            if not re.search(r";.*\bextra\s*==", requirement):
                waiting.append(re.match(r"[\w.-]+", requirement)[0])
    first = next(iter(seen.values()), 0)
    return first, sum(seen.values())


def _memory(contestant: Contestant, cores: list[int], case: Case) -> dict[str, float]:
    """Return what is resident when a process trains an epoch, in MB; nothing where it cannot.

    ``peak`` is all of it; ``beyond`` is without what the process had after its imports, the data,
    the parameters and the moments.
    """
    try:
        worker = Worker(contestant, cores)
    except WorkerDied:
        return {}
    try:
        imported = worker.must("memory")
        worker.must("prepare", case=asdict(case))
        worker.must("memory")  # from here on the peak counts
        worker.run(case.steps)
        told = worker.must("memory")
    except WorkerDied:
        return {}
    finally:
        worker.close()
    copies = 3 if case.optimizer == "adam" else 1
    needed = (case.data_bytes + 4 * case.parameters * copies) / 1e6
    result = {"peak": told["peak"], "needed": needed}
    if "now" in imported and "now" in told:
        result["beyond"] = told["peak"] - imported["now"] - needed
    return result
