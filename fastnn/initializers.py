"""First weights: the spread of each scheme, and the scheme that suits an activation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from fastnn import activations
from fastnn.errors import unknown_name

__all__ = ["INITIALIZERS", "check", "initialize", "resolve"]

# Variance of a weight from the number of inputs I and outputs O of its layer.
# Glorot & Bengio 2010, equation 12; He et al. 2015, equation 10; LeCun et al. 1998, section 4.6.
VARIANCE: dict[str, Callable[[int, int], float]] = {
    "glorot": lambda i, o: 2.0 / (i + o),
    "he": lambda i, o: 2.0 / i,
    "lecun": lambda i, o: 1.0 / i,
}

CONSTANTS = {"zeros": 0.0, "ones": 1.0}

INITIALIZERS = ("auto", *CONSTANTS, *(f"{s}_{d}" for s in VARIANCE for d in ("uniform", "normal")))

# Half-rectifying activations halve the variance, which He's factor 2 undoes; SELU is derived for
# LeCun's normal; the rest keeps Glorot's compromise between the two directions. An activation that
# somebody registered is asked whether it rectifies, so that a copy of relu starts as relu does.
BY_ACTIVATION = {
    **dict.fromkeys(
        ("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu", "softplus", "mish", "sine"),
        "he_uniform",
    ),
    "selu": "lecun_normal",
}


def check(name: object) -> str:
    """Return the name of an initializer.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the names and the nearest one.
    """
    if not isinstance(name, str) or name not in INITIALIZERS:
        raise unknown_name("initializer", name, INITIALIZERS)
    return name


def resolve(name: str, activation: str) -> str:
    """Return the name of an initializer, that which suits the activation for ``"auto"``."""
    if name != "auto":
        return name
    custom = activations.CUSTOM.get(activation)
    if custom and custom.half_rectifying:
        return "he_uniform"
    return BY_ACTIVATION.get(activation, "glorot_uniform")


def initialize(
    name: str, shape: tuple[int, ...], fan: tuple[int, int], generator: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw the first values of a parameter.

    Parameters
    ----------
    name : str
        One of `INITIALIZERS`, resolved: not ``"auto"``.
    shape : tuple of int
        Shape of the parameter.
    fan : (int, int)
        Inputs I and outputs O of the layer.
    generator : numpy.random.Generator
        Source of the numbers.

    Returns
    -------
    ndarray of float64
        Of the given shape.
    """
    if name in CONSTANTS:
        return np.full(shape, CONSTANTS[name])
    scheme, distribution = name.split("_")
    deviation = float(VARIANCE[scheme](*fan) ** 0.5)
    if distribution == "normal":
        return generator.normal(0.0, deviation, shape)
    limit = 3.0**0.5 * deviation  # a uniform variable on (-a, a) has variance a²/3
    return generator.uniform(-limit, limit, shape)
