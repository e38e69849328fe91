"""Learning rates over time: each schedule is a pure function of how far training has come.

A schedule keeps no state, so training that stops and goes on takes up the same rates. Time is
counted in optimizer steps or in epochs (with their fraction), whichever ``unit`` says. What
`ReduceOnPlateau` has seen stands in a `Plateau`, beside the step count, and is saved with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn import checks, metrics
from fastnn.errors import unknown_name

__all__ = [
    "Constant",
    "Cosine",
    "CosineLog",
    "Exponential",
    "InverseScaling",
    "OneCycle",
    "Plateau",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "get",
]

Array = npt.NDArray[np.float64]


class Plateau(NamedTuple):
    """What a schedule remembers of the metrics of past epochs.

    Attributes
    ----------
    best : float or None
        The best value of the metric so far.
    waited : int
        Epochs since then, or since the last cut.
    scale : float
        Product of all cuts, by which the rates are multiplied.
    """

    best: float | None = None
    waited: int = 0
    scale: float = 1.0


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

    @property
    def is_constant(self) -> bool:
        """Whether every rate is `initial`."""
        return False

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

    def check(self, measured: Sequence[str]) -> None:
        """Make sure that the metrics that the schedule asks for are measured.

        Raises
        ------
        ValueError
            When one is not.
        """

    def observe(self, plateau: Plateau, measured: Mapping[str, float]) -> Plateau:
        """Return what to remember after an epoch with these metrics."""
        return plateau

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        raise TypeError(f"{type(self).__name__} is no schedule by itself")


@dataclass(frozen=True)
class Constant(Schedule):
    """The same rate always, after the warm-up."""

    @property
    def is_constant(self) -> bool:
        """Whether every rate is `initial`; a class that is made from this one may do anything."""
        return type(self) is Constant and self.warmup == 0

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
        return _half_cosine(time / self.length, 1.0, self.final / self.initial)


@dataclass(frozen=True)
class CosineLog(Schedule):
    """Cycles of a cosine from 0 up to `initial` and back, each twice as long as the last; then 0.

    It is the coslog of RealMLP (Holzmüller, Grinsztajn & Steinwart 2024, "Better by default").

    Parameters
    ----------
    length : float
        Units of all cycles together.
    cycles : int
        Number of cycles, 1 to 50.
    """

    length: float = 10.0
    cycles: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "length", checks.real_number("length", self.length, 0, above=True))
        object.__setattr__(self, "cycles", checks.whole_number("cycles", self.cycles, 1, 50))

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        share = np.minimum(time / self.length, 1.0)
        cycle = np.log2(1 + (2**self.cycles - 1) * share) % 1  # whole cycles leave exactly 0
        return 0.5 * (1 - np.cos(2 * np.pi * cycle))


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


@dataclass(frozen=True)
class Exponential(Schedule):
    """Multiply the rate by `gamma` in every unit, evenly: ``initial gamma^t``.

    Parameters
    ----------
    gamma : float
        Factor of one unit, above 0.
    """

    gamma: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "gamma", checks.real_number("gamma", self.gamma, 0, above=True))

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        return self.gamma**time


@dataclass(frozen=True)
class InverseScaling(Schedule):
    """``initial / (t + 1)^power``: the schedule ``invscaling`` of scikit-learn.

    Parameters
    ----------
    power : float
        At least 0. scikit-learn counts t in rows, which is a step times the batch size.
    """

    power: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "power", checks.real_number("power", self.power, 0))

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        return (time + 1.0) ** -self.power


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up to a high rate and down again to almost nothing, each in half a cosine.

    Smith & Topin 2019, "Super-convergence", in the two phases of PyTorch. The rate begins with
    ``highest / divisor``, reaches `highest` after `rise` of the length, and ends with
    ``highest / divisor / final_divisor``, where it stays.

    Parameters
    ----------
    highest : float
        The highest learning rate.
    length : float
        Units of the whole cycle: counted in epochs, those that will be trained.
    rise : float
        Share of the length in which the rate rises, between 0 and 1.
    divisor, final_divisor : float
        How far below the highest rate the first one is, and the last below the first, at least 1.

    Examples
    --------
    >>> times = np.array([0.0, 3.0, 10.0])
    >>> OneCycle(0.1, length=10).rates(np.zeros(3, int), times).round(9).tolist()
    [0.004, 0.1, 4e-07]
    """

    initial: float = field(init=False)
    highest: float = 0.01
    length: float = 10.0
    rise: float = 0.3
    divisor: float = 25.0
    final_divisor: float = 1e4

    def __post_init__(self) -> None:
        for name, low, above in (
            ("highest", 0, False),
            ("length", 0, True),
            ("divisor", 1, False),
            ("final_divisor", 1, False),
        ):
            value = checks.real_number(name, getattr(self, name), low, above=above)
            object.__setattr__(self, name, value)
        rise = checks.real_number("rise", self.rise, 0, 1, above=True, below=True)
        object.__setattr__(self, "rise", rise)
        object.__setattr__(self, "initial", self.highest / self.divisor)
        super().__post_init__()

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        # Counted in steps, the last of them has the last rate.
        last = 1.0 if self.unit == "step" else 0.0
        peak, end = self.rise * self.length - last, self.length - last
        up = time / peak if peak > 0 else np.ones_like(time)
        down = (time - peak) / (end - peak)
        rising = _half_cosine(up, 1.0, self.divisor)
        return np.where(up < 1, rising, _half_cosine(down, self.divisor, 1 / self.final_divisor))


def _half_cosine(share: Array, start: float, end: float) -> Array:
    """Go from `start`, at a share of 0, to `end`, at 1 and beyond."""
    return end + (start - end) * 0.5 * (1 + np.cos(np.pi * np.clip(share, 0.0, 1.0)))


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule):
    """Multiply the rate by `cut` whenever a metric has not improved for some epochs.

    Only `Network.fit` measures epochs; `Network.train_batch` keeps the rate where it is. What has
    been seen is saved with the network, so that ``fit(epochs=3)`` and then ``fit(epochs=2)`` cuts
    where ``fit(epochs=5)`` does.

    Parameters
    ----------
    cut : float
        Factor of each cut, above 0 and below 1.
    patience : int
        Epochs without improvement after which the rate is cut, at least 1. (PyTorch cuts one epoch
        later, with the same number.)
    min_delta : float
        What counts as an improvement: a change of more than this, at least 0.
    min_rate : float
        The rate below which no cut goes.
    monitor : str
        Name of a metric. One with "accuracy" in its name should rise, any other fall.

    Examples
    --------
    >>> ReduceOnPlateau(0.1, patience=3).observe(Plateau(0.5, 2, 1.0), {"val_loss": 0.6})
    Plateau(best=0.5, waited=0, scale=0.1)
    """

    cut: float = 0.1
    patience: int = 10
    min_delta: float = 0.0
    min_rate: float = 0.0
    monitor: str = "val_loss"

    def __post_init__(self) -> None:
        super().__post_init__()
        cut = checks.real_number("cut", self.cut, 0, 1, above=True, below=True)
        object.__setattr__(self, "cut", cut)
        object.__setattr__(self, "patience", checks.whole_number("patience", self.patience, 1))
        for name in ("min_delta", "min_rate"):
            value = checks.real_number(name, getattr(self, name), 0)
            object.__setattr__(self, name, value)
        if not isinstance(self.monitor, str):
            raise TypeError(f"monitor must be the name of a metric, not {self.monitor!r}")

    def check(self, measured: Sequence[str]) -> None:
        """Make sure that the monitored metric is measured."""
        metrics.check_monitor("ReduceOnPlateau", self.monitor, measured)

    def observe(self, plateau: Plateau, measured: Mapping[str, float]) -> Plateau:
        """Return what to remember after an epoch with these metrics."""
        best, waited, scale = plateau
        value, sign = measured[self.monitor], -1.0 if metrics.should_rise(self.monitor) else 1.0
        if np.isfinite(value) and (best is None or sign * (best - value) > self.min_delta):
            return Plateau(value, 0, scale)
        if waited + 1 < self.patience:
            return Plateau(best, waited + 1, scale)
        floor = self.min_rate / self.initial if self.initial > 0 else 0.0
        return Plateau(best, 0, min(scale, max(scale * self.cut, floor)))

    def factor(self, time: Array) -> Array:
        """Return the rate over the initial rate, `time` units after the warm-up."""
        return np.ones_like(time)


def get(learning_rate: float | Schedule) -> Schedule:
    """Return the schedule for a number (constant) or the schedule itself."""
    if isinstance(learning_rate, Schedule):
        return learning_rate
    return Constant(checks.real_number("learning_rate", learning_rate, 0))
