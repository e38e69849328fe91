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
from fastnn.activations import FORMULAS
from fastnn.backends.reference.philox import philox4x32
from fastnn.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Huber,
    Loss,
    MeanAbsoluteError,
    MeanSquaredError,
)
from fastnn.optimizers import SGD, Adam, AdamW, RMSprop

Array = npt.NDArray[Any]


def _put(out: Array, value: Array, accumulate: bool) -> None:
    """Set or add to an output."""
    if accumulate:
        out += value
    else:
        out[...] = value


# -- dense: Y = X @ W + b -------------------------------------------------------------------------


def dense_forward(Y: Array, X: Array, W: Array, b: Array | None) -> None:
    Y[...] = X @ W
    if b is not None:
        Y += b


def dense_backward_data(dX: Array, dY: Array, W: Array, accumulate: bool) -> None:
    # Y = X @ W + b
    _put(dX, dY @ W.T, accumulate)


def dense_backward_weights(
    dW: Array, db: Array | None, X: Array, dY: Array, accumulate: bool
) -> None:
    # Y = X @ W + b
    _put(dW, X.T @ dY, accumulate)
    if db is not None:
        _put(db, dY.sum(axis=0), accumulate)


# -- activations: Y = f(X) ------------------------------------------------------------------------


def activation_forward(Y: Array, X: Array, function: str, constant: float) -> None:
    Y[...] = FORMULAS[function].value(X, constant)


def activation_backward(
    dX: Array, dY: Array, X: Array, Y: Array, function: str, constant: float, accumulate: bool
) -> None:
    # Y = f(X)
    _put(dX, dY * FORMULAS[function].derivative(X, Y, constant), accumulate)


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

_LOSSES = {
    "mse": lambda constant: MeanSquaredError(),
    "mae": lambda constant: MeanAbsoluteError(),
    "huber": Huber,
    "cross_entropy": CrossEntropy,
    "binary_cross_entropy": lambda constant: BinaryCrossEntropy(),
}
_HITS = {"classes": metrics.correct_classes, "probabilities": metrics.correct_outputs}


def loss(
    row_loss: Array,
    hits: Array | None,
    dZ: Array | None,
    Z: Array,
    T: Array,
    weight: Array | None,
    function: str,
    constant: float,
    factor: float,
) -> None:
    description: Loss = _LOSSES[function](constant)  # type: ignore[no-untyped-call]
    value, derivative = description.rows(Z, T)
    row_loss[...] = value
    if hits is not None and description.targets in _HITS:
        hits[...] = _HITS[description.targets](Z, T)
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


# -- the flat vector ------------------------------------------------------------------------------


def penalty(dW: Array | None, W: Array, l1: float, l2: float) -> float:
    # l1 * sum|W| + l2/2 * sum(W**2)
    if dW is not None:
        dW += l1 * np.sign(W) + l2 * W
    wide = W.astype(np.float64)
    return float(l1 * np.abs(wide).sum() + 0.5 * l2 * (wide * wide).sum())


def sum_of_squares(g: Array) -> float:
    wide = g.astype(np.float64)
    return float((wide * wide).sum())


def clip(g: Array, limit: float) -> None:
    g[...] = np.clip(g, -limit, limit)


def scale(g: Array, factor: float) -> None:
    g *= factor


def sgd_update(
    w: Array,
    velocity: Array | None,
    g: Array,
    rate: float,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
) -> None:
    moments = [] if velocity is None else [velocity]
    SGD(momentum=momentum, nesterov=nesterov).update(w, g, moments, rate, 1, weight_decay)


def adam_update(
    w: Array,
    m: Array,
    v: Array,
    g: Array,
    rate: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    weight_decay: float,
    decoupled: bool,
    step: int,
) -> None:
    kind = AdamW if decoupled else Adam
    constants = kind(beta1=beta1, beta2=beta2, epsilon=epsilon)
    constants.update(w, g, [m, v], rate, step, weight_decay)


def rmsprop_update(
    w: Array,
    v: Array,
    buffer: Array | None,
    g: Array,
    rate: float,
    decay: float,
    momentum: float,
    epsilon: float,
    weight_decay: float,
) -> None:
    moments = [v] if buffer is None else [v, buffer]
    constants = RMSprop(decay=decay, momentum=momentum, epsilon=epsilon)
    constants.update(w, g, moments, rate, 1, weight_decay)
