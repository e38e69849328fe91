"""Compiled code that is kept on disk, and what becomes of files that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba.core.caching import FunctionCache

__all__ = ["kept_on_disk"]


def kept_on_disk(make: Callable[..., Any], function: Callable[..., Any]) -> Any:
    """Compile a function, or load it from the cache, where a folder for that can be written.

    Parameters
    ----------
    make : callable
        ``make(cache=True)`` and ``make()`` are decorators that compile, with a cache and without.
    function : callable
        Numba names its files after the `__qualname__`.
    """
    try:
        return make(cache=True)(function)
    except Exception:  # what a broken file brings about depends on where it is broken
        cached = _anew(make, function)
    # No folder for the cache, or none that works. What is wrong with the code raises again.
    return make()(function) if cached is None else cached


def _anew(make: Callable[..., Any], function: Callable[..., Any]) -> Any:
    """Compile a function into a cache that has forgotten it, or return None."""
    try:
        FunctionCache(function).flush()
        return make(cache=True)(function)
    except Exception:
        return None
