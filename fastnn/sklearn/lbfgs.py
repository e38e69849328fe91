"""The solver lbfgs: SciPy's L-BFGS-B on the loss of all rows."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import OptimizeResult, minimize

from fastnn.network import Network
from fastnn.sklearn.borrowed import check_optimize_result
from fastnn.sklearn.data import Rows, dense
from fastnn.sklearn.describe import Objective
from fastnn.sklearn.measures import Measures

__all__ = ["FullBatch", "train"]

Array = npt.NDArray[Any]
Vector = npt.NDArray[np.float64]


class FullBatch:
    """The loss of all rows and its gradient, as functions of one vector.

    The vector has scikit-learn's order: all weights, then all biases, then what is left.

    Parameters
    ----------
    network : Network
    objective : Objective
    alpha : float
    rows : Rows
    targets : ndarray
        What the network is to give for ``rows.y``.
    """

    def __init__(
        self, network: Network, objective: Objective, alpha: float, rows: Rows, targets: Array
    ) -> None:
        self.network, self.step, self.rows, self.targets = network, objective.step, rows, targets
        self.measures = Measures(network, objective, alpha, rows)
        self.X = dense(rows.X)
        rank = {"weight": 0, "bias": 1}
        roles = {name: name.rpartition(".")[2] for name in network.parameters}
        self.names = sorted(roles, key=lambda name: rank.get(roles[name], 2))

    @property
    def vector(self) -> Vector:
        """The parameters."""
        return self._joined(self.network.parameters)

    @vector.setter
    def vector(self, vector: Vector) -> None:
        start, parameters = 0, self.network.parameters
        for name in self.names:
            view = parameters[name]
            view[...] = vector[start : start + view.size].reshape(view.shape)
            start += view.size

    def __call__(self, vector: Vector) -> tuple[float, Vector]:
        """Return the loss and its gradient."""
        self.vector = vector
        loss, gradients = self.network.loss_and_gradients(self.X, self.targets, self.rows.weight)
        self.loss = self.measures.of_rows(loss, self.rows, penalty=True)
        return self.loss, self.step * self._joined(gradients)

    def _joined(self, arrays: Any) -> Vector:
        return np.concatenate([arrays[name].ravel() for name in self.names]).astype(np.float64)


def train(estimator: Any, objective: Objective, rows: Rows, held: Rows | None) -> None:
    """Minimise the loss of an estimator's network over all rows.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        It has a network, and a record that is written on.
    objective : Objective
    rows, held : Rows
        Rows to train on, and rows to validate on.
    """
    network = estimator.network_
    targets = estimator._encode(rows.y)
    loss = FullBatch(network, objective, estimator.alpha, rows, targets)
    end = np.inf if estimator.max_time is None else time.perf_counter() + estimator.max_time
    validation = None if held is None else (dense(held.X), estimator._encode(held.y), held.weight)
    iterations = 0

    def look(intermediate_result: OptimizeResult) -> None:
        nonlocal iterations
        iterations += 1
        estimator.loss_curve_.append(float(intermediate_result.fun))
        if estimator.verbose:
            print(f"Iteration {iterations}, loss = {intermediate_result.fun:.8f}")
        if held is not None and validation is not None:
            loss.vector = intermediate_result.x
            measured = network.evaluate(*validation)["loss"]
            estimator.validation_loss_curve_.append(
                loss.measures.of_rows(measured, held, penalty=False)
            )
        if time.perf_counter() >= end:
            raise StopIteration

    result = minimize(
        loss,
        loss.vector,
        method="L-BFGS-B",
        jac=True,
        callback=look,
        options={
            "maxfun": estimator.max_fun,
            "maxiter": estimator.max_iter,
            "gtol": estimator.tol,
        },
    )
    loss.vector = result.x
    estimator.loss_ = float(result.fun)
    if time.perf_counter() >= end:
        estimator.n_iter_ = result.nit
        estimator.stop_reason_ = f"max_time={estimator.max_time:g} seconds are over."
    else:
        estimator.n_iter_ = check_optimize_result("lbfgs", result, estimator.max_iter)
        estimator.stop_reason_ = str(result.message)
