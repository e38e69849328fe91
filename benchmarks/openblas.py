"""Which of OpenBLAS's sets of kernels multiplies fastest under NumPy on this CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

__all__ = ["CANDIDATES", "best_core"]

# What OPENBLAS_CORETYPE may say on x86-64. OpenBLAS itself refuses a name whose instructions this
# CPU lacks, and takes what it would have taken anyway.
CANDIDATES = ("Haswell", "Zen", "SkylakeX", "Cooperlake", "SapphireRapids")
# The gain from which another core than OpenBLAS's own choice is worth a place in a comparison.
GAIN = 1.05

# Products in the three layouts of a training step; the best of some, in seconds.
TRIAL = """
import json, time
import numpy as np, threadpoolctl
a = np.random.default_rng(1).standard_normal((384, 384), np.float32)
out = np.empty_like(a)
def once():
    start = time.perf_counter()
    np.matmul(a, a, out=out), np.matmul(a.T, a, out=out), np.matmul(a, a.T, out=out)
    return time.perf_counter() - start
pools = [p for p in threadpoolctl.threadpool_info() if p["internal_api"] == "openblas"]
core = pools[0]["architecture"] if pools else ""
print(json.dumps([core, min(once() for _ in range(60))]))
"""


def best_core(environment: dict[str, str]) -> tuple[str, str]:
    """Return the core to ask for, or an empty text and the reason why there is none.

    Parameters
    ----------
    environment : dict
        All variables under which NumPy makes its own choice.
    """
    own = _trial(environment)
    if own is None:
        return "", "threadpoolctl or NumPy is not installed"
    if not own[0]:
        return "", "NumPy does not use OpenBLAS here"
    tried = {}
    for name in CANDIDATES:
        told = _trial(environment | {"OPENBLAS_CORETYPE": name})
        if told and told[0].lower() == name.lower():
            tried[name] = told[1]
    best = min(tried, key=lambda name: tried[name], default="")
    if not best or best.lower() == own[0].lower() or own[1] < GAIN * tried[best]:
        return "", f"none is faster than {own[0]}, which NumPy takes by itself"
    return best, ""


def _trial(environment: dict[str, str]) -> tuple[str, float] | None:
    """Return the core that was in use and the seconds of its products; None where it failed."""
    one = {"OPENBLAS_NUM_THREADS": "1"}
    result = subprocess.run(
        [sys.executable, "-c", TRIAL],
        env=environment | one,
        cwd=Path(__file__).parent,  # not where a package of the same name may lie
        capture_output=True,
        text=True,
    )
    if result.returncode:
        return None
    core, seconds = json.loads(result.stdout)
    return core, seconds
