"""A Network as plain data and back: what `save`, `load`, copying and pickling share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastnn import configuration
from fastnn.errors import ModelFileError
from fastnn.layers import check_layers
from fastnn.losses import Loss
from fastnn.optimizers import Optimizer
from fastnn.program import Program, lower

if TYPE_CHECKING:
    from fastnn.network import Network

__all__ = ["contents", "load", "restore", "save"]

Array = npt.NDArray[Any]
Tensors = dict[str, Array]

FIELDS = {
    "layers",
    "input_size",
    "loss",
    "optimizer",
    "dtype",
    "seed",
    "epochs",
    "cursor",
    "step",
    "metadata",
}


def contents(network: Network) -> tuple[dict[str, Any], Tensors]:
    """Return a network as a description in plain JSON, and its tensors.

    A parameter stands under its name, the moments of the optimizer under ``optimizer.0.`` and so on
    and the name.
    """
    description: dict[str, Any] = {
        "layers": configuration.to_config(network.layers),
        "input_size": network.input_size,
        "loss": configuration.to_config(network._loss),
        "optimizer": configuration.to_config(network.optimizer),
        "dtype": str(network.dtype),
        "seed": network.seed,
        "epochs": network.epochs,
        "cursor": [0, 0, 0],
        "step": network.steps,
        "metadata": network.metadata,
    }
    executable, tensors = network._executable, {}
    if executable is not None:
        state = network._state
        description["cursor"] = list(state.cursor)
        for p in executable.program.parameters:
            tensors[p.name] = executable.view(p).copy()
            for number, moment in enumerate(state.optimizer.moments):
                name = f"optimizer.{number}.{p.name}"
                tensors[name] = executable.view(p, moment).copy()
    return description, tensors


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network to a file; see `Network.save`."""
    from fastnn.formats import model_file  # with hashing and JSON: not every program needs them

    model_file.write(path, *contents(network))


def load(
    kind: type[Network], path: str | os.PathLike[str], backend: str, threads: int | None
) -> Network:
    """Read a network from a file; see `Network.load`."""
    from fastnn.formats import model_file

    description, tensors = model_file.read(path)
    try:
        return restore(kind, description, tensors, backend, threads)
    except (TypeError, ValueError, KeyError, OverflowError, RecursionError) as error:
        text = str(error) or type(error).__name__
        raise ModelFileError(f"{os.fspath(path)!r} holds no valid network: {text[:300]}") from error


def restore(
    kind: type[Network],
    description: dict[str, Any],
    tensors: Tensors,
    backend: str,
    threads: int | None = None,
) -> Network:
    """Return the network that `contents` took apart.

    Everything is checked before anything as large as the network is allocated.

    Raises
    ------
    TypeError, ValueError
        When the description is wrong in itself, or does not fit the tensors.
    """
    if description.keys() != FIELDS:
        odd = sorted(description.keys() ^ FIELDS)[0]
        raise ValueError(f"the field {odd[:100]!r} is missing or unknown")
    layers = check_layers(configuration.from_config(description["layers"]), "the file")
    optimizer = configuration.from_config(description["optimizer"])
    loss = configuration.from_config(description["loss"])
    if not isinstance(optimizer, Optimizer) or not isinstance(loss, (Loss, type(None))):
        raise ValueError("the optimizer or the loss is of the wrong type")
    size = description["input_size"]
    if size is not None:
        program = lower(layers, _count("input_size", size, 1), loss)
        _check_tensors(program, optimizer, tensors, description["dtype"])
    elif tensors:
        raise ValueError("there are tensors, but no input size")
    network = kind(
        layers,
        input_size=size,
        loss="auto" if loss is None else loss,
        optimizer=optimizer,
        dtype=description["dtype"],
        seed=_count("seed", description["seed"]),
        backend=backend,
        threads=threads,
    )
    if not isinstance(description["metadata"], dict):
        raise ValueError("the metadata is no object")
    network.metadata = description["metadata"]
    if network._executable is not None:
        _fill(network, description, tensors)
    return network


def _fill(network: Network, description: dict[str, Any], tensors: Tensors) -> None:
    executable, state = network._executable, network._state
    assert executable is not None
    for p in executable.program.parameters:
        executable.view(p)[...] = tensors[p.name]
        for number, moment in enumerate(state.optimizer.moments):
            executable.view(p, moment)[...] = tensors[f"optimizer.{number}.{p.name}"]
    cursor = description["cursor"]
    if not isinstance(cursor, list) or len(cursor) != 3:
        raise ValueError(f"the cursor must be three counts, got {cursor!r}")
    state.epochs = _count("epochs", description["epochs"])
    state.optimizer.step = _count("step", description["step"])
    rows, batch_size, done = (_count("cursor", value) for value in cursor)
    state.cursor = rows, batch_size, done


def _check_tensors(program: Program, optimizer: Optimizer, tensors: Tensors, dtype: object) -> None:
    """Hold the tensors against the program: names, shapes and types, one for one."""
    expected = {}
    for p in program.parameters:
        names = (p.name, *(f"optimizer.{n}.{p.name}" for n in range(optimizer.moment_count)))
        expected.update(dict.fromkeys(names, p.shape))
    if tensors.keys() != expected.keys():
        odd = sorted(tensors.keys() ^ expected.keys())[0]
        raise ValueError(f"the tensor {odd[:100]!r} is missing or unknown")
    for name, shape in expected.items():
        tensor = tensors[name]
        if tensor.shape != shape or str(tensor.dtype) != dtype:
            raise ValueError(
                f"the tensor {name!r} is {tensor.dtype} of shape {tensor.shape}, the layers ask "
                f"for {str(dtype)[:100]} of shape {shape}"
            )
        if name.startswith("optimizer.1.") and np.any(tensor < 0) and optimizer.name != "rmsprop":
            raise ValueError(f"the tensor {name!r} holds a negative mean square")


def _count(name: str, value: object, low: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**64:
        raise ValueError(f"{name} must be a whole number from {low}, got {str(value)[:100]}")
    return value
