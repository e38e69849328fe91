"""Estimators with the arguments of scikit-learn: its own ones, and those of ``fastnn.sklearn``.

A mode is the package and the dtype of the data, such as ``fastnn.sklearn float32``.
"""

from __future__ import annotations

import importlib
import time
import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import sklearn
from cases import Case
from sklearn.exceptions import ConvergenceWarning

import fastnn
from peers import Unable, times_of
from peers.numpy_peer import describe as describe_numpy

# So many epochs without an improvement end no training here.
NEVER = 10**9

# The rows are points of so many dimensions, seen through a matrix, with some noise: else a wide
# network would soon know all of them by heart.
DIMENSIONS = 16
NOISE_OF_INPUTS = 0.1
# What nobody can learn keeps the losses away from 0, where the rounding of the first steps decides
# what is left of them: the share of labels drawn by lot, and the noise of values.
WRONG_LABELS = 0.3
NOISE_OF_VALUES = 0.3

# The rows that a network has seen before it predicts.
ROWS_BEFORE_PREDICTIONS = 2_000


def describe(threads: int) -> dict[str, Any]:
    """Return the versions and the OpenBLAS core."""
    told = describe_numpy(threads)
    versions = {"scikit-learn": sklearn.__version__, "fastnn": fastnn.__version__}
    return {"versions": told["versions"] | versions, "details": told["details"]}


def estimator(case: Case, threads: int, package: str, epochs: int, seed: int) -> Any:
    """Return an estimator that has seen nothing: Adam with its defaults, no rule that stops it."""
    kind = "MLPRegressor" if case.loss == "mse" else "MLPClassifier"
    own = {"n_threads": threads} if package == "fastnn.sklearn" else {}
    return getattr(importlib.import_module(package), kind)(
        hidden_layer_sizes=case.widths[1:-1],
        batch_size=case.batch,
        max_iter=epochs,
        tol=0.0,
        n_iter_no_change=NEVER,
        random_state=seed,
        **own,
    )


def rows_of(case: Case, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Return inputs (N, I), and labels (N,) or values (N, 1), which can be learnt in part."""
    rng = np.random.default_rng(3)
    inputs, outputs = case.widths[0], case.widths[-1]
    points = rng.standard_normal((case.rows, DIMENSIONS)) / np.sqrt(DIMENSIONS)
    X = points @ rng.standard_normal((DIMENSIONS, inputs))
    X += NOISE_OF_INPUTS * rng.standard_normal(X.shape)
    scores = points @ rng.standard_normal((DIMENSIONS, outputs))
    if case.loss == "mse":
        values = np.tanh(scores) + NOISE_OF_VALUES * rng.standard_normal(scores.shape)
        return X.astype(dtype), values.astype(dtype)
    wrong = rng.random(case.rows) < WRONG_LABELS
    labels = np.where(wrong, rng.integers(0, outputs, case.rows), scores.argmax(axis=1))
    return X.astype(dtype), labels


class Trainer:
    """Whole fits, each of an estimator of its own."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.threads = case, threads
        self.package, dtype = mode.split()
        self.data = rows_of(case, dtype)
        self.note = "fit"
        warnings.simplefilter("ignore", ConvergenceWarning)  # every fit ends with its last epoch

    def fit(self, epochs: int, seed: int) -> dict[str, Any]:
        """Time a fit; return also its losses: by the common formula, and as the estimator says.

        Raises
        ------
        Unable
            When it ended before the last epoch.
        """
        model = estimator(self.case, self.threads, self.package, epochs, seed)
        X, y = self.data
        started, used = time.perf_counter(), time.process_time()
        model.fit(X, y.ravel())
        seconds, used = time.perf_counter() - started, time.process_time() - used
        if model.n_iter_ != epochs:
            raise Unable(f"it ended after {model.n_iter_} of {epochs} epochs")
        weights = list(zip(model.coefs_, model.intercepts_, strict=True))
        return {
            "seconds": seconds,
            "cpu": used,
            "loss": self.case.mean_loss(weights, X, y),
            "said": float(model.loss_),
        }


class Predictor:
    """One call of `predict_proba` after the other."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.note = case, "predict_proba"
        package, dtype = mode.split()
        self.X = rows_of(case, dtype)[0]
        seen = replace(case, training=True, batch=200, rows=ROWS_BEFORE_PREDICTIONS)
        warnings.simplefilter("ignore", ConvergenceWarning)
        self.model = estimator(seen, threads, package, epochs=1, seed=0)
        X, y = rows_of(seen, dtype)
        self.model.fit(X, y.ravel())
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
