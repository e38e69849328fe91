"""Programs on Numba: what stands between the arrays of a call and the compiled engine."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Batch, Executable, OptimizerState, aligned_zeros
from fastnn.backends.numba_cpu.engine.entry import PREDICT, STEPS
from fastnn.backends.numba_cpu.fast_road import FastRoad
from fastnn.backends.numba_cpu.finite import finder
from fastnn.backends.numba_cpu.runner import Runner, address_of, word
from fastnn.backends.numba_cpu.tables import PreparedOptimizer, rounded
from fastnn.backends.numba_cpu.workspace import TRAINING, Kind, Workspace
from fastnn.optimizers import Optimizer
from fastnn.program import Program

__all__ = ["NumbaExecutable"]

Array = npt.NDArray[Any]

PREDICTION, ROUNDED = Kind(), Kind(bfloat16=True)


class NumbaExecutable(Executable):
    """A Program run by the engine; what the methods promise stands in the base class."""

    def __init__(self, program: Program, dtype: np.dtype[Any], threads: int) -> None:
        super().__init__(program, dtype, threads)
        self._runner = Runner(self)
        self._fast = FastRoad(self._runner, program, dtype)
        self._first_nonfinite = finder(dtype.name)
        self._kept: tuple[object, Array] = None, self.parameters

    def all_finite(self, vector: Array) -> bool:
        """Tell whether parameters, states or moments are finite."""
        return bool(self._first_nonfinite(vector) < 0)

    def _open(self, kind: Kind, rows: int, parameters: Array) -> Workspace:
        """Return a workspace for a call on the thorough road."""
        workspace = self._runner.take(kind, rows)
        workspace.use(parameters, self.states)
        run = workspace.run
        for name in ("diverged", "interrupted", "work", "asked_at", "only_finite"):
            run[name] = 0
        run["polls"] = 1
        return workspace

    def _bring(self, workspace: Workspace, batch: Batch) -> None:
        """Note in the record where a batch stands."""
        run, labels = workspace.run, batch.Y.ndim == 1
        run["batch_X"], run["batch_rows"] = address_of(batch.X), len(batch)
        run["batch_Y"] = 0 if labels else address_of(batch.Y)
        run["batch_labels"] = address_of(batch.Y) if labels else 0
        run["batch_weight"] = address_of(batch.weight)

    def _execute(self, workspace: Workspace, command: int) -> None:
        self._runner.execute(workspace, self._runner.enter, workspace.address, command)

    # -- predictions ------------------------------------------------------------------------------

    def predict(self, X: Array, out: Array, *, bfloat16: bool = False) -> None:
        """Write the predictions for `X` (B, I) into `out` (B, O); see the base class."""
        if len(X) == 0:
            return
        parameters = self._prepared() if bfloat16 else self.parameters
        workspace = self._open(ROUNDED if bfloat16 else PREDICTION, len(X), parameters)
        run = workspace.run
        run["batch_X"], run["batch_rows"], run["out"] = address_of(X), len(X), address_of(out)
        self._execute(workspace, PREDICT)

    def _prepared(self) -> Array:
        """Return the parameters with weights of bfloat16, made anew where they may have changed.

        Stamp and loan are looked at before the parameters: a loan behind that has another stamp.
        """
        stamp, (kept, prepared) = self._stamp, self._kept
        if kept is not stamp:
            lent = self._lent() is not None
            prepared = aligned_zeros(self.parameters.shape, self.dtype)
            rounded(self.program, self.parameters, prepared)
            if not lent:
                self._kept = stamp, prepared
        return prepared

    def try_predict(self, X: Any, out: Any, *, bfloat16: bool = False) -> Array | None:
        """Return predictions if `X` and `out` fit as they are; see the base class."""
        if not bfloat16:
            return self._fast.predict(PREDICTION, self.parameters, self.states, X, out)
        stamp, prepared = self._kept
        if stamp is not self._stamp:
            return None
        return self._fast.predict(ROUNDED, prepared, self.states, X, out)

    # -- losses -----------------------------------------------------------------------------------

    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return the mean loss with penalties, and the share of right outputs."""
        return self._loss(batch, None, None, False, 0, 0)

    def loss_and_gradient(
        self,
        batch: Batch,
        gradient: Array | None,
        input_gradient: Array | None = None,
        *,
        training: bool = False,
        seed: int = 0,
        step: int = 0,
    ) -> float:
        """Return the mean loss with penalties, and set its gradient; see the base class."""
        return self._loss(batch, gradient, input_gradient, training, seed, step)[0]

    def _loss(
        self,
        batch: Batch,
        gradient: Array | None,
        input_gradient: Array | None,
        training: bool,
        seed: int,
        step: int,
    ) -> tuple[float, float]:
        backward = gradient is not None or input_gradient is not None
        kind = Kind(loss=True, backward=backward, training=training)
        workspace = self._open(kind, len(batch), self.parameters)
        self._bring(workspace, batch)
        if gradient is not None:
            gradient[...] = 0
        run = workspace.run
        run["gradient"], run["input_gradient"] = address_of(gradient), address_of(input_gradient)
        run["seed"], run["step"] = word(seed), word(step)
        run["batch_size"], run["count_of_steps"] = len(batch), 1
        self._execute(workspace, STEPS)
        return float(run["mean_loss"][0]), float(run["mean_hits"][0])

    # -- training ---------------------------------------------------------------------------------

    def new_state(self, optimizer: Optimizer) -> OptimizerState:
        """Return the state of an optimizer that has taken no step."""
        state = super().new_state(optimizer)
        state.prepared = PreparedOptimizer(optimizer, state.moments)
        return state

    def run_steps(
        self,
        batch: Batch,
        order: npt.NDArray[np.int64] | None,
        batch_size: int,
        state: OptimizerState,
        learning_rates: npt.NDArray[np.float64],
        seed: int,
        losses: npt.NDArray[np.float64],
        hits: npt.NDArray[np.float64],
    ) -> int:
        """Take training steps, one for each learning rate; see the base class."""
        prepared = state.prepared
        if type(prepared) is not PreparedOptimizer or not prepared.serves(state):
            prepared = state.prepared = PreparedOptimizer(state.optimizer, state.moments)
        rows = len(batch) if order is None else len(order)
        most = min(rows, batch_size)
        flat = self._runner.is_flat(state.optimizer.clip_norm, most)
        kind = TRAINING._replace(gathers=order is not None, flat=flat)
        workspace = self._open(kind, most, self.parameters)
        workspace.optimize(prepared)
        self._bring(workspace, batch)
        run = workspace.run
        run["batch_rows"], run["batch_size"], run["order"] = rows, batch_size, address_of(order)
        run["rates"], run["count_of_steps"] = address_of(learning_rates), len(learning_rates)
        run["losses"], run["shares_of_hits"] = address_of(losses), address_of(hits)
        run["seed"] = word(seed)
        prepared.begin(state)
        try:
            self._execute(workspace, STEPS)
        finally:
            prepared.end(state)
            self.changed()
        return int(run["taken"][0])

    def try_step(
        self, X: Any, y: Any, state: OptimizerState, rate: float, seed: int
    ) -> tuple[float, bool] | None:
        """Take one step if `X` and `y` fit as they are; see the base class."""
        try:
            return self._fast.step(self.parameters, self.states, X, y, state, rate, seed)
        finally:
            self.changed()
