"""The reference backend: pure NumPy, always there, the definition of every other backend."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Backend, Batch, Executable, OptimizerState
from fastnn.backends.reference import kernels
from fastnn.backends.reference.interpreter import Pass
from fastnn.optimizers import SGD, Adagrad, Adam, Lion, NAdam, RMSprop
from fastnn.program import Parameter, Program

__all__ = ["BACKEND", "ReferenceBackend", "ReferenceExecutable"]

Array = npt.NDArray[Any]


# Rows that go through the network at once: a long table needs no more memory than this many.
CHUNK = 1024


def _quiet() -> np.errstate:
    # What overflows becomes infinite or NaN and is found as such; a warning would say it twice.
    return np.errstate(over="ignore", invalid="ignore", divide="ignore")


class ReferenceExecutable(Executable):
    """A Program interpreted op by op in NumPy."""

    @_quiet()
    def predict(self, X: Array, out: Array, *, bfloat16: bool = False) -> None:
        """Write the predictions for `X` (B, I) into `out` (B, O); see the base class."""
        head = self.program.loss.head
        for rows in _chunks(len(X)):
            scores = Pass(self, X[rows], bfloat16=bfloat16).forward()
            if head == "softmax":
                kernels.softmax_forward(out[rows], scores)
            else:
                kernels.activation_forward(out[rows], scores, head, 0.0)

    @_quiet()
    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return the mean loss with penalties, and the share of right outputs."""
        return self._batch_loss(batch, None, None, None)

    @_quiet()
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
        statistics = np.zeros_like(self.states) if training else None
        told = self._batch_loss(batch, gradient, input_gradient, statistics, seed=seed, step=step)
        return told[0]

    @_quiet()
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
        rows = np.arange(len(batch)) if order is None else order
        gradient, statistics = np.empty_like(self.parameters), np.zeros_like(self.states)
        for s, rate in enumerate(learning_rates):
            chosen = rows[s * batch_size : (s + 1) * batch_size]
            weight = None if batch.weight is None else batch.weight[chosen]
            losses[s], hits[s] = self._batch_loss(
                Batch(batch.X[chosen], batch.Y[chosen], weight),
                gradient,
                None,
                statistics,
                seed=seed,
                step=state.step,
            )
            if not all(np.isfinite(v).all() for v in (losses[s], gradient, statistics)):
                return s
            before = self.parameters.copy(), self.states.copy(), state.moments.copy()
            counts = state.step, state.product
            try:
                self._update(gradient, state, float(rate))
                self._update_states(statistics, len(chosen))
            except KeyboardInterrupt:  # it may fall between two statements: back to a whole step
                self.parameters[...], self.states[...], state.moments[...] = before
                state.step, state.product = counts
                raise
        return len(learning_rates)

    def _batch_loss(
        self,
        batch: Batch,
        gradient: Array | None,
        input_gradient: Array | None,
        statistics: Array | None,
        *,
        seed: int = 0,
        step: int = 0,
    ) -> tuple[float, float]:
        """Return loss and share of hits of a batch, and set the gradients that are wanted.

        With `statistics` it is training: see `Pass`.
        """
        B = len(batch)
        weight = np.ones(B) if batch.weight is None else batch.weight.astype(np.float64)
        row_loss, hits = np.empty(B), np.full(B, np.nan)
        wanted = gradient is not None or input_gradient is not None
        if gradient is not None:
            gradient[...] = 0
        # Batch norms tie the rows of a batch together in training: then it goes as a whole.
        whole = statistics is not None and any(op.kind == "batch_norm" for op in self.program.ops)
        for rows in _chunks(B, B if whole else CHUNK):
            run = Pass(self, batch.X[rows], statistics, seed, step, rows.start)
            scores = run.forward()
            dZ = np.empty_like(scores) if wanted else None
            self._loss(row_loss[rows], hits[rows], dZ, scores, batch, rows, 1 / weight.sum())
            if dZ is not None:
                into = None if input_gradient is None else input_gradient[rows]
                run.backward(dZ, gradient, into)
        loss = float((weight * row_loss).sum() / weight.sum())
        loss += self._penalty(gradient, float(1 / weight.sum()))
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
            loss = self.custom_loss or head.loss
            kernels.loss(row_loss, hits, dZ, Z, Y, weight, loss, head.constant, factor)

    def _penalty(self, gradient: Array | None, factor: float) -> float:
        """Return the penalties on the parameters, and add their gradient."""
        total = 0.0
        for p in self.program.parameters:
            if p.l1 or p.l2:
                dW = None if gradient is None else gradient[p.offset : p.end]
                share = factor if p.penalty_per_row else 1.0
                w = self.parameters[p.offset : p.end]
                total += kernels.penalty(dW, w, share * p.l1, share * p.l2)
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
        if isinstance(optimizer, NAdam):
            state.product *= optimizer.mu(state.step)
        for p in self.program.parameters:
            self._update_parameter(p, gradient, state, rate)
            if p.max_norm:
                kernels.max_norm(self.view(p), p.max_norm)

    def _update_states(self, statistics: Array, rows: int) -> None:
        """Take the statistics of a batch into the running ones."""
        for op in self.program.ops:
            if op.kind == "batch_norm":
                mean, variance = (self.program.states[n] for n in op.states)
                kernels.batch_norm_update(
                    self.state_view(mean),
                    self.state_view(variance),
                    self.state_view(mean, statistics),
                    self.state_view(variance, statistics),
                    op.momentum,
                    rows,
                )

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
            epsilon = o.epsilon, o.epsilon_hat
            kernels.adam_update(
                w, m, v, g, rate, o.beta1, o.beta2, *epsilon, decay, o.decoupled, state.step
            )
        elif isinstance(o, Adagrad):
            kernels.adagrad_update(w, moments[0], g, rate, o.epsilon, decay)
        elif isinstance(o, NAdam):
            m, v = moments
            betas, psi = (o.beta1, o.beta2), o.momentum_decay
            kernels.nadam_update(
                w, m, v, g, rate, *betas, o.epsilon, psi, decay, state.product, state.step
            )
        elif isinstance(o, Lion):
            kernels.lion_update(w, moments[0], g, rate, o.beta1, o.beta2, decay)
        else:
            assert isinstance(o, RMSprop)
            buffer = moments[1] if len(moments) > 1 else None
            kernels.rmsprop_update(
                w, moments[0], buffer, g, rate, o.decay, o.momentum, o.epsilon, decay
            )


class ReferenceBackend(Backend):
    """Pure NumPy."""

    name = "reference"
    kernels = kernels

    def compile(self, program: Program, dtype: np.dtype[Any], threads: int) -> Executable:
        """Return the Program as an Executable with parameters of 0."""
        return ReferenceExecutable(program, dtype, threads)


def _chunks(rows: int, most: int = CHUNK) -> Iterator[slice]:
    for start in range(0, rows, most):
        yield slice(start, min(start + most, rows))


BACKEND = ReferenceBackend()
