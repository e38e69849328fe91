"""The fast road: calls on arrays that fit as they are, at a cost that a small network feels.

What does not fit is left to the thorough road, which converts it or names what is wrong with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy import empty, ndarray  # a call needs no look-up

from fastnn.backends.base import OptimizerState
from fastnn.backends.numba_cpu.engine.compiling import door
from fastnn.backends.numba_cpu.engine.doors import UNFIT
from fastnn.backends.numba_cpu.engine.polling import FINE
from fastnn.backends.numba_cpu.runner import Runner, word
from fastnn.backends.numba_cpu.tables import PreparedOptimizer
from fastnn.backends.numba_cpu.workspace import TRAINING, Kind
from fastnn.program import Program

__all__ = ["FastRoad"]

Array = npt.NDArray[Any]

# Below this many multiply-adds, some ten microseconds, a call keeps the GIL and does not ask for
# Ctrl-C: to let go of it costs as much as a small network.
WORK_WITH_GIL = 200_000
WORK_OF_ELEMENT = 16  # an element of a slot costs about as much as so many multiply-adds
PASSES_OF_STEP = 3  # the backward pass takes two products for every one of the forward pass

SAFE = TRAINING._replace(safe=True)
SAFE_FLAT = SAFE._replace(flat=True)

LABELS = np.dtype(np.int64)

# The flags C_CONTIGUOUS and ALIGNED of an array, in the number of all its flags: it is one look.
PLAIN = 0x0101

# The ends of the range of the targets, by what they are. Other targets take the thorough road:
# signs are rewritten, and the sums of rows of class probabilities looked at.
BOUNDS = {"classes": 0, "values": 0, "counts": 1, "probabilities": 2}


class FastRoad:
    """Predictions and single steps of a Runner. Threads may share it.

    Parameters
    ----------
    runner : Runner
    program : Program
    dtype : numpy.dtype
    """

    def __init__(self, runner: Runner, program: Program, dtype: np.dtype[Any]) -> None:
        self._runner, self._program, self._dtype = runner, program, dtype
        self._outputs, targets = program.outputs, program.loss.targets
        self._takes_labels, self._bounds = targets == "classes", BOUNDS.get(targets)
        elements = sum(slot.width for slot in program.slots)
        self._few_rows = WORK_WITH_GIL // (program.size + WORK_OF_ELEMENT * elements)
        self._few_rows_of_step = self._few_rows // PASSES_OF_STEP
        self._predict_freely, self._predict_briefly = self._doors("predict")
        self._train: tuple[Any, Any] | None = None  # the same for steps, from the first one on

    def _doors(self, name: str) -> tuple[Any, Any]:
        freely = door(name, self._dtype.name)
        return freely, door(name, self._dtype.name, holds_gil=True)

    def predict(
        self, kind: Kind, parameters: Array, states: Array, X: Any, out: Any
    ) -> Array | None:
        """Return the predictions, written into `out` if there is one; None to leave it alone."""
        dtype = self._dtype
        if type(X) is not ndarray or X.dtype is not dtype or X.ndim != 2 or ~X.flags.num & PLAIN:
            return None
        rows, into = len(X), out
        if out is None:
            into = empty((rows, self._outputs), dtype)
        elif not self._is_plain(out) or not out.flags.writeable:
            return None
        workspace = self._runner.take(kind, rows)
        if workspace.used is not parameters:
            workspace.use(parameters, states)
        if rows <= self._few_rows:
            status = self._predict_briefly(workspace.address, X, into, 0, 0)
            workspace.home.append(workspace)
        else:
            told = workspace.address, X, into, 1, out is None
            status = self._runner.execute(workspace, self._predict_freely, *told)
        return into if status == FINE else None

    def step(
        self,
        parameters: Array,
        states: Array,
        X: Any,
        y: Any,
        state: OptimizerState,
        rate: float,
        seed: int,
    ) -> tuple[float, bool] | None:
        """Take a training step, and return its loss and whether all is finite; or None.

        See `fastnn.backends.base.Executable.try_step`.
        """
        prepared = state.prepared
        if type(prepared) is not PreparedOptimizer or not prepared.serves(state):
            return None
        targets = self._targets(y)
        if targets is None or not self._is_plain(X):
            return None
        if state.moments.shape[1] != self._program.size:
            return None
        rows, runner, before = len(X), self._runner, state.step
        flat = runner.is_flat(state.optimizer.clip_norm, rows)
        workspace = runner.take(SAFE_FLAT if flat else SAFE, rows)
        workspace.use(parameters, states)
        workspace.optimize(prepared)
        if self._train is None:
            self._train = self._doors("train_labels" if self._takes_labels else "train")
        train_freely, train_briefly = self._train
        brief = rows <= self._few_rows_of_step
        told = (workspace.address, X, targets, self._bounds, not brief, rate, word(seed), before)
        try:
            if brief:
                result = train_briefly(*told, state.product)
                workspace.home.append(workspace)
            else:
                result = runner.execute(workspace, train_freely, *told, state.product)
        except BaseException:
            # Ctrl-C may come when the step is taken, and Python had no time to note it.
            if prepared.record["steps"][0] == before + 1:
                prepared.end(state)
            raise
        status, loss, state.step, state.product = result
        return None if status == UNFIT else (loss, status == FINE)

    def _is_plain(self, X: Any) -> bool:
        """Tell whether X is a matrix of this dtype as compiled code takes it."""
        if type(X) is not ndarray or X.dtype is not self._dtype or X.ndim != 2:
            return False
        return not ~X.flags.num & PLAIN

    def _targets(self, y: Any) -> Array | None:
        """Return targets if compiled code takes them."""
        if self._bounds is None or type(y) is not ndarray:
            return None
        if self._takes_labels:
            fits = y.ndim == 1 and y.dtype is LABELS and not ~y.flags.num & PLAIN
            return y if fits else None
        if y.ndim == 1 and self._outputs == 1:
            y = y.reshape(-1, 1)
        return y if self._is_plain(y) else None
