"""How many threads a call may use: who says so, in which order, and what this process was given."""

from __future__ import annotations

import math
import os

from fastnn import checks

__all__ = ["available_cores", "explain", "get_num_threads", "set_num_threads"]

# Before the cores: fastnn's own variable, then the one that joblib sets in its workers.
VARIABLES = ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS")

MOST = 4096

_chosen: int | None = None


def set_num_threads(threads: int | None) -> None:
    """Set the number of threads for networks that name none themselves.

    Parameters
    ----------
    threads : int or None
        At least 1; it may exceed the cores. None returns to the environment's choice.

    Raises
    ------
    TypeError, ValueError
        When it is no whole number, or below 1.

    Examples
    --------
    >>> set_num_threads(2)
    >>> get_num_threads()
    2
    >>> set_num_threads(None)
    """
    global _chosen
    _chosen = None if threads is None else checks.whole_number("threads", threads, 1, MOST)


def get_num_threads() -> int:
    """Return the number of threads for networks that name none themselves."""
    return explain()[0]


def explain() -> tuple[int, str]:
    """Return the number of threads and what decided it."""
    if _chosen is not None:
        return _chosen, "set_num_threads"
    for name in VARIABLES:
        text = os.environ.get(name, "").split(",")[0].strip()
        if text.isdecimal() and len(text) <= 18 and int(text) > 0:
            return min(int(text), MOST), name
    return available_cores(), "cores of this process"


def available_cores() -> int:
    """Return the cores that this process may use: its affinity, or less by a cgroup's quota."""
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cgroup_quota())))


def cgroup_quota(proc: str = "/proc/self/cgroup", mount: str = "/sys/fs/cgroup") -> float:
    """Return the CPU quota of this process's control groups in cores; infinity where there is none.

    Every parent of a group limits it too, so the path is walked up. Files that are missing or
    unreadable set no limit.

    Parameters
    ----------
    proc, mount : str
        Where the kernel lists the groups of a process, and where their files are.
    """
    quota = math.inf
    for line in _read(proc).splitlines():
        _, controllers, group = line.split(":", 2)
        if not controllers:
            root, limit_of = mount, _quota_v2
        elif "cpu" in controllers.split(","):
            root, limit_of = f"{mount}/{controllers}", _quota_v1
        else:
            continue
        folder = root + group.rstrip("/")
        while len(folder) >= len(root):
            quota = min(quota, limit_of(folder))
            folder = os.path.dirname(folder)
    return quota


def _quota_v2(folder: str) -> float:
    limit, period = (_read(f"{folder}/cpu.max").split() or ["max", "100000"])[:2]
    return math.inf if limit == "max" else int(limit) / int(period)


def _quota_v1(folder: str) -> float:
    limit = int(_read(f"{folder}/cpu.cfs_quota_us") or -1)
    period = int(_read(f"{folder}/cpu.cfs_period_us") or 100_000)
    return math.inf if limit <= 0 else limit / period


def _read(path: str) -> str:
    """Return the text of a file, empty where it cannot be read."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""
