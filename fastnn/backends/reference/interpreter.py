"""A Program run op by op: a method for every direction, a branch for every kind of op."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.activations import Formula
from fastnn.backends.base import Executable
from fastnn.backends.reference import kernels
from fastnn.program import Op

__all__ = ["Pass"]

Array = npt.NDArray[Any]


class Pass:
    """One forward pass over some rows, and its backward pass.

    Parameters
    ----------
    executable : Executable
    X : ndarray, shape (B, I)
    statistics : ndarray, shape (S,), optional
        In training, where batch norms leave the statistics of the rows, laid out as the states.
        None: no training; dropout is off, and batch norms use the states.
    seed, step, first_row : int
        Key of the dropout masks, and the number of the first row in its batch.
    bfloat16 : bool
        Whether the factors of dense ops are rounded to bfloat16, in the forward pass.
    """

    def __init__(
        self,
        executable: Executable,
        X: Array,
        statistics: Array | None = None,
        seed: int = 0,
        step: int = 0,
        first_row: int = 0,
        *,
        bfloat16: bool = False,
    ) -> None:
        self.program, self.executable = executable.program, executable
        self.training, self.seed, self.step = statistics is not None, seed, step
        self.statistics = executable.states if statistics is None else statistics
        self.first_row, self.bfloat16 = first_row, bfloat16
        self.slots: list[Array] = [X]
        self.slots += [np.empty((len(X), s.width), X.dtype) for s in self.program.slots[1:]]
        self.saved: dict[int, tuple[Array, Array]] = {}

    def forward(self) -> Array:
        """Run the ops in order, and return the scores."""
        for number, op in enumerate(self.program.ops):
            self._forward(number, op)
        return self.slots[self.program.scores]

    def _weights(self, op: Op, flat: Array | None = None) -> list[Array]:
        parameters = self.program.parameters
        return [self.executable.view(parameters[n], flat) for n in op.parameters]

    def _statistics(self, op: Op) -> tuple[Array, Array]:
        """Return mean and variance of the columns: in training of the batch, else running ones."""
        states = (self.program.states[n] for n in op.states)
        mean, variance = (self.executable.state_view(s, self.statistics) for s in states)
        return mean, variance

    def _gate_constant(self, op: Op) -> float:
        return float(self._weights(op)[0][0]) if op.parameters else op.constant

    def _function(self, op: Op) -> str | Formula:
        """Return the name of an activation, or the formula of somebody's own."""
        custom = self.executable.custom_activations.get(op.function)
        return op.function if custom is None else custom.formula

    def _forward(self, number: int, op: Op) -> None:
        Y, inputs = self.slots[op.output], [self.slots[s] for s in op.inputs]
        X, weights = inputs[0], self._weights(op)
        if op.kind == "dense":
            bias = weights[1] if len(weights) > 1 else None
            product = kernels.dense_forward_bfloat16 if self.bfloat16 else kernels.dense_forward
            product(Y, X, weights[0], bias, "identity")
        elif op.kind == "activation":
            kernels.activation_forward(Y, X, self._function(op), op.constant)
        elif op.kind == "softmax":
            kernels.softmax_forward(Y, X)
        elif op.kind == "dropout":
            self._dropout(Y, X, number, op, accumulate=False)
        elif op.kind == "layer_norm":
            mean, inverse_deviation = np.empty((2, len(X)), X.dtype)
            self.saved[number] = mean, inverse_deviation
            scale, shift = weights
            kernels.layer_norm_forward(Y, mean, inverse_deviation, X, scale, shift, op.constant)
        elif op.kind == "batch_norm":
            (mean, variance), (scale, shift) = self._statistics(op), weights
            if self.training:
                kernels.batch_norm_statistics(mean, variance, X)
            kernels.batch_norm_forward(Y, X, mean, variance, scale, shift, op.constant)
        elif op.kind == "gate":
            kernels.gate_forward(Y, X, inputs[1], op.function, self._gate_constant(op))
        elif op.kind == "add":
            kernels.copy(Y, X, False)
            kernels.copy(Y, inputs[1], True)
        elif op.kind == "concat":
            kernels.copy(Y[:, : X.shape[1]], X, False)
            kernels.copy(Y[:, X.shape[1] :], inputs[1], False)
        else:
            assert op.kind == "slice"
            kernels.copy(Y, X[:, self._columns(op)], False)

    def _columns(self, op: Op) -> slice:
        return slice(*op.reads(self.program.slots, op.inputs[0]))

    def _dropout(self, Y: Array, X: Array, number: int, op: Op, *, accumulate: bool) -> None:
        if self.training:
            kernels.dropout(
                Y, X, op.constant, self.seed, self.step, number, self.first_row, accumulate
            )
        else:
            kernels.copy(Y, X, accumulate)

    def backward(self, dZ: Array, gradient: Array | None, input_gradient: Array | None) -> None:
        """Run the ops in reverse; add to `gradient`, set `input_gradient`."""
        d = [np.empty_like(slot) for slot in self.slots]
        d[self.program.scores] = dZ
        for number, op in reversed(list(enumerate(self.program.ops))):
            self._backward_data(number, op, d)
            if gradient is not None and op.parameters:
                self._backward_parameters(number, op, d[op.output], gradient)
        if input_gradient is not None:
            input_gradient[...] = d[0]

    def _backward_data(self, number: int, op: Op, d: list[Array]) -> None:
        dY, Y = d[op.output], self.slots[op.output]
        X, dX, accumulate = self.slots[op.inputs[0]], d[op.inputs[0]], op.accumulate[0]
        weights = self._weights(op)
        if op.kind == "dense":
            kernels.dense_backward_data(dX, dY, weights[0], None, accumulate)
        elif op.kind == "activation":
            kernels.activation_backward(dX, dY, X, Y, self._function(op), op.constant, accumulate)
        elif op.kind == "softmax":
            kernels.softmax_backward(dX, dY, Y, accumulate)
        elif op.kind == "dropout":
            self._dropout(dX, dY, number, op, accumulate=accumulate)
        elif op.kind == "layer_norm":
            kernels.layer_norm_backward_data(dX, dY, X, *self.saved[number], weights[0], accumulate)
        elif op.kind == "batch_norm":
            mean, variance = self._statistics(op)
            kernels.batch_norm_backward_data(
                dX, dY, X, mean, variance, weights[0], op.constant, self.training, accumulate
            )
        elif op.kind == "gate":
            U, V = (self.slots[s] for s in op.inputs)
            dU, dV = (d[s] for s in op.inputs)
            kernels.gate_backward(dU, dV, dY, U, V, op.function, self._gate_constant(op))
        elif op.kind == "add":
            for slot, adds in zip(op.inputs, op.accumulate, strict=True):
                kernels.copy(d[slot], dY, adds)
        elif op.kind == "concat":
            left, right = op.inputs
            kernels.copy(d[left], dY[:, : X.shape[1]], op.accumulate[0])
            kernels.copy(d[right], dY[:, X.shape[1] :], op.accumulate[1])
        else:
            assert op.kind == "slice"
            kernels.copy(dX[:, self._columns(op)], dY, accumulate)

    def _backward_parameters(self, number: int, op: Op, dY: Array, gradient: Array) -> None:
        inputs, windows = [self.slots[s] for s in op.inputs], self._weights(op, gradient)
        if op.kind == "dense":
            db = windows[1] if len(windows) > 1 else None
            kernels.dense_backward_weights(windows[0], db, inputs[0], dY, True)
        elif op.kind == "layer_norm":
            (dscale, dshift), saved = windows, self.saved[number]
            kernels.layer_norm_backward_parameters(dscale, dshift, dY, inputs[0], *saved, True)
        elif op.kind == "batch_norm":
            (dscale, dshift), (mean, variance) = windows, self._statistics(op)
            kernels.batch_norm_backward_parameters(
                dscale, dshift, dY, inputs[0], mean, variance, op.constant, True
            )
        else:
            assert op.kind == "gate"
            U, V = inputs
            kernels.gate_backward_beta(windows[0], dY, U, V, self._gate_constant(op), True)
