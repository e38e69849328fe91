"""How the engine is compiled: once on this machine, then loaded from Numba's cache."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import types

from fastnn.backends.numba_cpu.engine import doors, entry
from fastnn.backends.numba_cpu.kept import kept_on_disk
from fastnn.backends.numba_cpu.memory import OPTIONS

__all__ = ["door", "engine_addresses"]

# What the engine is made of, beside the files of this folder.
MORE_SOURCES = ("memory.py", "updates.py")

_compiling = threading.RLock()


@cache
def _digest() -> str:
    """Return a digest of all sources of compiled code: code of other sources is never loaded."""
    digest, here = hashlib.sha256(), Path(__file__).parent
    for file in (*sorted(here.glob("*.py")), *(here.parent / name for name in MORE_SOURCES)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _kept_on_disk(make: Callable[..., Any], name: str, function: Callable[..., Any]) -> Any:
    """Compile a function, or load it from the cache, where a folder for that can be written."""
    function.__qualname__ = f"{name}_{_digest()}"  # Numba names its files after this
    return kept_on_disk(make, function)


@cache
def _function(name: str, arguments: int) -> Any:
    words = types.int64(*[types.int64] * arguments)

    def make(**options: Any) -> Any:
        return numba.cfunc(words, **OPTIONS, **options)

    return _kept_on_disk(make, name, getattr(entry, name))


def engine_addresses() -> tuple[int, int]:
    """Return the addresses of `execute` and `do_item`."""
    with _compiling:
        return _function("execute", 4).address, _function("do_item", 4).address


@cache
def _door(name: str, dtype: str, holds_gil: bool) -> Any:
    options = {**OPTIONS, "nogil": not holds_gil}

    def make(**more: Any) -> Any:
        return numba.njit(doors.signatures(name, dtype), **options, **more)

    place = "_".join(part for part in (name, dtype, "briefly" if holds_gil else "") if part)
    return _kept_on_disk(make, place, getattr(doors, name))


def door(name: str, dtype: str = "", *, holds_gil: bool = False) -> Any:
    """Return a function of `doors` for Python to call; it leaves the GIL unless told to hold it."""
    with _compiling:
        return _door(name, dtype, holds_gil)
