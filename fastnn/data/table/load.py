"""A table file, straight to rows that a network learns from."""

from __future__ import annotations

import os

from fastnn.data.dataset import Dataset, split_rows
from fastnn.data.table.columns import numbers_of_names, text_of
from fastnn.data.table.encoder import TableEncoder
from fastnn.data.table.file import read_table
from fastnn.data.table.rows import class_names_of, known_rows

__all__ = ["load_table"]


def load_table(
    path: str | os.PathLike[str],
    target: str,
    task: str = "auto",
    test_fraction: float = 0.2,
    seed: int = 0,
) -> tuple[Dataset, TableEncoder]:
    r"""Read a table, split its rows, and learn from the training rows how to encode it.

    Parameters
    ----------
    path : str or path-like
        A .csv, .tsv or .parquet file, as `read_table` takes it.
    target : str
        Name of the column to predict.
    task : {"auto", "classification", "regression"}
        As in `TableEncoder.learn`, but decided on all rows.
    test_fraction : float
        Share of test rows, at least 0 and below 1; for a classification the same in every class.
    seed : int
        Number of the lot that draws them, as in `split_rows`.

    Returns
    -------
    Dataset
        The encoded rows; ``dropped_rows`` had no target.
    TableEncoder
        For rows to come, and for the way back from outputs to predictions.

    Raises
    ------
    ValueError
        As `read_table`, `split_rows` and `TableEncoder.learn` do.
    FileNotFoundError
        When there is no such file.
    MissingDependency
        When polars is not installed.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from fastnn.data import load_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "flats.csv")
    ...     _ = path.write_text("area,sold\n30,no\n50,no\n70,yes\n90,yes\n")
    ...     dataset, encoder = load_table(path, "sold", test_fraction=0.5)
    >>> dataset.X_train.shape, dataset.class_names, encoder.task
    ((2, 1), ('no', 'yes'), 'classification')
    """
    frame = read_table(path)
    known, task = known_rows(frame, target, task)
    labels = None
    if task == "classification":
        labels = numbers_of_names(text_of(known[target]), class_names_of(known[target]))
    train, test = (known[rows] for rows in split_rows(known.height, labels, test_fraction, seed))
    encoder = TableEncoder.learn(train, target, task)
    dataset = Dataset(
        encoder.encode(train),
        encoder.encode_target(train),
        encoder.encode(test),
        encoder.encode_target(test),
        encoder.class_names,
        frame.height - known.height,
    )
    return dataset, encoder
