"""Rows of data on their way from scikit-learn's checks to the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import train_test_split

__all__ = ["Rows", "dense", "held_out"]

Array = npt.NDArray[Any]
Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Checked rows that belong together.

    Attributes
    ----------
    X : ndarray or sparse matrix, shape (B, I)
    y : ndarray, shape (B,) or (B, O)
        As the user gave it: labels or values.
    weight : ndarray, shape (B,), or None
    """

    X: Any
    y: Array
    weight: Array | None = None

    def __len__(self) -> int:
        return int(self.X.shape[0])

    def take(self, index: Index) -> Rows:
        """Return some of the rows."""
        weight = None if self.weight is None else self.weight[index]
        return Rows(self.X[index], self.y[index], weight)

    def weighted(self, factors: Array | None) -> Rows:
        """Return the rows with their weights multiplied, less those of weight 0."""
        rows = self
        if factors is not None:
            own = factors if self.weight is None else factors * self.weight
            rows = replace(self, weight=own.astype(self.X.dtype))
        # A row of weight 0 is as good as absent: it takes no place in a batch.
        if rows.weight is None or rows.weight.all() or not rows.weight.any():
            return rows
        return rows.take(np.flatnonzero(rows.weight))


def dense(X: Any) -> Array:
    """Return X as an array."""
    return X.toarray() if hasattr(X, "toarray") else X


def held_out(
    rows: int, share: float, random_state: np.random.RandomState, strata: Array | None
) -> tuple[Index, Index]:
    """Return the rows to train on and those that early stopping looks at, as scikit-learn splits.

    Raises
    ------
    ValueError
        When there are too few.
    """
    train, held = train_test_split(
        np.arange(rows), random_state=random_state, test_size=share, stratify=strata
    )
    if len(held) < 2:
        raise ValueError(
            "The validation set is too small. Increase 'validation_fraction' or the size of your "
            "dataset."
        )
    return train, held
