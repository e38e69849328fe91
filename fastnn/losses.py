"""Losses: the value of a row and its derivative in the scores, from the scores themselves.

A formula takes the scores ``z`` of shape (B, O) and the targets ``t`` of the same shape and returns
the loss of every row, shape (B,), and the derivative of each row's loss in its scores, shape
(B, O). The loss of a batch is the mean over its rows, weighted where rows have weights. The losses
of probabilities work on the raw scores (logits), never on rounded probabilities.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn import checks
from fastnn.errors import unknown_name

__all__ = [
    "CUSTOM",
    "LOSSES",
    "BinaryCrossEntropy",
    "CrossEntropy",
    "CustomLoss",
    "Hinge",
    "Huber",
    "Loss",
    "LossDefinition",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "Quantile",
    "accepts",
    "automatic",
    "get",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Loss:
    """Base of the descriptions of losses.

    Attributes
    ----------
    name : str
        The name that users write.
    heads : tuple of str
        The output activations that `predict` may apply behind this loss while the loss itself acts
        on the raw scores. Empty: the loss acts on the outputs, whatever the activation.
    targets : str
        ``"classes"`` (labels or rows of probabilities), ``"probabilities"`` (each output in 0..1),
        ``"signs"`` (each output -1 or 1), ``"counts"`` (each output at least 0) or ``"values"``.
    """

    name: ClassVar[str]
    heads: ClassVar[tuple[str, ...]] = ()
    targets: ClassVar[str] = "values"

    @property
    def constant(self) -> float:
        """The one constant of the formula (δ of Huber, the quantile, the smoothing), else 0."""
        return 0.0

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        raise TypeError(f"{type(self).__name__} is no loss by itself")


@dataclass(frozen=True)
class MeanSquaredError(Loss):
    """Mean over the outputs of ``(z - t)**2``."""

    name: ClassVar[str] = "mse"

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        d = z - t
        return (d * d).mean(axis=1), 2 * d / z.shape[1]


@dataclass(frozen=True)
class MeanAbsoluteError(Loss):
    """Mean over the outputs of ``|z - t|``; the derivative at 0 is 0."""

    name: ClassVar[str] = "mae"

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        d = z - t
        return np.abs(d).mean(axis=1), np.sign(d) / z.shape[1]


@dataclass(frozen=True)
class Huber(Loss):
    """Mean over the outputs of ``d²/2`` where ``|d| <= delta``, else ``delta (|d| - delta/2)``.

    Parameters
    ----------
    delta : float
        Where the square turns into a line, in units of the target (Huber 1964).
    """

    delta: float = 1.0
    name: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", checks.real_number("delta", self.delta, 0, above=True))

    @property
    def constant(self) -> float:
        """The one constant of the formula: delta."""
        return self.delta

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        d = z - t
        size = np.abs(d)
        line = self.delta * (size - 0.5 * self.delta)
        value = np.where(size <= self.delta, 0.5 * d * d, line)
        return value.mean(axis=1), np.clip(d, -self.delta, self.delta) / z.shape[1]


@dataclass(frozen=True)
class Quantile(Loss):
    """Mean over the outputs of ``max(q d, (q - 1) d)`` with ``d = t - z``: the pinball loss.

    The output that minimises it is the q-quantile of the targets (Koenker & Bassett 1978). With
    q = 1/2 it is half the absolute error. The derivative at 0 is 0.

    Parameters
    ----------
    quantile : float
        q, between 0 and 1.

    Examples
    --------
    >>> Quantile(0.9).rows(np.array([[0.0], [0.0]]), np.array([[1.0], [-1.0]]))[0].round(3).tolist()
    [0.9, 0.1]
    """

    quantile: float = 0.5
    name: ClassVar[str] = "quantile"

    def __post_init__(self) -> None:
        q = checks.real_number("quantile", self.quantile, 0, 1, above=True, below=True)
        object.__setattr__(self, "quantile", q)

    @property
    def constant(self) -> float:
        """The one constant of the formula: the quantile."""
        return self.quantile

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        q, d = z.dtype.type(self.quantile), t - z
        value = np.maximum(q * d, (q - 1) * d)
        return value.mean(axis=1), (np.heaviside(-d, q) - q) / z.shape[1]


@dataclass(frozen=True)
class CrossEntropy(Loss):
    """``logsumexp(z) - Σ t z``: minus the log-likelihood of classes under softmax(z).

    Parameters
    ----------
    label_smoothing : float
        ε in ``t' = (1 - ε) t + ε / O`` (Szegedy et al. 2016), from 0 to below 1.
    """

    label_smoothing: float = 0.0
    name: ClassVar[str] = "cross_entropy"
    heads: ClassVar[tuple[str, ...]] = ("softmax", "identity")
    targets: ClassVar[str] = "classes"

    def __post_init__(self) -> None:
        smoothing = checks.real_number("label_smoothing", self.label_smoothing, 0, 1, below=True)
        object.__setattr__(self, "label_smoothing", smoothing)

    @property
    def constant(self) -> float:
        """The one constant of the formula: the label smoothing."""
        return self.label_smoothing

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        smooth = (1 - self.label_smoothing) * t + self.label_smoothing / z.shape[1]
        shifted = z - z.max(axis=1, keepdims=True)
        exponential = np.exp(shifted)
        total = exponential.sum(axis=1, keepdims=True)
        mass = smooth.sum(axis=1, keepdims=True)
        value = mass[:, 0] * np.log(total[:, 0]) - (smooth * shifted).sum(axis=1)
        return value, mass * (exponential / total) - smooth


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    """Mean over the outputs of ``softplus(z) - t z``: yes-or-no outputs under sigmoid(z)."""

    name: ClassVar[str] = "binary_cross_entropy"
    heads: ClassVar[tuple[str, ...]] = ("sigmoid", "identity")
    targets: ClassVar[str] = "probabilities"

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        e = np.exp(-np.abs(z))
        value = np.maximum(z, 0) - z * t + np.log1p(e)
        sigmoid = np.where(z < 0, e / (1 + e), 1 / (1 + e))
        return value.mean(axis=1), (sigmoid - t) / z.shape[1]


@dataclass(frozen=True)
class Poisson(Loss):
    """Mean over the outputs of ``exp(z) - t z``: counts t at the rate exp(z).

    Minus the log-likelihood of Poisson's distribution, without the ``log(t!)`` that no weight
    changes. Targets are at least 0, whole or not; `predict` gives rates behind ``exp``, log rates
    without it.
    """

    name: ClassVar[str] = "poisson"
    heads: ClassVar[tuple[str, ...]] = ("exp", "identity")
    targets: ClassVar[str] = "counts"

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        rate = np.exp(z)
        return (rate - t * z).mean(axis=1), (rate - t) / z.shape[1]


@dataclass(frozen=True)
class Hinge(Loss):
    """Mean over the outputs of ``max(0, 1 - t z)``: a margin of 1 around the labels -1 and 1.

    The loss of the support vector machine (Cortes & Vapnik 1995). The derivative at the edge of the
    margin is 0. Labels 0 and 1 are taken as -1 and 1; `predict` gives scores, whose sign decides.
    """

    name: ClassVar[str] = "hinge"
    heads: ClassVar[tuple[str, ...]] = ("identity",)
    targets: ClassVar[str] = "signs"

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        margin = 1 - t * z
        return np.maximum(margin, 0).mean(axis=1), -t * np.heaviside(margin, 0) / z.shape[1]


# The output activations that can stand behind a loss on raw scores.
HEADS = ("softmax", "sigmoid", "exp", "identity")


class LossDefinition(NamedTuple):
    """A loss that somebody registered; see `fastnn.custom.loss`.

    Attributes
    ----------
    name : str
    function, derivative : callable
        Of a score and a target, as they were written.
    heads, targets
        As in `Loss`.
    value, slope : callable
        Both functions on arrays.
    """

    name: str
    function: Callable[[Any, Any], Any]
    derivative: Callable[[Any, Any], Any]
    heads: tuple[str, ...]
    targets: str
    value: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        return self.value(z, t).mean(axis=1, dtype=np.float64), self.slope(z, t) / z.shape[1]


# By name. A network keeps what stood here when it was made ready to run.
CUSTOM: dict[str, LossDefinition] = {}


@dataclass(frozen=True)
class CustomLoss(Loss):
    """A loss of one's own, by the name under which `fastnn.loss` has registered it.

    Parameters
    ----------
    name : str

    Raises
    ------
    ValueError
        When nothing is registered under this name.
    """

    name: str  # type: ignore[misc]  # of every object, not of the class

    def __post_init__(self) -> None:
        if self.name not in CUSTOM:
            raise unknown_name("loss", self.name, (*LOSSES, *CUSTOM), REGISTER)

    def __reduce__(self) -> tuple[type[CustomLoss], tuple[str]]:
        return type(self), (self.name,)  # so that a pickle's name is looked up too

    @property
    def heads(self) -> tuple[str, ...]:  # type: ignore[override]  # of every object too
        """The output activations that may stand behind it while it acts on the raw scores."""
        return CUSTOM[self.name].heads

    @property
    def targets(self) -> str:  # type: ignore[override]  # of every object too
        """What the targets are."""
        return CUSTOM[self.name].targets

    def rows(self, z: Array, t: Array) -> tuple[Array, Array]:
        """Return the loss of every row, shape (B,), and its derivative in `z`, shape (B, O)."""
        return CUSTOM[self.name].rows(z, t)


REGISTER = "register a function of your own by @fastnn.loss before"

LOSSES: dict[str, Callable[[], Loss]] = {
    kind.name: kind
    for kind in (
        MeanSquaredError,
        MeanAbsoluteError,
        Huber,
        Quantile,
        CrossEntropy,
        BinaryCrossEntropy,
        Poisson,
        Hinge,
    )
}


def get(loss: str | Loss) -> Loss:
    """Return the description of a loss from its name or itself.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the names and the nearest one.
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, type):
        raise TypeError(f"loss must be a name or an object: write {loss.__name__}()")
    if isinstance(loss, str) and loss in CUSTOM:
        return CustomLoss(loss)
    if not isinstance(loss, str) or loss not in LOSSES:
        raise unknown_name("loss", loss, (*LOSSES, *CUSTOM, "auto"), REGISTER)
    return LOSSES[loss]()


def automatic(head: str) -> Loss:
    """Return the loss that goes with an output activation when the user names none."""
    by_head = {"softmax": CrossEntropy(), "sigmoid": BinaryCrossEntropy()}
    return by_head.get(head, MeanSquaredError())


def accepts(loss: Loss, head: str) -> bool:
    """Tell whether a loss can stand behind the output activation `head`."""
    return not loss.heads or head in loss.heads
