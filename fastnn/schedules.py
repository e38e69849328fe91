"""Learning rates over time: each schedule is a pure function of how far training has come.

A schedule keeps no state, so training that stops and goes on takes up the same rates. Time is
counted in optimizer steps or in epochs (with their fraction), whichever ``unit`` says.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import checks
from fastnn.errors import unknown_name

__all__ = ["Constant", "Cosine", "Schedule", "Step", "get"]

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """Base of the schedules: the first rate, a linear warm-up, and the unit of time.

    Parameters
    ----------
    initial : float
        The learning rate after the warm-up.
    warmup : float
        Length of the linear warm-up from 0 to `initial`, in units; the rest of the schedule starts
        when the warm-up is over (Goyal et al. 2017, section 2.2).
    unit : {"epoch", "step"}
        The unit in which lengths are given.
    """

    initial: float = 0.01
    _: KW_ONLY
    warmup: float = 0.0
    unit: str = "epoch"

    def __post_init__(self) -> None:
        initial = checks.real_number("learning_rate", self.initial, 0)
        object.__setattr__(self, "initial", initial)
        object.__setattr__(self, "warmup", checks.real_number("warmup", self.warmup, 0))
        if self.unit not in ("epoch", "step"):
            raise unknown_name("unit of time", self.unit, ("epoch", "step"))

    def rates(self, steps: npt.NDArray[Any], epochs: Array) -> Array:
        """Return the learning rate of every step.

        Parameters
        ----------
        steps : ndarray of int64, shape (S,)
            Number of each step, counted from 0 over the life of the optimizer.
        epochs : ndarray of float64, shape (S,)
            The same moments in epochs: whole epochs done and the fraction of the current one.

        Returns
        -------
        ndarray of float64, shape (S,)
        """
        time = steps.astype(np.float64) if self.unit == "step" else epochs
        rates = self.initial * self.factor(np.maximum(time - self.warmup, 0.0))
        if self.warmup > 0:
            # The first step of a warm-up counted in steps takes 1/warmup, not 0.
            ramp = (time + 1 if self.unit == "step" else time) / self.warmup
            smallest = 1e-3  # an epoch-wise ramp starts at 0, where a step would be lost
            rates = np.where(time < self.warmup, self.initial * np.clip(ramp, smallest, 1.0), rates)
        return rates

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        raise TypeError(f"{type(self).__name__} is no schedule by itself")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate always, after the warm-up."""

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        return np.ones_like(time)


@dataclass(frozen=True)
class Cosine(Schedule):
    """Half a cosine from `initial` down to `final` over `length` units, then `final`.

    Parameters
    ----------
    length : float
        Units from the end of the warm-up to the end of the decay.
    final : float
        The last rate, in the unit of the learning rate (Loshchilov & Hutter 2017, equation 5).
    """

    length: float = 10.0
    final: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "length", checks.real_number("length", self.length, 0, above=True))
        object.__setattr__(self, "final", checks.real_number("final", self.final, 0))

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        if self.initial == 0:
            return np.ones_like(time)
        floor = self.final / self.initial
        wave = 0.5 * (1 + np.cos(np.pi * np.minimum(time / self.length, 1.0)))
        return floor + (1 - floor) * wave


@dataclass(frozen=True)
class Step(Schedule):
    """Multiply the rate by `gamma` at the end of every `every` units.

    Parameters
    ----------
    every : float
        Units between two cuts.
    gamma : float
        Factor of each cut.
    """

    every: float = 10.0
    gamma: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "every", checks.real_number("every", self.every, 0, above=True))
        object.__setattr__(self, "gamma", checks.real_number("gamma", self.gamma, 0, above=True))

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        # A step at epoch 2.9999999 that rounding moved from 3 belongs to the cut at 3.
        return self.gamma ** np.floor(time / self.every + 1e-9)


def get(learning_rate: float | Schedule) -> Schedule:
    """Return the schedule for a number (constant) or the schedule itself."""
    if isinstance(learning_rate, Schedule):
        return learning_rate
    return Constant(checks.real_number("learning_rate", learning_rate, 0))
