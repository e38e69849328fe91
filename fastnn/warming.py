"""What is compiled before the first network needs it."""

from __future__ import annotations

import numpy.typing as npt

from fastnn import backends, checks, inputs
from fastnn.progress import drawn_names

__all__ = ["warmup"]


def warmup(
    backend: str = "auto", dtype: npt.DTypeLike = "float32", *, progress: bool = True
) -> None:
    """Compile ahead all that networks can need, so that none of them waits for it.

    The backend ``"numba"`` compiles what a network uses with the first network that uses it, which
    takes seconds, and keeps it on the disk, from where later processes load it in a fraction of a
    second. This does it at once: while an image of a container is built, for instance. Only custom
    activations and losses are left to the first network that has them. Other backends have nothing
    to compile, or leave it to the first network.

    Parameters
    ----------
    backend : str
        One of `fastnn.backends.available`, or ``"auto"``.
    dtype : {"float32", "float64"}
    progress : bool
        Whether a bar is drawn, where the output is a terminal.

    Raises
    ------
    ValueError
        For an unknown name.
    BackendUnavailable
        When the backend is missing.

    Examples
    --------
    >>> warmup("reference")
    """
    calls = backends.choose(backend).ahead(inputs.network_dtype(dtype))
    shown = checks.flag("progress", progress)
    for name in drawn_names(calls) if shown else calls:
        calls[name]()
