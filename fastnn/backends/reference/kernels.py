"""The kernels in plain NumPy: the living definition that judges every other backend.

Contracts (shapes, what is set or added to) stand in the table, `fastnn.program.kernels`. Clarity
only: no trick for speed belongs here.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import metrics
from fastnn.activations import FORMULAS, Formula
from fastnn.backends.reference.philox import philox4x32

# One table of kernels, whose rows stand in two files: every name of the other belongs here too.
from fastnn.backends.reference.update_kernels import *  # noqa: F403
from fastnn.losses import LOSSES, CrossEntropy, Huber, Loss, LossDefinition, Quantile

Array = npt.NDArray[Any]


def _put(out: Array, value: Array, accumulate: bool) -> None:
    """Set or add to an output."""
    if accumulate:
        out += value
    else:
        out[...] = value


# -- dense: Y = f(X @ W + b) ----------------------------------------------------------------------


def dense_forward(Y: Array, X: Array, W: Array, b: Array | None, function: str) -> None:
    Y[...] = X @ W
    if b is not None:
        Y += b
    Y[...] = FORMULAS[function].value(Y, 0.0)


def dense_forward_bfloat16(Y: Array, X: Array, W: Array, b: Array | None, function: str) -> None:
    rounded = np.empty_like(X), np.empty_like(W)
    round_bfloat16(rounded[0], X)
    round_bfloat16(rounded[1], W)
    dense_forward(Y, *rounded, b, function)


def round_bfloat16(Y: Array, X: Array) -> None:
    bits = X.astype(np.float32).view(np.uint32)
    size = bits & 0x7FFFFFFF
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000  # half-way cases to the even one
    rounded = np.where(size < 0x00800000, bits & 0x80000000, rounded)  # below the normal numbers
    rounded = np.where(size > 0x7F800000, (bits | 0x00400000) & 0xFFFF0000, rounded)  # NaN
    Y[...] = rounded.astype(np.uint32).view(np.float32)


def dense_backward_data(dX: Array, dY: Array, W: Array, X: Array | None, accumulate: bool) -> None:
    # Y = X @ W + b, X = relu(.) where it is given
    _put(dX, dY @ W.T, accumulate)
    if X is not None:
        dX *= FORMULAS["relu"].derivative(X, X, 0.0)


def dense_backward_weights(
    dW: Array, db: Array | None, X: Array, dY: Array, accumulate: bool
) -> None:
    # Y = X @ W + b
    _put(dW, X.T @ dY, accumulate)
    if db is not None:
        _put(db, dY.sum(axis=0), accumulate)


# -- activations: Y = f(X) ------------------------------------------------------------------------


def _formula(function: str | Formula) -> Formula:
    """Return the formula of a name; a formula of somebody's own has none in the table."""
    return FORMULAS[function] if isinstance(function, str) else function


def activation_forward(Y: Array, X: Array, function: str | Formula, constant: float) -> None:
    Y[...] = _formula(function).value(X, constant)


def activation_backward(
    dX: Array,
    dY: Array,
    X: Array,
    Y: Array,
    function: str | Formula,
    constant: float,
    accumulate: bool,
) -> None:
    # Y = f(X)
    _put(dX, dY * _formula(function).derivative(X, Y, constant), accumulate)


# -- softmax: Y = exp(X) / sum(exp(X)) along each row ---------------------------------------------


def softmax_forward(Y: Array, X: Array) -> None:
    e = np.exp(X - X.max(axis=1, keepdims=True))  # no overflow: the largest exponent is 0
    Y[...] = e / e.sum(axis=1, keepdims=True)


def softmax_backward(dX: Array, dY: Array, Y: Array, accumulate: bool) -> None:
    # Y = exp(X) / sum(exp(X)), so dY_j/dX_i = Y_j (i == j) - Y_i Y_j
    _put(dX, Y * (dY - (dY * Y).sum(axis=1, keepdims=True)), accumulate)


# -- dropout: Y = X * mask / (1 - rate) -----------------------------------------------------------


def dropout(
    Y: Array,
    X: Array,
    rate: float,
    seed: int,
    step: int,
    layer: int,
    first_row: int,
    accumulate: bool,
) -> None:
    # One block of four random words serves four columns of a row. A value is kept where its word
    # reaches the threshold, so the mask depends on nothing but seed, step, layer, row and column.
    B, O = X.shape
    column, row = np.meshgrid(np.arange(-(-O // 4)), first_row + np.arange(B))
    counter = (column, row, step, layer | (step >> 32 & 0xFFFF) << 16)
    words = np.stack(philox4x32(counter, (seed, seed >> 32)), axis=-1).reshape(B, O + -O % 4)[:, :O]
    keep = words >= math.floor(rate * 2**32)
    _put(Y, np.where(keep, X * X.dtype.type(1 / (1 - rate)), X.dtype.type(0)), accumulate)


# -- layer norm: Y = (X - mean) * inverse_deviation * scale + shift -------------------------------


def layer_norm_forward(
    Y: Array,
    mean: Array,
    inverse_deviation: Array,
    X: Array,
    scale: Array,
    shift: Array,
    epsilon: float,
) -> None:
    mean[...] = X.mean(axis=1)
    centred = X - mean[:, None]
    inverse_deviation[...] = 1 / np.sqrt((centred * centred).mean(axis=1) + epsilon)
    Y[...] = centred * inverse_deviation[:, None] * scale + shift


def layer_norm_backward_data(
    dX: Array,
    dY: Array,
    X: Array,
    mean: Array,
    inverse_deviation: Array,
    scale: Array,
    accumulate: bool,
) -> None:
    # Y = H * scale + shift with H = (X - mean) * inverse_deviation; mean and deviation move with X
    H = (X - mean[:, None]) * inverse_deviation[:, None]
    dH = dY * scale
    straight = dH - dH.mean(axis=1, keepdims=True) - H * (dH * H).mean(axis=1, keepdims=True)
    _put(dX, inverse_deviation[:, None] * straight, accumulate)


def layer_norm_backward_parameters(
    dscale: Array,
    dshift: Array,
    dY: Array,
    X: Array,
    mean: Array,
    inverse_deviation: Array,
    accumulate: bool,
) -> None:
    # Y = H * scale + shift with H = (X - mean) * inverse_deviation
    H = (X - mean[:, None]) * inverse_deviation[:, None]
    _put(dscale, (dY * H).sum(axis=0), accumulate)
    _put(dshift, dY.sum(axis=0), accumulate)


# -- batch norm: Y = (X - mean) / sqrt(variance + epsilon) * scale + shift, of columns -------------


def batch_norm_statistics(mean: Array, variance: Array, X: Array) -> None:
    wide = X.astype(np.float64)
    mean[...] = wide.mean(axis=0)
    variance[...] = wide.var(axis=0)


def _inverse_deviation(variance: Array, epsilon: float) -> Array:
    return 1 / np.sqrt(variance + variance.dtype.type(epsilon))


def batch_norm_forward(
    Y: Array,
    X: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    shift: Array,
    epsilon: float,
) -> None:
    Y[...] = (X - mean) * _inverse_deviation(variance, epsilon) * scale + shift


def batch_norm_backward_data(
    dX: Array,
    dY: Array,
    X: Array,
    mean: Array,
    variance: Array,
    scale: Array,
    epsilon: float,
    batch_statistics: bool,
    accumulate: bool,
) -> None:
    # Y = H * scale + shift with H = (X - mean) / sqrt(variance + epsilon)
    inverse = _inverse_deviation(variance, epsilon)
    straight = dY
    if batch_statistics:  # mean and variance move with X
        H = (X - mean) * inverse
        mean_dY, mean_dYH = (v.mean(axis=0, dtype=np.float64).astype(X.dtype) for v in (dY, dY * H))
        straight = dY - mean_dY - H * mean_dYH
    _put(dX, straight * scale * inverse, accumulate)


def batch_norm_backward_parameters(
    dscale: Array,
    dshift: Array,
    dY: Array,
    X: Array,
    mean: Array,
    variance: Array,
    epsilon: float,
    accumulate: bool,
) -> None:
    # Y = H * scale + shift with H = (X - mean) / sqrt(variance + epsilon)
    H = (X - mean) * _inverse_deviation(variance, epsilon)
    _put(dscale, (dY * H).sum(axis=0), accumulate)
    _put(dshift, dY.sum(axis=0), accumulate)


def batch_norm_update(
    running_mean: Array,
    running_variance: Array,
    mean: Array,
    variance: Array,
    momentum: float,
    rows: int,
) -> None:
    running_mean[...] = (1 - momentum) * running_mean + momentum * mean
    if rows > 1:  # one row says nothing about the variance
        unbiased = momentum * rows / (rows - 1)
        running_variance[...] = (1 - momentum) * running_variance + unbiased * variance


# -- gate: Y = U * f(V) ---------------------------------------------------------------------------


def gate_forward(Y: Array, U: Array, V: Array, function: str, constant: float) -> None:
    Y[...] = U * FORMULAS[function].value(V, constant)


def gate_backward(
    dU: Array, dV: Array, dY: Array, U: Array, V: Array, function: str, constant: float
) -> None:
    # Y = U * f(V)
    formula = FORMULAS[function]
    f = formula.value(V, constant)
    dU[...] = dY * f
    dV[...] = dY * U * formula.derivative(V, f, constant)


def gate_backward_beta(
    dbeta: Array, dY: Array, U: Array, V: Array, beta: float, accumulate: bool
) -> None:
    # Y = U * V * s(beta * V) with s' = s (1 - s)
    s = FORMULAS["sigmoid"].value(beta * V, 0.0)
    total = (dY * U * V * V * s * (1 - s)).sum(dtype=np.float64)
    _put(dbeta, np.array([total], dtype=dbeta.dtype), accumulate)


# -- rows -----------------------------------------------------------------------------------------


def copy(Y: Array, X: Array, accumulate: bool) -> None:
    _put(Y, X, accumulate)


def gather_rows(Y: Array, X: Array, index: npt.NDArray[np.int64]) -> None:
    Y[...] = X[index]


def first_nonfinite(X: Array) -> int:
    bad = np.flatnonzero(~np.isfinite(X))
    return int(bad[0]) if len(bad) else -1


# -- losses ---------------------------------------------------------------------------------------

# Losses whose constant is not that of their name alone.
_WITH_CONSTANT = {"huber": Huber, "quantile": Quantile, "cross_entropy": CrossEntropy}


def loss(
    row_loss: Array,
    hits: Array | None,
    dZ: Array | None,
    Z: Array,
    T: Array,
    weight: Array | None,
    function: str | LossDefinition,
    constant: float,
    factor: float,
) -> None:
    description: Loss | LossDefinition
    if not isinstance(function, str):
        description = function
    elif function in _WITH_CONSTANT:
        description = _WITH_CONSTANT[function](constant)
    else:
        description = LOSSES[function]()
    value, derivative = description.rows(Z, T)
    row_loss[...] = value
    if hits is not None and description.targets in metrics.HITS:
        hits[...] = metrics.HITS[description.targets](Z, T)
    if dZ is not None:
        share = np.full(len(Z), factor) if weight is None else factor * weight.astype(np.float64)
        dZ[...] = derivative * share[:, None].astype(Z.dtype)


def loss_labels(
    row_loss: Array,
    hits: Array | None,
    dZ: Array | None,
    Z: Array,
    labels: npt.NDArray[np.int64],
    weight: Array | None,
    constant: float,
    factor: float,
) -> None:
    one_hot = (labels[:, None] == np.arange(Z.shape[1])).astype(Z.dtype)
    loss(row_loss, hits, dZ, Z, one_hot, weight, "cross_entropy", constant, factor)
