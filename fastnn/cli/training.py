"""``fastnn train``: from data on the command line to a saved network and its test result."""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from pathlib import Path
from typing import Any

from fastnn import layers, losses, optimizers
from fastnn.cli import terminal
from fastnn.cli.parser import UsageError
from fastnn.cli.sources import (
    check_options,
    check_output,
    check_replaced,
    count_rows,
    kind_of,
    load_set,
    table_stem,
)
from fastnn.data import Dataset, load_table
from fastnn.network import Network
from fastnn.schedules import Cosine

__all__ = ["train"]

# Chosen on the training rows of the digits and on small public tables, by parts of the training
# rows set aside; the measurements stand in docs/decisions.md.
EPOCHS, FEWEST_EPOCHS, MOST_ROWS_SEEN = 60, 10, 1_000_000
RATES = {"adam": 0.005, "adamw": 0.005, "sgd": 0.1}


def train(arguments: argparse.Namespace) -> None:
    """Train a network, save it, and print a report whose last line is the result on test rows."""
    kind = kind_of(arguments.data)
    task = None if arguments.task == "auto" else arguments.task
    check_options(kind, arguments.folder, target=arguments.target, task=task)
    if kind == "table" and arguments.target is None:
        raise UsageError("a table needs --target COLUMN, the column to predict")
    stem = table_stem(arguments.data) if kind == "table" else kind
    output = f"{stem}.fnn" if arguments.output is None else arguments.output
    check_output(output, [arguments.data] if kind == "table" else [], model=True)
    dataset, metadata = _load(kind, arguments)
    if arguments.output is None:
        check_replaced(output, metadata)
    network = _network(dataset, arguments)
    network.metadata = metadata
    _rehearse_saving(network)
    if not arguments.quiet:
        _say_what(dataset, network, arguments)
    try:
        history = network.fit(
            dataset.X_train,
            dataset.y_train,
            epochs=_epochs(dataset, arguments),
            batch_size=arguments.batch_size,
            progress=not arguments.quiet,
        )
    except KeyboardInterrupt:
        raise KeyboardInterrupt("nothing was saved") from None
    network.save(output)
    if not arguments.quiet:
        epochs = terminal.counted(len(history["loss"]), "epoch")
        terminal.say(f"trained {epochs} in {history.seconds:.2f} s")
        terminal.say(f"saved to {output}; predict with:")
        terminal.say("  " + _predicting_line(kind, output, arguments))
    result = network.evaluate(dataset.X_test, dataset.y_test)
    name = "accuracy" if "accuracy" in result else "r2"
    terminal.say(f"test {name} {result[name]:.4f}")


def _load(kind: str, arguments: argparse.Namespace) -> tuple[Dataset, dict[str, Any]]:
    """Return the rows, and what the model file tells of them."""
    metadata: dict[str, Any] = {"data": kind}
    if kind == "table":
        dataset, encoder = load_table(arguments.data, arguments.target, arguments.task)
        metadata |= {"target": encoder.target, "encoder": encoder.to_json()}
    else:
        dataset = load_set(kind, arguments.folder)
    if not len(dataset.y_test):
        rows = len(dataset.y_train)
        raise UsageError(
            f"{arguments.data!r} has {terminal.counted(rows, 'row')}, too few to set some aside as "
            "a test"
        )
    if dataset.class_names:
        metadata["class_names"] = list(dataset.class_names)
    return dataset, metadata


def _network(dataset: Dataset, arguments: argparse.Namespace) -> Network:
    hidden: list[layers.Layer] = []
    for units in arguments.hidden:
        hidden.append(layers.Dense(units, arguments.activation))
        if arguments.dropout:
            hidden.append(layers.Dropout(arguments.dropout))
    classes = len(dataset.class_names)
    last = layers.Dense(classes, "softmax") if classes else layers.Dense(1)
    optimizer = optimizers.get(arguments.optimizer)
    rate = arguments.learning_rate
    if rate is None:
        rate = RATES.get(arguments.optimizer, optimizer.learning_rate)
    schedule = Cosine(rate, length=_epochs(dataset, arguments))
    network = Network(
        [*hidden, last],
        input_size=dataset.X_train.shape[1],
        loss="auto" if arguments.loss is None else arguments.loss,
        optimizer=dataclasses.replace(optimizer, learning_rate=schedule),
        dtype=arguments.dtype,
        seed=arguments.seed,
        backend=arguments.backend,
        threads=arguments.threads,
    )
    learned = "classes" if classes else "values"
    if network.loss.targets != learned:
        automatic = losses.automatic("softmax" if classes else "identity")
        raise UsageError(
            f"the loss {network.loss.name} learns {network.loss.targets}, the target here is "
            f"{learned}; give another --loss, or none for {automatic.name}"
        )
    return network


def _epochs(dataset: Dataset, arguments: argparse.Namespace) -> int:
    """Return the epochs asked for, else fewer for more rows: a million rows train well enough."""
    if arguments.epochs is not None:
        return int(arguments.epochs)
    return min(EPOCHS, max(FEWEST_EPOCHS, MOST_ROWS_SEEN // len(dataset.y_train)))


def _rehearse_saving(network: Network) -> None:
    """Save the untrained network elsewhere: metadata too large for a file are found out now."""
    with tempfile.TemporaryDirectory() as folder:
        network.save(Path(folder, "rehearsal.fnn"))


def _say_what(dataset: Dataset, network: Network, arguments: argparse.Namespace) -> None:
    trained_on = count_rows(len(dataset.y_train), dataset.dropped_rows)
    tested_on = f"{len(dataset.y_test)} to test on"
    terminal.say(f"{arguments.data}: training on {trained_on}; {tested_on}")
    goal = f"{len(dataset.class_names)} classes" if dataset.class_names else "1 value"
    widths = " - ".join(str(width) for width in (network.input_size, *arguments.hidden))
    terminal.say(
        f"network: {widths} - {goal}, {arguments.activation}, {network.parameter_count:,} "
        f"parameters, backend {network.backend}"
    )


def _predicting_line(kind: str, output: str, arguments: argparse.Namespace) -> str:
    words = ["predict", output, arguments.data]
    if kind == "mnist":
        words += ["--data", arguments.folder]
    return terminal.command_line(words)
