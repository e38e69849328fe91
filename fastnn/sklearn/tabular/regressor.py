"""The regressor for tables."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin

from fastnn.layers import Dense, Layer
from fastnn.losses import Loss, MeanSquaredError
from fastnn.sklearn.parameters import keep
from fastnn.sklearn.tabular.base import TabularMLP, check_target
from fastnn.sklearn.tabular.rows import Rows
from fastnn.training import History

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TabularMLPRegressor"]

Array = npt.NDArray[Any]


class TabularMLPRegressor(RegressorMixin, TabularMLP):
    """A network that predicts a number for the rows of mixed tables, after the recipe of RealMLP.

    The table may be a data frame of pandas, polars or pyarrow, or an array, also one of Python
    objects. Columns of numbers are scaled by their quartiles and clipped smoothly; missing ones
    take the median and are told by an input of their own. Booleans are -1 and 1. Columns of few
    categories have an input a category, those of many a learned embedding; missing categories are
    categories, and unknown ones are fine. Infinities, dates and nested values are refused.

    The recipe is RealMLP's (Holzmüller, Grinsztajn & Steinwart 2024). Taken from it: the scaling
    and clipping, the limit and the size of embeddings, three hidden layers of 256 with Mish,
    Adam with a beta2 of 0.95 and decoupled weight decay, the schedule coslog4, 256
    epochs in batches of 256, dropout, and the best epoch by a held-out fifth, the last one of
    equals. Not taken: its numerical embeddings (PBLD), the scaling layer, learned activations,
    the neural tangent parametrisation and the rates of single layers that belong to it,
    initialisation by data, and the schedules of dropout and weight decay. So the learning rate and
    the weight decay are other numbers here: they were chosen among a few, by cross-validation, for
    generated tables and those of scikit-learn together.

    The target is standardised for training, and predictions stay within the range that it had in
    the training rows, as in RealMLP.

    Where all training rows fit in one batch, equal rows are merged into one with the sum of their
    weights, so that a weight of 3 is exactly a row that is there three times.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(256, 256, 256)
        Units of each hidden layer.
    activation : str or ActivationFunction, default="mish"
        Of the hidden layers.
    dropout : float, default=0.15
        Share of the hidden units that are left out of a step.
    learning_rate_init : float, default=0.0025
        The highest learning rate.
    beta_2 : float, default=0.95
        Decay of the mean squared gradient in Adam.
    weight_decay : float or "auto", default="auto"
        Decoupled, as in AdamW. "auto" is 2, or 10 over the steps of an epoch where that is less, so
        that with many rows weights are forgotten after as many epochs as with fewer (Wang &
        Aitchison 2024).
    batch_size : int, default=256
        Rows a step.
    max_iter : int or "auto", default="auto"
        Number of epochs, over which the learning rate goes through its four cycles. "auto" is 256,
        or with very many rows as many as make 20,000 steps, but at least 16.
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        Which columns are categories: those of text or of a type for categories, or those that a
        list of names or numbers or a Boolean mask tells beside these.
    max_one_hot_categories : int, default=8
        Columns of more categories than this have an embedding, the others an input a category.
    embedding_size : int, default=8
        Length of the learned vector of a category of such a column; 0 for one input a category
        there too.
    max_categories : int, default=256
        Categories of a column that are told apart at most; the rarest are taken together, and so
        are those that `fit` has not seen.
    early_stopping : "auto" or bool, default="auto"
        Whether a part of the rows is set aside after every epoch to measure on, and the best epoch
        kept. "auto" does so from 100 rows on. Rows that are given to `fit` as `X_val` are always
        measured on, and then none are set aside.
    validation_fraction : float, default=0.2
        The share of the rows that is set aside.
    n_iter_no_change : int, optional
        Epochs without a better one after which training ends. The rate rises and falls in cycles
        of up to half of all epochs, and what it does meanwhile is no sign; by default all
        epochs are done.
    max_time : float, optional
        Seconds after which training ends.
    random_state : int, RandomState or None, default=None
        Decides the first weights, dropout, the order of rows and which of them are set aside.
    n_threads : int, optional
        Threads at most; `fastnn.get_num_threads` decides where omitted. The result has the same
        bits with any number.
    backend : str, default="auto"
        One of `fastnn.backends.available`, or "auto".
    callbacks : list of fastnn.Callback, optional
        What else watches the training.
    progress : bool, default=False
        Whether a bar is drawn, where the output is a terminal.
    verbose : bool, default=False
        Whether every epoch is told in a line.

    Attributes
    ----------
    network_ : fastnn.Network
        The fitted network; `encoder_` makes its inputs.
    encoder_ : TabularEncoder
        What it is that turns tables into inputs.
    n_features_in_ : int
        Number of columns F.
    feature_names_in_ : ndarray of str, shape (F,)
        Names of the columns, where the table had names that are text.
    is_categorical_ : ndarray of bool, shape (F,)
        Which columns are categories.
    n_iter_ : int
        Epochs done.
    best_iteration_ : int
        The epoch whose weights were kept, counted from 1; the last one without validation rows.
    loss_curve_ : list of float
        The loss of every epoch, measured while training.
    validation_loss_curve_ : list of float, or None
        The loss on the validation rows after every epoch.
    stop_reason_ : str
        Why training ended.
    validation_scores_ : list of float, or None
        R² on the validation rows after every epoch.
    y_mean_, y_scale_ : float
        Mean and standard deviation of the target, in its units.
    y_range_ : (float, float)
        The bounds of all predictions.

    References
    ----------
    D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by default: Strong pre-tuned MLPs and
    boosted trees on tabular data", NeurIPS 2024, arXiv:2407.04491.

    X. Wang and L. Aitchison, "How to set AdamW's weight decay as you scale model and dataset size",
    2024, arXiv:2405.13698.

    Examples
    --------
    >>> import polars as pl
    >>> from fastnn.sklearn import TabularMLPRegressor
    >>> flats = pl.DataFrame(
    ...     {"area": [30.0, 45.0, None, 80.0, 95.0, 70.0], "city": ["Metz", "Lyon"] * 3}
    ... )
    >>> model = TabularMLPRegressor(random_state=0, max_iter=64)
    >>> model.fit(flats, [100.0, 180.0, 150.0, 320.0, 300.0, 280.0]).y_range_
    (100.0, 320.0)
    >>> model.predict(flats[3:]).shape
    (3,)
    """

    _monitor, _sign = "val_loss", -1
    _few = 100
    _most_decay = 2.0

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256, 256),
        activation: Any = "mish",
        *,
        dropout: float = 0.15,
        learning_rate_init: float = 0.0025,
        beta_2: float = 0.95,
        weight_decay: float | str = "auto",
        batch_size: int = 256,
        max_iter: int | str = "auto",
        categorical_features: Any = "from_dtype",
        max_one_hot_categories: int = 8,
        embedding_size: int = 8,
        max_categories: int = 256,
        early_stopping: Any = "auto",
        validation_fraction: float = 0.2,
        n_iter_no_change: int | None = None,
        max_time: float | None = None,
        random_state: Any = None,
        n_threads: int | None = None,
        backend: str = "auto",
        callbacks: Any = None,
        progress: bool = False,
        verbose: bool | int = False,
    ) -> None:
        keep(self, locals())

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : data frame or array-like, shape (B, F)
        y : array-like, shape (B,)
            The values to predict.
        sample_weight : array-like, shape (B,), optional
            A row of weight 0 is as good as absent.
        X_val : data frame or array-like, shape (V, F), optional
            Rows by which the best epoch is chosen.
        y_val : array-like, shape (V,), optional
        sample_weight_val : array-like, shape (V,), optional

        Returns
        -------
        self

        Raises
        ------
        TypeError, ValueError
            For parameters out of range and for data of the wrong kind, by column and row.
        """
        started = time.monotonic()
        values = check_target(self, y).astype(np.float64)
        rows = self._encode(X, values, sample_weight, learn=True)
        held = None
        if X_val is not None:
            goal = check_target(self, y_val).astype(np.float64)
            held = self._encode(X_val, goal, sample_weight_val, learn=False)
        self._train(rows, held, None, started)
        return self

    def predict(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the predicted value of every row, shape (B,).

        Parameters
        ----------
        X : data frame or array-like, shape (B, F)
        """
        outputs = self.predict_raw(X)[:, 0].astype(np.float64)
        return np.clip(self.y_mean_ + self.y_scale_ * outputs, *self.y_range_)

    def _learn_targets(self, rows: Rows) -> tuple[Layer, Loss]:
        self.y_mean_ = float(np.average(rows.y, weights=rows.weight))
        variance = np.average((rows.y - self.y_mean_) ** 2, weights=rows.weight)
        self.y_scale_ = float(np.sqrt(variance)) or 1.0
        self.y_range_ = float(rows.y.min()), float(rows.y.max())
        return Dense(1), MeanSquaredError()

    def _scores(self, history: History, held: Rows) -> list[float]:
        goal = self._to_network(held.y)
        mean = np.average(goal, weights=held.weight)
        variance = float(np.average((goal - mean) ** 2, weights=held.weight))
        return [1 - loss / variance if variance else np.nan for loss in history["val_loss"]]

    def _to_network(self, y: Array) -> Array:
        return (y - self.y_mean_) / self.y_scale_
