"""The backend on NVIDIA GPUs: kernels in Python, compiled by a CUDA target of Numba."""

from __future__ import annotations

from typing import Any

from fastnn.backends.cuda import target


def __getattr__(name: str) -> Any:
    # Asked for, not made on import: what compiles kernels can be used where no GPU is.
    if name == "BACKEND":
        reason = target.why_not()
        if reason is not None:
            raise ImportError(reason)
        from fastnn.backends.cuda.backend import BACKEND

        return BACKEND
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
