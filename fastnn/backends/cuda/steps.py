"""A training step as a list of launches, made once, recorded as a graph where that can be."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.cuda import graphs
from fastnn.backends.cuda.device import columns, elementwise, step
from fastnn.backends.cuda.device.fused import Targets
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.cuda.device.update import GROUP, SCALARS, scalars, update
from fastnn.backends.cuda.loss import Head
from fastnn.backends.cuda.memory import Device
from fastnn.backends.cuda.passes import Network, Pass
from fastnn.backends.cuda.source import Rows
from fastnn.backends.cuda.workspace import Workspace
from fastnn.optimizers import Optimizer
from fastnn.program import Program

__all__ = ["Groups", "Queue", "Recipe", "Run"]

Array = npt.NDArray[Any]

# How long the launches that the device has not come to yet may take. Ctrl-C waits for them.
STRIDE_SECONDS = (0.008, 0.02)


class Groups:
    """What the elements of a parameter share, by groups of elements of the flat vector.

    Attributes
    ----------
    decays : device array of uint8
        Whether the weight decay touches them.
    penalties : tuple of device arrays, or None where no parameter has one
        l1, l2, and, as uint8, whether both are divided by the sum of the weights of a batch.
    """

    def __init__(self, device: Device, program: Program, dtype: np.dtype[Any]) -> None:
        count = -(-program.size // GROUP)
        decays, per_row = np.zeros((2, count), np.uint8)
        l1, l2 = np.zeros((2, count), dtype)
        for p in program.parameters:
            window = slice(p.offset // GROUP, p.end // GROUP)
            decays[window], per_row[window] = p.regularized, p.penalty_per_row
            l1[window], l2[window] = p.l1, p.l2
        self.decays = device.upload(decays)
        self.penalties: tuple[Any, ...] | None = None
        if program.penalized:
            self.penalties = tuple(device.upload(a) for a in (l1, l2, per_row))


class Run:
    """What the steps of a call read and write, in memory that calls share.

    Attributes
    ----------
    clock, table, index : device arrays
        As `device.step` and `device.update` describe them; the numbers of the rows in order.
    losses, shares : device arrays of float64
        Of every step.
    """

    def __init__(self, device: Device, dtype: np.dtype[Any], steps: int, rows: int) -> None:
        self._device, self._dtype = device, dtype
        self.steps, self.rows = steps, rows
        self.clock = device.empty(step.CLOCK, np.int64)
        self.table = device.empty(steps * SCALARS, dtype)
        self.index = device.empty(rows, np.int64)
        self.losses = device.empty(steps, np.float64)
        self.shares = device.empty(steps, np.float64)

    def fits(self, steps: int, rows: int) -> bool:
        """Tell whether a call of so many steps and rows finds room."""
        return steps <= self.steps and rows <= self.rows

    def begin(
        self,
        optimizer: Optimizer,
        rates: npt.NDArray[np.float64],
        taken: int,
        product: float,
        seed: int,
        index: npt.NDArray[np.int64],
    ) -> None:
        """Set the clock to the first of some steps, of which `taken` were taken before."""
        table = scalars(optimizer, rates, taken, product, self._dtype)
        self._device.write(self.table, table)
        self._device.write(self.index, index)
        self._device.write(self.clock, clock_at(taken, seed))

    def end(self, losses: Array, shares: Array) -> int:
        """Fetch losses and shares, and return how many steps were taken."""
        clock = np.empty(step.CLOCK, np.int64)
        self._device.read(self.clock, clock)
        taken, stopped = int(clock[0]), bool(clock[1])
        told = taken + stopped
        for there, here in ((self.losses, losses), (self.shares, shares)):
            if told:
                self._device.read(there, here[:told])
        return taken


def clock_at(taken: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the clock before a step, with the bits of the seed."""
    return np.array([0, 0, taken, seed], np.uint64).view(np.int64)


class Recipe:
    """The launches of a step on B rows, whose arguments are the same for every step of a run.

    Parameters
    ----------
    device : Device
    network : Network
    space : Workspace
    run : Run
    groups : Groups
    rows : Rows
        The rows that it takes its own from.
    moments : tuple of device arrays
    optimizer : Optimizer
    head : Head
    batch_size, B : int
        Rows of all steps but the last, and of this one.
    library : object
        The driver's library, None where nothing is recorded.
    """

    def __init__(
        self,
        device: Device,
        network: Network,
        space: Workspace,
        run: Run,
        groups: Groups,
        rows: Rows,
        moments: tuple[Any, ...],
        optimizer: Optimizer,
        head: Head,
        batch_size: int,
        B: int,
        library: Any,
    ) -> None:
        self._device, self._network, self._space, self._run = device, network, space, run
        self._groups, self._moments, self._optimizer = groups, moments, optimizer
        # Not the rows themselves: they hold this recipe, and both are to go at once.
        self._X, self._T, self._labels, self._weight = rows.X, rows.T, rows.labels, rows.weight
        self._head, self._batch_size, self._B, self._library = head, batch_size, B, library
        dtype = space.X.at.dtype
        self._clip = device.empty(1, dtype)
        self._factor = device.upload(np.array([1 / B]))
        self._weights = None if rows.weight is None else device.empty(B, dtype)
        self._row_loss, self._hits = device.empty(B, np.float64), device.empty(B, np.float64)
        self._passes = [
            Pass(
                network,
                space,
                device.stream,
                run.clock,
                space.X,
                min(space.rows, B - first),
                training=True,
                first_row=first,
            )
            for first in range(0, B, space.rows)
        ]
        self._launched = False
        self._graph: graphs.Graph | None = None

    def launch(self) -> None:
        """Put a step on the stream."""
        if self._graph is not None:
            self._graph.replay()
            return
        # The first time every kernel is compiled and loaded, which cannot be recorded.
        if not self._launched or self._library is None:
            self._launch()
            self._launched = True
            return
        try:
            with self._device.undisturbed():
                self._graph = graphs.record(self._library, self._device.handle, self._launch)
        except graphs.GraphError:
            self._library = None
        self.launch()

    def _launch(self) -> None:
        stream, run = self._device.stream, self._run
        if self._weights is not None:
            weights = self._weights
            elementwise.gather(
                stream, weights, self._weight, run.index, run.clock, self._batch_size, self._B
            )
            step.weigh_batch(stream, self._factor, weights, self._B)
        for part in self._passes:
            self._backpropagate(part)
        self._update()

    def _backpropagate(self, part: Pass) -> None:
        """Put a part of the rows on the stream, forward and backward."""
        stream, run, space = self._device.stream, self._run, self._space
        first, B = part.first_row, part.B
        told = run.index[first:], run.clock, self._batch_size, B
        elementwise.gather_rows(stream, space.X, self._X, *told, space.X.ld)
        T, labels = None, None
        if self._T is not None:
            T = space.T
            elementwise.gather_rows(stream, T, self._T, *told, T.ld)
        else:
            labels = space.labels
            elementwise.gather(stream, labels, self._labels, *told)
        weights = None if self._weights is None else self._weights[first:]
        row_loss, hits = self._row_loss[first:], self._hits[first:]
        chain = self._network.chain
        if chain is not None:
            targets = Targets(T, labels, weights, self._factor)
            part.train(chain, targets, row_loss, hits if self._head.has_hits else None)
            part.gradients(space.flat, first > 0)
            return
        self._head.loss(
            part,
            part.forward(),
            (T, labels, weights),
            (row_loss, hits, self._factor),
            part.gradient(self._network.program.scores),
        )
        part.backward(space.flat, first > 0)

    def _update(self) -> None:
        """Put what follows the gradient on the stream."""
        stream, run, space, groups = self._device.stream, self._run, self._space, self._groups
        program, optimizer = self._network.program, self._optimizer
        P, w = program.size, self._network.parameters
        g, partials = self._space.flat, space.partials
        told = groups.penalties, self._factor, optimizer.clip_value
        step.gradient_pass(stream, g, partials, w, *told, P)
        step.finish_batch(
            stream,
            run.losses,
            run.shares,
            self._clip,
            run.clock,
            partials,
            self._row_loss,
            self._hits if self._head.has_hits else None,
            self._weights,
            space.statistics if program.state_size else None,
            optimizer.clip_norm,
            P,
            self._B,
        )
        update(
            stream,
            w,
            self._moments,
            g,
            groups.decays,
            run.table,
            run.clock,
            self._clip,
            optimizer,
            P,
        )
        for p in program.parameters:
            if p.max_norm:
                W = Matrix(w[p.offset :], p.stride)
                columns.max_norm(stream, W, run.clock, p.max_norm, p.rows, p.columns)
        self._move_statistics()
        step.advance(stream, run.clock)

    def _move_statistics(self) -> None:
        stream, states = self._device.stream, self._network.states
        for op in self._network.program.ops:
            if op.kind != "batch_norm":
                continue
            mean, variance = (self._network.program.states[n] for n in op.states)
            columns.batch_norm_update(
                stream,
                states[mean.offset :],
                states[variance.offset :],
                *self._passes[0].statistics(op),
                self._run.clock,
                op.momentum,
                self._B,
                mean.length,
            )


class Queue:
    """Keeps the launches that the device has not come to yet below what Ctrl-C may wait for.

    Parameters
    ----------
    device : Device
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._stride = 1  # steps between two marks; what suits one call suits the next
        self.begin()

    def begin(self) -> None:
        """Forget the marks of the last call, which are over."""
        self._marks: deque[Any] = deque()
        self._steps, self._last = 0, time.perf_counter()

    def step(self) -> None:
        """Note a step that was launched, and wait where too many are under way."""
        self._steps += 1
        if self._steps < self._stride:
            return
        self._steps = 0
        self._marks.append(self._device.event())
        if len(self._marks) <= 2:
            return
        self._marks.popleft().synchronize()
        now = time.perf_counter()
        short, long = STRIDE_SECONDS
        if now - self._last < short:
            self._stride *= 2
        elif now - self._last > long:
            self._stride = max(1, self._stride // 2)
        self._last = now
