"""The classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import column_or_1d, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import type_of_target, unique_labels

from fastnn.sklearn import describe
from fastnn.sklearn.base import BaseMLP, has_partial_fit
from fastnn.sklearn.borrowed import check_partial_fit_first_call, fit_context
from fastnn.sklearn.data import Rows, dense
from fastnn.sklearn.describe import Objective
from fastnn.sklearn.parameters import CLASSIFIER, keep

__all__ = ["MLPClassifier"]

Array = npt.NDArray[Any]


class MLPClassifier(ClassifierMixin, BaseMLP):
    """A multi-layer perceptron that classifies: scikit-learn's, and more, several times faster.

    With the arguments of `sklearn.neural_network.MLPClassifier` it does what that one does: it
    draws the same first weights from `random_state`, takes the rows in the same order, and follows
    the same rules, so that results are the same up to rounding. The arguments from `loss` on are
    not scikit-learn's; their defaults change nothing.

    Parameters
    ----------
    hidden_layer_sizes : int or array-like of int, default=(100,)
        Units of each hidden layer.
    activation : str or list of str, default="relu"
        Activation of the hidden layers: ``"identity"``, ``"logistic"``, ``"tanh"``, ``"relu"``, or
        any other of `fastnn.activations`; a list has one for each hidden layer.
    solver : {"lbfgs", "sgd", "adam"}, default="adam"
        L-BFGS takes all rows at once and suits some thousand rows at most. It has no steps, so that
        dropout, weight decay, gradient clipping, schedules, early stopping, `callbacks` and
        `progress` do nothing with it.
    alpha : float, default=0.0001
        Strength of the L2 penalty ``alpha / 2 Σw²``, which is divided by the rows of a batch (the
        sum of their weights) when it is added to the mean loss.
    batch_size : int or "auto", default="auto"
        Rows a step; ``"auto"`` is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Of the solver sgd: the rate stays; or is ``learning_rate_init / (t_ + 1)**power_t``, set
        after every epoch; or is divided by 5 where training would else stop.
    learning_rate_init : float, default=0.001
        Learning rate of sgd and adam.
    power_t : float, default=0.5
        The exponent of ``"invscaling"``.
    max_iter : int, default=200
        Epochs at most; iterations of lbfgs.
    shuffle : bool, default=True
        Whether every epoch takes the rows in an order of its own.
    random_state : int, RandomState instance or None, default=None
        Source of the first weights, the order of rows, the rows that early stopping holds out, and
        dropout.
    tol : float, default=1e-4
        An epoch that betters the loss (with `early_stopping`, the score) by less than this does not
        count as progress. Of lbfgs the bound of the gradient.
    verbose : bool, default=False
        Whether the loss of every epoch is printed.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the fit before.
    momentum : float, default=0.9
        Momentum of sgd, between 0 and 1.
    nesterovs_momentum : bool, default=True
        Whether it is Nesterov's.
    early_stopping : bool, default=False
        Whether rows are held out, training ends when their score no longer rises, and the weights
        of the best score are put back.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, where `fit` is given no ``X_val``.
    beta_1, beta_2 : float, default=0.9, 0.999
        Decay of adam's moments.
    epsilon : float, default=1e-8
        Adam's epsilon, added to the root of the uncorrected second moment, as scikit-learn does.
    n_iter_no_change : int, default=10
        Epochs without progress after which training ends.
    max_fun : int, default=15000
        Calls of the loss that lbfgs may make.
    loss : {"log_loss", "cross_entropy"}, default="log_loss"
        Two names of one loss: softmax and cross entropy, or for two classes and for several labels
        a row, sigmoid and binary cross entropy.
    label_smoothing : float, default=0.0
        ε in ``(1 - ε) y + ε / n_classes`` (Szegedy et al. 2016), from 0 to below 1.
    class_weight : dict, "balanced", list of dict or None, default=None
        Weights of the classes, multiplied into those of the rows that are trained on.
    dropout : float, default=0.0
        Share of every hidden layer's outputs that a training step leaves out.
    layer_norm : bool, default=False
        Whether hidden layers are normalised before their activation.
    residual : bool, default=False
        Whether a hidden layer adds its input to its output, where both are equally wide.
    weight_decay : float, default=0.0
        Decoupled weight decay of adam (Loshchilov & Hutter 2019); sgd adds it to the gradient.
    gradient_clip : float or None, default=None
        Largest Euclidean norm of a step's gradient.
    schedule : fastnn.schedules.Schedule or None, default=None
        Learning rates over time, in place of `learning_rate` and `learning_rate_init`.
    early_stopping_metric : str, callable or None, default=None
        What `early_stopping` looks at: a scorer of scikit-learn by name or as a callable of
        (estimator, X, y), or ``"loss"``; None is the accuracy. More is better: the scores of
        ``"loss"`` are losses below 0.
    keep_optimizer : bool, default=False
        Whether `warm_start` also goes on with the optimizer's moments and rate.
    max_time : float or None, default=None
        Seconds after which training ends, between two steps.
    callbacks : list of fastnn.Callback or None, default=None
        Who watches training, and may end it. Metrics of rows to validate on, such as
        ``"val_loss"``, are there with `early_stopping`, or where `fit` is given ``X_val``.
    progress : bool, default=False
        Whether a bar is drawn, where the output is a terminal.
    n_threads : int or None, default=None
        Threads at most; `fastnn.get_num_threads` decides for None. Results do not depend on it.
    dtype : {"float32", "float64"}, the NumPy type of either, or None, default=None
        Type of the arithmetic; None keeps that of X, and takes float64 for integers.
    backend : str, default="auto"
        One of `fastnn.backends.available`.

    Attributes
    ----------
    classes_ : ndarray, shape (n_classes,)
    loss_ : float
        Loss of the last epoch, with the penalty.
    best_loss_ : float or None
        The least loss of an epoch; None with early stopping.
    loss_curve_ : list of float
        Loss of every epoch; with lbfgs, of every iteration.
    validation_loss_curve_ : list of float
        Loss of the validation rows after every epoch, without the penalty.
    validation_scores_ : list of float or None
        Scores of the validation rows, with early stopping.
    best_validation_score_ : float or None
        The best of them.
    t_ : int
        Rows seen in training.
    coefs_, intercepts_ : list of ndarray
        Weights and biases of the dense layers, shapes (n_inputs, n_units) and (n_units,): live
        views, so that what is written into them counts.
    n_features_in_ : int
    feature_names_in_ : ndarray, shape (n_features_in_,)
        Names of the columns, where X has any.
    n_iter_, n_layers_, n_outputs_ : int
    out_activation_ : str
    stop_reason_ : str or None
        Why training ended.
    network_ : fastnn.Network
        The network itself, with `save`, gradients, and all else.

    Notes
    -----
    Up to rounding, weights and losses are those of scikit-learn for the same `random_state`. A loss
    that stops being finite ends training at once, with the error that scikit-learn raises at the
    end. With early stopping the best weights are put back, as there.

    References
    ----------
    Glorot & Bengio 2010, Understanding the difficulty of training deep feedforward neural networks
    (first weights); Kingma & Ba 2015, Adam; Sutskever et al. 2013, On the importance of
    initialization and momentum in deep learning.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from fastnn.sklearn import MLPClassifier
    >>> X, y = make_classification(n_samples=100, random_state=1)
    >>> model = MLPClassifier(random_state=1, max_iter=300).fit(X, y)
    >>> model.predict(X[:3]).tolist() == y[:3].tolist()
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = CLASSIFIER
    _numeric_targets = False

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: int = 10,
        max_fun: int = 15000,
        loss: str = "log_loss",
        label_smoothing: float = 0.0,
        class_weight: Any = None,
        dropout: float = 0.0,
        layer_norm: bool = False,
        residual: bool = False,
        weight_decay: float = 0.0,
        gradient_clip: float | None = None,
        schedule: Any = None,
        early_stopping_metric: Any = None,
        keep_optimizer: bool = False,
        max_time: float | None = None,
        callbacks: Any = None,
        progress: bool = False,
        n_threads: int | None = None,
        dtype: str | None = None,
        backend: str = "auto",
    ) -> None:
        keep(self, locals())

    @available_if(has_partial_fit)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        classes: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Go over the rows once, from where training stands.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like of shape (n_classes,), default=None
            All classes that will come. The first call needs them.
        X_val, y_val, sample_weight_val : array-likes, default=None
            As for `fit`. With `early_stopping` they must be given: ``stop_reason_`` is None until
            the score has not risen for `n_iter_no_change` calls; then the best weights are put
            back.

        Returns
        -------
        self
            The fitted estimator.
        """
        if isinstance(self.class_weight, str):
            raise ValueError(
                "class_weight='balanced' needs all rows, which partial_fit does not see; give "
                "weights as a dict, for example from sklearn.utils.compute_class_weight"
            )
        if check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            several = type_of_target(y).startswith("multilabel")
            self._label_binarizer.fit(y if several else classes)
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=True)

    def predict(self, X: Any) -> Array:
        """Return the most probable class of every row, shape (n_samples,).

        For several labels a row: 0 or 1 for each of them, shape (n_samples, n_classes).
        """
        return self._decide(self._outputs(X))

    def predict_proba(self, X: Any) -> Array:
        """Return the probability of every class, shape (n_samples, n_classes)."""
        outputs = self._outputs(X)
        if outputs.shape[1] > 1:
            return outputs
        probabilities = np.empty((len(outputs), 2), outputs.dtype)
        np.subtract(1, outputs[:, 0], out=probabilities[:, 0])
        probabilities[:, 1] = outputs[:, 0]
        return probabilities

    def predict_log_proba(self, X: Any) -> Array:
        """Return the logarithm of `predict_proba`, shape (n_samples, n_classes)."""
        probabilities = self.predict_proba(X)
        with np.errstate(divide="ignore"):  # minus infinity is right for a probability of 0
            return np.log(probabilities, out=probabilities)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags

    # -- targets ---------------------------------------------------------------------------------

    def _learn_targets(self, y: Array, *, anew: bool, all_classes: bool) -> Array:
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if anew or not hasattr(self, "classes_"):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
            return dense(y)
        if y.ndim == 2 and not self._label_binarizer.y_type_.startswith("multilabel"):
            raise ValueError("The object was not fitted with multilabel input.")
        classes = unique_labels(y)
        if all_classes:
            if set(classes) != set(self.classes_):
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the previous "
                    f"call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"'y' has {classes}."
            )
        return dense(y)

    def _encode(self, y: Array) -> Array:
        kind = self._label_binarizer.y_type_
        if kind == "multiclass":
            return np.searchsorted(self.classes_, y)
        if kind.startswith("multilabel"):
            yes = y if y.ndim == 2 else self._label_binarizer.transform(y)
        else:
            yes = (y == self.classes_[-1]).reshape(-1, 1)
        if len(self.classes_) == 1:
            yes = np.zeros((len(y), 1), bool)
        return yes * (1 - self.label_smoothing) + self.label_smoothing / 2

    def _objective(self, columns: int) -> Objective:
        kind = self._label_binarizer.y_type_
        outputs = 1 if kind == "binary" else len(self.classes_)
        return describe.classification(kind, outputs, self.label_smoothing)

    def _strata(self, y: Array) -> Array | None:
        # Rows are held out class by class where there are two, as in scikit-learn, which turns
        # them into these words.
        if self.n_outputs_ > 1:
            return None
        return np.where(y == self.classes_[-1], "True", "False")

    def _class_weights(self, y: Array) -> Array | None:
        return None if self.class_weight is None else compute_sample_weight(self.class_weight, y)

    def _score_of(self, rows: Rows, metrics: Mapping[str, float]) -> float:
        if len(self.classes_) == 1 and rows.y.ndim == 1:
            return 1.0  # whatever the network gives, there is but one class to predict
        if rows.y.ndim == 1:
            return metrics["val_accuracy"]
        predicted = self._decide(self._without_feature_names()._outputs(rows.X))
        return float(accuracy_score(rows.y, predicted, sample_weight=rows.weight))

    def _decide(self, outputs: Array) -> Array:
        if self._label_binarizer.y_type_.startswith("multilabel"):
            return self._label_binarizer.inverse_transform(outputs)
        if outputs.shape[1] > 1:
            return self.classes_[outputs.argmax(axis=1)]
        yes = (outputs[:, 0] > 0.5) & (len(self.classes_) > 1)
        return self.classes_[yes.astype(np.intp)]
