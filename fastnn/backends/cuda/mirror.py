"""A vector here and on the device, either brought up to date when it is asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import OptimizerState
from fastnn.backends.cuda.memory import Device
from fastnn.optimizers import Optimizer

__all__ = ["DeviceState", "Mirror"]

Array = npt.NDArray[Any]


class Mirror:
    """A vector with two homes. Whoever writes into one says so; the other follows when asked for.

    Parameters
    ----------
    device : Device
    here : ndarray
        Its home in the memory of the processor, contiguous. What it holds counts at first.
    """

    def __init__(self, device: Device, here: Array) -> None:
        self.device, self._here = device, here
        self._there: Any = None
        self._current = "here"  # or "there", or "both"

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._here.size

    @property
    def is_here(self) -> bool:
        """Whether only the array here is up to date."""
        return self._current == "here"

    def on_device(self, fresh: bool = False) -> Any:
        """Return the array on the device, up to date.

        Parameters
        ----------
        fresh : bool
            Whether it is copied in any case: somebody may have written into the other unseen.
        """
        there = self._there
        if there is None:
            there = self.device.empty(self._here.size, self._here.dtype)
        if fresh or self._current == "here" or self._there is None:
            self.on_host()
            self.device.write(there, self._here)
            self._there, self._current = there, "both"
        return there

    def on_host(self) -> Array:
        """Return the array here, up to date: always the same one."""
        if self._current == "there":
            self.device.check()
            self.device.read(self._there, self._here)
            self._current = "both"
        return self._here

    def written_here(self) -> None:
        """Note that the array here was written into, behind `on_host`."""
        self._current = "here"

    def written_there(self) -> None:
        """Note that the array on the device was written into, behind `on_device`."""
        self._current = "there"


class DeviceState(OptimizerState):
    """What an optimizer remembers, with moments that stay on the device while nobody looks."""

    def __init__(self, optimizer: Optimizer, moments: Array, device: Device) -> None:
        self.mirror = Mirror(device, moments)
        super().__init__(optimizer, moments)

    @property
    def moments(self) -> Array:
        """The moments, up to date. Whoever gets them may write into them."""
        here = self.mirror.on_host()
        self.mirror.written_here()
        return here

    @moments.setter
    def moments(self, moments: Array) -> None:
        here = self.mirror.on_host()
        if moments is not here:
            np.copyto(here, moments)
        self.mirror.written_here()
