"""The floor that runs Programs: the backends by name, found when they are asked for."""

from __future__ import annotations

import importlib
import warnings

from fastnn.backends.base import Backend, Batch, Executable, OptimizerState
from fastnn.errors import BackendUnavailable, unknown_name

__all__ = [
    "Backend",
    "Batch",
    "Executable",
    "OptimizerState",
    "available",
    "choose",
    "get",
    "why_unavailable",
]

# Where a backend lives, and what would do where it is missing. In the order of preference.
BACKENDS = {
    "native": (
        "fastnn.backends.native",
        "reinstall fastnn-core with a C compiler at hand and FASTNN_NO_NATIVE unset",
    ),
    "numba": ("fastnn.backends.numba_cpu", "pip install 'fastnn-core[numba]'"),
    "cuda": ("fastnn.backends.cuda", ""),  # what would do depends on what is missing
    "reference": ("fastnn.backends.reference", ""),
}
# In the order in which "auto" looks for one. A GPU is used only where it is asked for: a small
# network is faster on the processor.
AUTOMATIC = ("native", "numba", "reference")


def get(name: str) -> Backend:
    """Return a backend by its name.

    Parameters
    ----------
    name : str
        One of the names that `available` lists.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailable
        When its compiled part or package is missing; the message says what would do.
    """
    if not isinstance(name, str) or name not in BACKENDS:
        raise unknown_name("backend", name, ("auto", *BACKENDS))
    module, remedy = BACKENDS[name]
    try:
        backend: Backend = importlib.import_module(module).BACKEND
    except ImportError as error:
        reason = "; ".join(filter(None, (str(error), remedy)))
        raise BackendUnavailable(f"the backend {name!r} is not available: {reason}") from error
    return backend


def why_unavailable(name: str) -> str | None:
    """Return None when a backend can be used, else the sentence that says why not."""
    try:
        get(name)
    except BackendUnavailable as error:
        return str(error)
    return None


def available() -> list[str]:
    """Return the names of the backends that can be used here, the preferred one first.

    Examples
    --------
    >>> "reference" in available()
    True
    """
    return [name for name in BACKENDS if why_unavailable(name) is None]


def choose(name: str) -> Backend:
    """Return a backend by its name, or the best one for ``"auto"``.

    Warns
    -----
    RuntimeWarning
        When ``"auto"`` falls back on the reference, which is slow.
    """
    if name != "auto":
        return get(name)
    first = next(name for name in AUTOMATIC if why_unavailable(name) is None)
    if first == "reference":
        # The filter of the warnings shows it once for each place that calls.
        warnings.warn(
            "fastnn runs on its slow NumPy reference: " + (why_unavailable("native") or ""),
            RuntimeWarning,
            stacklevel=3,
        )
    return get(first)
