"""Measures of a prediction, beside the loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["correct_classes", "correct_outputs", "r2"]

Array = npt.NDArray[Any]


def correct_classes(z: Array, t: Array) -> npt.NDArray[np.float64]:
    """Return 1 for every row whose largest score, the first of equals, is that of its class.

    Parameters
    ----------
    z : ndarray, shape (B, O)
        Scores.
    t : ndarray, shape (B, O)
        One-hot rows or probabilities.

    Returns
    -------
    ndarray of float64, shape (B,)
    """
    return (z.argmax(axis=1) == t.argmax(axis=1)).astype(np.float64)


def correct_outputs(z: Array, t: Array) -> npt.NDArray[np.float64]:
    """Return for every row the share of its yes-or-no outputs on the right side.

    Parameters
    ----------
    z : ndarray, shape (B, O)
        Scores; above 0 means yes.
    t : ndarray, shape (B, O)
        Probabilities; above 1/2 means yes.

    Returns
    -------
    ndarray of float64, shape (B,)
    """
    return ((z > 0) == (t > 0.5)).mean(axis=1, dtype=np.float64)


def r2(prediction: Array, target: Array, weight: Array | None = None) -> float:
    """Return the coefficient of determination, the mean over the outputs.

    1 is perfect, 0 no better than the (weighted) mean of the targets. An output whose target is
    constant counts 1 when it is met exactly, else 0.

    Parameters
    ----------
    prediction, target : ndarray, shape (B, O)
    weight : ndarray, shape (B,), optional

    Returns
    -------
    float
    """
    p, t = prediction.astype(np.float64), target.astype(np.float64)
    w = np.ones(len(t)) if weight is None else weight.astype(np.float64)
    residual = w @ (t - p) ** 2
    total = w @ (t - (w @ t) / w.sum()) ** 2
    total[(t == t[:1]).all(axis=0)] = 0  # which the rounding of the mean may hide
    met = np.where(residual == 0, 1.0, 0.0)
    share = np.divide(residual, total, out=1 - met, where=total > 0)
    return float(np.mean(1 - share))
