"""The backend "cuda" as the others see it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Backend, Executable
from fastnn.backends.cuda import cublas, kernels, target
from fastnn.backends.cuda.executable import CudaExecutable
from fastnn.program import Program

__all__ = ["BACKEND", "CudaBackend"]

Array = npt.NDArray[Any]


class CudaBackend(Backend):
    """Kernels on a GPU."""

    name = "cuda"
    kernels = kernels

    def compile(self, program: Program, dtype: np.dtype[Any], threads: int) -> Executable:
        """Return the Program as an Executable with parameters of 0."""
        return CudaExecutable(program, dtype, threads)

    def first_nonfinite(self, array: Array) -> int:
        """Return the flat position of the first NaN or infinity, or -1; see the base class.

        What users bring is looked at here: it is not on the GPU yet.
        """
        bad = np.flatnonzero(~np.isfinite(array))
        return int(bad[0]) if len(bad) else -1

    def details(self) -> dict[str, str]:
        """Return the target that compiles, the device, its memory, and whether cuBLAS is there."""
        told = {"target": f"{target.NAME} {target.VERSION}"}
        if target.SIMULATED:
            return {
                **told,
                "device": "simulated, by NUMBA_ENABLE_CUDASIM: slow, and for tests only",
            }
        context = target.cuda.current_context()
        name = context.device.name
        free, total = context.get_memory_info()
        major, minor = context.device.compute_capability
        return {
            **told,
            "device": name.decode() if isinstance(name, bytes) else str(name),
            "compute capability": f"{major}.{minor}",
            "memory": f"{total / 2**30:.1f} GiB, {free / 2**30:.1f} free",
            "cublas": "not installed" if cublas.find_library() is None else "for large products",
        }


BACKEND = CudaBackend()
