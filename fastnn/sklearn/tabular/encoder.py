"""The encoder of tables as a transformer of scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastnn import checks
from fastnn.sklearn.tabular.columns import BooleanColumn, CategoryColumn, Column, NumericColumn
from fastnn.sklearn.tabular.frames import BOOLEAN, CATEGORY, Table

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["TabularEncoder", "row_weights"]

Array = npt.NDArray[Any]


class TabularEncoder(TransformerMixin, BaseEstimator):
    """Turns a mixed table into float32 inputs of a network, without missing values.

    Numbers are scaled by their quartiles and clipped smoothly as in RealMLP (Holzmüller, Grinsztajn
    & Steinwart 2024, section 3): ``x -> s (x - median)`` with ``s = 1 / (q75 - q25)``, or
    ``2 / (max - min)`` where the quartiles coincide, or 0 for a constant; then
    ``x / sqrt(1 + (x/3)²)``. A missing number takes the median, and a second input says so.
    Booleans are 1 and -1, missing 0. Categories have an input each; so have missing ones and, all
    together, rare ones. A category that was not in the training rows counts as a rare one where
    there are such, and else has all inputs at 0.

    Parameters
    ----------
    categorical_features : "from_dtype" or array-like, default="from_dtype"
        Which columns are categories: those of text or of a type for categories, or those that a
        list of names or numbers or a Boolean mask tells beside these.
    max_one_hot_categories : int, default=8
        Columns of more categories come last and are told in `embedded_`.
    max_categories : int, default=256
        Inputs of a column at most. The rarest categories share the last one.

    Attributes
    ----------
    columns_ : list of Column
        The columns in the order of their inputs.
    embedded_ : list of (int, int)
        First input, and the one behind the last, of each column with many categories.
    is_categorical_ : ndarray of bool, shape (F,)
        Which columns of the table are categories.
    n_features_in_ : int
        Number of columns F.
    feature_names_in_ : ndarray of str, shape (F,)
        Names of the columns, where they have names.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.sklearn.tabular import TabularEncoder
    >>> table = np.array([[1.0, "a"], [2.0, "b"], [np.nan, "a"], [4.0, None]], dtype=object)
    >>> encoder = TabularEncoder().fit(table)
    >>> encoder.get_feature_names_out().tolist()
    ['x0', 'x0_missing', 'x1_a', 'x1_b', 'x1_missing']
    >>> encoder.transform([[2.0, "c"]]).tolist()
    [[0.0, 0.0, 0.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        categorical_features: Any = "from_dtype",
        *,
        max_one_hot_categories: int = 8,
        max_categories: int = 256,
    ) -> None:
        self.categorical_features = categorical_features
        self.max_one_hot_categories = max_one_hot_categories
        self.max_categories = max_categories

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn how to encode the columns of a table.

        Parameters
        ----------
        X : data frame or array-like, shape (B, F)
        y : ignored
        sample_weight : array-like, shape (B,), optional
            A weight of 3 counts as three equal rows.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For infinities, dates and nested values, by column.
        """
        few = checks.whole_number("max_one_hot_categories", self.max_one_hot_categories, 0)
        most = checks.whole_number("max_categories", self.max_categories, 2)
        table = Table(X)
        validate_data(self, X, skip_check_array=True)
        weight = row_weights(sample_weight, table.rows)
        # A row of weight 0 is as good as absent.
        rows = np.arange(table.rows) if weight is None else np.flatnonzero(weight)
        weight = None if weight is None else weight[rows]
        chosen = self._chosen(table)
        columns: list[Column] = []
        for j, name in enumerate(table.names):
            kind = CATEGORY if chosen[j] else table.kind(j)
            if kind == CATEGORY:
                values = table.categories(j)
                values = [values[row] for row in rows]
                columns.append(CategoryColumn.learn(j, name, values, weight, most))
            elif kind == BOOLEAN:
                table.numbers(j)  # which refuses what is none
                columns.append(BooleanColumn(j, name))
            else:
                columns.append(NumericColumn.learn(j, name, table.numbers(j)[rows], weight))
        many = [c for c in columns if isinstance(c, CategoryColumn) and len(c.codes) > few]
        self.columns_ = [*(column for column in columns if column not in many), *many]
        places = [c.place for c in columns if isinstance(c, CategoryColumn)]
        self.is_categorical_ = np.isin(np.arange(len(table)), places)
        ends = np.cumsum([len(column.feature_names) for column in self.columns_]).tolist()
        self.embedded_ = [
            (end - column.width, end) for column, end in zip(many, ends[-len(many) :], strict=False)
        ]
        self._n_features_out = ends[-1]
        self._names = table.names if table.named else None
        return self

    def transform(self, X: Any) -> npt.NDArray[np.float32]:
        """Return the inputs of the rows of a table, shape (B, inputs).

        Parameters
        ----------
        X : data frame or array-like, shape (B, F)
            With the columns that `fit` had, in the same order.

        Raises
        ------
        ValueError
            When the columns are others, or hold something else than they did.
        """
        check_is_fitted(self)
        table = Table(X)
        validate_data(self, X, skip_check_array=True, reset=False)
        return self.encode(table)

    def encode(self, table: Table) -> npt.NDArray[np.float32]:
        """Return the inputs of a table of as many columns as `fit` had; see `transform`."""
        # scikit-learn compares names too, but not those of every kind of frame in every version.
        if table.named and self._names is not None and table.names != self._names:
            raise ValueError(
                "The feature names should match those that were passed during fit, "
                f"{self._names}; got {table.names}"
            )
        inputs = np.empty((table.rows, self._n_features_out), np.float32)
        start = 0
        for column in self.columns_:
            out = inputs[:, start : start + len(column.feature_names)]
            if isinstance(column, CategoryColumn):
                column.encode(table.categories(column.place), out)
            elif isinstance(column, (NumericColumn, BooleanColumn)):
                column.encode(table.numbers(column.place), out)
            start += out.shape[1]
        return inputs

    def get_feature_names_out(self, input_features: Any = None) -> npt.NDArray[np.object_]:
        """Return the names of the inputs; `input_features` is there for scikit-learn."""
        check_is_fitted(self)
        names = [name for column in self.columns_ for name in column.feature_names]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags

    def _chosen(self, table: Table) -> npt.NDArray[np.bool_]:
        """Return which columns `categorical_features` tells to be categories, whatever their type.

        Raises
        ------
        ValueError
            When it names columns that are not there.
        """
        told = self.categorical_features
        if isinstance(told, str) and told == "from_dtype":
            return np.zeros(len(table), dtype=bool)
        asked = np.atleast_1d(np.asarray(told))
        mask = np.zeros(len(table), dtype=bool)
        if asked.dtype.kind == "b":
            if asked.shape != mask.shape:
                raise ValueError(
                    f"categorical_features is a mask of shape {asked.shape} for {len(table)} "
                    "columns"
                )
            return asked
        places = {**{name: j for j, name in enumerate(table.names)}, **_by_number(len(table))}
        for name in asked.tolist():
            if name not in places:
                raise ValueError(
                    f"categorical_features names {name!r}; the columns are "
                    f"{', '.join(table.names[:10])}{', ...' * (len(table) > 10)}, by number 0 to "
                    f"{len(table) - 1}"
                )
            mask[places[name]] = True
        return mask


def row_weights(sample_weight: Any, rows: int) -> npt.NDArray[np.float64] | None:
    """Return the weights of the rows, float64, shape (B,), or None.

    Raises
    ------
    ValueError
        When there are not as many as rows, one is negative, or all are 0.
    """
    if sample_weight is None:
        return None
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (rows,):
        raise ValueError(f"sample_weight must have shape ({rows},), got {weight.shape}")
    bad = np.flatnonzero(~(weight >= 0) | np.isinf(weight))
    if len(bad):
        raise ValueError(
            f"sample_weight must be finite and at least 0, got {weight[bad[0]]} in row {bad[0]}"
        )
    if not weight.any():
        raise ValueError("sample_weight is zero in every row; some row must have a weight")
    return weight


def _by_number(count: int) -> dict[Any, int]:
    return {j: j for j in range(count)} | {j - count: j for j in range(count)}
