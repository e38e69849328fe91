"""Fitted estimators of scikit-learn as ours, and ours as scikit-learn's."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import sklearn.neural_network as theirs
from sklearn.utils.validation import check_is_fitted

from fastnn.activations import ActivationFunction
from fastnn.sklearn.base import BaseMLP
from fastnn.sklearn.classifier import MLPClassifier
from fastnn.sklearn.parameters import ACTIVATIONS
from fastnn.sklearn.regressor import MLPRegressor

__all__ = ["from_sklearn", "to_sklearn"]

# What fitting leaves beside the weights, by the same names in both libraries.
RECORD = (
    "classes_",
    "_label_binarizer",
    "n_features_in_",
    "feature_names_in_",
    "n_outputs_",
    "n_layers_",
    "n_iter_",
    "t_",
    "out_activation_",
    "loss_",
    "best_loss_",
    "loss_curve_",
    "validation_scores_",
    "best_validation_score_",
    "_no_improvement_count",
)

PAIRS: tuple[tuple[Any, Any], ...] = (
    (theirs.MLPClassifier, MLPClassifier),
    (theirs.MLPRegressor, MLPRegressor),
)


def from_sklearn(estimator: Any, **parameters: Any) -> MLPClassifier | MLPRegressor:
    """Return an estimator of fastnn with the weights of a fitted one of scikit-learn.

    Parameters
    ----------
    estimator : sklearn.neural_network.MLPClassifier or MLPRegressor
    **parameters
        Arguments that the new estimator is to have beside those of the old one.

    Returns
    -------
    MLPClassifier or MLPRegressor
        Fitted, with weights of the same bits: it predicts the same classes, and the same numbers up
        to the rounding of sums. `partial_fit` goes on from there, with fresh moments.

    Raises
    ------
    TypeError
        For anything else than these two.
    sklearn.exceptions.NotFittedError
        When it is not fitted.
    """
    kind = next((ours for other, ours in PAIRS if isinstance(estimator, other)), None)
    if kind is None:
        raise TypeError(
            "from_sklearn takes an MLPClassifier or MLPRegressor of sklearn.neural_network, not "
            f"{type(estimator).__module__}.{type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    ours = kind(**{**estimator.get_params(deep=False), **parameters})
    for name in ("classes_", "_label_binarizer"):
        if hasattr(estimator, name):
            setattr(ours, name, copy.deepcopy(getattr(estimator, name)))
    ours._take_weights(estimator.coefs_, estimator.intercepts_, estimator.coefs_[0].dtype)
    _copy_record(estimator, ours)
    return ours


def to_sklearn(estimator: Any) -> Any:
    """Return an estimator of scikit-learn with the weights of a fitted one of fastnn.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        Fitted, with weights of the same bits. Arguments that scikit-learn does not have are left
        out; those that only matter in training, such as dropout, may be used.

    Raises
    ------
    TypeError
        For anything else than these two.
    ValueError
        When scikit-learn has no such network; the message names the argument.
    sklearn.exceptions.NotFittedError
        When it is not fitted.
    """
    kind = next((other for other, ours in PAIRS if type(estimator) is ours), None)
    if kind is None:
        raise TypeError(
            "to_sklearn takes an MLPClassifier or MLPRegressor of fastnn.sklearn, not "
            f"{type(estimator).__module__}.{type(estimator).__name__}"
        )
    check_is_fitted(estimator)
    known = kind().get_params(deep=False)
    given = estimator.get_params(deep=False)
    parameters = {name: value for name, value in given.items() if name in known}
    parameters["activation"] = _their_activation(estimator)
    for name in ("layer_norm", "residual"):
        if getattr(estimator, name):
            raise ValueError(f"scikit-learn has no networks with {name}=True")
    if estimator.out_activation_ == "exp" and "loss" not in known:
        raise ValueError("this version of scikit-learn has no loss='poisson'")
    if isinstance(estimator, MLPRegressor) and "loss" in known:
        # Whatever it was trained for, it predicts by its output activation.
        parameters["loss"] = "poisson" if estimator.out_activation_ == "exp" else "squared_error"
    other = kind(**parameters)
    other.coefs_ = [np.array(w) for w in estimator.coefs_]
    other.intercepts_ = [np.array(b) for b in estimator.intercepts_]
    _copy_record(estimator, other)
    return other


def _their_activation(estimator: BaseMLP) -> str:
    """Return scikit-learn's name of the activation of all hidden layers."""
    given = estimator.activation
    names = {
        function.name if isinstance(function, ActivationFunction) else function
        for function in (given if isinstance(given, (list, tuple)) else [given])
    }
    names = {"logistic" if name == "sigmoid" else name for name in names}
    if len(names) > 1 or not names <= set(ACTIVATIONS):
        raise ValueError(
            f"scikit-learn has one activation for all hidden layers, one of "
            f"{', '.join(ACTIVATIONS)}; not {given!r}"
        )
    return names.pop() if names else "identity"


def _copy_record(source: Any, target: Any) -> None:
    """Copy what fitting has left beside the weights."""
    for name in RECORD:
        if hasattr(source, name):
            setattr(target, name, copy.deepcopy(getattr(source, name)))
