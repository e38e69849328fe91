"""The weights of a network as scikit-learn lists them: the matrices, and the biases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.activations import ActivationFunction
from fastnn.network import Network

__all__ = ["Weights", "draw", "inherit", "penalized", "weights_of", "write"]

Array = npt.NDArray[Any]


class Weights(list[Array]):
    """Live weights: what is written into an array counts, and so does an array put in its place."""

    def __setitem__(self, place: Any, values: Any) -> None:
        """Write into the weights."""
        if isinstance(place, slice):
            for own, given in zip(self[place], values, strict=True):
                own[...] = given
        else:
            self[place][...] = values


def weights_of(network: Network, role: str) -> Weights:
    """Return the ``"weight"`` or the ``"bias"`` of every dense layer, from the input on."""
    return Weights(
        values for name, values in network.parameters.items() if name.rpartition(".")[2] == role
    )


def write(network: Network, role: str, values: Sequence[Any]) -> None:
    """Write the ``"weight"`` or the ``"bias"`` of every dense layer, from the input on.

    Raises
    ------
    ValueError
        When the arrays have other shapes.
    """
    own = weights_of(network, role)
    expected, came = [np.shape(array) for array in own], [np.shape(array) for array in values]
    if came != expected:
        raise ValueError(f"the layers have arrays of shapes {expected}, not {came}")
    own[:] = values


def inherit(network: Network, there: Network, threads: int | None) -> tuple[Network, bool]:
    """Return a network with the weights of the one that was there, and whether it trains on.

    It trains on, with the moments, where only layers have changed, such as their penalties and
    activations, and not their names or the loss.

    Raises
    ------
    ValueError
        When the weights have other shapes.
    """
    shapes, old = (
        {name: values.shape for name, values in each.parameters.items()}
        for each in (network, there)
    )
    if [*shapes.values()] != [*old.values()]:
        raise ValueError(
            "the layers are no longer those of the weights that training should go on from; make "
            "a new estimator, or set warm_start=False"
        )
    if shapes == old and network.loss == there.loss:
        snapshot = replace(there._snapshot(), layers=network.layers)
        return Network._restore(snapshot, there.backend, threads), True
    network.parameters_vector = there.parameters_vector
    return network, False


def penalized(network: Network) -> float:
    """Return the sum of the squares of all weights, biases not counted."""
    return sum(float(np.vdot(w, w)) for w in weights_of(network, "weight"))


def draw(
    network: Network,
    activations: Sequence[str | ActivationFunction],
    random_state: np.random.RandomState,
) -> None:
    """Draw the first weights and biases that scikit-learn draws, in its order.

    They are uniform within a bound of Glorot & Bengio 2010; see `_bound`.

    Parameters
    ----------
    network : Network
    activations : list
        One for each dense layer, the last included: its bound is that of the hidden layers.
    random_state : numpy.random.RandomState
    """
    pairs = zip(
        weights_of(network, "weight"), weights_of(network, "bias"), activations, strict=True
    )
    for weight, bias, activation in pairs:
        bound = _bound(activation, *weight.shape)
        weight[...] = random_state.uniform(-bound, bound, weight.shape)
        bias[...] = random_state.uniform(-bound, bound, bias.shape)


def _bound(activation: str | ActivationFunction, inputs: int, outputs: int) -> float:
    name = activation if isinstance(activation, str) else activation.name
    return float(np.sqrt((2.0 if name in ("logistic", "sigmoid") else 6.0) / (inputs + outputs)))
