"""Losses as scikit-learn prints them, from the losses of fastnn's steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.network import Network
from fastnn.sklearn.data import Rows
from fastnn.sklearn.describe import Objective
from fastnn.sklearn.weights import penalized

__all__ = ["Measures"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]


class Measures:
    """The losses of one training run.

    Parameters
    ----------
    network : Network
    objective : Objective
    alpha : float
        scikit-learn's penalty is ``alpha / 2 Σw²`` over the sum of the weights of the batch.
    rows : Rows
        Rows to train on.
    """

    def __init__(self, network: Network, objective: Objective, alpha: float, rows: Rows) -> None:
        self.network, self.objective, self.alpha = network, objective, float(alpha)
        self.rows = rows
        self.constants = _constants(objective, rows)
        self.weight = np.ones(len(rows)) if rows.weight is None else rows.weight
        # Rows as the current epoch takes them, where it has an order of its own.
        self.order: npt.NDArray[np.int64] = np.arange(len(rows))
        self.penalty = self._penalty()

    def of_epoch(self, losses: Floats, sizes: Floats) -> float:
        """Return the loss of an epoch, in which every batch counts by its rows.

        Parameters
        ----------
        losses : ndarray, shape (S,)
            Our losses, with their penalties.
        sizes : ndarray, shape (S,)
            Rows of the batches, the last ones of the epoch.
        """
        shares = sizes / sizes.sum()
        # Every loss is measured before its step, so the penalty is one of weights between those
        # before the epoch and those now, the last step left out. Right for an epoch of one step.
        before, self.penalty = self.penalty, self._penalty()
        penalty = before + (self.penalty - before) * (len(sizes) - 1) / (2 * len(sizes))
        printed = self.objective.printed(float(shares @ losses), penalty * len(sizes))
        if self.constants is None:
            return printed
        starts = len(self.order) - int(sizes.sum()) + np.cumsum(sizes).astype(np.int64)
        starts = np.concatenate(([len(self.order) - int(sizes.sum())], starts[:-1]))
        weight = self.weight[self.order]
        sums = np.add.reduceat(weight * self.constants[self.order], starts)
        return printed + float(shares @ (sums / np.add.reduceat(weight, starts)))

    def of_rows(self, measured: float, rows: Rows, *, penalty: bool) -> float:
        """Return the loss of rows whose loss by the network, with its penalty, is measured."""
        weight = float(len(rows)) if rows.weight is None else float(rows.weight.sum())
        loss = self.objective.printed(measured, self._penalty(weight))
        if not penalty:
            loss -= self._penalty(weight, whole=True)
        constants = _constants(self.objective, rows)
        if constants is not None:
            loss += float(np.average(constants, weights=rows.weight))
        return loss

    def of_validation(self, metrics: Mapping[str, float], rows: Rows) -> float:
        """Return the loss of the validation rows, without the penalty."""
        return self.of_rows(metrics["val_loss"], rows, penalty=False)

    def _penalty(self, weight: float | None = None, *, whole: bool = False) -> float:
        """Return the penalty of rows of this weight; 0 where nobody needs it."""
        covered = self.objective.value == self.objective.step
        if self.alpha == 0 or (covered and not whole):
            return 0.0
        total = float(self.weight.sum()) if weight is None else weight
        return 0.5 * self.alpha * penalized(self.network) / total


def _constants(objective: Objective, rows: Rows) -> Floats | None:
    """Return what the loss of each row has beside ours: of Poisson's, half of the deviance.

    That is ``Σ y log y - y`` over the outputs, which no weight of the network changes.
    """
    if objective.loss.name != "poisson":
        return None
    y = rows.y.astype(np.float64).reshape(len(rows), -1)
    logarithm = np.log(y, out=np.zeros_like(y), where=y > 0)
    return (y * logarithm - y).sum(axis=1)
