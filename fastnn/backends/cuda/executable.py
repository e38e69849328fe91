"""A Program on the GPU: what the base class promises, by launches on one stream."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Batch, OptimizerState
from fastnn.backends.cuda import cublas, graphs, target
from fastnn.backends.cuda.device import elementwise, step
from fastnn.backends.cuda.device.fused import Chain
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.cuda.interrupts import Deferred
from fastnn.backends.cuda.loss import Head
from fastnn.backends.cuda.memory import Device
from fastnn.backends.cuda.mirror import DeviceState, Mirror
from fastnn.backends.cuda.passes import Network, Pass
from fastnn.backends.cuda.products import Products
from fastnn.backends.cuda.remembered import OnDevice
from fastnn.backends.cuda.room import Room
from fastnn.backends.cuda.source import Rows
from fastnn.backends.cuda.steps import Groups, Queue, Recipe, Run, clock_at
from fastnn.backends.cuda.workspace import Workspace
from fastnn.optimizers import NAdam, Optimizer
from fastnn.program import Program
from fastnn.program.plan import plan

__all__ = ["CudaExecutable"]

Array = npt.NDArray[Any]

# Recipes of steps that are kept for rows: of whole batches and of the last one of an epoch, and as
# many again for whoever changes the optimizer.
RECIPES = 4


class CudaExecutable(OnDevice):
    """A Program run by kernels on the GPU; what the methods promise stands in the base class."""

    def __init__(self, program: Program, dtype: np.dtype[Any], threads: int) -> None:
        super().__init__(program, dtype, threads)
        self._plan = plan(program, dtype.itemsize)
        library = None if target.SIMULATED else cublas.find_library()
        self._products = Products(self._device, dtype, library)
        self._driver = None if target.SIMULATED else graphs.driver()
        self._custom, loss = self._compile_custom()
        self._head = Head(program, loss)
        self._chain = Chain.of(program, dtype)
        constants = np.array([op.constant for op in program.ops], dtype)
        self._constants = self._device.upload(constants)
        self._groups = Groups(self._device, program, dtype)
        self._room = Room(self._device, program, self._plan, dtype)
        self._queue = Queue(self._device)
        self._rounded: tuple[object, Any] = None, None

    def _compile_custom(self) -> tuple[dict[str, Any], Any]:
        """Return activations of the user's by name, and the loss, None where it is none."""
        if not self.custom_activations and self.custom_loss is None:
            return {}, None
        from fastnn.backends.cuda import custom  # seldom needed, and slow to import

        found = {
            name: custom.Activation(definition, self.dtype)
            for name, definition in self.custom_activations.items()
        }
        loss = self.custom_loss
        return found, None if loss is None else custom.ElementLoss(loss, self.dtype)

    def _network(self, rounded: Any = None) -> Network:
        """Return the network with its vectors up to date on the device."""
        return Network(
            self.program,
            self._plan,
            self._products,
            self._custom,
            *self._vectors(),
            self._constants,
            self._chain,
            rounded,
        )

    def _rounded_weights(self) -> Any:
        """Return the parameters rounded to bfloat16, made anew where they may have changed."""
        stamp, lent = self._stamp, self._lent() is not None
        kept, rounded = self._rounded
        if kept is not stamp or lent or rounded is None:
            weights = self._weights.on_device(fresh=lent)
            size = self.program.size
            rounded = self._device.empty(size, self.dtype)
            whole = Matrix(rounded, size), Matrix(weights, size)
            elementwise.round_bfloat16(self._device.stream, *whole, 1, size)
            self._rounded = stamp, rounded
        return rounded

    # -- predictions ------------------------------------------------------------------------------

    def predict(self, X: Array, out: Array, *, bfloat16: bool = False) -> None:
        """Write the predictions for `X` (B, I) into `out` (B, O); see the base class."""
        if not len(X):
            return
        with self._lock:
            self._device.check()
            network = self._network(self._rounded_weights() if bfloat16 else None)
            space = self._room.space(len(X), backward=False)
            parts = (X, None, None, None)
            stream = self._room.stream(parts, space.rows)
            windows = [
                slice(first, min(first + space.rows, len(X)))
                for first in range(0, len(X), space.rows)
            ]
            sent = stream.send(parts, windows[0])
            for window, behind in itertools.zip_longest(windows, windows[1:]):
                rows, count = sent, window.stop - window.start
                part = Pass(
                    network, space, self._device.stream, None, rows.X, count, training=False
                )
                scores = part.scores() if network.rounded is None else part.forward(bfloat16=True)
                self._head.predict(part.stream, space.T, scores, count)
                stream.used(rows)
                if behind is not None:  # on its way while this one is computed
                    sent = stream.send(parts, behind)
                self._device.read(space.T.at, out[window])

    # -- losses -----------------------------------------------------------------------------------

    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return the mean loss with penalties, and the share of right outputs."""
        return self._measure(batch, None, None, False, 0, 0)

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
        return self._measure(batch, gradient, input_gradient, training, seed, step)[0]

    def _measure(
        self,
        batch: Batch,
        gradient: Array | None,
        input_gradient: Array | None,
        training: bool,
        seed: int,
        taken: int,
    ) -> tuple[float, float]:
        """Return loss and share of hits of a batch, and set the gradients that are wanted."""
        backward = gradient is not None or input_gradient is not None
        with self._lock:
            device, B, I = self._device, len(batch), self.program.inputs
            device.check()
            network = self._network()
            coupled = training and self._plan.couples_rows
            space = self._room.space(B, backward=backward, whole=coupled)
            clock = device.upload(clock_at(taken, seed))
            row_loss, hits = device.empty(B, np.float64), device.empty(B, np.float64)
            weight = None if batch.weight is None else device.upload(batch.weight)
            total = B if batch.weight is None else batch.weight.sum(dtype=np.float64)
            factor = device.upload(np.array([1 / total]))
            flat = space.flat if gradient is not None else None
            wanted = input_gradient is not None
            dX = Matrix(device.empty(space.rows * I, self.dtype), I) if wanted else None
            for first, count, rows in self._room.parts(batch, space.rows):
                part = Pass(
                    network,
                    space,
                    device.stream,
                    clock,
                    rows.X,
                    count,
                    training=training,
                    first_row=first,
                    input_gradient=dX,
                )
                targets = rows.T, rows.labels, rows.weight
                dZ = part.gradient(self.program.scores) if backward else None
                scores = part.forward() if backward else part.scores()
                self._head.loss(part, scores, targets, (row_loss[first:], hits[first:], factor), dZ)
                if backward:
                    part.backward(flat, first > 0)
                if dX is not None and input_gradient is not None:
                    device.read(dX.at, input_gradient[first : first + count])
            told = self._finish(space, clock, (row_loss, hits, weight), factor, flat, B)
            if gradient is not None and flat is not None:
                device.read(flat, gradient)
            return told

    def _finish(
        self,
        space: Workspace,
        clock: Any,
        rows: tuple[Any, Any, Any],
        factor: Any,
        flat: Any,
        B: int,
    ) -> tuple[float, float]:
        """Return the mean loss and share of hits of rows, and add penalties to a gradient."""
        device, P = self._device, self.program.size
        results = np.empty((2, 1))
        loss, share = device.empty(1, np.float64), device.empty(1, np.float64)
        row_loss, hits, weight = rows
        weights = self._weights.on_device()
        if self.program.penalized:
            g = device.zeros(P, self.dtype) if flat is None else flat
            told = self._groups.penalties, factor, None
            step.gradient_pass(device.stream, g, space.partials, weights, *told, P)
        step.finish_batch(
            device.stream,
            loss,
            share,
            device.empty(1, self.dtype),
            clock,
            space.partials,
            row_loss,
            hits if self._head.has_hits else None,
            weight,
            None,
            None,
            P if self.program.penalized else 0,
            B,
        )
        device.read(loss, results[0])
        device.read(share, results[1])
        return float(results[0, 0]), float(results[1, 0])

    # -- training ---------------------------------------------------------------------------------

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
        count, length = len(learning_rates), len(batch) if order is None else len(order)
        with self._lock, Deferred() as interrupts:
            mirror = _mirror_of(state, self._device)
            network = self._network()
            run = self._room.run(count, length)
            most = min(batch_size, length)
            space = self._room.space(most, backward=True, whole=self._plan.couples_rows)
            moments = mirror.on_device()
            steps, index = self._room.steps(batch, order, batch_size, count)
            run.begin(state.optimizer, learning_rates, state.step, state.product, seed, index)
            self._queue.begin()
            try:
                for rows, s in steps:
                    if interrupts.pending:
                        break
                    B = min(batch_size, length - s * batch_size)
                    self._recipe(
                        rows, network, space, run, moments, state.optimizer, batch_size, B
                    ).launch()
                    self._queue.step()
            finally:  # whatever ended it, all is at a whole step
                taken = run.end(losses, hits)
                self._moved()
                mirror.written_there()
                _count(state, taken)
                if not isinstance(state, DeviceState):
                    mirror.on_host()
        return taken

    def _recipe(
        self,
        rows: Rows,
        network: Network,
        space: Workspace,
        run: Run,
        moments: Any,
        optimizer: Optimizer,
        batch_size: int,
        B: int,
    ) -> Recipe:
        """Return the launches of a step, from those that were made before if it can be."""
        told = (space, run, optimizer, moments)
        key = (B, batch_size, self._products.precision())
        found = rows.recipes.get(key)
        if found is not None and all(a is b for a, b in zip(found[0], told, strict=True)):
            return found[1]
        P = self.program.size
        vectors = tuple(moments[n * P : (n + 1) * P] for n in range(optimizer.moment_count))
        recipe = Recipe(
            self._device,
            network,
            space,
            run,
            self._groups,
            rows,
            vectors,
            optimizer,
            self._head,
            batch_size,
            B,
            self._driver,
        )
        if len(rows.recipes) >= RECIPES:
            rows.recipes.clear()
        rows.recipes[key] = told, recipe
        return recipe


def _mirror_of(state: OptimizerState, device: Device) -> Mirror:
    """Return the moments of a state as a mirror, if need be for one call."""
    if isinstance(state, DeviceState) and state.mirror.device is device:
        return state.mirror
    return Mirror(device, state.moments)


def _count(state: OptimizerState, taken: int) -> None:
    """Count steps that were taken."""
    optimizer = state.optimizer
    if isinstance(optimizer, NAdam):
        for t in range(state.step + 1, state.step + taken + 1):
            state.product *= optimizer.mu(t)
    state.step += taken
