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

# In the order in which "auto" looks for one. The remedy stands behind the reason.
REMEDIES = {
    "native": "reinstall fastnn-core with a C compiler at hand and FASTNN_NO_NATIVE unset",
    "reference": "",
}


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
    if not isinstance(name, str) or name not in REMEDIES:
        raise unknown_name("backend", name, ("auto", *REMEDIES))
    try:
        backend: Backend = importlib.import_module(f"fastnn.backends.{name}").BACKEND
    except ImportError as error:
        raise BackendUnavailable(
            f"the backend {name!r} is not available: {error}; {REMEDIES[name]}"
        ) from error
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
    return [name for name in REMEDIES if why_unavailable(name) is None]


def choose(name: str) -> Backend:
    """Return a backend by its name, or the best one for ``"auto"``.

    Warns
    -----
    RuntimeWarning
        When ``"auto"`` falls back on the reference, which is slow.
    """
    if name != "auto":
        return get(name)
    first = available()[0]
    if first == "reference":
        # The filter of the warnings shows it once for each place that calls.
        warnings.warn(
            "fastnn runs on its slow NumPy reference: " + (why_unavailable("native") or ""),
            RuntimeWarning,
            stacklevel=3,
        )
    return get(first)
