"""What the classifier and the regressor share: fitting, and what it leaves behind."""

from __future__ import annotations

import contextlib
import copy
import operator
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn.network import Network
from fastnn.sklearn import describe, lbfgs, stochastic, weights
from fastnn.sklearn.borrowed import CallbackSupportMixin, check_sample_weight, fit_context
from fastnn.sklearn.data import Rows, dense, held_out
from fastnn.sklearn.describe import Objective
from fastnn.sklearn.display import layers_as_html
from fastnn.sklearn.private import PrivateNames
from fastnn.sklearn.watchers import watchers_of

__all__ = ["BaseMLP", "Validation", "has_partial_fit"]

Array = npt.NDArray[Any]

# X, y and weights of the rows to validate on, each of them perhaps None.
Validation = tuple[Any, Any, Any]

SPARSE = ["csr", "csc"]

# Rows of a sparse matrix that are made dense at a time to predict, in elements.
DENSE_AT_ONCE = 2**22


class BaseMLP(CallbackSupportMixin, PrivateNames, BaseEstimator):
    """Base of `MLPClassifier` and `MLPRegressor`."""

    # -- what the two differ in ------------------------------------------------------------------

    @abstractmethod
    def _learn_targets(self, y: Array, *, anew: bool, all_classes: bool) -> Array:
        """Check the targets, of rank 1 or 2, and learn the classes, if `anew`.

        With `all_classes` they hold just the classes that are known, else some of them.
        """

    @abstractmethod
    def _encode(self, y: Array) -> Array:
        """Return what the network is to give for y: labels, or values, shape (B, O)."""

    @abstractmethod
    def _objective(self, columns: int) -> Objective:
        """Return what is minimised for targets of so many columns."""

    @abstractmethod
    def _score_of(self, rows: Rows, metrics: Mapping[str, float]) -> float:
        """Return the score of validation rows on which the network has these metrics."""

    def _strata(self, y: Array) -> Array | None:
        """Return the classes by which rows are held out, if they are."""
        return None

    def _class_weights(self, y: Array) -> Array | None:
        """Return a weight for every row, by its class."""
        return None

    # -- what scikit-learn asks for --------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the model to X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            A sparse matrix is made dense: mind its size.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, or values.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows, at least 0. A row of weight 0 is as good as absent.
        X_val, y_val, sample_weight_val : array-likes, default=None
            Rows to validate on: they make ``validation_loss_curve_``, and take the place of
            ``validation_fraction`` where ``early_stopping`` is True.

        Returns
        -------
        self
            The fitted estimator.

        Raises
        ------
        ValueError
            For data that do not fit, and where the weights do not stay finite.
        """
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=False)

    def __sklearn_is_fitted__(self) -> bool:
        return "_network" in self.__dict__

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _repr_html_inner(self) -> str:
        return super()._repr_html_inner() + layers_as_html(self.__dict__.get("_network"))

    @property
    def network_(self) -> Network:
        """The fitted `fastnn.Network`."""
        if "_network" not in self.__dict__:
            raise AttributeError(f"this {type(self).__name__} has no network_ before fit")
        return self._network

    @property
    def coefs_(self) -> list[Array]:
        """Weights of each dense layer, shape (n_inputs, n_units); what is written there counts."""
        return self._weights("weight")

    @coefs_.setter
    def coefs_(self, values: Sequence[Any]) -> None:
        self._set_weights("weight", values)

    @property
    def intercepts_(self) -> list[Array]:
        """Biases of each dense layer, shape (n_units,); what is written there counts."""
        return self._weights("bias")

    @intercepts_.setter
    def intercepts_(self, values: Sequence[Any]) -> None:
        self._set_weights("bias", values)

    # -- fitting ---------------------------------------------------------------------------------

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation: Validation, *, incremental: bool
    ) -> Any:
        sizes = self._hidden_sizes()
        first = not self._has_weights() or not (self.warm_start or incremental)
        if self.early_stopping and incremental and validation[0] is None:
            # scikit-learn's words, and what to do.
            raise ValueError(
                "partial_fit does not support early_stopping=True without rows to validate on; "
                "give X_val and y_val"
            )
        told = X, y, sample_weight
        X, y = self._checked(X, y, reset=first)
        anew = not (self.warm_start or incremental)
        y = self._learn_targets(y, anew=anew, all_classes=self.warm_start)
        if sample_weight is not None:
            sample_weight = check_sample_weight(sample_weight, X, dtype=X.dtype)
        self._random_state = check_random_state(self.random_state)
        objective = self._objective(1 if y.ndim == 1 else y.shape[1])
        if first:
            self._forget_given()
        if first or "loss_curve_" not in self.__dict__:
            self._start_record(objective, len(sizes) + 2)
        self._make_network(objective, sizes, X.shape[1], X.dtype)
        rows, held = self._split(Rows(X, y, sample_weight), self._validation(validation))
        watchers = None if incremental else watchers_of(self, *told, self.max_iter + 1)
        if self.solver == "lbfgs":
            lbfgs.train(self, objective, rows, held, watchers)
        else:
            stochastic.train(self, objective, rows, held, watchers, incremental=incremental)
        if watchers is not None:
            watchers.close()
        if not np.isfinite(self._network.parameters_vector).all():
            raise ValueError(stochastic.NON_FINITE)
        return self

    def _split(self, rows: Rows, held: Rows | None) -> tuple[Rows, Rows | None]:
        """Return the rows to train on, with the weights of their classes, and those held out."""
        factors = self._class_weights(rows.y)
        if self.early_stopping and held is None and self.solver != "lbfgs":
            strata = self._strata(rows.y)
            train, test = held_out(len(rows), self.validation_fraction, self._random_state, strata)
            held, rows = rows.take(test), rows.take(train)
            factors = None if factors is None else factors[train]
        return rows.weighted(factors), held

    def _hidden_sizes(self) -> list[int]:
        given = self.hidden_layer_sizes
        sizes = list(given) if hasattr(given, "__iter__") else [given]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        return [operator.index(size) for size in sizes]

    def _checked(self, X: Any, y: Any, *, reset: bool) -> tuple[Any, Array]:
        """Return X and y as arrays of the right types."""
        dtype: Any = (np.float64, np.float32)
        if not reset and "_network" in self.__dict__:
            dtype = self._network.dtype
        elif self.dtype is not None:
            dtype = np.dtype(self.dtype)
        return validate_data(
            self,
            X,
            y,
            accept_sparse=SPARSE,
            multi_output=True,
            y_numeric=self._numeric_targets,
            dtype=dtype,
            reset=reset,
        )

    def _validation(self, given: Validation) -> Rows | None:
        """Return the rows to validate on that somebody gave."""
        X, y, weight = given
        if X is None and y is None and weight is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val are given together, or not at all")
        X, y = self._checked(X, y, reset=False)
        y = self._learn_targets(y, anew=False, all_classes=False)
        if weight is not None:
            weight = check_sample_weight(weight, X, dtype=X.dtype)
        return Rows(X, y, weight)

    def _start_record(self, objective: Objective, layers: int) -> None:
        """Forget an earlier fit."""
        for name in ("_network", "_optimizer"):
            self.__dict__.pop(name, None)
        self.n_iter_ = self.t_ = 0
        self.n_outputs_ = objective.outputs
        self.n_layers_ = layers
        self.out_activation_ = objective.out_activation
        self.loss_curve_: list[float] = []
        self.validation_loss_curve_: list[float] = []
        self.validation_scores_ = self.best_validation_score_ = self.best_loss_ = None
        self.stop_reason_: str | None = None
        self._no_improvement_count = 0
        self._best: tuple[Array, Array] | None = None

    def _make_network(
        self, objective: Objective, sizes: list[int], features: int, dtype: npt.DTypeLike
    ) -> None:
        """Make the network; or one with the weights that are there, where its layers changed."""
        layers = describe.layers_of(self, objective, sizes, features)
        there: Network | None = self.__dict__.get("_network")
        if there is not None and list(there.layers) == layers and there.loss == objective.loss:
            return
        network = Network(
            layers,
            input_size=features,
            loss=objective.loss,
            optimizer=describe.optimizer_of(self, objective.step),
            dtype=dtype,
            backend=self.backend,
            threads=self.n_threads,
        )
        if there is not None:
            network, as_it_was = weights.inherit(network, there, self.n_threads)
            if not as_it_was:
                self.__dict__.pop("_optimizer", None)
        else:
            self._begin_weights(network, len(sizes))
        if self.dropout > 0:
            network.seed = int(self._random_state.randint(2**31))
        self._network = network

    def _begin_weights(self, network: Network, hidden: int) -> None:
        """Write the weights that somebody has set before there was a network; draw the others."""
        given = {role: self.__dict__.get(f"_given_{role}") for role in ("weight", "bias")}
        if None in given.values():
            activations = describe.hidden_activations(self, hidden)
            # The outputs are drawn as if the activation were theirs, as in scikit-learn.
            one = self.activation
            last = activations[-1:] or ["identity" if isinstance(one, (list, tuple)) else one]
            weights.draw(network, [*activations, *last], self._random_state)
        for role, values in given.items():
            if values is not None:
                weights.write(network, role, values)
        self._forget_given()

    def _forget_given(self) -> None:
        for role in ("weight", "bias"):
            self.__dict__.pop(f"_given_{role}", None)

    def _take_weights(
        self, coefs: Sequence[Array], intercepts: Sequence[Array], dtype: npt.DTypeLike
    ) -> None:
        """Become fitted, with these weights."""
        objective = self._objective(coefs[-1].shape[1])
        self._start_record(objective, len(coefs) + 1)
        self.__dict__.update(_given_weight=list(coefs), _given_bias=list(intercepts))
        self._random_state = check_random_state(self.random_state)
        self._make_network(objective, self._hidden_sizes(), len(coefs[0]), dtype)

    # -- weights ---------------------------------------------------------------------------------

    def _has_weights(self) -> bool:
        return not {"_network", "_given_weight", "_given_bias"}.isdisjoint(self.__dict__)

    def _weights(self, role: str) -> list[Array]:
        if "_network" in self.__dict__:
            return weights.weights_of(self._network, role)
        try:
            return self.__dict__[f"_given_{role}"]
        except KeyError:
            name = {"weight": "coefs_", "bias": "intercepts_"}[role]
            raise AttributeError(f"this {type(self).__name__} has no {name} before fit") from None

    def _set_weights(self, role: str, values: Sequence[Any]) -> None:
        """Write weights; where there is no network yet, keep them for the first partial_fit."""
        if "_network" in self.__dict__:
            weights.write(self._network, role, values)
        else:
            self.__dict__[f"_given_{role}"] = list(values)

    # -- predicting ------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> Array:
        """Return what the network gives for X, shape (B, O)."""
        network: Network | None = self.__dict__.get("_network")
        # A plain array skips scikit-learn's checks, which take longer than a small network. What
        # the network refuses goes through them after all, and is refused in their words.
        if (
            network is not None
            and type(X) is np.ndarray
            and X.dtype == network.dtype
            and X.ndim == 2
            and len(X)
            and "feature_names_in_" not in self.__dict__
        ):
            with contextlib.suppress(ValueError):
                return network.predict(X)
        check_is_fitted(self)
        X = validate_data(self, X, accept_sparse=SPARSE, reset=False)
        if isinstance(X, np.ndarray):
            return self._network.predict(X)
        rows = max(1, DENSE_AT_ONCE // X.shape[1])
        X = X.tocsr()
        starts = range(0, X.shape[0], rows)
        parts = [self._network.predict(dense(X[first : first + rows])) for first in starts]
        return np.concatenate(parts)

    def _without_feature_names(self) -> Any:
        """Return this estimator for rows that have lost their names on the way."""
        plain = copy.copy(self)
        plain.__dict__.pop("feature_names_in_", None)
        return plain


def has_partial_fit(estimator: Any) -> bool:
    """Tell whether an estimator's solver goes row by row.

    Raises
    ------
    AttributeError
        When it does not.
    """
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. "
            f"{estimator.solver} is not stochastic."
        )
    return True
