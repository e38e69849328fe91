"""What fastnn is here: versions, backends, threads, for reports and for the curious."""

from __future__ import annotations

import sys

from fastnn import backends
from fastnn.backends import threads

__all__ = ["info", "version"]

# Shown where they are installed: their versions change what fastnn does.
PACKAGES = ("numpy", "tqdm", "numba", "scikit-learn", "polars")


def version() -> str:
    """Return the version of the installed distribution."""
    import importlib.metadata  # as long as the rest of the import of fastnn, and seldom asked for

    try:
        return importlib.metadata.version("fastnn-core")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"  # run from a checkout


def info() -> dict[str, str]:
    """Return what fastnn found here: itself, the machine, its backends and threads.

    Returns
    -------
    dict of str to str
        One line of text for every entry.

    Examples
    --------
    >>> info()["backend reference"]
    'available'
    """
    import importlib.metadata
    import platform

    count, reason = threads.explain()
    facts = {
        "fastnn": version(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "machine": f"{platform.machine()}, {sys.platform}",
        "cores": str(threads.available_cores()),
        "threads": f"{count} ({reason})",
    }
    for name in PACKAGES:
        try:
            facts[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            facts[name] = "not installed"
    for name in backends.BACKENDS:
        reason = backends.why_unavailable(name) or "available"
        facts[f"backend {name}"] = reason
        if reason == "available":
            details = backends.get(name).details()
            facts.update({f"{name} {key}": value for key, value in details.items()})
    return facts
