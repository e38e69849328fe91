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
from fastnn.sklearn.watchers import REASON, Watchers

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


def train(
    estimator: Any,
    objective: Objective,
    rows: Rows,
    held: Rows | None,
    watchers: Watchers | None,
) -> None:
    """Minimise the loss of an estimator's network over all rows.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        It has a network, and a record that is written on.
    objective : Objective
    rows, held : Rows
        Rows to train on, and rows to validate on.
    watchers : Watchers or None
        Callbacks of scikit-learn.
    """
    targets = estimator._encode(rows.y)
    loss = FullBatch(estimator.network_, objective, estimator.alpha, rows, targets)
    record = _Record(estimator, loss, held, watchers)
    result = minimize(
        loss,
        loss.vector,
        method="L-BFGS-B",
        jac=True,
        callback=record,
        options={
            "maxfun": estimator.max_fun,
            "maxiter": estimator.max_iter,
            "gtol": estimator.tol,
        },
    )
    loss.vector = result.x
    estimator.loss_ = float(result.fun)
    if record.stop_reason is None:
        estimator.n_iter_ = check_optimize_result("lbfgs", result, estimator.max_iter)
        estimator.stop_reason_ = str(result.message)
    else:
        estimator.n_iter_, estimator.stop_reason_ = result.nit, record.stop_reason
    if watchers is not None:
        watchers.end()  # of the iteration that SciPy did not begin


class _Record:
    """Keeps an estimator's record of the iterations, and ends them."""

    def __init__(
        self, estimator: Any, loss: FullBatch, held: Rows | None, watchers: Watchers | None
    ) -> None:
        self.estimator, self.loss, self.held, self.watchers = estimator, loss, held, watchers
        self.validation = None
        if held is not None:
            self.validation = dense(held.X), estimator._encode(held.y), held.weight
        limit = estimator.max_time
        self.end = np.inf if limit is None else time.perf_counter() + limit
        self.stop_reason: str | None = None
        self.iterations = 0
        if watchers is not None:
            watchers.begin()

    def __call__(self, intermediate_result: OptimizeResult) -> None:
        """Note an iteration.

        Raises
        ------
        StopIteration
            When it is to be the last one.
        """
        estimator, found = self.estimator, float(intermediate_result.fun)
        self.iterations += 1
        estimator.loss_curve_.append(found)
        if estimator.verbose:
            print(f"Iteration {self.iterations}, loss = {found:.8f}")
        if self.validation is not None or self.watchers is not None:
            self.loss.vector = intermediate_result.x
        if self.held is not None and self.validation is not None:
            measured = self.loss.network.evaluate(*self.validation)["loss"]
            curve = estimator.validation_loss_curve_
            curve.append(self.loss.measures.of_rows(measured, self.held, penalty=False))
        if self.watchers is not None:
            if self.watchers.end():
                self.stop_reason = REASON
            self.watchers.begin()
        if time.perf_counter() >= self.end:
            self.stop_reason = f"max_time={estimator.max_time:g} seconds are over."
        if self.stop_reason is not None:
            raise StopIteration
