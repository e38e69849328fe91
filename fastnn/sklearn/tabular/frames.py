"""The door for tables: data frames of several libraries and arrays become columns of two kinds.

A column becomes numbers (float64, NaN where one is missing) or a list of categories (None where one
is missing). Frames are asked by their shape and methods, so that none of their libraries is
imported here.
"""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_array

__all__ = ["BOOLEAN", "CATEGORY", "NUMERIC", "Table", "as_categories", "as_numbers"]

Array = npt.NDArray[Any]

NUMERIC, BOOLEAN, CATEGORY = "numeric", "boolean", "category"

# How the types of columns begin in pandas, polars and pyarrow, in small letters. The first that
# fits counts.
KIND_OF_TYPE = {
    ("bool",): BOOLEAN,
    ("categor", "enum", "dictionary", "str", "utf8", "large_str", "large_utf8"): CATEGORY,
    ("int", "uint", "float", "double", "halffloat", "decimal"): NUMERIC,
}
# Types whose columns are objects of Python, of any kind.
UNSAID = ("object",)


class Table:
    """The columns of a data frame or array, by number.

    Parameters
    ----------
    X : data frame or array-like, shape (B, F)
        Of pandas, polars or pyarrow; or what NumPy takes for an array, also one of objects.

    Attributes
    ----------
    names : list of str
        The names of the columns, ``x0``, ``x1`` and so on where they have none.
    rows : int
    named : bool
        Whether the names are those of a frame.

    Raises
    ------
    TypeError, ValueError
        For sparse, complex or lazy data, another rank than 2, no rows or no columns.
    """

    def __init__(self, X: Any) -> None:
        self._frame: Any = None
        self._array: Array = np.empty((0, 0))
        self.named = _is_frame(X)
        if self.named:
            self._frame = X
            self.rows, columns = (int(n) for n in X.shape)
            if not self.rows or not columns:
                raise ValueError(f"X must have rows and columns, got a frame of shape {X.shape}")
            self.names = [str(name) for name in _column_names(X)]
            return
        # A list of rows with words among the numbers would become words altogether.
        if isinstance(X, (list, tuple)) and np.asarray(X).dtype.kind in "US":
            X = np.array(X, dtype=object)
        if hasattr(X, "collect_schema"):
            raise TypeError(f"X is a {type(X).__name__}, which has no rows yet; give X.collect()")
        self._array = check_array(X, dtype=None, ensure_all_finite=False)
        self.rows = len(self._array)
        self.names = [f"x{j}" for j in range(self._array.shape[1])]

    def __len__(self) -> int:
        return len(self.names)

    def column(self, j: int) -> Any:
        """Return column `j` as its library has it."""
        if self._frame is None:
            return self._array[:, j]
        if hasattr(self._frame, "iloc"):
            return self._frame.iloc[:, j]
        if hasattr(self._frame, "to_series"):
            return self._frame.to_series(j)
        return self._frame.column(j)

    def kind(self, j: int) -> str:
        """Return the kind of column `j` by its type: numeric, boolean or category.

        Raises
        ------
        ValueError
            For dates, times and nested values.
        """
        column = self.column(j)
        said = str(getattr(column, "dtype", None) or column.type).lower()
        if isinstance(column, np.ndarray) and column.dtype.kind in "US":
            return CATEGORY
        if said.startswith(UNSAID):
            return _kind_of_objects(np.asarray(column))
        for starts, kind in KIND_OF_TYPE.items():
            if said.startswith(starts):
                return kind
        raise ValueError(
            f"column {self.names[j]!r} is of type {said}; turn it into numbers, such as days since "
            "a date, or into text"
        )

    def numbers(self, j: int) -> npt.NDArray[np.float64]:
        """Return column `j` as float64, shape (B,), with NaN for what is missing."""
        return as_numbers(self.column(j), self.names[j])

    def categories(self, j: int) -> list[Any]:
        """Return column `j` as a list of B values, with None for what is missing."""
        return as_categories(self.column(j), self.names[j])


def as_numbers(column: Any, name: str) -> npt.NDArray[np.float64]:
    """Return a column as float64, with NaN for what is missing.

    Raises
    ------
    ValueError
        When it holds anything but finite numbers, Booleans and missing values.
    """
    array = np.asarray(column)
    if array.dtype.kind == "O":
        array = np.array([_number(v, row, name) for row, v in enumerate(array.tolist())])
    if array.dtype.kind not in "fiub":
        raise ValueError(f"column {name!r} must hold numbers, got values of type {array.dtype}")
    with np.errstate(over="ignore"):  # what does not fit is infinite, and found below
        values = array.astype(np.float64)
    if np.isinf(values).any():
        row = int(np.flatnonzero(np.isinf(values))[0])
        raise ValueError(
            f"column {name!r} holds infinity in row {row}; missing values may be NaN, infinite "
            "ones have to be replaced before the call"
        )
    return values


def as_categories(column: Any, name: str) -> list[Any]:
    """Return a column as a list of values that a dict can look up, with None for missing ones.

    Raises
    ------
    ValueError
        When it holds lists or other things that cannot be compared.
    """
    values = np.asarray(column).tolist()
    try:
        different = dict.fromkeys(values)
    except TypeError:
        raise ValueError(
            f"column {name!r} holds nested values; categories must be text or numbers"
        ) from None
    # NaN is not equal to itself, but a dict finds the very object that it was given.
    clean = {value: None if _missing(value) else value for value in different}
    return [clean[value] for value in values]


def _is_frame(X: Any) -> bool:
    if isinstance(X, np.ndarray) or not hasattr(X, "shape"):
        return False
    # Series and sparse matrices have neither columns by name nor two dimensions of them.
    return any(hasattr(X, way) for way in ("iloc", "to_series", "column_names")) and (
        len(X.shape) == 2 and not hasattr(X, "nnz")
    )


def _column_names(frame: Any) -> Sequence[Any]:
    return frame.column_names if hasattr(frame, "column_names") else list(frame.columns)


def _kind_of_objects(array: Array) -> str:
    """Return the kind of a column of Python objects: text among the numbers makes categories."""
    present = [value for value in array.tolist() if not _missing(value)]
    if present and all(isinstance(value, (bool, np.bool_)) for value in present):
        return BOOLEAN
    return NUMERIC if all(isinstance(value, numbers.Real) for value in present) else CATEGORY


def _missing(value: Any) -> bool:
    """Tell whether a value is None, NaN, NaT or the NA of pandas."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, numbers.Real) and bool(value != value)


def _number(value: Any, row: int, name: str) -> float:
    if _missing(value):
        return np.nan
    try:
        # A word that reads as a number is a word, and a sign that this is another column.
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise ValueError(f"column {name!r} must hold numbers, got {value!r} in row {row}")
