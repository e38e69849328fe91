"""The backend of Numba on the processor: compiled where it runs, without a compiler of C."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "BACKEND":
        raise ImportError("its engine is not part of this version")
    raise AttributeError(name)
