"""What the arguments of the estimators may be, in the words of scikit-learn's own checks."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np

from fastnn import activations
from fastnn.activations import ActivationFunction
from fastnn.schedules import Schedule
from fastnn.sklearn.borrowed import HasMethods, Interval, Options, StrOptions

__all__ = ["ACTIVATIONS", "CLASSIFIER", "REGRESSOR", "SHARED", "keep"]

# scikit-learn's names first; "logistic" is our sigmoid.
ACTIVATIONS = ("identity", "logistic", "tanh", "relu")

_at_least_0 = Interval(Real, 0, None, closed="left")
_above_0 = Interval(Real, 0, None, closed="neither")
_counts = Interval(Integral, 1, None, closed="left")
_share = Interval(Real, 0, 1, closed="left")


class _ActivationName(StrOptions):
    """Names of activations, those that somebody has registered since included."""

    def __init__(self) -> None:
        super().__init__({*ACTIVATIONS, *activations.known()} - {"softmax"})

    def is_satisfied_by(self, value: Any) -> bool:
        known = {*ACTIVATIONS, *activations.known()} - {"softmax"}
        return isinstance(value, str) and value in known


SHARED: dict[str, Any] = {
    "hidden_layer_sizes": ["array-like", _counts],
    "activation": [_ActivationName(), ActivationFunction, list, tuple],
    "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
    "alpha": [_at_least_0],
    "batch_size": [StrOptions({"auto"}), _counts],
    "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
    "learning_rate_init": [_above_0],
    "power_t": [_at_least_0],
    "max_iter": [_counts],
    "shuffle": ["boolean"],
    "random_state": ["random_state"],
    "tol": [_at_least_0],
    "verbose": ["verbose"],
    "warm_start": ["boolean"],
    "momentum": [Interval(Real, 0, 1, closed="both")],
    "nesterovs_momentum": ["boolean"],
    "early_stopping": ["boolean"],
    "validation_fraction": [_share],
    "beta_1": [_share],
    "beta_2": [_share],
    "epsilon": [_above_0],
    "n_iter_no_change": [_counts, Options(Real, {np.inf})],
    "max_fun": [_counts],
    # Beyond scikit-learn's.
    "dropout": [_share],
    "layer_norm": ["boolean"],
    "residual": ["boolean"],
    "weight_decay": [_at_least_0],
    "gradient_clip": [_above_0, None],
    "schedule": [Schedule, None],
    "early_stopping_metric": [str, callable, None],
    "keep_optimizer": ["boolean"],
    "max_time": [_above_0, None],
    "callbacks": ["array-like", HasMethods(["on_epoch_end"]), None],
    "progress": ["boolean"],
    "n_threads": [_counts, None],
    "dtype": [
        StrOptions({"float32", "float64"}),
        Options(type, {np.float32, np.float64}),
        Options(np.dtype, {np.dtype("float32"), np.dtype("float64")}),
        None,
    ],
    "backend": [str],
}

CLASSIFIER: dict[str, Any] = {
    **SHARED,
    "loss": [StrOptions({"log_loss", "cross_entropy"})],
    "label_smoothing": [_share],
    "class_weight": [dict, list, StrOptions({"balanced"}), None],
}

REGRESSOR: dict[str, Any] = {
    **SHARED,
    "loss": [
        StrOptions({"squared_error", "poisson", "absolute_error", "mae", "huber", "quantile"})
    ],
    "quantile": [Interval(Real, 0, 1, closed="neither")],
    "huber_delta": [_above_0],
}


def keep(estimator: Any, given: Mapping[str, Any]) -> None:
    """Keep the arguments of a constructor, its ``locals()``, as they are.

    That is all that scikit-learn lets a constructor do.
    """
    estimator.__dict__.update({name: given[name] for name in given if name != "self"})
