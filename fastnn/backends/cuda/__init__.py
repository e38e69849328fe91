"""The backend on NVIDIA GPUs: kernels in Python, compiled by a CUDA target of Numba."""

from __future__ import annotations

from typing import Any

from fastnn.backends.cuda import target


def __getattr__(name: str) -> Any:
    # Asked for, not made on import: what compiles kernels can be used where no GPU is.
    if name == "BACKEND":
        raise ImportError(target.why_not() or "it cannot run networks yet")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
