"""What watches a fit: the best epoch is kept, patience runs out, and epochs are told."""

from __future__ import annotations

import math
from typing import Any

from fastnn.callbacks import Callback, Run

__all__ = ["BestEpoch", "Reporter"]


class BestEpoch(Callback):
    """Keep the parameters of the best epoch, the last one of equals, as RealMLP does.

    Parameters
    ----------
    monitor : str
        Name of a metric.
    sign : int
        1 where more of it is better, -1 where less is.
    patience : int or None
        Epochs without improvement after which training ends.

    Attributes
    ----------
    epoch : int
        Number of the best epoch; 0 before there is one.
    """

    def __init__(self, monitor: str, sign: int, patience: int | None) -> None:
        self.monitor, self.sign, self.patience = monitor, sign, patience
        self.best, self.epoch = -math.inf, 0
        self._improved = 0
        self._kept: Any = None

    def on_epoch_end(self, run: Run) -> None:
        """Compare the metric with the best so far."""
        value = self.sign * run.metrics[self.monitor]
        if value > self.best:
            self._improved = run.epoch
        if value >= self.best:
            self.best, self.epoch = value, run.epoch
            self._kept = run.network.parameters_vector
        elif self.patience is not None and run.epoch - self._improved >= self.patience:
            run.stop(f"{self.monitor} has not improved for {self.patience} epochs")

    def on_fit_end(self, run: Run) -> None:
        """Put the best parameters back."""
        if self._kept is not None:
            run.network.parameters_vector = self._kept


class Reporter(Callback):
    """Print the metrics of every epoch."""

    def on_epoch_end(self, run: Run) -> None:
        """Print a line."""
        told = ", ".join(f"{name} = {value:.6f}" for name, value in run.metrics.items())
        print(f"Epoch {run.epoch}, {told}")
