"""The weights of a network as scikit-learn lists them: the matrices, and the biases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.activations import ActivationFunction
from fastnn.network import Network

__all__ = ["Weights", "draw", "penalized", "weights_of"]

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
    """
    names = [*activations, activations[-1] if activations else "identity"]
    pairs = zip(weights_of(network, "weight"), weights_of(network, "bias"), names, strict=True)
    for weight, bias, activation in pairs:
        bound = _bound(activation, *weight.shape)
        weight[...] = random_state.uniform(-bound, bound, weight.shape)
        bias[...] = random_state.uniform(-bound, bound, bias.shape)


def _bound(activation: str | ActivationFunction, inputs: int, outputs: int) -> float:
    name = activation if isinstance(activation, str) else activation.name
    return float(np.sqrt((2.0 if name in ("logistic", "sigmoid") else 6.0) / (inputs + outputs)))
