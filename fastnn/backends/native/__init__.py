"""The native backend: the C core behind one Cython module."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Backend, Batch, Executable, OptimizerState, aligned_zeros
from fastnn.backends.customs import compile_customs
from fastnn.optimizers import Optimizer
from fastnn.program import Program

if importlib.util.find_spec("fastnn.backends.native._core") is None:
    raise ImportError("its compiled part is not installed")
from fastnn.backends.native import _core, kernels, threadpool

__all__ = ["BACKEND", "NativeBackend", "NativeExecutable"]

Array = npt.NDArray[Any]

# Above it NumPy shuffles by longer random numbers.
SHUFFLED_ROWS = 2**32


class NativeExecutable(Executable):
    """A Program run by the C core; what the methods promise stands in the base class."""

    def __init__(self, program: Program, dtype: np.dtype[Any], threads: int) -> None:
        super().__init__(program, dtype, threads)
        self._engine = _core.Engine(program, dtype.name, threads, *compile_customs(self))
        self._fast = _core.FastRoad(self._engine, program, self.parameters, self.states)
        self._kept: tuple[object, Array, _core.FastRoad] = None, self.parameters, self._fast

    def all_finite(self, vector: Array) -> bool:
        """Tell whether parameters, states or moments are finite."""
        return _core.first_nonfinite_of(vector) < 0

    def draw_order(self, order: npt.NDArray[np.int64], seed: int, epoch: int) -> None:
        """Set the order of rows in an epoch; see the base class."""
        if len(order) <= SHUFFLED_ROWS:
            _core.shuffle(order, np.random.PCG64([seed, epoch]).random_raw)
        else:
            super().draw_order(order, seed, epoch)

    def new_state(self, optimizer: Optimizer) -> OptimizerState:
        """Return the state of an optimizer that has taken no step."""
        state = super().new_state(optimizer)
        state.prepared = _core.PreparedOptimizer(optimizer, state.moments)
        return state

    def predict(self, X: Array, out: Array, *, bfloat16: bool = False) -> None:
        """Write the predictions for `X` (B, I) into `out` (B, O); see the base class."""
        if bfloat16:
            _core.predict_bfloat16(self._engine, self._prepared(), self.states, X, out)
        else:
            self._engine.predict(self.parameters, self.states, X, out)

    def _prepared(self) -> Array:
        """Return the parameters with weights of bfloat16, made anew where they may have changed.

        Stamp and loan are looked at before the parameters: a loan behind that has another stamp.
        """
        stamp, (kept, prepared, _) = self._stamp, self._kept
        if kept is not stamp:
            lent = self._lent() is not None
            prepared = aligned_zeros(self.parameters.shape, self.dtype)
            _core.prepare_bfloat16(self.program, prepared, self.parameters)
            if not lent:
                road = _core.FastRoad(self._engine, self.program, prepared, self.states, True)
                self._kept = stamp, prepared, road
        return prepared

    def try_predict(self, X: Any, out: Any, *, bfloat16: bool = False) -> Array | None:
        """Return predictions if `X` and `out` fit as they are; see the base class."""
        if not bfloat16:
            return self._fast.predict(self.parameters, self.states, X, out)
        stamp, prepared, road = self._kept
        return road.predict(prepared, self.states, X, out) if stamp is self._stamp else None

    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return the mean loss with penalties, and the share of right outputs."""
        return self._engine.loss_and_gradient(
            self.parameters, self.states, batch.X, batch.Y, batch.weight, None, None, False, 0, 0
        )

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
        return self._engine.loss_and_gradient(
            self.parameters,
            self.states,
            batch.X,
            batch.Y,
            batch.weight,
            gradient,
            input_gradient,
            training,
            seed,
            step,
        )[0]

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
        try:
            return self._engine.run_steps(
                self.parameters,
                self.states,
                batch.X,
                batch.Y,
                batch.weight,
                order,
                batch_size,
                state,
                learning_rates,
                seed,
                losses,
                hits,
            )
        finally:
            self.changed()

    def try_step(
        self, X: Any, y: Any, state: OptimizerState, rate: float, seed: int
    ) -> tuple[float, bool] | None:
        """Take one step if `X` and `y` fit as they are; see the base class."""
        try:
            return self._fast.step(self.parameters, self.states, X, y, state, rate, seed)
        finally:
            self.changed()


class NativeBackend(Backend):
    """The C core."""

    name = "native"
    kernels = kernels

    def compile(self, program: Program, dtype: np.dtype[Any], threads: int) -> Executable:
        """Return the Program as an Executable with parameters of 0."""
        threadpool.register_where_imported()
        return NativeExecutable(program, dtype, threads)

    def first_nonfinite(self, array: Array) -> int:
        """Return the flat position of the first NaN or infinity, or -1; see the base class."""
        return _core.first_nonfinite_of(array)

    def details(self) -> dict[str, str]:
        """Return the code path, why it was chosen, and the compiler of the core."""
        isa, reason = _core.isa()
        fast = "faster than float32, by AVX512-BF16"
        slow = "no faster than float32: no AVX512-BF16 on this path"
        return {
            "isa": isa,
            "reason": reason,
            "bfloat16": fast if _core.has_bfloat16() else slow,
            "compiler": _core.compiler(),
        }


BACKEND = NativeBackend()
