"""scikit-learn: its MLPClassifier and MLPRegressor, penalty and early stopping off."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
import sklearn
from cases import Case
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

from peers import Unable, times_of
from peers.numpy_peer import describe as describe_numpy


def describe(threads: int) -> dict[str, Any]:
    """Return the versions and the OpenBLAS core."""
    told = describe_numpy(threads)
    return {"versions": {"scikit-learn": sklearn.__version__}, "details": told["details"]}


def estimator(case: Case, X: np.ndarray, y: np.ndarray) -> Any:
    """Return the estimator of a case, fitted once so that its arrays are there."""
    if case.loss != "mse" and case.widths[-1] == 2:
        raise Unable("for two classes it has one output, not two")
    kind, rate = MLPClassifier, case.rate
    if case.loss == "mse":
        kind, rate = MLPRegressor, 2 * case.rate  # its loss is half of the mean square
    model = kind(
        hidden_layer_sizes=case.widths[1:-1],
        activation="relu",
        solver=case.optimizer,
        alpha=0.0,
        batch_size=case.batch,
        learning_rate_init=rate,
        momentum=0.0,
        nesterovs_momentum=False,
        shuffle=False,
        warm_start=True,
        tol=0.0,
        n_iter_no_change=10**9,
        max_iter=1,
    )
    warnings.simplefilter("ignore", ConvergenceWarning)
    # All classes have to be there the first time; the weights are replaced afterwards.
    few = max(case.batch, 100)
    x, labels = X[:few].copy(), y[:few].copy()
    if case.loss != "mse":
        short = case.widths[-1] - len(labels)
        x = np.concatenate([x, np.zeros((max(0, short), x.shape[1]), x.dtype)])
        labels = np.resize(np.arange(case.widths[-1]), len(x))
    model.fit(x, labels if case.loss != "mse" else labels.ravel())
    set_weights(model, case)
    return model


def set_weights(model: Any, case: Case) -> None:
    """Give an estimator the first weights of a case."""
    for n, (weight, bias) in enumerate(case.first_weights()):
        model.coefs_[n][...] = weight
        model.intercepts_[n][...] = bias


class Trainer:
    """Whole epochs inside one call of `fit` with warm_start."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.data = case, case.data()
        self.model = estimator(case, *self.data)
        X, y = self.data
        self.rows = X, y.ravel()
        # `fit` goes on only where it sees every class again; `partial_fit` takes an epoch a call.
        labels = case.widths[-1] if case.loss != "mse" else 0
        self.whole = not labels or len(np.unique(y)) == labels
        self.note = "fit with warm_start" if self.whole else "partial_fit"

    def restart(self, steps: int) -> None:
        """Take so many steps from the first weights."""
        set_weights(self.model, self.case)
        self.model.__dict__.pop("_optimizer", None)
        X, y = self.rows
        self._epoch(X[: steps * self.case.batch], y[: steps * self.case.batch])

    def run(self, steps: int) -> int:
        """Train for as many epochs as hold so many steps."""
        epochs = -(-steps // self.case.steps)
        if self.whole:
            self.model.max_iter = epochs
            self.model.fit(*self.rows)
        else:
            for _ in range(epochs):
                self._epoch(*self.rows)
        return epochs * self.case.steps

    def _epoch(self, X: np.ndarray, y: np.ndarray) -> None:
        """Go on for an epoch, even where a class is missing."""
        self.model.warm_start = False
        self.model.partial_fit(X, y)
        self.model.warm_start = True

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return weights and biases."""
        return list(zip(self.model.coefs_, self.model.intercepts_, strict=True))


class Predictor:
    """One call of `predict_proba` after the other."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.note = case, "predict_proba"
        self.X, y = case.data()
        self.model = estimator(case, self.X, y)
        self.run(3)

    def run(self, calls: int) -> int:
        """Predict so many times."""
        predict, X = self.model.predict_proba, self.X
        for _ in range(calls):
            predict(X)
        return calls

    def each(self, seconds: float) -> list[float]:
        """Return the seconds of single calls."""
        return times_of(partial(self.model.predict_proba, self.X), seconds)

    def outputs(self) -> np.ndarray:
        """Return the probabilities."""
        return self.model.predict_proba(self.X)
