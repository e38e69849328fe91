"""The rows of a fit: equal ones merged, some of them held out."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Rows", "hold_out", "merge"]

Array = npt.NDArray[Any]


class Rows(NamedTuple):
    """Inputs (B, I), targets (B,) and weights (B,), or None for equal ones."""

    X: Array
    y: Array
    weight: Array | None

    def take(self, places: npt.NDArray[np.int64]) -> Rows:
        """Return some of the rows."""
        return Rows(
            self.X[places], self.y[places], None if self.weight is None else self.weight[places]
        )


def merge(rows: Rows) -> Rows:
    """Merge equal rows into one with the sum of their weights, in an order of their own.

    The mean loss of all rows stays what it is. What comes out does not depend on the order of the
    rows, nor on whether a row stands there three times or has the weight 3.
    """
    weight = np.ones(len(rows.y)) if rows.weight is None else rows.weight
    both = np.column_stack([rows.X, rows.y]).astype(np.float64)
    _, first, same = np.unique(both, axis=0, return_index=True, return_inverse=True)
    return Rows(rows.X[first], rows.y[first], np.bincount(same.ravel(), weight))


def hold_out(
    rows: Rows, share: float, generator: np.random.RandomState, *, classes: int | None = None
) -> tuple[Rows, Rows]:
    """Return the rows to train on, and a share of them to measure on.

    Parameters
    ----------
    rows : Rows
    share : float
        Above 0 and below 1.
    generator : numpy.random.RandomState
    classes : int, optional
        Number of classes, where `rows.y` holds these: each gives its share, but not its last row.

    Raises
    ------
    ValueError
        When nothing is left to train on.
    """
    order = generator.permutation(len(rows.y))
    groups = [order] if classes is None else [order[rows.y[order] == c] for c in range(classes)]
    # Rounding goes on from one class to the next, so that rare ones do not all round to nothing.
    ends = np.rint(share * np.cumsum([len(group) for group in groups])).astype(int)
    counts = np.minimum(np.diff(ends, prepend=0), [max(len(group) - 1, 0) for group in groups])
    held = np.concatenate([group[:n] for group, n in zip(groups, counts, strict=True)])
    kept = np.concatenate([group[n:] for group, n in zip(groups, counts, strict=True)])
    if not len(held):
        raise ValueError(
            f"validation_fraction={share} of {len(rows.y)} rows leaves none to measure on"
        )
    return rows.take(np.sort(kept)), rows.take(np.sort(held))
