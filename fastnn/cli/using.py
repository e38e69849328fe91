"""What uses a saved network: ``evaluate``, ``predict`` and ``show``; and ``info`` and ``bench``."""

from __future__ import annotations

import argparse
import reprlib
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastnn.cli import terminal
from fastnn.cli.parser import UsageError
from fastnn.cli.sources import (
    SavedModel,
    check_options,
    check_output,
    kind_of,
    load_images,
    load_set,
)
from fastnn.data import TableEncoder, read_table
from fastnn.information import info as facts

if TYPE_CHECKING:
    import polars as pl

__all__ = ["bench", "evaluate", "info", "predict", "show"]

FEW_ROWS = 10  # of a data set that is shown rather than worked through
MOST_NAMES = 12


def evaluate(arguments: argparse.Namespace) -> None:
    """Print the loss, and the accuracy or r2, of a saved network."""
    kind = kind_of(arguments.data)
    check_options(kind, arguments.folder)
    model = SavedModel.load(arguments.model, arguments.backend, arguments.threads)
    model.check_suits(kind)
    if model.encoder is not None:
        table = model.encoder.encode_with_target(_read_rows(model, arguments.data))
        X, y = table.X, table.y
        text = (
            f"{arguments.data}: all {terminal.counted(len(y), 'row')} of the table; those it was "
            "trained on too, if they are in it"
        )
        if table.dropped_rows:
            text += f"; {table.dropped_rows} left out without a target"
    else:
        dataset = load_set(kind, arguments.folder)
        X, y = dataset.X_test, dataset.y_test
        text = f"{kind}: {len(y)} test rows"
        model.check_suits(kind, X.shape[1])
    result = model.network.evaluate(X, y)
    terminal.say(text)
    for name, value in result.items():
        terminal.say(f"{name} {value:.4f}")


def predict(arguments: argparse.Namespace) -> None:
    """Print a line for every row: class and probability, or the value; a table gives CSV."""
    kind = kind_of(arguments.data, images=True)
    check_options(kind, arguments.folder, output=arguments.output)
    if arguments.output is not None:
        check_output(arguments.output, [arguments.model, arguments.data], model=False)
    model = SavedModel.load(arguments.model, arguments.backend, arguments.threads)
    model.check_suits(kind)
    if kind == "table":
        _predict_table(model, arguments)
        return
    labels = None
    if kind == "images":
        X, rows = load_images(arguments.data), arguments.rows
    else:
        dataset, rows = load_set(kind, arguments.folder), arguments.rows or FEW_ROWS
        X, labels = dataset.X_test, dataset.y_test
    model.check_suits(kind, X.shape[1])
    outputs = model.network.predict(X[:rows])
    for number, row in enumerate(outputs):
        true = "" if labels is None else f", true label {labels[number]}"
        terminal.say(f"row {number}: {_answer(model, row)}{true}")


def _answer(model: SavedModel, row: npt.NDArray[Any]) -> str:
    if not model.class_names:
        return " ".join(str(value) for value in row)
    best = int(row.argmax())
    return f"{model.class_names[best]} ({row[best]:.4f})"


def _predict_table(model: SavedModel, arguments: argparse.Namespace) -> None:
    assert model.encoder is not None
    frame = _read_rows(model, arguments.data)
    if arguments.rows is not None:
        frame = frame.head(arguments.rows)
    outputs = model.network.predict(model.encoder.encode(frame))
    text = _csv_of(model.encoder, outputs)
    if arguments.output is None:
        print(text, end="")
        return
    with open(arguments.output, "x", encoding="utf-8", newline="") as file:
        file.write(text)
    terminal.say(f"wrote {terminal.counted(len(outputs), 'prediction')} to {arguments.output}")


def _csv_of(encoder: TableEncoder, outputs: npt.NDArray[Any]) -> str:
    import polars as pl  # an extra; it is there, or the rows could not have been read

    columns = {"prediction": _with_digits_of(outputs.dtype, encoder.decode(outputs))}
    for number, name in enumerate(encoder.class_names):
        columns[f"probability of {name}"] = outputs[:, number]
    text: str = pl.DataFrame(columns).write_csv()
    return text


def _with_digits_of(dtype: npt.DTypeLike, predictions: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Round values to the nine digits that a float32 can tell; leave others as they are."""
    if dtype != np.float32 or predictions.dtype.kind != "f":
        return predictions
    return np.array([float(f"{value:.9g}") for value in predictions])


def _read_rows(model: SavedModel, path: str) -> pl.DataFrame:
    assert model.encoder is not None
    frame = read_table(path, text=model.encoder.text_columns)
    if not frame.height:
        raise UsageError(f"{path!r} has no rows")
    return frame


def show(arguments: argparse.Namespace) -> None:
    """Print the table of layers, where training stands, and the metadata in short."""
    model = SavedModel.load(arguments.model)
    network = model.network
    print(network.summary())
    epochs = terminal.counted(network.epochs, "epoch")
    steps = terminal.counted(network.steps, "step")
    terminal.say(f"trained: {epochs}, {steps}, seed {network.seed}")
    if model.data:
        terminal.say(f"data: {model.data}")
    if model.encoder is not None:
        columns = [column.name for column in model.encoder.columns]
        terminal.say(f"target: {model.encoder.target} ({model.encoder.task})")
        terminal.say(f"columns: {_listed(columns)}")
    if model.class_names:
        terminal.say(f"classes: {_listed(model.class_names)}")
    for name in sorted(network.metadata.keys() - {"data", "encoder", "target", "class_names"}):
        terminal.say(f"{name}: {reprlib.repr(network.metadata[name])}")


def _listed(names: Any) -> str:
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def info(arguments: argparse.Namespace) -> None:
    """Print what fastnn found here, a line a fact."""
    for name, value in facts().items():
        terminal.say(f"{name}: {value}")


def bench(arguments: argparse.Namespace) -> None:
    """Print how fast fastnn is here, a line as soon as it is measured."""
    from fastnn.bench import lines

    for line in lines(arguments.backend, arguments.threads, arguments.seconds):
        terminal.say(line)
        terminal.flush()
