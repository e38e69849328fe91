"""What the compiled module offers; the functions of the kernels are reached through `kernels`."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import OptimizerState
from fastnn.optimizers import Optimizer
from fastnn.program import Program

Array = npt.NDArray[Any]

def choose_isa(name: str) -> None: ...
def isa() -> tuple[str, str]: ...
def compiler() -> str: ...
def has_bfloat16() -> bool: ...
def fail_allocation_after(count: int) -> None: ...
def first_nonfinite_of(array: Array) -> int: ...
def shuffle(
    order: npt.NDArray[np.int64], draw: Callable[[int], npt.NDArray[np.uint64]]
) -> None: ...

class Engine:
    def __init__(
        self,
        program: Program,
        dtype: str,
        threads: int,
        activations: dict[str, Any] | None = None,
        loss: Any = None,
    ) -> None: ...
    def predict(self, parameters: Array, states: Array, X: Array, out: Array) -> None: ...
    def loss_and_gradient(
        self,
        parameters: Array,
        states: Array,
        X: Array,
        Y: Array,
        weight: Array | None,
        gradient: Array | None,
        input_gradient: Array | None,
        training: bool,
        seed: int,
        step: int,
    ) -> tuple[float, float]: ...
    def run_steps(
        self,
        parameters: Array,
        states: Array,
        X: Array,
        Y: Array,
        weight: Array | None,
        order: npt.NDArray[np.int64] | None,
        batch_size: int,
        state: OptimizerState,
        rates: npt.NDArray[np.float64],
        seed: int,
        losses: npt.NDArray[np.float64],
        hits: npt.NDArray[np.float64],
    ) -> int: ...

def prepare_bfloat16(program: Program, prepared: Array, parameters: Array) -> None: ...
def predict_bfloat16(
    engine: Engine, prepared: Array, states: Array, X: Array, out: Array
) -> None: ...

class PreparedOptimizer:
    def __init__(self, optimizer: Optimizer, moments: Array) -> None: ...

class FastRoad:
    def __init__(
        self,
        engine: Engine,
        program: Program,
        parameters: Array,
        states: Array,
        bfloat16: bool = False,
    ) -> None: ...
    def predict(self, parameters: Array, states: Array, X: Any, out: Any) -> Array | None: ...
    def step(
        self,
        parameters: Array,
        states: Array,
        X: Any,
        y: Any,
        state: OptimizerState,
        rate: float,
        seed: int,
    ) -> tuple[float, bool] | None: ...
