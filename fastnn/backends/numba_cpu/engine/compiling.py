"""How the engine is compiled: once on this machine, then loaded from Numba's cache."""

from __future__ import annotations

import hashlib
import inspect
import os
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
from numba import types
from numba.core.caching import FunctionCache

from fastnn.backends.numba_cpu.engine import doors, entry
from fastnn.backends.numba_cpu.kept import kept_on_disk
from fastnn.backends.numba_cpu.memory import OPTIONS

__all__ = ["cache_folder", "door", "engine_address"]

# What the engine is made of, beside the files of this folder.
MORE_SOURCES = ("memory.py", "updates.py")

_compiling = threading.Lock()
_made: dict[tuple[Any, ...], Any] = {}


def _renew_lock() -> None:
    """In a forked child, nobody has the lock."""
    global _compiling
    _compiling = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


@cache
def _digest() -> str:
    """Return a digest of all sources of compiled code: code of other sources is never loaded."""
    digest, here = hashlib.sha256(), Path(__file__).parent
    for file in (*sorted(here.glob("*.py")), *(here.parent / name for name in MORE_SOURCES)):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def cache_folder() -> str:
    """Return where compiled code is kept, empty where no folder can be written."""
    try:
        return str(FunctionCache(entry.execute).cache_path)
    except RuntimeError:
        return ""


def _kept_on_disk(make: Callable[..., Any], name: str, function: Callable[..., Any]) -> Any:
    """Compile a function, or load it from the cache, where a folder for that can be written."""
    function.__qualname__ = f"{name}_{_digest()}"  # Numba names its files after this
    return kept_on_disk(make, function)


def _once(key: tuple[Any, ...], make: Callable[..., Any]) -> Any:
    """Return what was made of a key, made now where this is its first use.

    Who comes later needs no lock: a child that is forked while another thread has it would wait for
    ever.
    """
    if key not in _made:
        with _compiling:
            if key not in _made:
                _made[key] = make(*key)
    return _made[key]


def _function(name: str) -> Any:
    function = getattr(entry, name)
    words = types.int64(*[types.int64] * len(inspect.signature(function).parameters))

    def make(**options: Any) -> Any:
        return numba.cfunc(words, **OPTIONS, **options)

    return _kept_on_disk(make, name, function)


def engine_address(name: str) -> int:
    """Return the address of a function of `entry`."""
    return int(_once((name,), _function).address)


def _door(name: str, dtype: str, holds_gil: bool) -> Any:
    options = {**OPTIONS, "nogil": not holds_gil}

    def make(**more: Any) -> Any:
        return numba.njit(doors.signatures(name, dtype), **options, **more)

    place = "_".join(part for part in (name, dtype, "briefly" if holds_gil else "") if part)
    return _kept_on_disk(make, place, getattr(doors, name))


def door(name: str, dtype: str = "", *, holds_gil: bool = False) -> Any:
    """Return a function of `doors` for Python to call; it leaves the GIL unless told to hold it."""
    return _once((name, dtype, holds_gil), _door)
