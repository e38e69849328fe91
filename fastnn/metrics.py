"""Measures of a prediction, beside the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "HITS",
    "check_monitor",
    "correct_classes",
    "correct_outputs",
    "correct_signs",
    "r2",
    "should_rise",
]

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


def correct_signs(z: Array, t: Array) -> npt.NDArray[np.float64]:
    """Return for every row the share of its outputs of the right sign.

    Parameters
    ----------
    z : ndarray, shape (B, O)
        Scores; above 0 means yes.
    t : ndarray, shape (B, O)
        Signs; above 0 means yes.

    Returns
    -------
    ndarray of float64, shape (B,)
    """
    return ((z > 0) == (t > 0)).mean(axis=1, dtype=np.float64)


# By the targets of a loss: which outputs are right. For other targets nothing is right or wrong.
HITS: dict[str, Callable[[Array, Array], npt.NDArray[np.float64]]] = {
    "classes": correct_classes,
    "probabilities": correct_outputs,
    "signs": correct_signs,
}


def should_rise(name: str) -> bool:
    """Tell whether more is better: for an accuracy or R²; less is for anything else."""
    return any(word in name for word in ("accuracy", "r2"))


def check_monitor(owner: str, monitor: str, measured: Sequence[str]) -> None:
    """Make sure that a metric which somebody monitors is measured.

    Raises
    ------
    ValueError
        When it is not; the message lists what is, and says what is missing.
    """
    if monitor not in measured:
        missing = ""
        if monitor.startswith("val_"):
            missing = "; give fit rows to validate on (validation_data, or X_val and y_val)"
        raise ValueError(
            f"{owner} monitors {monitor!r}, this run measures {', '.join(measured)}{missing}"
        )


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
