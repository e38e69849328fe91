"""What becomes of each column of a table: numbers that a network can take."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["BooleanColumn", "CategoryColumn", "Column", "NumericColumn", "smooth_clip"]

Array = npt.NDArray[Any]
Numbers = npt.NDArray[np.float64]

# Where the smooth clipping of RealMLP levels off.
CLIP = 3.0
# Beyond this nothing is left to tell apart in float32, and squares still fit.
FAR = 1e6

MISSING, RARE = "missing", "rare"


@dataclass(frozen=True)
class Column:
    """Base of the columns: its place in the table and its name there."""

    place: int
    name: str

    @property
    def feature_names(self) -> list[str]:
        """Names of the inputs that it becomes."""
        return [self.name]


@dataclass(frozen=True)
class BooleanColumn(Column):
    """Yes or no as 1 or -1; missing is 0."""

    def encode(self, values: Numbers, out: Array) -> None:
        """Write the inputs of B rows into `out`, shape (B, 1)."""
        out[:, 0] = np.where(np.isnan(values), 0.0, 2.0 * (values > 0) - 1.0)


@dataclass(frozen=True)
class NumericColumn(Column):
    """A number, scaled by its quartiles and clipped smoothly, as RealMLP does it.

    What is missing takes the median. Where the training rows had missing values, a second input
    says so, 1 for missing and 0 for there.

    Attributes
    ----------
    median, scale : float
        The first input is ``f(scale (x - median))``, f being `smooth_clip`.
    may_miss : bool
        Whether there is a second input.
    """

    median: float
    scale: float
    may_miss: bool

    @classmethod
    def learn(cls, place: int, name: str, values: Numbers, weight: Numbers | None) -> Self:
        """Learn from the training rows, shape (B,), NaN for missing ones."""
        there = ~np.isnan(values)
        present = values[there]
        if not len(present):
            return cls(place, name, 0.0, 0.0, False)
        shares = (0.25, 0.5, 0.75)
        low, median, high = _quantiles(present, weight if weight is None else weight[there], shares)
        # Halves cannot overflow: with them, 1 / (high - low) and 2 / (max - min).
        spread = 2 * (high / 2 - low / 2)
        half_range = present.max() / 2 - present.min() / 2
        with np.errstate(divide="ignore", over="ignore"):
            scales = 1 / np.array([spread, half_range])
        scale = next((float(s) for s in scales if np.isfinite(s)), 0.0)
        return cls(place, name, float(median), scale, not there.all())

    @property
    def feature_names(self) -> list[str]:
        """Names of the inputs that it becomes."""
        return [self.name, f"{self.name}_{MISSING}"] if self.may_miss else [self.name]

    def encode(self, values: Numbers, out: Array) -> None:
        """Write the inputs of B rows into `out`, shape (B, 1) or (B, 2)."""
        missing = np.isnan(values)
        with np.errstate(over="ignore"):  # infinite is as far as FAR
            scaled = 2 * self.scale * (values / 2 - self.median / 2)
        out[:, 0] = smooth_clip(np.where(missing, 0.0, scaled))
        if self.may_miss:
            out[:, 1] = missing


@dataclass(frozen=True)
class CategoryColumn(Column):
    """A category as one input for each, 1 for the one that it is and 0 for the others.

    Attributes
    ----------
    codes : dict
        The number of each category that the training rows had, the most frequent first; None is
        the category of what is missing. Rare ones share the last number.
    width : int
        Number of inputs.
    rare : bool
        Whether the last input is for rare categories, and so for those that were never seen. Where
        there is no such input, all inputs of an unknown category are 0.
    """

    codes: dict[Hashable, int]
    width: int
    rare: bool

    @classmethod
    def learn(
        cls, place: int, name: str, values: Sequence[Any], weight: Numbers | None, most: int
    ) -> Self:
        """Learn from the training rows, None for missing ones; there are `most` inputs at most."""
        counts: dict[Hashable, float] = defaultdict(float)
        for value, mass in zip(
            values, np.ones(len(values)) if weight is None else weight, strict=True
        ):
            counts[value] += mass
        # Equally frequent ones go by their text, so that the order of rows does not matter.
        ordered = sorted(counts, key=lambda value: (-counts[value], repr(value)))
        width = min(len(ordered), most)
        codes = {value: min(code, width - 1) for code, value in enumerate(ordered)}
        return cls(place, name, codes, width, len(ordered) > most)

    @property
    def feature_names(self) -> list[str]:
        """Names of the inputs that it becomes."""
        names = [MISSING if value is None else str(value) for value in self.codes][: self.width]
        if self.rare:
            names[-1] = RARE
        return [f"{self.name}_{name}" for name in names]

    def encode(self, values: Sequence[Any], out: Array) -> None:
        """Write the inputs of B rows into `out`, shape (B, `width`)."""
        other = self.width - 1 if self.rare else -1
        codes = np.array([self.codes.get(value, other) for value in values])
        out[:] = 0
        known = np.flatnonzero(codes >= 0)
        out[known, codes[known]] = 1


def smooth_clip(x: Array) -> Array:
    """Return ``x / sqrt(1 + (x/3)²)``: x around 0, and between -3 and 3 everywhere."""
    near = np.clip(x, -FAR, FAR)
    return near / np.sqrt(1 + (near / CLIP) ** 2)


def _quantiles(values: Numbers, weight: Numbers | None, shares: Sequence[float]) -> list[float]:
    """Return quantiles, a weight of 3 counting as three equal values.

    They are those of the inverted distribution function, averaged where it jumps (definition 2 of
    Hyndman & Fan 1996): the usual median.
    """
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    mass = np.ones(len(values)) if weight is None else weight[order]
    total = np.cumsum(mass)
    found = []
    for share in shares:
        limit = share * total[-1]
        low, high = (np.searchsorted(total, limit, side) for side in ("left", "right"))
        a, b = ordered[min(low, len(ordered) - 1)], ordered[min(high, len(ordered) - 1)]
        found.append(float(a / 2 + b / 2))
    return found
