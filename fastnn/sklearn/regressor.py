"""The regressor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if

from fastnn.sklearn import describe
from fastnn.sklearn.base import BaseMLP, has_partial_fit
from fastnn.sklearn.borrowed import fit_context
from fastnn.sklearn.data import Rows
from fastnn.sklearn.describe import Objective
from fastnn.sklearn.parameters import REGRESSOR, keep

__all__ = ["MLPRegressor"]

Array = npt.NDArray[Any]


class MLPRegressor(RegressorMixin, BaseMLP):
    """A multi-layer perceptron for values: scikit-learn's, and more, several times faster.

    With the arguments of `sklearn.neural_network.MLPRegressor` it does what that one does, up to
    rounding. All arguments that are not listed here are those of `MLPClassifier`.

    Parameters
    ----------
    loss : str, default="squared_error"
        - ``"squared_error"``: half the squared error. For several outputs scikit-learn follows a
          gradient that is n_outputs times the derivative of the loss that it prints, the mean over
          the outputs (its issue 8349), and so does this estimator, for results to carry over.
        - ``"poisson"``: half the Poisson deviance, summed over the outputs, of ``y >= 0``; the
          output activation is exp.
        - ``"absolute_error"`` or ``"mae"``, ``"huber"``, ``"quantile"``: means over the outputs,
          which scikit-learn does not have.
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer.
    activation : str or list of str, default="relu"
        Activation of the hidden layers, or of each of them.
    quantile : float, default=0.5
        The quantile that ``"quantile"`` is after (Koenker & Bassett 1978).
    huber_delta : float, default=1.0
        Where the square of ``"huber"`` turns into a line, in units of y (Huber 1964).
    early_stopping_metric : str, callable or None, default=None
        As for `MLPClassifier`; None is R².

    Attributes
    ----------
    loss_, best_loss_, loss_curve_, validation_loss_curve_, validation_scores_, \
best_validation_score_, t_, coefs_, intercepts_, n_features_in_, feature_names_in_, n_iter_, \
n_layers_, n_outputs_, out_activation_, stop_reason_, network_
        As for `MLPClassifier`.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from fastnn.sklearn import MLPRegressor
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> model = MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = REGRESSOR
    _numeric_targets = True

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        quantile: float = 0.5,
        huber_delta: float = 1.0,
        dropout: float = 0.0,
        layer_norm: bool = False,
        residual: bool = False,
        weight_decay: float = 0.0,
        gradient_clip: float | None = None,
        schedule: Any = None,
        early_stopping_metric: Any = None,
        keep_optimizer: bool = False,
        max_time: float | None = None,
        callbacks: Any = None,
        progress: bool = False,
        n_threads: int | None = None,
        dtype: str | None = None,
        backend: str = "auto",
    ) -> None:
        keep(self, locals())

    @available_if(has_partial_fit)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Go over the rows once, from where training stands.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        X_val, y_val, sample_weight_val : array-likes, default=None
            As for `fit`. With `early_stopping` they must be given: ``stop_reason_`` is None until
            the score has not risen for `n_iter_no_change` calls; then the best weights are put
            back.

        Returns
        -------
        self
            The fitted estimator.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=True)

    def predict(self, X: Any) -> Array:
        """Return the values, shape (n_samples,), or (n_samples, n_outputs) for several outputs."""
        return self._decide(self._outputs(X))

    # -- targets ---------------------------------------------------------------------------------

    def _learn_targets(self, y: Array, *, anew: bool, all_classes: bool) -> Array:
        return column_or_1d(y, warn=True) if y.ndim == 2 and y.shape[1] == 1 else y

    def _encode(self, y: Array) -> Array:
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _objective(self, columns: int) -> Objective:
        return describe.regression(self.loss, columns, self.quantile, self.huber_delta)

    def _score_of(self, rows: Rows, metrics: Mapping[str, float]) -> float:
        predicted = self._decide(self._without_feature_names()._outputs(rows.X))
        if not np.isfinite(predicted).all():
            return float("nan")
        return float(r2_score(rows.y, predicted, sample_weight=rows.weight))

    def _decide(self, outputs: Array) -> Array:
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs
