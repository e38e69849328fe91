"""The backend of Numba on the processor: compiled where it runs, without a compiler of C."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import llvmlite
    import numba
except ModuleNotFoundError as error:
    raise ImportError("Numba is not installed") from error

from fastnn.backends.base import Backend, Executable
from fastnn.backends.numba_cpu import kernels
from fastnn.backends.numba_cpu.ahead import everything
from fastnn.backends.numba_cpu.engine.compiling import cache_folder
from fastnn.backends.numba_cpu.executable import NumbaExecutable
from fastnn.backends.numba_cpu.finite import first_nonfinite
from fastnn.backends.numba_cpu.products import VECTOR
from fastnn.program import Program

__all__ = ["BACKEND", "NumbaBackend"]


class NumbaBackend(Backend):
    """The engine and the kernels, compiled by Numba for this processor."""

    name = "numba"
    kernels = kernels

    def compile(self, program: Program, dtype: np.dtype[Any], threads: int) -> Executable:
        """Return the Program as an Executable with parameters of 0."""
        return NumbaExecutable(program, dtype, threads)

    def first_nonfinite(self, array: npt.NDArray[Any]) -> int:
        """Return the flat position of the first NaN or infinity, or -1; see the base class."""
        return first_nonfinite(array)

    def ahead(self, dtype: np.dtype[Any]) -> dict[str, Callable[[], object]]:
        """Return what can be compiled before it is needed; see the base class."""
        return everything(dtype)

    def details(self) -> dict[str, str]:
        """Return the versions of the compiler, the vectors of products, and where code is kept."""
        return {
            "compiler": f"Numba {numba.__version__}, llvmlite {llvmlite.__version__}",
            "vectors": VECTOR,
            "cache": cache_folder() or "none: no folder for it can be written",
        }


BACKEND = NumbaBackend()
