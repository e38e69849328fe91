"""The backend of Numba on the processor: compiled where it runs, without a compiler of C."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

try:
    import numba
except ModuleNotFoundError as error:
    raise ImportError("Numba is not installed") from error

from fastnn.backends.base import Backend, Executable
from fastnn.backends.numba_cpu import kernels
from fastnn.backends.numba_cpu.executable import NumbaExecutable
from fastnn.backends.numba_cpu.finite import first_nonfinite
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

    def details(self) -> dict[str, str]:
        """Return the versions of the compiler."""
        return {"compiler": f"Numba {numba.__version__}"}


BACKEND = NumbaBackend()
