"""The encoder of a table: columns become inputs, the target outputs, and outputs predictions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastnn.data.table.columns import (
    CategoryColumn,
    NumericColumn,
    check_scale,
    is_category,
    numbers_of,
    numbers_of_names,
    scale_of,
    standardise,
    text_of,
)
from fastnn.data.table.plain import encoder_from_json, encoder_to_json
from fastnn.data.table.rows import (
    TASKS,
    Task,
    check_frame,
    class_names_of,
    column_of,
    known_rows,
    listed,
    missing,
)

if TYPE_CHECKING:
    import polars as pl

__all__ = ["EncodedTable", "TableEncoder"]


class EncodedTable(NamedTuple):
    """The rows of a table whose target is known.

    Attributes
    ----------
    X : ndarray of shape (B, I), float32
        Inputs.
    y : ndarray of shape (B,), int64 or float32
        Class numbers, or standardised values.
    dropped_rows : int
        Rows left out because their target was missing.
    """

    X: NDArray[np.float32]
    y: NDArray[Any]
    dropped_rows: int


@dataclass(frozen=True)
class TableEncoder:
    """Turns the rows of a table into inputs of a network, and its outputs into predictions.

    It is learned from training rows (`learn`) and applied to any rows that have the same columns.
    Numbers are standardised (`NumericColumn`), categories become one input each (`CategoryColumn`).
    Columns that are constant or empty in the training rows are ignored.

    Attributes
    ----------
    target : str
        Name of the column to predict.
    task : str
        "classification" or "regression".
    columns : tuple of NumericColumn and CategoryColumn
        The columns that are used, in the order of their inputs.
    ignored : tuple of str
        The columns that are not, since they are the same in all training rows.
    class_names : tuple of str
        Name of each class: numbers in ascending order, text in that of the alphabet. Empty for a
        regression.
    target_mean, target_std : float
        Mean and population standard deviation of the target in the training rows, in its units;
        0 and 1 for a classification.

    Examples
    --------
    >>> import polars as pl
    >>> from fastnn.data import TableEncoder
    >>> flats = pl.DataFrame(
    ...     {"area": [30, 50, 70], "city": ["Lyon", "Metz", "Lyon"], "price": [1.0, 3.0, 5.0]}
    ... )
    >>> encoder = TableEncoder.learn(flats, "price")
    >>> encoder.feature_names
    ('area', 'city=Lyon', 'city=Metz')
    >>> encoder.encode(flats[1:2])
    array([[0., 0., 1.]], dtype=float32)
    >>> encoder.decode([[0.0]])
    array([3.])
    """

    target: str
    task: Task
    columns: tuple[NumericColumn | CategoryColumn, ...]
    ignored: tuple[str, ...] = ()
    class_names: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"task must be classification or regression, got {self.task!r}")
        names = [self.target, *self.ignored, *(column.name for column in self.columns)]
        if not self.columns or len(set(names)) != len(names):
            raise ValueError("an encoder must have columns, each once and none of them the target")
        classes = len(self.class_names)
        if self.task == "regression":
            if classes:
                raise ValueError(f"a regression has no class_names, got {classes}")
        elif classes < 2 or len(set(self.class_names)) != classes:
            raise ValueError("class_names must be at least two different names")
        check_scale("the target", self.target_mean, self.target_std)

    @classmethod
    def learn(cls, frame: pl.DataFrame, target: str, task: str = "auto") -> TableEncoder:
        """Learn from the training rows how to encode the columns of a table.

        Parameters
        ----------
        frame : polars.DataFrame
            The training rows. Those whose target is missing are passed over.
        target : str
            Name of the column to predict; all others are inputs.
        task : {"auto", "classification", "regression"}
            "auto" takes text and Booleans as classes, and whole numbers if there are at most 20
            different ones and at least five rows to each; all else is a regression.

        Returns
        -------
        TableEncoder
            Independent of `frame`.

        Raises
        ------
        ValueError
            When there is no such target or no target value; when no column tells rows apart; for
            columns of dates, times or nested values, and for infinity, by row and column.
        TypeError
            When `frame` is no polars.DataFrame.
        """
        frame, task = known_rows(frame, target, task)
        goal = frame[target]
        learned = {
            series.name: (CategoryColumn if is_category(series) else NumericColumn).learn(series)
            for series in frame.drop(target).get_columns()
        }
        columns = tuple(column for column in learned.values() if column)
        if not columns:
            raise ValueError(
                f"no column beside the target {target!r} differs between the rows "
                f"(columns: {listed(frame.columns)}); there is nothing to learn from"
            )
        ignored = tuple(name for name, column in learned.items() if not column)
        if task == "regression":
            mean, std = scale_of(target, numbers_of(goal))
            return cls(target, "regression", columns, ignored, (), mean, std)
        return cls(target, "classification", columns, ignored, class_names_of(goal))

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Name of each input: a column's own, with "=category" or " (missing)" after it."""
        return tuple(name for column in self.columns for name in column.feature_names)

    @property
    def text_columns(self) -> tuple[str, ...]:
        """The columns that `read_table` should leave as text when it reads rows to encode."""
        return tuple(
            column.name
            for column in self.columns
            if isinstance(column, CategoryColumn)
            and any(category not in ("false", "true") for category in column.categories)
        )

    def encode(self, frame: pl.DataFrame) -> NDArray[np.float32]:
        """Turn rows into inputs.

        Parameters
        ----------
        frame : polars.DataFrame
            Holds the columns of the training rows, in any order; others are passed over, the
            target too.

        Returns
        -------
        ndarray of shape (B, I), float32
            One column a feature name.

        Raises
        ------
        ValueError
            When a column is missing, or holds infinity or text where numbers were; names them.
        TypeError
            When `frame` is no polars.DataFrame.
        """
        check_frame(frame)
        series = [column_of(frame, column.name, "column") for column in self.columns]
        X = np.empty((frame.height, len(self.feature_names)), np.float32)
        start = 0
        for column, values in zip(self.columns, series, strict=True):
            stop = start + len(column.feature_names)
            column.write(values, X[:, start:stop])
            start = stop
        return X

    def encode_target(self, frame: pl.DataFrame) -> NDArray[Any]:
        """Turn the target of rows into what the network learns.

        Parameters
        ----------
        frame : polars.DataFrame
            Holds the target, missing in no row.

        Returns
        -------
        ndarray of shape (B,)
            int64 class numbers, or float32 standardised values.

        Raises
        ------
        ValueError
            When the target is missing, infinite, or a class that no training row had; by row.
        """
        check_frame(frame)
        goal = column_of(frame, self.target, "target")
        absent = missing(goal)
        if absent.any():
            raise ValueError(
                f"row {np.argmax(absent)} has no value of the target {self.target!r}; "
                "leave the row out, or use encode_with_target, which does"
            )
        return self._target_of(goal, ~absent)

    def _target_of(self, goal: pl.Series, known: NDArray[np.bool_]) -> NDArray[Any]:
        if not known.any() and len(known):
            raise ValueError(f"every value of the target {self.target!r} is missing")
        if self.task == "regression":
            standardised = standardise(
                self.target, numbers_of(goal), self.target_mean, self.target_std
            )
            return standardised[known]
        names = text_of(goal)
        numbers = numbers_of_names(names, self.class_names)
        strange = known & (numbers < 0)
        if strange.any():
            row = int(np.argmax(strange))
            raise ValueError(
                f"row {row} of the target {self.target!r} holds {names[row]!r}, which no training "
                f"row had; known classes: {listed(self.class_names)}"
            )
        return numbers[known]

    def encode_with_target(self, frame: pl.DataFrame) -> EncodedTable:
        """Turn rows into inputs and targets, leaving out rows whose target is missing.

        Parameters
        ----------
        frame : polars.DataFrame
            Holds the columns of the training rows and the target.

        Returns
        -------
        EncodedTable
            ``X``, ``y`` and ``dropped_rows``.

        Raises
        ------
        ValueError
            As `encode` and `encode_target` do, and when every target is missing.
        """
        check_frame(frame)
        known = ~missing(column_of(frame, self.target, "target"))
        X = self.encode(frame)[known]  # all rows first: errors count the rows of `frame`
        y = self._target_of(frame[self.target], known)
        return EncodedTable(X, y, int(frame.height - known.sum()))

    def decode(self, outputs: ArrayLike) -> NDArray[Any]:
        """Turn outputs of the network into predictions.

        Parameters
        ----------
        outputs : array_like
            Of a classification: (B, K) probabilities or scores, of which the largest wins, or of
            two classes (B, 1) or (B,) probabilities of the second. Of a regression: (B, 1) or (B,).

        Returns
        -------
        ndarray of shape (B,)
            Class names (str), or float64 values in the units of the target.

        Raises
        ------
        ValueError
            For another shape, and for NaN.
        """
        values = np.asarray(outputs, np.float64)
        classes = len(self.class_names)
        single = classes in (0, 2) and (values.ndim == 1 or values.shape[1:] == (1,))
        if not single and (values.ndim != 2 or values.shape[1] != (classes or 1)):
            raise ValueError(f"outputs must have shape (B, {classes or 1}), got {values.shape}")
        if np.isnan(values).any():
            row = np.argwhere(np.isnan(values))[0][0]
            raise ValueError(f"outputs hold NaN, first in row {row}; the network has diverged")
        if self.task == "regression":
            return values.reshape(-1) * self.target_std + self.target_mean
        chosen = values.reshape(-1) > 0.5 if single else values.argmax(axis=1)
        names: NDArray[Any] = np.array(self.class_names)[chosen.astype(np.int64)]
        return names

    def to_json(self) -> dict[str, Any]:
        """Return the encoder as a dict of plain JSON values, for `from_json`."""
        return encoder_to_json(vars(self))

    @classmethod
    def from_json(cls, data: object) -> TableEncoder:
        """Rebuild an encoder from what `to_json` gave.

        Parameters
        ----------
        data : dict
            As read from JSON; may come from a stranger.

        Returns
        -------
        TableEncoder
            Equal to the one that was saved.

        Raises
        ------
        ValueError
            When a field is missing, unknown, of a wrong type or out of bounds; names it.
        """
        return cls(**encoder_from_json(data))
