"""Descriptions to plain JSON and back, by a closed list of classes: no name is ever imported."""

from __future__ import annotations

import dataclasses
from typing import Any

from fastnn import activations, layers, losses, optimizers, schedules
from fastnn.errors import unknown_name

__all__ = ["Unregistered", "from_config", "to_config"]

CLASSES: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        activations.ActivationFunction,
        layers.Dense,
        layers.Gated,
        layers.Activation,
        layers.Dropout,
        layers.LayerNorm,
        layers.BatchNorm,
        layers.Residual,
        layers.Concat,
        layers.Columns,
        losses.MeanSquaredError,
        losses.MeanAbsoluteError,
        losses.Huber,
        losses.Quantile,
        losses.CrossEntropy,
        losses.BinaryCrossEntropy,
        losses.Poisson,
        losses.Hinge,
        losses.CustomLoss,
        optimizers.SGD,
        optimizers.Adam,
        optimizers.AdamW,
        optimizers.RMSprop,
        optimizers.Adagrad,
        optimizers.NAdam,
        optimizers.Lion,
        schedules.Constant,
        schedules.Cosine,
        schedules.CosineLog,
        schedules.Step,
        schedules.Exponential,
        schedules.InverseScaling,
        schedules.OneCycle,
        schedules.ReduceOnPlateau,
    )
}


class Unregistered(ValueError):
    """A configuration names an activation or a loss that nobody has registered here."""


def to_config(value: Any) -> Any:
    """Return a description as plain JSON: every object becomes its fields and its ``type``."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        if CLASSES.get(type(value).__name__) is not type(value):
            raise TypeError(f"{value!r} is of a class of your own, which a file cannot hold")
        fields = {name: to_config(getattr(value, name)) for name in _arguments(type(value))}
        return {"type": type(value).__name__, **fields}
    if isinstance(value, (list, tuple)):
        return [to_config(item) for item in value]
    return value


def from_config(config: Any) -> Any:
    """Return the description that `to_config` wrote.

    The constructors check every value, so what a stranger wrote is answered like any other bad
    argument.

    Raises
    ------
    TypeError, ValueError
        For an unknown type, unknown fields, or values that a constructor refuses. Fields that are
        missing take their default, so that files of older versions can be read.
    Unregistered
        For the name of an activation or a loss that is not known.
    """
    if isinstance(config, list):
        return [from_config(item) for item in config]
    if not isinstance(config, dict):
        return config
    name = config.get("type")
    if not isinstance(name, str) or name not in CLASSES:
        raise unknown_name("type in a configuration", name, CLASSES)
    kind = CLASSES[name]
    fields = set(_arguments(kind))
    given = {key: from_config(value) for key, value in config.items() if key != "type"}
    if not given.keys() <= fields:
        raise ValueError(f"{name} has no field {sorted(given.keys() - fields)[0][:100]!r}")
    word = given.get("name")
    if isinstance(word, str) and word.isidentifier():
        _check_registered(kind, word)
    return kind(**given)


def _check_registered(kind: type[Any], name: str) -> None:
    if kind is activations.ActivationFunction:
        own, known = "activation", activations.known()
    elif kind is losses.CustomLoss:
        own, known = "loss", tuple(losses.CUSTOM)
    else:
        return
    if name not in known:
        raise Unregistered(
            f"uses the {own} {name[:100]!r}, which is not known here: register it by @fastnn.{own} "
            "as where the network was made, then load again"
        )


def _arguments(kind: type[Any]) -> list[str]:
    """Return the names of what a constructor takes."""
    return [field.name for field in dataclasses.fields(kind) if field.init]
