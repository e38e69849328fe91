"""The machine under the benchmark: what it is, and what it can do at most in this very minute."""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from fastnn.backends.threads import available_cores, cgroup_quota

__all__ = ["Roof", "cores", "describe", "latency_word", "pin", "pinned", "slug"]

SOURCE = Path(__file__).parent / "native" / "roof.c"
FLAGS = ["-O2", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC", "-pthread"]
WIDTHS = (16, 32, 64)  # bytes of a vector; not every machine has all
TRIAD_VECTORS = 2 << 20  # of 32 bytes, 64 MB an array: beyond the caches of most machines


class Roof:
    """Measures what the hardware can do; without a C compiler it says why it cannot.

    Parameters
    ----------
    dtype : {"float32", "float64"}
        Of the peak where none is named.

    Attributes
    ----------
    missing : str
        Why nothing can be measured; empty where all is well.
    """

    def __init__(self, dtype: str = "float32") -> None:
        self.dtype = dtype
        self.missing = ""
        self._library: ctypes.CDLL | None = None
        compiler = next(
            filter(None, map(shutil.which, (os.environ.get("CC", ""), "gcc", "cc", "clang"))), None
        )
        if compiler is None:
            self.missing = "no C compiler was found (gcc, cc or clang)"
            return
        with tempfile.TemporaryDirectory(prefix="roof-") as folder:
            target = str(Path(folder, "roof.so"))
            command = [compiler, *FLAGS, str(SOURCE), "-o", target]
            result = subprocess.run(command, capture_output=True, text=True)
            if result.returncode:
                self.missing = f"{Path(compiler).name} failed: {result.stderr.strip()[-300:]}"
                return
            self._library = ctypes.CDLL(target)  # stays mapped when the folder goes

    def peak(self, dtype: str = "") -> float | None:
        """Return the GFLOP/s of fused multiply-adds on the current core; None if unmeasurable."""
        names = (f"peak_{dtype or self.dtype}_{width}" for width in WIDTHS)
        found = [v for v in (self._call(name) for name in names) if v]
        return max(found) if found else None

    @cached_property
    def stream(self) -> float | None:
        """GB/s of a triad over arrays beyond the caches, on the current core."""
        return self._call("stream_triad", ctypes.c_long(TRIAD_VECTORS))

    def ping_pong(self, first: int, second: int) -> float | None:
        """Return the nanoseconds that a cache line takes from one core to another."""
        if first == second:
            return None
        return self._call("ping_pong", ctypes.c_int(first), ctypes.c_int(second))

    def _call(self, name: str, *arguments: object) -> float | None:
        if self._library is None or not hasattr(self._library, name):
            return None
        function = getattr(self._library, name)
        function.restype = ctypes.c_double
        value = float(function(*arguments))
        return value if value > 0 else None


def latency_word(nanoseconds: float) -> str:
    """Name how far two cores are from each other: a virtual machine may move them any minute."""
    return "near" if nanoseconds < 100 else "far" if nanoseconds < 350 else "very far"


def cores() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def pin(wanted: list[int]) -> bool:
    """Bind this process to some cores; return whether the system can do it."""
    if not hasattr(os, "sched_setaffinity"):
        return False
    os.sched_setaffinity(0, wanted)
    return True


@contextmanager
def pinned(wanted: list[int]) -> Iterator[None]:
    """Bind this process to some cores for a while."""
    before = cores()
    pin(wanted)
    try:
        yield
    finally:
        pin(before)


def describe() -> dict[str, str]:
    """Return what can be read of the machine, a line of text for each entry."""
    quota = cgroup_quota()
    governor = _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return {
        "cpu": _cpu_name(),
        "architecture": platform.machine(),
        "system": platform.system(),
        "cores": ", ".join(map(str, cores())),
        "usable cores": str(available_cores()),
        "cgroup quota": "none" if quota == float("inf") else f"{quota:g} cores",
        "governor": governor or "unreadable",
        "load at the start": f"{load:.2f}",
    }


def slug() -> str:
    """Return a folder's name for this kind of machine: its CPU and how many cores are used."""
    name = re.sub(r"\((r|tm)\)|@.*|processor|cpu", "", _cpu_name().lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{name} {len(cores())} cores").strip("-")


def _cpu_name() -> str:
    name = re.search(r"^model name\s*:\s*(.*)$", _text("/proc/cpuinfo"), re.MULTILINE)
    return name[1].strip() if name else platform.processor() or platform.machine()


def _first_line(path: str) -> str:
    return _text(path).partition("\n")[0].strip()


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""
