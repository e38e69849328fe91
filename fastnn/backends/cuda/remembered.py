"""Parameters, states and moments with a home on the device, which are here when somebody looks."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Executable, OptimizerState
from fastnn.backends.cuda.device import step
from fastnn.backends.cuda.device.matrix import flat_grid
from fastnn.backends.cuda.memory import Device
from fastnn.backends.cuda.mirror import DeviceState, Mirror
from fastnn.optimizers import Optimizer
from fastnn.program import Program

__all__ = ["OnDevice"]

Array = npt.NDArray[Any]


class OnDevice(Executable):
    """What an executable on a device remembers.

    The arrays `parameters` and `states` are brought up to date when they are asked for: whoever
    kept one over a call of `run_steps` asks for it again. Views that were lent are brought up to
    date at once.
    """

    def __init__(self, program: Program, dtype: np.dtype[Any], threads: int) -> None:
        self._device, self._lock = Device(), threading.RLock()
        self._partials: Any = None
        super().__init__(program, dtype, threads)

    @property
    def parameters(self) -> Array:
        """The flat vector, up to date."""
        return self._weights.on_host()

    @parameters.setter
    def parameters(self, vector: Array) -> None:
        self._weights = Mirror(self._device, vector)

    @property
    def states(self) -> Array:
        """The flat vector of states, up to date."""
        return self._statistics.on_host()

    @states.setter
    def states(self, vector: Array) -> None:
        self._statistics = Mirror(self._device, vector)

    def changed(self) -> None:
        """Note that the parameters here are others now."""
        super().changed()
        self._weights.written_here()

    def new_state(self, optimizer: Optimizer) -> OptimizerState:
        """Return the state of an optimizer that has taken no step."""
        moments = np.zeros((optimizer.moment_count, self.program.size), self.dtype)
        return DeviceState(optimizer, moments, self._device)

    def is_finite(self, state: OptimizerState) -> bool:
        """Tell whether all that training changes is finite, where it is."""
        with self._lock:
            self._vectors()
            mirrors = [self._weights, self._statistics]
            if isinstance(state, DeviceState):
                mirrors.append(state.mirror)
            elif not self.all_finite(state.moments):
                return False
            return all(map(self._is_finite, mirrors))

    def _is_finite(self, mirror: Mirror) -> bool:
        if mirror.is_here or not mirror.size:
            return self.all_finite(mirror.on_host())
        # Without penalties and limits this only counts what is not finite.
        if self._partials is None:
            self._partials = self._device.empty(3 * step.PARTIALS, np.float64)
        partials = self._partials
        vector, size = mirror.on_device(), mirror.size
        step.gradient_pass(self._device.stream, vector, partials, vector, None, None, None, size)
        told = np.empty(3 * flat_grid(size)[0][0])
        self._device.read(partials, told)
        return not told[2::3].any()

    def keep(self, kept: Any = None) -> Any:
        """Return parameters and states as they are; see the base class."""
        with self._lock:
            sizes = self.program.size, self.program.state_size
            vectors = kept or [self._device.empty(size, self.dtype) for size in sizes]
            for vector, current in zip(vectors, self._vectors(), strict=True):
                self._device.copy(vector, current)
            return vectors

    def go_back(self, kept: Any) -> None:
        """Put back the parameters and states that `keep` returned."""
        with self._lock:
            for vector, current in zip(kept, self._vectors(), strict=True):
                self._device.copy(current, vector)
            self._moved()

    def _vectors(self) -> tuple[Any, Any]:
        """Return parameters and states on the device, up to date."""
        self._device.check()
        # Nobody says when he writes into a view that was lent, or into the states.
        weights = self._weights.on_device(fresh=self._lent() is not None)
        return weights, self._statistics.on_device(fresh=True)

    def _moved(self) -> None:
        """Note what steps have changed on the device."""
        super().changed()
        self._weights.written_there()
        if self._lent() is not None:
            self._weights.on_host()
        if self.program.state_size:
            self._statistics.written_there()
            self._statistics.on_host()
