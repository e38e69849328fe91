"""A network as plain data and back: what saving, loading, copying and pickling share."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import checks, configuration
from fastnn.backends import Executable
from fastnn.errors import ModelFileError, unknown_name
from fastnn.inputs import DTYPES
from fastnn.layers import Layer, check_layers
from fastnn.losses import Loss
from fastnn.optimizers import Optimizer
from fastnn.program import choose_loss, lower
from fastnn.schedules import Plateau
from fastnn.training import TrainingState

__all__ = ["Snapshot", "fill", "read", "tensors_of", "write"]

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

LARGEST_COUNT = 2**62  # training on from there still counts in 64 bits

# Which moment of an optimizer holds squares.
SQUARES = {"adam": 1, "adamw": 1, "rmsprop": 0, "adagrad": 0, "nadam": 1}


@dataclass(frozen=True)
class Snapshot:
    """All that a network is: its description, where its training stands, and its tensors.

    Attributes
    ----------
    layers, loss, optimizer, dtype, seed, metadata
        As given to the Network; `loss` is None for ``"auto"``.
    input_size : int or None
        None while it is not known; then there are no tensors.
    epochs, cursor
        As in `TrainingState`.
    step, optimizer_epochs, product, plateau
        As in `OptimizerState`.
    tensors : dict of str to ndarray
        A parameter and a state stand under their names, the moments of the optimizer under
        ``optimizer.0.`` and so on and the name of the parameter.
    """

    layers: tuple[Layer, ...]
    input_size: int | None
    loss: Loss | None
    optimizer: Optimizer
    dtype: str
    seed: int
    epochs: int
    cursor: tuple[int, int, int]
    step: int
    optimizer_epochs: int
    product: float
    plateau: Plateau
    metadata: dict[str, Any]
    tensors: Tensors = field(repr=False)


PLAIN = {f.name for f in fields(Snapshot)} - {"tensors"}


def tensors_of(executable: Executable, state: TrainingState) -> Tensors:
    """Return copies of the parameters, moments and states, without padding, by name."""
    return {name: view.copy() for name, view in _views(executable, state).items()}


def fill(executable: Executable, state: TrainingState, tensors: Tensors) -> None:
    """Write tensors into the parameters, moments and states that they are named after."""
    for name, view in _views(executable, state).items():
        view[...] = tensors[name]
    executable.changed()


def _views(executable: Executable, state: TrainingState) -> Tensors:
    views = {}
    for p in executable.program.parameters:
        views[p.name] = executable.view(p)
        for number, moment in enumerate(state.optimizer.moments):
            views[f"optimizer.{number}.{p.name}"] = executable.view(p, moment)
    views.update({s.name: executable.state_view(s) for s in executable.program.states})
    return views


def write(path: str | os.PathLike[str], snapshot: Snapshot) -> None:
    """Write a network to a file; see `Network.save`."""
    from fastnn.formats import model_file  # with hashing and JSON: not every program needs them

    _check_metadata(snapshot.metadata)
    plain = {name: configuration.to_config(getattr(snapshot, name)) for name in sorted(PLAIN)}
    model_file.write(path, plain, snapshot.tensors)


def _check_metadata(metadata: dict[str, Any]) -> None:
    import json

    if not isinstance(metadata, dict):
        raise TypeError(f"metadata must be a dict, not {type(metadata).__name__}")
    for key, value in metadata.items():
        try:
            json.dumps({key: value}, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"metadata[{key!r}] must be text, a finite number, True, False, None, or lists and "
                f"dicts of these, not {type(value).__name__}: {error}"
            ) from error
        if not isinstance(key, str):
            raise TypeError(f"the keys of metadata must be texts, got {key!r}")


def read(path: str | os.PathLike[str]) -> Snapshot:
    """Read a network from a file; see `Network.load`.

    Everything is checked before anything as large as the network is allocated beside the file.
    """
    from fastnn.formats import model_file

    plain, tensors = model_file.read(path)
    try:
        return _parse(plain, tensors)
    except configuration.Unregistered as error:
        raise ModelFileError(f"{os.fspath(path)!r} {error}") from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        text = str(error) or type(error).__name__
        raise ModelFileError(f"{os.fspath(path)!r} holds no valid network: {text[:300]}") from error


def _parse(plain: dict[str, Any], tensors: Tensors) -> Snapshot:
    if plain.keys() != PLAIN:
        odd = sorted(plain.keys() ^ PLAIN)[0]
        raise ValueError(f"the field {odd[:100]!r} is missing or unknown")
    layers = check_layers(configuration.from_config(plain["layers"]), "the file")
    optimizer = configuration.from_config(plain["optimizer"])
    loss = configuration.from_config(plain["loss"])
    if not isinstance(optimizer, Optimizer) or not isinstance(loss, (Loss, type(None))):
        raise ValueError("the optimizer or the loss is of the wrong type")
    choose_loss(layers, loss)
    if plain["dtype"] not in DTYPES:
        raise unknown_name("dtype", plain["dtype"], DTYPES)
    if not isinstance(plain["cursor"], list) or len(plain["cursor"]) != 3:
        raise ValueError("the cursor must be three counts")
    if not isinstance(plain["metadata"], dict):
        raise ValueError("the metadata is no object")
    rows, batch_size, done = (_count("cursor", value) for value in plain["cursor"])
    snapshot = Snapshot(
        layers,
        plain["input_size"],
        loss,
        optimizer,
        plain["dtype"],
        checks.whole_number("seed", plain["seed"], 0, 2**64 - 1),
        _count("epochs", plain["epochs"]),
        (rows, batch_size, done),
        _count("step", plain["step"]),
        _count("optimizer_epochs", plain["optimizer_epochs"]),
        checks.real_number("product", plain["product"], 0, 1),
        _plateau(plain["plateau"]),
        plain["metadata"],
        tensors,
    )
    _check_tensors(snapshot)
    return snapshot


def _check_tensors(snapshot: Snapshot) -> None:
    """Hold the tensors against the program: names, shapes and types, one for one."""
    tensors = snapshot.tensors
    expected: dict[str, tuple[int, ...]] = {}
    if snapshot.input_size is not None:
        size = checks.whole_number("input_size", snapshot.input_size, 1)
        program = lower(snapshot.layers, size, snapshot.loss)
        expected.update({s.name: (s.length,) for s in program.states})
        for p in program.parameters:
            moments = range(snapshot.optimizer.moment_count)
            names = (p.name, *(f"optimizer.{number}.{p.name}" for number in moments))
            expected.update(dict.fromkeys(names, p.shape))
    if tensors.keys() != expected.keys():
        odd = sorted(tensors.keys() ^ expected.keys())[0]
        raise ValueError(f"the tensor {odd[:100]!r} is missing or unknown")
    for name, shape in expected.items():
        if tensors[name].shape != shape or tensors[name].dtype != snapshot.dtype:
            raise ValueError(
                f"the tensor {name!r} is {tensors[name].dtype} of shape {tensors[name].shape}, the "
                f"layers ask for {snapshot.dtype} of shape {shape}"
            )
    # Squares are rooted: those of the optimizer, and the variances of batch norms.
    number = SQUARES.get(snapshot.optimizer.name)
    for name in expected:
        square = name.startswith(f"optimizer.{number}.") or name.endswith(".running_variance")
        if square and np.any(tensors[name] < 0):
            raise ValueError(f"the tensor {name!r} holds a negative mean square")


def _plateau(value: object) -> Plateau:
    if not isinstance(value, list) or len(value) != 3:
        raise ValueError("the plateau must be a metric, a count and a scale")
    best, waited, scale = value
    return Plateau(
        None if best is None else checks.real_number("plateau", best),
        _count("plateau", waited),
        checks.real_number("plateau", scale, 0, 1),
    )


def _count(name: str, value: object) -> int:
    return checks.whole_number(name, value, 0, LARGEST_COUNT)
