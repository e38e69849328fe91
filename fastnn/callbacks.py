"""What may watch a training run, and end it: early stopping, checkpoints, logs."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import checks, metrics
from fastnn.errors import unknown_name

__all__ = ["CSVLogger", "Callback", "EarlyStopping", "ModelCheckpoint", "Run", "check_callbacks"]


class Run:
    """A training run as callbacks see it.

    Attributes
    ----------
    network : Network
        What is being trained.
    epoch : int
        Number of the current epoch, counted from 1 over the life of the network.
    step : int
        Steps that the optimizer has taken.
    metrics : dict of str to float
        The metrics of the last whole epoch.
    metric_names : tuple of str
        The names that `metrics` will have.
    batch_losses : ndarray of float64, shape (S,)
        The loss of every step of this epoch so far, each before its update. The array is written
        over by the next epoch.
    stop_reason : str or None
        Why training ends, once it does.
    """

    def __init__(
        self, network: Any, metric_names: Sequence[str] = (), optimizer: Any = None
    ) -> None:
        self.network = network
        self.metric_names = tuple(metric_names)
        self.epoch = 0
        self.step = 0
        self.metrics: dict[str, float] = {}
        self.batch_losses: npt.NDArray[np.float64] = np.empty(0)
        self.stop_reason: str | None = None
        self._optimizer = optimizer

    def scale_learning_rate(self, factor: float, *, keep_velocity: bool = False) -> None:
        """Multiply the learning rates of all steps to come.

        Parameters
        ----------
        factor : float
            Above 0. Factors add up by multiplication, and last until the optimizer is set anew.
        keep_velocity : bool
            Of SGD with momentum: whether the next step begins as fast as the last one ended. The
            velocity is then that of Sutskever et al. 2013, which holds the rates of the steps that
            made it, as in scikit-learn; else all of it goes by the new rate, as in PyTorch.

        Raises
        ------
        TypeError, ValueError
            When the factor is no number above 0.
        """
        checks.real_number("factor", factor, 0, above=True)
        self._optimizer.scale_rate(factor, keep_velocity)

    def stop(self, reason: str) -> None:
        """End training after the current call; the first reason stands."""
        if self.stop_reason is None:
            self.stop_reason = reason


class Callback:
    """Base of what watches a run: override what you need.

    Attributes
    ----------
    every_steps : int or None
        Ask for a call of `on_steps_end` whenever the step count is a multiple of it.

    Examples
    --------
    >>> class StopAtTarget(Callback):
    ...     def on_epoch_end(self, run):
    ...         if run.metrics["loss"] < 0.1:
    ...             run.stop("loss below 0.1")
    """

    every_steps: int | None = None

    def on_fit_begin(self, run: Run) -> None:
        """Run before the first epoch."""

    def on_epoch_begin(self, run: Run) -> None:
        """Run before every epoch."""

    def on_steps_end(self, run: Run) -> None:
        """Run after every call into the backend, many steps long."""

    def on_epoch_end(self, run: Run) -> None:
        """Run after every epoch, when `run.metrics` holds its metrics."""

    def on_fit_end(self, run: Run) -> None:
        """Run after the last epoch; not when training ended by an exception."""


class EarlyStopping(Callback):
    """End training when a metric has not improved for some epochs.

    Parameters
    ----------
    monitor : str
        Name of a metric. One with "accuracy" or "r2" in its name should rise, any other fall.
    patience : int
        Epochs without improvement after which training ends, at least 1.
    min_delta : float
        What counts as an improvement: a change of more than this, at least 0.
    restore_best : bool
        Whether the weights and running statistics of the best epoch are put back at the end.

    Examples
    --------
    >>> EarlyStopping(patience=3).monitor
    'val_loss'
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        self.monitor = monitor
        self.patience = checks.whole_number("patience", patience, 1)
        self.min_delta = checks.real_number("min_delta", min_delta, 0)
        self.restore_best = checks.flag("restore_best", restore_best)
        self._sign = -1.0 if metrics.should_rise(monitor) else 1.0

    def on_fit_begin(self, run: Run) -> None:
        """Forget the last run, and look whether the metric exists."""
        metrics.check_monitor("EarlyStopping", self.monitor, run.metric_names)
        self.best = math.inf
        self.waited = 0
        self.best_epoch = 0
        self._kept: Any = None

    def on_epoch_end(self, run: Run) -> None:
        """Compare the metric with the best so far."""
        value = self._sign * run.metrics[self.monitor]
        if math.isnan(value):  # worse than any number, which it would else hide for ever
            value = math.inf
        if value < self.best - self.min_delta or self.best_epoch == 0:
            self.best, self.best_epoch, self.waited = value, run.epoch, 0
            if self.restore_best:
                self._kept = run.network.parameters_vector, run.network.states_vector
            return
        self.waited += 1
        if self.waited >= self.patience:
            run.stop(
                f"{self.monitor} has not improved for {self.patience} epochs; best "
                f"{self._sign * self.best:g} in epoch {self.best_epoch}"
            )

    def on_fit_end(self, run: Run) -> None:
        """Put the best weights back, and the running statistics that go with them."""
        if self.restore_best and self._kept is not None:
            run.network.parameters_vector, run.network.states_vector = self._kept


class ModelCheckpoint(Callback):
    """Save the network while it trains, each time as a whole file from which training can go on.

    Parameters
    ----------
    path : str or path
        File to write. With `keep` above 1 it holds ``{epoch}`` or ``{step}``, which is filled in.
    every : "epoch" or int
        Save after every epoch, or whenever the step count is a multiple of the number.
    every_seconds : float, optional
        Save when this much time has gone by instead, looked at after every call into the backend.
    keep : int
        Number of files to keep; older ones of this run are deleted.
    best : bool
        Save only after epochs whose ``val_loss`` (``loss`` without validation data) is the lowest
        of the run so far.

    Raises
    ------
    TypeError, ValueError
        For arguments out of range, or a path that cannot hold several files.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        every: str | int = "epoch",
        every_seconds: float | None = None,
        keep: int = 1,
        best: bool = False,
    ) -> None:
        self.path = os.fsdecode(path)
        self.keep = checks.whole_number("keep", keep, 1)
        self.best = checks.flag("best", best)
        self.every_seconds = every_seconds
        if every_seconds is not None:
            self.every_seconds = checks.real_number("every_seconds", every_seconds, 0, above=True)
        if isinstance(every, str):
            if every != "epoch":
                raise unknown_name("period of saving", every, ("epoch",))
        elif best:
            raise ValueError("best=True saves after epochs; leave every='epoch'")
        else:
            self.every_steps = checks.whole_number("every", every, 1)
        if self.keep > 1 and "{epoch}" not in self.path and "{step}" not in self.path:
            raise ValueError(f"with keep={self.keep} the path must hold {{epoch}} or {{step}}")

    def on_fit_begin(self, run: Run) -> None:
        """Forget the last run, and look whether there is a folder to save to."""
        folder = os.path.dirname(os.path.abspath(self.path))
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"there is no folder {folder!r} to save checkpoints in")
        self._written: list[str] = []
        self._lowest = math.inf
        self._last = time.monotonic()

    def on_steps_end(self, run: Run) -> None:
        """Save when steps or seconds say so."""
        due = self.every_steps is not None and run.step % self.every_steps == 0
        if self.every_seconds is not None:
            due = time.monotonic() - self._last >= self.every_seconds
        if due:
            self._save(run)

    def on_epoch_end(self, run: Run) -> None:
        """Save when epochs say so."""
        if self.every_steps is not None or self.every_seconds is not None:
            return
        if self.best:
            value = run.metrics.get("val_loss", run.metrics["loss"])
            if not value < self._lowest:
                return
            self._lowest = value
        self._save(run)

    def _save(self, run: Run) -> None:
        path = self.path.replace("{epoch}", str(run.epoch)).replace("{step}", str(run.step))
        run.network.save(path)
        self._last = time.monotonic()
        if path in self._written:
            self._written.remove(path)
        self._written.append(path)
        while len(self._written) > self.keep:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._written.pop(0))


class CSVLogger(Callback):
    """Write the metrics of every epoch to a CSV file, a line each, flushed at once.

    Parameters
    ----------
    path : str or path
        File to write; a file that is there is replaced.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def on_fit_begin(self, run: Run) -> None:
        """Start the file."""
        self._names: list[str] = []
        open(self.path, "w").close()  # an unwritable path is known before the first epoch

    def on_epoch_end(self, run: Run) -> None:
        """Write a line."""
        import csv

        with open(self.path, "a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if not self._names:
                self._names = ["epoch", "step", *run.metrics]
                writer.writerow(self._names)
            writer.writerow([run.epoch, run.step, *run.metrics.values()])


def check_callbacks(callbacks: Sequence[Callback] | None) -> list[Callback]:
    """Return the callbacks as a list.

    Raises
    ------
    TypeError
        When one of them is no `Callback`.
    """
    given = [] if callbacks is None else callbacks
    if isinstance(given, Callback):
        given = [given]
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise TypeError(f"callbacks must be a list of Callback objects, not {callbacks!r}")
    for callback in given:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must hold Callback objects, got {callback!r}")
    return list(given)
