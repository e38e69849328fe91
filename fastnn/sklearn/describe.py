"""What an estimator's arguments mean as layers, a loss and an optimizer of fastnn.

scikit-learn's losses are multiples of ours: its squared error is halved, its other losses are sums
over the outputs where ours are means. A multiple ``c`` of the loss is minimised by the same steps
as the loss itself, if the penalty is divided by c, and if SGD's rate is multiplied by it, or Adam's
epsilon divided. So nothing but numbers stands between the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from fastnn import layers, losses
from fastnn.activations import ActivationFunction
from fastnn.losses import Loss
from fastnn.optimizers import SGD, Adam, AdamW, Optimizer
from fastnn.schedules import Schedule

__all__ = [
    "Objective",
    "classification",
    "hidden_activations",
    "layers_of",
    "optimizer_of",
    "regression",
]

# What schedules have in the unit of the learning rate.
RATES = frozenset({"initial", "highest", "final", "min_rate"})


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes
    ----------
    loss : Loss
        Ours.
    out_activation : str
        The output activation, by scikit-learn's name.
    outputs : int
        Number of outputs O.
    step : float
        The gradient that scikit-learn follows, over that of `loss`.
    value : float
        The loss that scikit-learn prints, over `loss`. It differs from `step` for the squared error
        of several outputs only: see `MLPRegressor`.
    """

    loss: Loss
    out_activation: str
    outputs: int
    step: float = 1.0
    value: float = 1.0

    def printed(self, measured: float, penalty: float) -> float:
        """Return the loss as scikit-learn prints it.

        Parameters
        ----------
        measured : float
            Our loss with its penalty.
        penalty : float
            scikit-learn's, ``alpha / 2 Σw²`` over the weight of the rows, for the part of it that
            the factor `value` does not cover.
        """
        return self.value * measured + (1 - self.value / self.step) * penalty


def classification(kind: str, outputs: int, label_smoothing: float) -> Objective:
    """Return the objective for targets of a kind: binary, multiclass or multilabel-indicator."""
    if kind == "multiclass":
        return Objective(losses.CrossEntropy(label_smoothing), "softmax", outputs)
    return Objective(losses.BinaryCrossEntropy(), "logistic", outputs, outputs, outputs)


def regression(loss: str, outputs: int, quantile: float, huber_delta: float) -> Objective:
    """Return the objective for a regressor's loss."""
    if loss == "squared_error":
        return Objective(losses.MeanSquaredError(), "identity", outputs, outputs / 2, 0.5)
    if loss == "poisson":
        return Objective(losses.Poisson(), "exp", outputs, outputs, outputs)
    ours = {
        "huber": losses.Huber(huber_delta),
        "quantile": losses.Quantile(quantile),
    }.get(loss, losses.MeanAbsoluteError())
    return Objective(ours, "identity", outputs)


def layers_of(
    estimator: Any, objective: Objective, sizes: Sequence[int], features: int
) -> list[layers.Layer]:
    """Return the layers of an estimator's network.

    A hidden layer is dense, normalised where asked for, activated, and thinned by dropout; with
    `residual` its input is added where the widths agree.
    """
    penalty: dict[str, Any] = {"l2": estimator.alpha / objective.step, "penalty_per_row": True}
    found: list[layers.Layer] = []
    width = features
    for size, activation in zip(sizes, hidden_activations(estimator, len(sizes)), strict=True):
        block: list[layers.Layer] = []
        if estimator.layer_norm:
            block += [layers.Dense(size, **penalty), layers.LayerNorm()]
            block.append(layers.Activation(activation))
        else:
            block.append(layers.Dense(size, activation, **penalty))
        if estimator.dropout > 0:
            block.append(layers.Dropout(estimator.dropout))
        found += [layers.Residual(block)] if estimator.residual and size == width else block
        width = size
    return [*found, layers.Dense(objective.outputs, objective.out_activation, **penalty)]


def hidden_activations(estimator: Any, count: int) -> list[str | ActivationFunction]:
    """Return an activation for each hidden layer.

    Raises
    ------
    ValueError
        When a list of them has another length.
    """
    given = estimator.activation
    if not isinstance(given, (list, tuple)):
        return [given] * count
    if len(given) != count:
        raise ValueError(
            f"activation lists {len(given)} activations, hidden_layer_sizes {count} layers; give "
            "one for each hidden layer, or one for all"
        )
    return list(given)


def optimizer_of(estimator: Any, step: float) -> Optimizer:
    """Return the optimizer of an estimator whose gradient is `step` times ours."""
    clip = estimator.gradient_clip
    clip_norm = None if clip is None else clip / step
    rate = estimator.learning_rate_init if estimator.schedule is None else estimator.schedule
    if estimator.solver == "sgd":
        return SGD(
            _multiplied(rate, step),
            momentum=float(estimator.momentum),
            nesterov=bool(estimator.nesterovs_momentum and estimator.momentum > 0),
            weight_decay=estimator.weight_decay / step,
            clip_norm=clip_norm,
        )
    kind, decay = (AdamW, estimator.weight_decay) if estimator.weight_decay > 0 else (Adam, 0.0)
    return kind(
        rate,
        beta1=estimator.beta_1,
        beta2=estimator.beta_2,
        epsilon=estimator.epsilon / step,
        epsilon_hat=True,
        weight_decay=decay,
        clip_norm=clip_norm,
    )


def _multiplied(rate: float | Schedule, factor: float) -> float | Schedule:
    if not isinstance(rate, Schedule):
        return float(rate) * factor
    given = {field.name for field in fields(rate) if field.init}
    return replace(rate, **{name: getattr(rate, name) * factor for name in RATES & given})
