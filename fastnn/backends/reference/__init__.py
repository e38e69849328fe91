"""The reference backend: pure NumPy, always there, the definition of every other backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Backend, Batch, Executable, OptimizerState
from fastnn.backends.reference import kernels
from fastnn.optimizers import SGD, Adam, RMSprop
from fastnn.program import Op, Parameter, Program

__all__ = ["BACKEND", "ReferenceBackend", "ReferenceExecutable"]

Array = npt.NDArray[Any]


# Rows that go through the network at once: a long table needs no more memory than this many.
CHUNK = 1024


class ReferenceExecutable(Executable):
    """A Program interpreted op by op in NumPy."""

    def predict(self, X: Array, out: Array) -> None:
        """Write the predictions, the head applied, for `X` (B, I) into `out` (B, O)."""
        head = self.program.loss.head
        with _quiet():
            for rows in _chunks(len(X)):
                scores = _Pass(self, X[rows]).forward()
                if head == "softmax":
                    kernels.softmax_forward(out[rows], scores)
                else:
                    kernels.activation_forward(out[rows], scores, head, 0.0)

    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return the mean loss with penalties, and the share of right outputs."""
        with _quiet():
            return self._batch_loss(batch, None, None, training=False, seed=0, step=0)

    def loss_and_gradient(
        self,
        batch: Batch,
        gradient: Array | None,
        input_gradient: Array | None = None,
        *,
        training: bool = False,
        seed: int = 0,
        step: int = 0,
    ) -> float:
        """Return the mean loss with penalties, and set its gradient; see the base class."""
        with _quiet():
            return self._batch_loss(
                batch, gradient, input_gradient, training=training, seed=seed, step=step
            )[0]

    def run_steps(
        self,
        batch: Batch,
        order: npt.NDArray[np.int64] | None,
        batch_size: int,
        state: OptimizerState,
        learning_rates: npt.NDArray[np.float64],
        seed: int,
        losses: npt.NDArray[np.float64],
        hits: npt.NDArray[np.float64],
    ) -> int:
        """Take training steps, one for each learning rate; see the base class."""
        with _quiet():
            return self._steps(batch, order, batch_size, state, learning_rates, seed, losses, hits)

    def _steps(
        self,
        batch: Batch,
        order: npt.NDArray[np.int64] | None,
        batch_size: int,
        state: OptimizerState,
        learning_rates: npt.NDArray[np.float64],
        seed: int,
        losses: npt.NDArray[np.float64],
        hits: npt.NDArray[np.float64],
    ) -> int:
        rows = np.arange(len(batch)) if order is None else order
        gradient = np.empty_like(self.parameters)
        for s, rate in enumerate(learning_rates):
            chosen = rows[s * batch_size : (s + 1) * batch_size]
            weight = None if batch.weight is None else batch.weight[chosen]
            losses[s], hits[s] = self._batch_loss(
                Batch(batch.X[chosen], batch.Y[chosen], weight),
                gradient,
                None,
                training=True,
                seed=seed,
                step=state.step,
            )
            if not (np.isfinite(losses[s]) and np.isfinite(gradient).all()):
                return s
            before = self.parameters.copy(), state.moments.copy(), state.step
            try:
                self._update(gradient, state, float(rate))
            except KeyboardInterrupt:  # it may fall between two statements: back to a whole step
                self.parameters[...], state.moments[...], state.step = before
                raise
        return len(learning_rates)

    def _batch_loss(
        self,
        batch: Batch,
        gradient: Array | None,
        input_gradient: Array | None,
        *,
        training: bool,
        seed: int,
        step: int,
    ) -> tuple[float, float]:
        """Return loss and share of hits of a batch, and set the gradients that are wanted."""
        B = len(batch)
        weight = np.ones(B) if batch.weight is None else batch.weight.astype(np.float64)
        row_loss, hits = np.empty(B), np.full(B, np.nan)
        wanted = gradient is not None or input_gradient is not None
        if gradient is not None:
            gradient[...] = 0
        for rows in _chunks(B):
            run = _Pass(self, batch.X[rows], training, seed, step, rows.start)
            scores = run.forward()
            dZ = np.empty_like(scores) if wanted else None
            self._loss(row_loss[rows], hits[rows], dZ, scores, batch, rows, 1 / weight.sum())
            if dZ is not None:
                into = None if input_gradient is None else input_gradient[rows]
                run.backward(dZ, gradient, into)
        loss = float((weight * row_loss).sum() / weight.sum()) + self._penalty(gradient)
        return loss, float((weight * hits).sum() / weight.sum())

    def _loss(
        self,
        row_loss: Array,
        hits: Array,
        dZ: Array | None,
        Z: Array,
        batch: Batch,
        rows: slice,
        factor: float,
    ) -> None:
        head = self.program.loss
        weight = None if batch.weight is None else batch.weight[rows]
        Y = batch.Y[rows]
        if Y.ndim == 1:
            kernels.loss_labels(row_loss, hits, dZ, Z, Y, weight, head.constant, factor)
        else:
            kernels.loss(row_loss, hits, dZ, Z, Y, weight, head.loss, head.constant, factor)

    def _penalty(self, gradient: Array | None) -> float:
        """Return the penalties on the parameters, and add their gradient."""
        total = 0.0
        for p in self.program.parameters:
            if p.l1 or p.l2:
                dW = None if gradient is None else gradient[p.offset : p.end]
                total += kernels.penalty(dW, self.parameters[p.offset : p.end], p.l1, p.l2)
        return total

    def _update(self, gradient: Array, state: OptimizerState, rate: float) -> None:
        """Clip the gradient and take the optimizer's step."""
        optimizer = state.optimizer
        if optimizer.clip_value is not None:
            kernels.clip(gradient, optimizer.clip_value)
        if optimizer.clip_norm is not None:
            norm = kernels.sum_of_squares(gradient) ** 0.5
            if norm > optimizer.clip_norm:
                kernels.scale(gradient, optimizer.clip_norm / norm)
        state.step += 1
        for p in self.program.parameters:
            self._update_parameter(p, gradient, state, rate)

    def _update_parameter(
        self, p: Parameter, gradient: Array, state: OptimizerState, rate: float
    ) -> None:
        o = state.optimizer
        span = slice(p.offset, p.end)
        w, g, moments = self.parameters[span], gradient[span], [m[span] for m in state.moments]
        decay = o.weight_decay if p.regularized else 0.0
        if isinstance(o, SGD):
            velocity = moments[0] if moments else None
            kernels.sgd_update(w, velocity, g, rate, o.momentum, o.nesterov, decay)
        elif isinstance(o, Adam):
            m, v = moments
            kernels.adam_update(
                w, m, v, g, rate, o.beta1, o.beta2, o.epsilon, decay, o.decoupled, state.step
            )
        else:
            assert isinstance(o, RMSprop)
            buffer = moments[1] if len(moments) > 1 else None
            kernels.rmsprop_update(
                w, moments[0], buffer, g, rate, o.decay, o.momentum, o.epsilon, decay
            )


class _Pass:
    """One forward pass over some rows, and its backward pass: a method for every kind of op."""

    def __init__(
        self,
        executable: Executable,
        X: Array,
        training: bool = False,
        seed: int = 0,
        step: int = 0,
        first_row: int = 0,
    ) -> None:
        self.program, self.executable = executable.program, executable
        self.training, self.seed, self.step, self.first_row = training, seed, step, first_row
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

    def _gate_constant(self, op: Op) -> float:
        return float(self._weights(op)[0][0]) if op.parameters else op.constant

    def _forward(self, number: int, op: Op) -> None:
        Y, inputs = self.slots[op.output], [self.slots[s] for s in op.inputs]
        X, weights = inputs[0], self._weights(op)
        if op.kind == "dense":
            kernels.dense_forward(Y, X, weights[0], weights[1] if len(weights) > 1 else None)
        elif op.kind == "activation":
            kernels.activation_forward(Y, X, op.function, op.constant)
        elif op.kind == "softmax":
            kernels.softmax_forward(Y, X)
        elif op.kind == "dropout":
            self._dropout(Y, X, number, op, accumulate=False)
        elif op.kind == "layer_norm":
            mean, inverse_deviation = np.empty((2, len(X)), X.dtype)
            self.saved[number] = mean, inverse_deviation
            scale, shift = weights
            kernels.layer_norm_forward(Y, mean, inverse_deviation, X, scale, shift, op.constant)
        elif op.kind == "gate":
            kernels.gate_forward(Y, X, inputs[1], op.function, self._gate_constant(op))
        elif op.kind == "add":
            kernels.copy(Y, X, False)
            kernels.copy(Y, inputs[1], True)
        else:
            assert op.kind == "concat"
            kernels.copy(Y[:, : X.shape[1]], X, False)
            kernels.copy(Y[:, X.shape[1] :], inputs[1], False)

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
            kernels.dense_backward_data(dX, dY, weights[0], accumulate)
        elif op.kind == "activation":
            kernels.activation_backward(dX, dY, X, Y, op.function, op.constant, accumulate)
        elif op.kind == "softmax":
            kernels.softmax_backward(dX, dY, Y, accumulate)
        elif op.kind == "dropout":
            self._dropout(dX, dY, number, op, accumulate=accumulate)
        elif op.kind == "layer_norm":
            kernels.layer_norm_backward_data(dX, dY, X, *self.saved[number], weights[0], accumulate)
        elif op.kind == "gate":
            U, V = (self.slots[s] for s in op.inputs)
            dU, dV = (d[s] for s in op.inputs)
            kernels.gate_backward(dU, dV, dY, U, V, op.function, self._gate_constant(op))
        elif op.kind == "add":
            for slot, adds in zip(op.inputs, op.accumulate, strict=True):
                kernels.copy(d[slot], dY, adds)
        else:
            assert op.kind == "concat"
            left, right = op.inputs
            kernels.copy(d[left], dY[:, : X.shape[1]], op.accumulate[0])
            kernels.copy(d[right], dY[:, X.shape[1] :], op.accumulate[1])

    def _backward_parameters(self, number: int, op: Op, dY: Array, gradient: Array) -> None:
        inputs, windows = [self.slots[s] for s in op.inputs], self._weights(op, gradient)
        if op.kind == "dense":
            db = windows[1] if len(windows) > 1 else None
            kernels.dense_backward_weights(windows[0], db, inputs[0], dY, True)
        elif op.kind == "layer_norm":
            (dscale, dshift), saved = windows, self.saved[number]
            kernels.layer_norm_backward_parameters(dscale, dshift, dY, inputs[0], *saved, True)
        else:
            assert op.kind == "gate"
            U, V = inputs
            kernels.gate_backward_beta(windows[0], dY, U, V, self._gate_constant(op), True)


class ReferenceBackend(Backend):
    """Pure NumPy."""

    name = "reference"
    kernels = kernels

    def compile(self, program: Program, dtype: np.dtype[Any], threads: int) -> Executable:
        """Return the Program as an Executable with parameters of 0."""
        return ReferenceExecutable(program, dtype, threads)


def _quiet() -> np.errstate:
    # What overflows becomes infinite or NaN and is found as such; a warning would say it twice.
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


def _chunks(rows: int) -> Iterator[slice]:
    for start in range(0, rows, CHUNK):
        yield slice(start, min(start + CHUNK, rows))


BACKEND = ReferenceBackend()
