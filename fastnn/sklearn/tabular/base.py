"""What the two estimators for tables share: from encoded rows to a fitted network."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils import assert_all_finite, check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn import checks
from fastnn.callbacks import Callback, check_callbacks
from fastnn.errors import unknown_name
from fastnn.layers import Columns, Dense, Dropout, Layer
from fastnn.losses import Loss
from fastnn.network import Network
from fastnn.optimizers import AdamW
from fastnn.schedules import CosineLog
from fastnn.sklearn.display import layers_as_html
from fastnn.sklearn.rules import TimeLimit
from fastnn.sklearn.tabular.encoder import TabularEncoder, row_weights
from fastnn.sklearn.tabular.frames import Table
from fastnn.sklearn.tabular.rows import Rows, hold_out, merge
from fastnn.sklearn.tabular.watching import BestEpoch, Reporter
from fastnn.training import History

__all__ = ["TabularMLP", "check_target"]

Array = npt.NDArray[Any]

# Cycles of the learning rate: the 4 of coslog4.
CYCLES = 4
# RealMLP's number of epochs; the number of steps that bounds it where there are very many rows, so
# that the time of a fit hardly grows any more; and how few epochs are enough even then.
EPOCHS, ENOUGH_STEPS, FEWEST_EPOCHS = 256, 20_000, 16
# The sum of the weight decays of an epoch's steps, where there are many.
DECAY_OF_EPOCH = 10.0
# In epochs: so short that only the very first step notices, whose rate would be 0.
WARMUP = 1e-6


class TabularMLP(BaseEstimator):
    """The base of both estimators, whose docstrings say what the parameters are."""

    # Metric by which the best epoch is chosen, and 1 where more of it is better, else -1.
    _monitor: str
    _sign: int
    # Below so many rows a part of them would tell little, and be missed more.
    _few: int
    # The weight decay of small tables.
    _most_decay: float

    def _repr_html_inner(self) -> str:
        return str(super()._repr_html_inner()) + layers_as_html(getattr(self, "network_", None))

    def predict_raw(self, X: Any) -> npt.NDArray[np.float32]:
        """Return the outputs of `network_` for the rows of a table.

        Parameters
        ----------
        X : data frame or array-like, shape (B, F)

        Returns
        -------
        ndarray of float32, shape (B, outputs)
            Probabilities of a classifier, standardised targets of a regressor.
        """
        check_is_fitted(self)
        table = Table(X)
        validate_data(self, X, skip_check_array=True, reset=False)
        return self.network_.predict(self.encoder_.encode(table))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "network_")

    # -- inside -----------------------------------------------------------------------------------

    def _encode(self, X: Any, y: Array, sample_weight: Any, *, learn: bool) -> Rows:
        """Return the encoded rows of weight above 0."""
        if learn:
            validate_data(self, X, skip_check_array=True)
            self.encoder_ = TabularEncoder(
                self.categorical_features,
                max_one_hot_categories=self.max_one_hot_categories,
                max_categories=self.max_categories,
            ).fit(X, sample_weight=sample_weight)
            self.is_categorical_ = self.encoder_.is_categorical_
        inputs = self.encoder_.transform(X)
        if len(inputs) != len(y):
            raise ValueError(f"X has {len(inputs)} rows, y has {len(y)}: inconsistent numbers")
        weight = row_weights(sample_weight, len(y))
        rows = Rows(inputs, y, weight)
        return rows if weight is None or weight.all() else rows.take(np.flatnonzero(weight))

    def _train(self, rows: Rows, held: Rows | None, classes: int | None, started: float) -> None:
        """Fit a network to rows; `held` are rows to measure on that somebody brought."""
        batch_size = checks.whole_number("batch_size", self.batch_size, 1)
        generator = check_random_state(self.random_state)
        seed = int(generator.randint(2**31 - 1))
        if held is None and self._holds_out(len(rows.y)):
            share = checks.real_number(
                "validation_fraction", self.validation_fraction, 0, 1, above=True, below=True
            )
            rows, held = hold_out(rows, share, generator, classes=classes)
        if len(rows.y) <= batch_size:
            rows = merge(rows)
        output, loss = self._learn_targets(rows)
        steps = -(-len(rows.y) // batch_size)
        epochs = self._epochs(steps)
        network = Network(
            [*self._hidden_layers(), output],
            input_size=rows.X.shape[1],
            loss=loss,
            optimizer=AdamW(
                CosineLog(self.learning_rate_init, length=epochs, cycles=CYCLES, warmup=WARMUP),
                beta2=self.beta_2,
                weight_decay=self._decay(steps),
            ),
            seed=seed,
            threads=self.n_threads,
            backend=self.backend,
        )
        watchers, best = self._watchers(held is not None, started)
        history = network.fit(
            rows.X,
            self._to_network(rows.y),
            sample_weight=_scaled(rows.weight),
            epochs=epochs,
            batch_size=batch_size,
            validation_data=held and (held.X, self._to_network(held.y), _scaled(held.weight)),
            callbacks=watchers,
            progress=checks.flag("progress", self.progress),
        )
        self.network_ = network
        self.loss_curve_ = history["loss"]
        self.validation_loss_curve_ = held and history["val_loss"]
        self.validation_scores_ = held and self._scores(history, held)
        self.n_iter_ = max(1, len(self.loss_curve_))
        self.best_iteration_ = self.n_iter_ if best is None or not best.epoch else best.epoch
        self.stop_reason_ = history.stop_reason

    def _holds_out(self, rows: int) -> bool:
        """Tell whether a part of so many rows is set aside."""
        if isinstance(self.early_stopping, str):
            if self.early_stopping != "auto":
                raise unknown_name("early_stopping", self.early_stopping, ("auto",))
            return rows >= self._few
        return checks.flag("early_stopping", self.early_stopping)

    def _epochs(self, steps: int) -> int:
        """Return the number of epochs of so many steps."""
        if isinstance(self.max_iter, str):
            if self.max_iter != "auto":
                raise unknown_name("max_iter", self.max_iter, ("auto",))
            return min(EPOCHS, max(FEWEST_EPOCHS, ENOUGH_STEPS // steps))
        return checks.whole_number("max_iter", self.max_iter, 1)

    def _decay(self, steps: int) -> float:
        """Return the weight decay for epochs of so many steps."""
        if isinstance(self.weight_decay, str):
            if self.weight_decay != "auto":
                raise unknown_name("weight_decay", self.weight_decay, ("auto",))
            return min(self._most_decay, DECAY_OF_EPOCH / steps)
        return self.weight_decay

    def _hidden_layers(self) -> list[Layer]:
        size = checks.whole_number("embedding_size", self.embedding_size, 0)
        # The last first: each changes the places of the columns behind it.
        places = self.encoder_.embedded_[::-1] if size else []
        layers: list[Layer] = [
            Columns(start, stop, [Dense(size, use_bias=False)]) for start, stop in places
        ]
        for size in np.atleast_1d(self.hidden_layer_sizes).tolist():
            layers.append(Dense(size, activation=self.activation))
            if self.dropout:
                layers.append(Dropout(self.dropout))
        return layers

    def _watchers(self, held: bool, started: float) -> tuple[list[Callback], BestEpoch | None]:
        """Return what watches the fit, and the one of them that keeps the best epoch."""
        watchers = check_callbacks(self.callbacks)
        best = None
        if held:
            patience = self.n_iter_no_change
            if patience is not None:
                patience = checks.whole_number("n_iter_no_change", patience, 1)
            best = BestEpoch(self._monitor, self._sign, patience)
            watchers.append(best)
        if self.max_time is not None:
            seconds = checks.real_number("max_time", self.max_time, 0, above=True)
            watchers.append(TimeLimit(seconds, started))
        if self.verbose:
            watchers.append(Reporter())
        return watchers, best

    @abstractmethod
    def _learn_targets(self, rows: Rows) -> tuple[Layer, Loss]:
        """Learn what the targets are like; return the last layer and the loss."""

    @abstractmethod
    def _scores(self, history: History, held: Rows) -> list[float]:
        """Return the score on the held-out rows after every epoch."""

    @abstractmethod
    def _to_network(self, y: Array) -> Array:
        """Return targets as the network takes them."""


def check_target(owner: object, y: Any) -> Array:
    """Return a target as an array of shape (B,).

    Raises
    ------
    ValueError
        When there is none, it has several columns, or values are missing or infinite.
    """
    if y is None:
        raise ValueError(
            f"This {type(owner).__name__} estimator requires y to be passed, but the target y is "
            "None."
        )
    target = column_or_1d(y, warn=True)
    if target.dtype == object and any(value is None for value in target):
        row = next(i for i, value in enumerate(target) if value is None)
        raise ValueError(f"y is missing in row {row}; leave rows without a target out")
    assert_all_finite(target, input_name="y")
    return target


def _scaled(weight: Array | None) -> Array | None:
    """Return weights with a mean of 1, or None."""
    return None if weight is None else weight / weight.mean()
