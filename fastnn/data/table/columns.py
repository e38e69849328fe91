"""The columns of a table: how one becomes inputs of a network.

Every function that takes a polars.Series names its column and counts its rows from 0 when it
refuses it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastnn.data.table.file import import_polars

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "CategoryColumn",
    "NumericColumn",
    "check_scale",
    "check_values",
    "is_category",
    "numbers_of",
    "numbers_of_names",
    "scale_of",
    "standardise",
    "text_of",
]

MOST_CATEGORIES = 64
# Text that is no category: dates and times, and numbers that only a reader from there understands.
DATE = (
    r"^(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}([T ].*)?"
    r"|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}"
    r"|\d{1,2}:\d{2}(:\d{2}.*)?)$"
)
COMMA_NUMBER = r"^[+-]?[\d.]*\d,\d[\d.,]*$"
PLAIN_NUMBER = r"^[+-]?[\d.]+$"


@dataclass(frozen=True)
class NumericColumn:
    """A column of numbers, standardised by the mean and the deviation of its training rows.

    A missing value becomes 0, the mean. If values were missing in training, a second input is 1
    where the value is missing and 0 elsewhere.

    Attributes
    ----------
    name : str
        Name of the column.
    mean, std : float
        Mean and population standard deviation of the values in the training rows, in the units of
        the column; `std` is 1 where they are all the same.
    missing : bool
        Whether values were missing in the training rows.
    """

    name: str
    mean: float
    std: float
    missing: bool

    def __post_init__(self) -> None:
        check_scale(f"column {self.name!r}", self.mean, self.std)

    @classmethod
    def learn(cls, series: pl.Series) -> NumericColumn | None:
        """Measure the column; None when it has nothing to tell rows apart by."""
        values = numbers_of(series)
        present = values[~np.isnan(values)]
        missing = present.size < values.size
        if not present.size or (present.min() == present.max() and not missing):
            return None
        return cls(series.name, *scale_of(series.name, present), missing)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of each input that the column becomes."""
        return (self.name, f"{self.name} (missing)") if self.missing else (self.name,)

    def write(self, series: pl.Series, out: NDArray[np.float32]) -> None:
        """Set `out` (B, number of feature names) to the inputs."""
        values = numbers_of(series)
        absent = np.isnan(values)
        scaled = standardise(self.name, values, self.mean, self.std)
        out[:, 0] = np.where(absent, np.float32(0), scaled)
        if self.missing:
            out[:, 1] = absent


@dataclass(frozen=True)
class CategoryColumn:
    """A column of categories, one input each, 1 for the row's category and 0 for the others.

    With more than 64 categories in the training rows, the 64 most frequent (of equals the first in
    the alphabet) have an input, and one more, "(other)", stands for the rarer ones. A category that
    no training row had counts as "(other)" where that exists; else, and for a missing value, all
    inputs are 0.

    Attributes
    ----------
    name : str
        Name of the column.
    categories : tuple of str
        The categories that have an input, sorted.
    other : bool
        Whether "(other)" exists.
    """

    name: str
    categories: tuple[str, ...]
    other: bool

    def __post_init__(self) -> None:
        if not 1 <= len(self.categories) <= MOST_CATEGORIES:
            raise ValueError(
                f"column {self.name!r} has {len(self.categories)} categories; "
                f"1 to {MOST_CATEGORIES} are possible"
            )
        if len(set(self.categories)) != len(self.categories):
            raise ValueError(f"column {self.name!r} has a category twice")

    @classmethod
    def learn(cls, series: pl.Series) -> CategoryColumn | None:
        """Collect the categories; None when the column has nothing to tell rows apart by."""
        present = text_of(series).drop_nulls()
        counts = present.value_counts(name="times").rows()
        if not counts or (len(counts) == 1 and len(present) == len(series)):
            return None
        counts.sort(key=lambda pair: (-pair[1], pair[0]))
        kept = sorted(category for category, _ in counts[:MOST_CATEGORIES])
        return cls(series.name, tuple(kept), len(counts) > MOST_CATEGORIES)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of each input that the column becomes."""
        categories = (*self.categories, "(other)") if self.other else self.categories
        return tuple(f"{self.name}={category}" for category in categories)

    def write(self, series: pl.Series, out: NDArray[np.float32]) -> None:
        """Set `out` (B, number of feature names) to the inputs."""
        is_category(series)
        text = text_of(series)
        numbers = numbers_of_names(text, self.categories)
        if self.other:
            unknown = (numbers < 0) & text.is_not_null().to_numpy()
            numbers[unknown] = len(self.categories)
        rows = np.flatnonzero(numbers >= 0)
        out[:] = 0
        out[rows, numbers[rows]] = 1


def is_category(series: pl.Series) -> bool:
    """Tell text and Booleans from numbers; raise ValueError for what is neither."""
    polars = import_polars()
    dtype = series.dtype
    if dtype.is_numeric() or dtype == polars.Null:
        return False
    if dtype in (polars.String, polars.Boolean, polars.Categorical, polars.Enum):
        return True
    if dtype.is_temporal():
        what = "turn it into numbers, such as a year or days since a fixed day"
    elif dtype.is_nested():
        what = "spread it over columns of their own"
    else:
        what = "turn it into numbers or text"
    raise ValueError(
        f"column {series.name!r} is {dtype}, which a network cannot take; {what}, or leave it out"
    )


def numbers_of(series: pl.Series) -> NDArray[np.float64]:
    """Return a column as float64, NaN where it is missing.

    Raises
    ------
    ValueError
        For infinity, and for text where a number should be.
    """
    polars = import_polars()
    if is_category(series) and series.dtype != polars.Boolean:
        numbers = series.cast(polars.String).cast(polars.Float64, strict=False)
        bad = (numbers.is_null() & series.is_not_null()).arg_true()
        if len(bad):
            raise ValueError(
                f"row {bad[0]} of column {series.name!r} holds {series[bad[0]]!r}, "
                "but the column must hold numbers"
            )
        series = numbers
    values: NDArray[np.float64] = series.cast(polars.Float64).fill_null(math.nan).to_numpy()
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise ValueError(
            f"row {row} of column {series.name!r} holds {values[row]}; "
            "leave the row out, or write a finite number or nothing"
        )
    return values


def text_of(series: pl.Series) -> pl.Series:
    """Return a column as text, whole floats without a point, so that 3 and 3.0 are one name."""
    polars = import_polars()
    if series.dtype.is_float():
        series = series.fill_nan(None)
    text: pl.Series = series.cast(polars.String)
    if series.dtype.is_float():
        whole = series.cast(polars.Int64, strict=False)
        is_whole = (whole == series).fill_null(value=False)
        text = whole.cast(polars.String).zip_with(is_whole, text)
    return text


def numbers_of_names(text: pl.Series, names: tuple[str, ...]) -> NDArray[np.int64]:
    """Return the place of each value among `names`, -1 where it is missing or none of them."""
    polars = import_polars()
    numbers = text.replace_strict(
        list(names), list(range(len(names))), default=-1, return_dtype=polars.Int64
    )
    result: NDArray[np.int64] = numbers.fill_null(-1).to_numpy().copy()
    return result


def scale_of(name: str, values: NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation, 1 in place of a deviation of 0."""
    if values.min() == values.max():  # their mean is not exactly that number
        return float(values[0]), 1.0
    with np.errstate(over="ignore", invalid="ignore"):
        mean, std = float(values.mean()), float(values.std())
    if not (math.isfinite(mean) and math.isfinite(std)):
        raise ValueError(
            f"column {name!r} holds numbers up to {np.abs(values).max():g}, too large to square; "
            "rescale it"
        )
    return mean, std if std > 0 else 1.0


def standardise(
    name: str, values: NDArray[np.float64], mean: float, std: float
) -> NDArray[np.float32]:
    """Return values less their mean over their deviation; NaN, where a value is missing, stays."""
    with np.errstate(over="ignore"):
        scaled = ((values - mean) / std).astype(np.float32)
    infinite = np.isinf(scaled)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise ValueError(
            f"row {row} of column {name!r} holds {values[row]:g}, too far from the training rows "
            f"(mean {mean:g}, deviation {std:g}) for float32; leave the row out"
        )
    return scaled


def check_scale(place: str, mean: float, std: float) -> None:
    """Refuse a mean or deviation that cannot standardise anything."""
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise ValueError(
            f"{place} has mean {mean} and deviation {std}; finite numbers are expected, "
            "the deviation above 0"
        )


def check_values(series: pl.Series) -> None:
    """Refuse a column that cannot be learned from; raise ValueError with what to do about it."""
    polars = import_polars()
    if not is_category(series):
        numbers_of(series)
    present: Any = series.drop_nulls()
    if series.dtype != polars.String or not len(present):
        return
    commas = present.str.contains(COMMA_NUMBER)
    if commas.any() and (commas | present.str.contains(PLAIN_NUMBER)).all():
        raise ValueError(
            f"column {series.name!r} holds numbers with commas such as "
            f"{present.filter(commas)[0]!r}; write them with a point and without separators"
        )
    if present.str.contains(DATE).all():
        raise ValueError(
            f"column {series.name!r} holds dates or times as text such as {present[0]!r}; turn it "
            "into numbers, such as a year or days since a fixed day, or leave it out"
        )
