"""The handwritten digits that come with the package."""

from __future__ import annotations

from importlib import resources

import numpy as np

from fastnn.data.dataset import Dataset

__all__ = ["load_digits"]

# Pixels of a 4x4 cell: a grey level counts how many of them were inked.
WHITE_TO_BLACK = 16


def load_digits() -> Dataset:
    """Load 1,797 handwritten digits of 8x8 pixels, split into 1,437 training and 360 test rows.

    The set is the test part of "Optical Recognition of Handwritten Digits" by E. Alpaydin and
    C. Kaynak (1998), UCI Machine Learning Repository, https://doi.org/10.24432/C50P49, licensed
    under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/), as scikit-learn distributes it.
    The grey levels are divided by 16 here; the split is stratified and always the same.

    Returns
    -------
    Dataset
        ``X_train`` (1437, 64) and ``X_test`` (360, 64), float32 from 0 (paper) to 1 (ink), rows of
        the image after one another; ``y_train`` and ``y_test``, int64 from 0 to 9;
        ``class_names`` from "0" to "9".

    Examples
    --------
    >>> from fastnn.data import load_digits
    >>> digits = load_digits()
    >>> digits.X_train.shape, digits.X_test.shape
    ((1437, 64), (360, 64))
    >>> digits.class_names[digits.y_test[0]]
    '2'
    """
    source = resources.files("fastnn.data").joinpath("digits.npz")
    with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        images, labels, test = arrays["images"], arrays["labels"], arrays["test"]
    X = images.astype(np.float32) / np.float32(WHITE_TO_BLACK)
    y = labels.astype(np.int64)
    return Dataset(X[~test], y[~test], X[test], y[test], tuple(str(digit) for digit in range(10)))
