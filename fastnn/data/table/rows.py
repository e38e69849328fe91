"""Which rows of a table can be learned from, and what kind of target they have."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from fastnn.data.table.columns import check_values, is_category, numbers_of, text_of
from fastnn.data.table.file import import_polars

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "TASKS",
    "Task",
    "check_frame",
    "class_names_of",
    "column_of",
    "known_rows",
    "listed",
    "missing",
    "task_of",
]

Task = Literal["classification", "regression"]
TASKS = ("classification", "regression")

# A target of whole numbers is taken as classes when they are few, and each stands in enough rows.
MOST_NUMBERED_CLASSES = 20
ROWS_PER_CLASS = 5
MOST_LISTED = 20  # names in an error


def known_rows(frame: pl.DataFrame, target: str, task: str) -> tuple[pl.DataFrame, Task]:
    """Check every value of a table; return the rows that have a target, and the task.

    All rows are checked before any is left out, so that errors count the rows of `frame`.
    """
    check_frame(frame)
    goal = column_of(frame, target, "target")
    if frame.width < 2:
        raise ValueError(f"the table has the column {target!r} alone; there is no input beside it")
    for series in frame.get_columns():
        check_values(series)
    known = ~missing(goal)
    if not known.any():
        what = (
            f"every value of the target {target!r} is missing" if len(known) else "it has no rows"
        )
        raise ValueError(f"the table cannot be learned from: {what}")
    frame = frame[np.flatnonzero(known)]
    found = task_of(frame[target], task)
    if found == "regression":
        numbers_of(goal)
    return frame, found


def task_of(goal: pl.Series, task: str) -> Task:
    """Decide between classes and numbers by the values that are present."""
    if task not in (*TASKS, "auto"):
        raise ValueError(f"task must be auto, classification or regression, got {task!r}")
    classes, rows = goal.n_unique(), len(goal)
    if task == "auto" and is_category(goal):
        if classes > max(MOST_NUMBERED_CLASSES, rows // 2):
            raise ValueError(
                f"the target {goal.name!r} holds {classes} different texts in {rows} rows, such as "
                f"{goal[0]!r}: names rather than classes; task='classification' takes it anyway"
            )
        task = "classification"
    elif task == "auto":
        few = classes <= MOST_NUMBERED_CLASSES and classes * ROWS_PER_CLASS <= rows
        task = "classification" if few and goal.dtype.is_integer() else "regression"
    return "classification" if task == "classification" else "regression"


def class_names_of(goal: pl.Series) -> tuple[str, ...]:
    """Return the name of each class: numbers ascending, text in the order of the alphabet."""
    ordered = text_of(goal).unique().sort() if is_category(goal) else text_of(goal.unique().sort())
    names = tuple(dict.fromkeys(ordered))
    if len(names) < 2:
        raise ValueError(
            f"the target {goal.name!r} holds the one class {names[0]!r}; two are needed"
        )
    return names


def missing(series: pl.Series) -> NDArray[np.bool_]:
    """Return where a column holds nothing or NaN."""
    absent = series.is_null()
    if series.dtype.is_float():
        absent |= series.is_nan().fill_null(value=True)
    result: NDArray[np.bool_] = absent.to_numpy()
    return result


def check_frame(frame: object) -> None:
    """Raise TypeError for anything but a polars.DataFrame."""
    if not isinstance(frame, import_polars().DataFrame):
        raise TypeError(
            f"frame must be a polars.DataFrame, not {type(frame).__name__}; "
            "polars.from_pandas and polars.DataFrame make one"
        )


def column_of(frame: pl.DataFrame, name: str, role: str) -> pl.Series:
    """Return a column, or raise ValueError with the names that exist and the nearest."""
    if not isinstance(name, str):
        raise TypeError(f"{role} must be the name of a column, not {name!r}")
    try:
        return frame.get_column(name)
    except import_polars().exceptions.ColumnNotFoundError:
        near = difflib.get_close_matches(name, frame.columns, n=1, cutoff=0.5)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"the table has no {role} {name!r}{hint}; its columns: {listed(frame.columns)}"
        ) from None


def listed(names: Sequence[str]) -> str:
    """Join names for an error, the first of them if there are many."""
    more = f" and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return ", ".join(names[:MOST_LISTED]) + more
