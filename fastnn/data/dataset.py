"""What every reader of this folder returns, and how rows are split into training and test."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Dataset", "split_rows"]


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Training rows and test rows, ready for ``Network.fit`` and ``Network.evaluate``.

    Attributes
    ----------
    X_train : ndarray of shape (B, I), float32
        Inputs of the training rows.
    y_train : ndarray of shape (B,), int64 or float32
        Class numbers 0..K-1, or the values of a regression.
    X_test : ndarray of shape (B_test, I), float32
        Inputs of the test rows.
    y_test : ndarray of shape (B_test,), int64 or float32
        As `y_train`.
    class_names : tuple of str
        Name of each class number; empty for a regression.
    dropped_rows : int
        Rows of the source left out because their target was missing.
    """

    X_train: NDArray[np.float32]
    y_train: NDArray[Any]
    X_test: NDArray[np.float32]
    y_test: NDArray[Any]
    class_names: tuple[str, ...] = ()
    dropped_rows: int = 0

    def __repr__(self) -> str:
        arrays = ", ".join(
            f"{name}={value.dtype}{list(value.shape)}"
            for name, value in vars(self).items()
            if isinstance(value, np.ndarray)
        )
        return f"Dataset({arrays}, classes={len(self.class_names)}, dropped={self.dropped_rows})"


def split_rows(
    n: int, labels: ArrayLike | None = None, test_fraction: float = 0.2, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose the test rows by lot; with labels, the same share of every class.

    The lot is the raw PCG64 stream, which NumPy promises not to change: one seed gives one split,
    whatever the version and the machine.

    Parameters
    ----------
    n : int
        Number of rows, at least 1.
    labels : array_like of shape (n,), optional
        The class of each row, as anything that sorts. Each class then gives its share of test rows
        to within one row, and at least one row of it stays in training.
    test_fraction : float
        Share of test rows, at least 0 and below 1. Their number is ``ceil(n * test_fraction)``, or
        less where some training rows would be missing.
    seed : int
        Number of the lot, at least 0.

    Returns
    -------
    train : ndarray, int64
        Training rows, ascending.
    test : ndarray, int64
        Test rows, ascending.

    Raises
    ------
    ValueError
        For a number out of bounds, or labels that are not `n` values.
    TypeError
        For an `n` or a `seed` that is no whole number.

    Examples
    --------
    >>> from fastnn.data import split_rows
    >>> train, test = split_rows(10, labels=[0, 0, 0, 0, 0, 1, 1, 1, 1, 1])
    >>> len(train), len(test)
    (8, 2)
    """
    for name, value, low in (("n", n, 1), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name} must be a whole number, not {value!r}")
        if value < low:
            raise ValueError(f"{name} must be at least {low}, got {value}")
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction must be at least 0 and below 1, got {test_fraction!r}")
    classes = np.zeros(n, np.int64)
    if labels is not None:
        labels = np.asarray(labels)
        if labels.shape != (n,):
            raise ValueError(f"labels must have shape ({n},), one a row, got {labels.shape}")
        classes = np.unique(labels, return_inverse=True)[1].reshape(n)
    lot = np.asarray(np.random.PCG64(int(seed)).random_raw(int(n)))
    order = np.lexsort((lot, classes))
    counts = np.bincount(classes)
    starts = np.cumsum(counts) - counts
    is_test = np.zeros(n, np.bool_)
    for start, share in zip(starts, _test_counts(counts, test_fraction), strict=True):
        is_test[order[start : start + share]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def _test_counts(counts: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """Share the test rows out by largest remainder, leaving a training row in every class."""
    # 0.1 * 30 is a little above 3: rounding first keeps the ceiling at 3.
    wanted = math.ceil(round(int(counts.sum()) * fraction, 9))
    exact = counts * fraction
    shares: NDArray[np.int64] = np.minimum(np.floor(exact).astype(np.int64), counts - 1)
    for k in np.argsort(shares - exact, kind="stable"):
        if shares.sum() < wanted and shares[k] < counts[k] - 1:
            shares[k] += 1
    return shares
