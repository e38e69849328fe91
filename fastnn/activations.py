"""Activation functions: the name, the formula and the derivative of each.

A formula takes the scores ``z`` (any shape, float32 or float64) and one constant ``c`` (the slope,
α or β of the function, where it has one) and keeps the dtype. A derivative may use the scores and
the output ``a`` both. NaN always comes through. The native backend computes exp, tanh, sigmoid and
gelu within 2.5 units in the last place of the true value for every score; `docs/vecmath.md` of the
project has the worst of each function.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn import checks
from fastnn.errors import unknown_name

__all__ = [
    "CUSTOM",
    "FORMULAS",
    "ActivationFunction",
    "CustomActivation",
    "Formula",
    "elu",
    "get",
    "known",
    "leaky_relu",
    "silu",
]

Array = npt.NDArray[Any]

# Klambauer et al. 2017, "Self-Normalizing Neural Networks", equation 14.
SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717
SQRT_HALF = math.sqrt(0.5)
INVERSE_SQRT_2PI = 1.0 / math.sqrt(2.0 * math.pi)
# Hendrycks & Gimpel 2016, "Gaussian Error Linear Units", section 2.
GELU_TANH_SCALE = math.sqrt(2.0 / math.pi)
GELU_TANH_CUBIC = 0.044715


class Formula(NamedTuple):
    """The formula of one activation function.

    Attributes
    ----------
    value : callable
        ``value(z, c)`` is the activation of the scores z.
    derivative : callable
        ``derivative(z, a, c)`` is its derivative at z, where ``a = value(z, c)``.
    constant : str
        Name of the constant c in the field, empty where the function has none.
    default : float
        Default of c, that of PyTorch 2.
    """

    value: Callable[[Array, float], Array]
    derivative: Callable[[Array, Array, float], Array]
    constant: str = ""
    default: float = 0.0


def _sigmoid(z: Array) -> Array:
    e = np.exp(-np.abs(z))  # never overflows
    return np.where(z < 0, e / (1 + e), 1 / (1 + e)).astype(z.dtype)


def _normal_cdf(z: Array) -> Array:
    # erfc keeps the relative accuracy in the left tail, where 1 + erf would cancel.
    wide = z.astype(np.float64)
    cdf = [0.5 * math.erfc(-x * SQRT_HALF) for x in wide.ravel().tolist()]
    return np.array(cdf, dtype=np.float64).reshape(z.shape).astype(z.dtype)


def _softplus(z: Array) -> Array:
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def _silu_derivative(z: Array, beta: float) -> Array:
    s = _sigmoid(beta * z)
    return s + beta * z * s * (1 - s)


def _gelu_tanh_cdf(z: Array) -> Array:
    # (1 + tanh(u)) / 2 is sigmoid(2 u), which does not cancel in the left tail.
    return _sigmoid(2 * GELU_TANH_SCALE * (z + GELU_TANH_CUBIC * z * z * z))


def _gelu_tanh_derivative(z: Array) -> Array:
    z = np.clip(z, -1e3, 1e3)  # constant far inside, and the square of a large z overflows
    s = _gelu_tanh_cdf(z)
    slope = 2 * GELU_TANH_SCALE * (1 + 3 * GELU_TANH_CUBIC * z * z)
    return s + z * s * (1 - s) * slope


def _mish_derivative(z: Array) -> Array:
    t = np.tanh(_softplus(z))
    return t + z * (1 - t * t) * _sigmoid(z)


def _expm1_below_zero(z: Array) -> Array:
    return np.expm1(np.minimum(z, 0))  # no overflow on the side that is thrown away


FORMULAS: dict[str, Formula] = {
    "identity": Formula(lambda z, c: z.copy(), lambda z, a, c: np.ones_like(z)),
    # The value at 0 is 1: a neuron fires when its score reaches the threshold.
    "heaviside": Formula(
        lambda z, c: np.heaviside(z, z.dtype.type(1)), lambda z, a, c: np.zeros_like(z)
    ),
    "sigmoid": Formula(lambda z, c: _sigmoid(z), lambda z, a, c: a * (1 - a)),
    "tanh": Formula(lambda z, c: np.tanh(z), lambda z, a, c: 1 - a * a),
    "relu": Formula(
        lambda z, c: np.maximum(z, 0), lambda z, a, c: np.where(z <= 0, 0, 1).astype(z.dtype)
    ),
    "leaky_relu": Formula(
        lambda z, c: np.where(z > 0, z, c * z),
        lambda z, a, c: np.where(z > 0, 1, c).astype(z.dtype),
        "slope",
        0.01,
    ),
    "elu": Formula(
        lambda z, c: np.where(z > 0, z, c * _expm1_below_zero(z)),
        lambda z, a, c: np.where(z > 0, z.dtype.type(1), c * np.exp(np.minimum(z, 0))),
        "alpha",
        1.0,
    ),
    "selu": Formula(
        lambda z, c: SELU_SCALE * np.where(z > 0, z, SELU_ALPHA * _expm1_below_zero(z)),
        lambda z, a, c: (
            SELU_SCALE * np.where(z > 0, z.dtype.type(1), SELU_ALPHA * np.exp(np.minimum(z, 0)))
        ),
    ),
    "gelu": Formula(
        lambda z, c: z * _normal_cdf(z),
        lambda z, a, c: _normal_cdf(z) + z * (INVERSE_SQRT_2PI * np.exp(-0.5 * z * z)),
    ),
    "gelu_tanh": Formula(
        lambda z, c: z * _gelu_tanh_cdf(z), lambda z, a, c: _gelu_tanh_derivative(z)
    ),
    "silu": Formula(
        lambda z, c: z * _sigmoid(c * z), lambda z, a, c: _silu_derivative(z, c), "beta", 1.0
    ),
    "softplus": Formula(lambda z, c: _softplus(z), lambda z, a, c: _sigmoid(z)),
    "softsign": Formula(
        lambda z, c: z / (1 + np.abs(z)), lambda z, a, c: np.square(1 / (1 + np.abs(z)))
    ),
    "mish": Formula(lambda z, c: z * np.tanh(_softplus(z)), lambda z, a, c: _mish_derivative(z)),
    "sine": Formula(lambda z, c: np.sin(z), lambda z, a, c: np.cos(z)),
    "exp": Formula(lambda z, c: np.exp(z), lambda z, a, c: a.copy()),
}


class CustomActivation(NamedTuple):
    """An activation that somebody registered; see `fastnn.custom.activation`.

    Attributes
    ----------
    name : str
    function, derivative : callable
        Of one number, as they were written.
    formula : Formula
        Both on arrays.
    """

    name: str
    function: Callable[[Any], Any]
    derivative: Callable[[Any], Any]
    formula: Formula

    @property
    def half_rectifying(self) -> bool:
        """Whether scores above 0 pass about as they are, and scores below 0 hardly."""
        low, high = self.formula.value(np.array([-10.0, 10.0]), 0.0)
        return bool(5 <= high <= 20 and abs(low) <= 0.2 * high)


# By name. A network keeps what stood here when it was made ready to run.
CUSTOM: dict[str, CustomActivation] = {}

ALIASES = {"logistic": "sigmoid", "swish": "silu", "linear": "identity"}

# The one activation that mixes the columns of a row: it has a kernel of its own.
SOFTMAX = "softmax"


# What to do about a name that is not known, because it is one's own.
REGISTER = "register a function of your own by @fastnn.activation before"


def known() -> tuple[str, ...]:
    """Return the names of all activations."""
    return (*FORMULAS, *ALIASES, SOFTMAX, *CUSTOM)


def _formula(name: str) -> Formula | None:
    """Return the formula of a name that is no alias; softmax has none."""
    return CUSTOM[name].formula if name in CUSTOM else FORMULAS.get(name)


@dataclass(frozen=True)
class ActivationFunction:
    """An activation function by name, with its constant.

    Parameters
    ----------
    name : str
        A key of `FORMULAS`, an alias (``logistic``, ``swish``, ``linear``), ``softmax``, or a name
        that `fastnn.activation` has registered.
    constant : float, optional
        The slope, α or β of the function; its default where omitted.

    Raises
    ------
    ValueError
        For an unknown name, or a constant where the function has none.

    Examples
    --------
    >>> ActivationFunction("leaky_relu", 0.2)
    ActivationFunction(name='leaky_relu', constant=0.2)
    """

    name: str
    constant: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or self.name not in known():
            raise unknown_name("activation", self.name, known(), REGISTER)
        name = ALIASES.get(self.name, self.name)
        formula = _formula(name)
        default = formula.default if formula else 0.0
        constant = default if self.constant is None else self.constant
        constant = checks.real_number(f"the constant of {name}", constant)
        if constant != default and not (formula and formula.constant):
            raise ValueError(f"the activation {name!r} has no constant, got {constant}")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "constant", constant)

    def __call__(self, z: npt.ArrayLike) -> Array:
        """Return the activation of numbers, in float64 where they are not float32.

        The softmax is taken along the last axis.
        """
        given = np.asarray(z)
        scores = given if given.dtype == np.float32 else given.astype(np.float64)
        if self.name == SOFTMAX:
            e = np.exp(scores - scores.max(axis=-1, keepdims=True))
            return e / e.sum(axis=-1, keepdims=True)
        formula = _formula(self.name)
        assert formula is not None
        assert self.constant is not None
        return formula.value(scores, self.constant)

    def __reduce__(self) -> tuple[type[ActivationFunction], tuple[str, float | None]]:
        return type(self), (self.name, self.constant)  # so that a pickle's name is looked up too

    def __str__(self) -> str:
        formula = _formula(self.name)
        if formula is None or self.constant == formula.default:
            return self.name
        return f"{self.name}({formula.constant}={self.constant:g})"


def get(activation: str | ActivationFunction | None) -> ActivationFunction:
    """Return the activation function for a name, a function object, or None (identity).

    Raises
    ------
    ValueError
        For an unknown name; the message lists the names and the nearest one.
    """
    if activation is None:
        return ActivationFunction("identity")
    if isinstance(activation, ActivationFunction):
        return activation
    return ActivationFunction(activation)


def leaky_relu(slope: float = 0.01) -> ActivationFunction:
    """Leaky ReLU: z for z > 0, else ``slope * z`` (Maas, Hannun & Ng 2013)."""
    return ActivationFunction("leaky_relu", slope)


def elu(alpha: float = 1.0) -> ActivationFunction:
    """ELU: z for z > 0, else ``alpha * (exp(z) - 1)`` (Clevert, Unterthiner & Hochreiter 2016)."""
    return ActivationFunction("elu", alpha)


def silu(beta: float = 1.0) -> ActivationFunction:
    """SiLU or swish: ``z * sigmoid(beta * z)`` (Ramachandran, Zoph & Le 2017)."""
    return ActivationFunction("silu", beta)
