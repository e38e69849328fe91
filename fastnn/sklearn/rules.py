"""scikit-learn's rules of training: its order of rows, when it stops, and its learning rates."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.callbacks import Callback, Run
from fastnn.sklearn.data import Rows
from fastnn.sklearn.measures import Measures

__all__ = ["LearningRate", "RandomOrder", "Rules", "TimeLimit"]

# Learning rates are not divided any further below this.
SMALLEST_RATE = 1e-6


class RandomOrder:
    """The order in which scikit-learn takes rows: each epoch shuffles the order of the one before.

    Parameters
    ----------
    random_state : numpy.random.RandomState
    measures : Measures
        Is told the order.
    """

    def __init__(self, random_state: np.random.RandomState, measures: Measures) -> None:
        self.random_state, self.measures = random_state, measures

    def __call__(self, order: npt.NDArray[np.int64], epoch: int) -> None:
        """Rearrange the order in place."""
        # scikit-learn shuffles places and takes what stands there. The same moves in place make the
        # same order, without two more passes over it.
        self.random_state.shuffle(order)
        self.measures.order = order


class LearningRate:
    """The learning rate of scikit-learn's optimizers, and what becomes of it between epochs.

    Attributes
    ----------
    learning_rate : float
        The current one.
    """

    def __init__(self, estimator: Any) -> None:
        self.initial = float(estimator.learning_rate_init)
        own = estimator.solver == "sgd" and estimator.schedule is None
        self.schedule = estimator.learning_rate if own else "constant"
        self.power = estimator.power_t
        self.learning_rate = self.initial

    def epoch_ends(self, rows_seen: int) -> None:
        """Take the rate of the next epoch, of a rate that falls with the rows seen."""
        if self.schedule == "invscaling":
            self.learning_rate = self.initial / (rows_seen + 1) ** self.power

    def ends_training(self, message: str, verbose: bool) -> bool:
        """Tell whether training ends where it no longer gets better; else the rate is divided."""
        outcome = "Stopping."
        divides = self.schedule == "adaptive" and self.learning_rate > SMALLEST_RATE
        if divides:
            self.learning_rate /= 5.0
            outcome = f"Setting learning rate to {self.learning_rate:f}"
        elif self.schedule == "adaptive":
            outcome = "Learning rate too small. Stopping."
        if verbose:
            print(f"{message} {outcome}")
        return not divides


class Rules(Callback):
    """Keeps an estimator's record of its training, and ends it as scikit-learn does.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        Its fitted attributes are what scikit-learn's are after every epoch.
    batch_size : int
        Rows of a batch; the last of an epoch may be smaller.
    measures : Measures
    validation : Rows or None
        Rows to validate on.
    score : callable or None
        Takes the metrics of an epoch, and returns the score of the validation rows.
    """

    def __init__(
        self,
        estimator: Any,
        batch_size: int,
        measures: Measures,
        validation: Rows | None,
        score: Callable[[Mapping[str, float]], float] | None,
    ) -> None:
        self.estimator, self.measures = estimator, measures
        self.rows = rows = len(measures.rows)
        self.sizes = np.full(-(-rows // batch_size), float(batch_size))
        self.sizes[-1] = rows - batch_size * (len(self.sizes) - 1)
        self.validation, self.score = validation, score
        self.rate: LearningRate = estimator._optimizer
        self.run = Run(None)  # until training begins, which Ctrl-C may forestall

    def on_fit_begin(self, run: Run) -> None:
        """Keep the run, whose losses are wanted even where no epoch gets done."""
        self.run = run

    def on_epoch_end(self, run: Run) -> None:
        """Write the record, and look whether training goes on."""
        estimator = self.estimator
        self._record(self.sizes[-len(run.batch_losses) :])
        estimator.t_ += self.rows
        if estimator.verbose:
            print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        if self.validation is not None:
            loss = self.measures.of_validation(run.metrics, self.validation)
            estimator.validation_loss_curve_.append(loss)
        if self.score is None:
            self._look_at_loss()
        else:
            self._look_at_score(self.score(run.metrics), run)
        before = self.rate.learning_rate
        self.rate.epoch_ends(estimator.t_)
        if estimator._no_improvement_count > estimator.n_iter_no_change:
            measure = "Training loss" if self.score is None else "Validation score"
            message = (
                f"{measure} did not improve more than tol={estimator.tol:f} for "
                f"{estimator.n_iter_no_change:d} consecutive epochs."
            )
            if self.rate.ends_training(message, estimator.verbose):
                run.stop(message)
            else:
                estimator._no_improvement_count = 0
        if self.rate.learning_rate != before:
            run.scale_learning_rate(self.rate.learning_rate / before, keep_velocity=True)

    def record_part(self) -> None:
        """Note the loss of an epoch that was broken off, where no epoch before it has one."""
        if self.estimator.n_iter_ == 0 and len(self.run.batch_losses):
            self._record(self.sizes[: len(self.run.batch_losses)])

    def _record(self, sizes: npt.NDArray[np.float64]) -> None:
        estimator = self.estimator
        estimator.n_iter_ += 1
        estimator.loss_ = self.measures.of_epoch(self.run.batch_losses, sizes)
        estimator.loss_curve_.append(estimator.loss_)

    def _look_at_loss(self) -> None:
        estimator = self.estimator
        if estimator.loss_ > estimator.best_loss_ - estimator.tol:
            estimator._no_improvement_count += 1
        else:
            estimator._no_improvement_count = 0
        estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)

    def _look_at_score(self, score: float, run: Run) -> None:
        estimator = self.estimator
        estimator.validation_scores_.append(score)
        if estimator.verbose:
            print(f"Validation score: {score:f}")
        if score < estimator.best_validation_score_ + estimator.tol:
            estimator._no_improvement_count += 1
        else:
            estimator._no_improvement_count = 0
        if score > estimator.best_validation_score_:
            estimator.best_validation_score_ = score
            estimator._best = run.network.parameters_vector, run.network.states_vector


class TimeLimit(Callback):
    """Ends training when its time is over, between two steps.

    Parameters
    ----------
    seconds : float
    started : float, optional
        When they began, by `time.monotonic`; with training where omitted.
    """

    def __init__(self, seconds: float, started: float | None = None) -> None:
        self.seconds, self.started = seconds, started

    def on_fit_begin(self, run: Run) -> None:
        """Look at the clock."""
        self.end = self.seconds + (time.monotonic() if self.started is None else self.started)

    def on_steps_end(self, run: Run) -> None:
        """Look at the clock again."""
        if time.monotonic() >= self.end:
            run.stop(f"max_time={self.seconds:g} seconds are over.")
