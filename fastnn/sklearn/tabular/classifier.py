"""The classifier for tables."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from fastnn.layers import Dense, Layer
from fastnn.losses import CrossEntropy, Loss
from fastnn.sklearn.parameters import keep
from fastnn.sklearn.tabular.base import TabularMLP, check_target
from fastnn.sklearn.tabular.rows import Rows
from fastnn.training import History

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TabularMLPClassifier"]

Array = npt.NDArray[Any]


class TabularMLPClassifier(ClassifierMixin, TabularMLP):
    """A network that classifies the rows of mixed tables, after the recipe of RealMLP.

    The table may be a data frame of pandas, polars or pyarrow, or an array, also one of Python
    objects. Columns of numbers are scaled by their quartiles and clipped smoothly; missing ones
    take the median and are told by an input of their own. Booleans are -1 and 1. Columns of few
    categories have an input a category, those of many a learned embedding; missing categories are
    categories, and unknown ones are fine. Infinities, dates and nested values are refused.

    The recipe is RealMLP's (Holzmüller, Grinsztajn & Steinwart 2024). Taken from it: the scaling
    and clipping, the limit and the size of embeddings, three hidden layers of 256 with SELU,
    Adam with a beta2 of 0.95 and decoupled weight decay, the schedule coslog4, label smoothing of
    0.1, 256 epochs in batches of 256, dropout, and the best epoch by a held-out fifth, the last one
    of equals. Not taken: its numerical embeddings (PBLD), the scaling layer, learned activations,
    the neural tangent parametrisation and the rates of single layers that belong to it,
    initialisation by data, and the schedules of dropout and weight decay. So the learning rate and
    the weight decay are other numbers here: they were chosen among a few, by cross-validation, for
    generated tables and those of scikit-learn together.

    Where all training rows fit in one batch, equal rows are merged into one with the sum of their
    weights, so that a weight of 3 is exactly a row that is there three times.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(256, 256, 256)
        Units of each hidden layer.
    activation : str or ActivationFunction, default="selu"
        Of the hidden layers.
    dropout : float, default=0.15
        Share of the hidden units that are left out of a step.
    label_smoothing : float, default=0.1
        What is taken from the class of a row and shared among all, so that probabilities are less
        extreme.
    learning_rate_init : float, default=0.0025
        The highest learning rate.
    beta_2 : float, default=0.95
        Decay of the mean squared gradient in Adam.
    weight_decay : float or "auto", default="auto"
        Decoupled, as in AdamW. "auto" is 1, or 10 over the steps of an epoch where that is less, so
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
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes, by label; they go into training and into the choice of the epoch.
    early_stopping : "auto" or bool, default="auto"
        Whether a part of the rows is set aside after every epoch to measure on, and the best epoch
        kept. "auto" does so from 1,000 rows on. Rows that are given to `fit` as `X_val` are always
        measured on, and then none are set aside.
    validation_fraction : float, default=0.2
        The share of the rows that is set aside, of every class alike.
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
    classes_ : ndarray, shape (K,)
        The labels.
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
        The accuracy on the validation rows after every epoch.

    References
    ----------
    D. Holzmüller, L. Grinsztajn and I. Steinwart, "Better by default: Strong pre-tuned MLPs and
    boosted trees on tabular data", NeurIPS 2024, arXiv:2407.04491.

    X. Wang and L. Aitchison, "How to set AdamW's weight decay as you scale model and dataset size",
    2024, arXiv:2405.13698.

    Examples
    --------
    >>> import polars as pl
    >>> from fastnn.sklearn import TabularMLPClassifier
    >>> flats = pl.DataFrame(
    ...     {"area": [30.0, 45.0, None, 80.0, 95.0, 70.0], "city": ["Metz", "Lyon"] * 3}
    ... )
    >>> model = TabularMLPClassifier(random_state=0, max_iter=64)
    >>> model.fit(flats, ["small", "small", "small", "large", "large", "large"]).predict(flats[3:])
    array(['large', 'large', 'large'], dtype='<U5')
    """

    _monitor, _sign = "val_accuracy", 1
    _few = 1000
    _most_decay = 1.0

    def __init__(
        self,
        hidden_layer_sizes: Any = (256, 256, 256),
        activation: Any = "selu",
        *,
        dropout: float = 0.15,
        label_smoothing: float = 0.1,
        learning_rate_init: float = 0.0025,
        beta_2: float = 0.95,
        weight_decay: float | str = "auto",
        batch_size: int = 256,
        max_iter: int | str = "auto",
        categorical_features: Any = "from_dtype",
        max_one_hot_categories: int = 8,
        embedding_size: int = 8,
        max_categories: int = 256,
        class_weight: Any = None,
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
            Labels: text, numbers or Booleans.
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
        labels = check_target(self, y)
        check_classification_targets(labels)
        self.classes_, codes = np.unique(labels, return_inverse=True)
        factors = compute_class_weight(self.class_weight, classes=self.classes_, y=labels)
        rows = self._encode(X, codes, sample_weight, learn=True)
        held = None
        if X_val is not None:
            held = self._encode(X_val, self._codes(y_val), sample_weight_val, learn=False)
        if self.class_weight is not None:
            rows, held = _weighted(rows, factors), held and _weighted(held, factors)
        self._train(rows, held, len(self.classes_), started)
        return self

    def predict_proba(self, X: Any) -> npt.NDArray[np.float64]:
        """Return the probabilities of the classes, shape (B, K), in the order of `classes_`.

        Parameters
        ----------
        X : data frame or array-like, shape (B, F)
        """
        shares = self.predict_raw(X).astype(np.float64)
        return shares / shares.sum(axis=1, keepdims=True)

    def predict(self, X: Any) -> Array:
        """Return the most probable label of every row, shape (B,).

        Parameters
        ----------
        X : data frame or array-like, shape (B, F)
        """
        best = self.predict_raw(X).argmax(axis=1)
        return self.classes_[best]

    def _codes(self, y: Any) -> Array:
        labels = check_target(self, y)
        unknown = labels[~np.isin(labels, self.classes_)]
        if len(unknown):
            raise ValueError(f"y_val holds the label {unknown.tolist()[0]!r}, which y does not")
        return np.searchsorted(self.classes_, labels)

    def _learn_targets(self, rows: Rows) -> tuple[Layer, Loss]:
        head = Dense(len(self.classes_), activation="softmax")
        return head, CrossEntropy(self.label_smoothing)

    def _scores(self, history: History, held: Rows) -> list[float]:
        return history["val_accuracy"]

    def _to_network(self, y: Array) -> Array:
        return y


def _weighted(rows: Rows, factors: Array) -> Rows:
    weight = factors[rows.y] if rows.weight is None else factors[rows.y] * rows.weight
    there = np.flatnonzero(weight)
    return Rows(rows.X, rows.y, weight).take(there)
