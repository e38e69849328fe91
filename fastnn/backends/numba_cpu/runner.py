"""Runs of the engine for one network: their workspaces, the workers, and what handlers raise."""

from __future__ import annotations

import ctypes
from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Executable
from fastnn.backends.numba_cpu.engine.compiling import door
from fastnn.backends.numba_cpu.engine.steps import TRIAL_WORDS
from fastnn.backends.numba_cpu.tables import Tables
from fastnn.backends.numba_cpu.threads import pool
from fastnn.backends.numba_cpu.workspace import Kind, Workspace
from fastnn.program.plan import plan

__all__ = ["Runner"]

# What is kept of a kind for the next run, at most: who needs more has time to ask for it.
KEPT_BYTES = 16 << 20

# A few parameters are quickest updated by one call.
FEW_PARAMETERS = 4096

# Where compiled code leaves an error: the type, the value and the traceback.
ERROR = "error", "error_value", "error_traceback"

# Raises an error that compiled code has taken out of Python's hands. It steals the references.
raise_error = ctypes.PYFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)(
    ("PyErr_Restore", ctypes.pythonapi)
)


class Runner:
    """A Program, ready to run in one dtype. Threads may share it.

    Parameters
    ----------
    executable : Executable
        Whose Program it is.
    """

    def __init__(self, executable: Executable) -> None:
        self.plan = plan(executable.program, executable.dtype.itemsize)
        self._threads, self._tables = executable.threads, Tables(executable, self.plan)
        self._trial = np.zeros(TRIAL_WORDS, np.int64)
        self._spares: dict[Kind, list[Workspace]] = defaultdict(list)  # that no run uses
        self.enter = door("enter")

    def take(self, kind: Kind, rows: int) -> Workspace:
        """Return a workspace for so many rows: what the last run left, where that is enough."""
        try:
            workspace = self._spares[kind].pop()
            if workspace.capacity >= rows:
                return workspace
        except IndexError:  # there is none, or others have them all
            pass
        return self._make(kind, rows)

    def _make(self, kind: Kind, rows: int) -> Workspace:
        """Return a new workspace for so many rows; what its runs need is compiled or loaded."""
        if kind.backward:
            self._tables.train()
        elif kind.loss:
            self._tables.measure()
        elif kind.bfloat16:
            self._tables.round()
        workspace = Workspace(self._tables, kind, rows, self._threads)
        workspace.run["trial"] = self._trial.ctypes.data
        if workspace.memory.nbytes <= KEPT_BYTES:
            workspace.home = self._spares[kind]
        return workspace

    def execute(self, workspace: Workspace, enter: Any, *arguments: Any) -> Any:
        """Call the engine by a door, with the workers that are free, and return what it returns.

        The workspace is kept for the next run, and what a handler of a signal raised is raised.
        """
        run, threads = workspace.run, 1
        try:
            if workspace.threads > 1:
                run["generation"] += 1
                threads = pool.begin(workspace, workspace.threads, int(run["generation"][0]))
            run["threads"] = threads
            result = enter(*arguments)
        finally:
            if workspace.threads > 1:
                run["generation"] += 1  # by which the workers know that it is over
                run["threads"] = 1
                pool.end(workspace)
        error = None
        if run["interrupted"][0]:
            error = [int(run[name][0]) or None for name in ERROR]
        workspace.home.append(workspace)
        if error is not None:
            raise_error(*error)
        return result

    def is_flat(self, clip_norm: float | None, rows: int) -> bool:
        """Tell whether the gradient of a step has to be whole before anything is updated.

        The norm of the gradient, and the sum over chunks, take the whole of it; and states must not
        change where it turns out not to be finite.
        """
        tables = self._tables
        few = tables.program.size <= FEW_PARAMETERS
        return bool(clip_norm) or few or self.plan.couples_rows or rows > self.plan.chunk


def word(number: int) -> int:
    """Return a number below 2**64 as the int64 of the same bits."""
    return number - 2**64 if number >= 2**63 else number


def address_of(array: npt.NDArray[Any] | None) -> int:
    """Return where the elements of an array stand, 0 where there is none."""
    return 0 if array is None else int(array.ctypes.data)
