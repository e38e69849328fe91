"""The memory of a run: its record, and all that it needs beside what the caller brings.

It is laid out for a number of rows and kept for the next run, so that a step or a prediction of a
few rows asks nobody for memory. What lies between the rows of gradients is 0 from the beginning,
and no kernel ever changes that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastnn.backends.aligned import CACHE_LINE, aligned_zeros
from fastnn.backends.numba_cpu.engine.jobs import SHARE_BYTES
from fastnn.backends.numba_cpu.engine.records import RUN, SLOT, TILE
from fastnn.backends.numba_cpu.tables import PreparedOptimizer, Tables

__all__ = ["TRAINING", "Kind", "Workspace"]

# Below this many multiply-adds a run has one thread: to tell another costs more than it does. In
# training the others are awake; a single call has to wake them.
WORK_OF_TWO = 400_000
WORK_OF_WAKING = 8_000_000


class Kind(NamedTuple):
    """What a run is to do, and so what it needs memory for.

    Attributes
    ----------
    loss : bool
        A loss is measured; else predictions are made.
    backward : bool
        Gradients are wanted.
    training : bool
        Dropout is on, and batch norms look at the batch.
    updates : bool
        An optimizer updates the parameters.
    gathers : bool
        Rows come in another order than they stand.
    flat : bool
        The gradient is collected in a flat vector before the updates; else they are made on the
        spot.
    safe : bool
        Parameters and states are put back where the step diverges.
    bfloat16 : bool
        Factors are rounded.
    """

    loss: bool = False
    backward: bool = False
    training: bool = False
    updates: bool = False
    gathers: bool = False
    flat: bool = False
    safe: bool = False
    bfloat16: bool = False


TRAINING = Kind(loss=True, backward=True, training=True, updates=True)


class _Arena:
    """Hands out pieces of a block, each on cache lines of its own; without one it only measures."""

    def __init__(self, memory: npt.NDArray[np.uint8] | None = None) -> None:
        self.memory, self.used = memory, 0
        self.start = 0 if memory is None else memory.ctypes.data

    def take(self, count: int, dtype: Any) -> tuple[int, npt.NDArray[Any]]:
        """Return the address of so many elements, and the array of them; none while it measures."""
        bytes = count * np.dtype(dtype).itemsize
        place, self.used = self.used, self.used + -(-bytes // CACHE_LINE) * CACHE_LINE
        if self.memory is None:
            return 0, np.empty(0, dtype)
        return self.start + place, self.memory[place : place + bytes].view(dtype)


class Workspace:
    """The workspace of runs of a kind over batches of at most `capacity` rows.

    Parameters
    ----------
    tables : Tables
    kind : Kind
    capacity : int
    threads : int
        The most that a run may have.

    Attributes
    ----------
    run : ndarray
        The record, of no dimension.
    address : int
        Where the record stands.
    threads : int
        The most that pay for so many rows.
    used : ndarray or None
        The parameters of its last run.
    home : list of Workspace
        Where it waits for the next run; a list of its own where it is too large to be kept.
    """

    def __init__(self, tables: Tables, kind: Kind, capacity: int, threads: int) -> None:
        self.kind, self.capacity = kind, capacity
        self.home: list[Workspace] = []
        plan = tables.plan
        self.whole = kind.training and plan.couples_rows
        worth = WORK_OF_TWO if kind.training else WORK_OF_WAKING
        self.threads = threads if capacity * plan.row_work >= worth else 1
        self._rows = capacity if self.whole else min(capacity, plan.chunk)
        self._tile = min(self._rows, plan.tile)
        if not kind.loss:
            self._tile = min(capacity, plan.prediction_tile)
            self._rows = self.threads * self._tile
        measure = _Arena()
        self._lay_out(measure, tables, None)
        self.memory = aligned_zeros((measure.used,), np.uint8)
        self.run = self.memory[: RUN.itemsize].view(RUN)
        self.run[...] = tables.run
        self._lay_out(_Arena(self.memory), tables, self.run)
        self.address = int(self.memory.ctypes.data)
        self.used: npt.NDArray[Any] | None = None
        self._optimizer: PreparedOptimizer | None = None

    def use(self, parameters: npt.NDArray[Any], states: npt.NDArray[Any]) -> None:
        """Note where parameters and states stand; an Executable keeps its states."""
        if self.used is not parameters:
            self.run["values"], self.run["states_at"] = parameters.ctypes.data, states.ctypes.data
            self.used = parameters

    def optimize(self, prepared: PreparedOptimizer) -> None:
        """Note the optimizer of a run that updates."""
        if self._optimizer is not prepared:
            self.run["optimizer"], self._optimizer = prepared.address, prepared

    def _lay_out(self, arena: _Arena, tables: Tables, run: npt.NDArray[Any] | None) -> None:
        """Take all arrays from the arena, and note in the record where they stand."""
        program, plan, kind, rows = tables.program, tables.plan, self.kind, self._rows
        real, lost, gathered = tables.dtype, rows * kind.loss, rows * kind.gathers
        scratch_size = plan.scratch_size if kind.backward else 0
        if kind.bfloat16:
            scratch_size = self._tile * plan.widest_input
        places = {}
        arena.take(1, RUN)
        for name, count, dtype in (
            ("tiles", self.threads, TILE),
            ("shares", self.threads * SHARE_BYTES // 8, np.int64),
            ("saved", rows * 2 * len(program.ops), real),
            ("row_loss", lost, np.float64),
            ("hits", lost, np.float64),
            ("Y", gathered * program.outputs, real),
            ("labels", gathered, np.int64),
            ("weight", gathered, real),
            ("flat", program.size * kind.flat, real),
            ("statistics", program.state_size, real),
            ("block_penalty", len(plan.blocks), np.float64),
            ("kept", (program.size + program.state_size) * kind.safe, real),
            ("scratch", self.threads * scratch_size, real),
            ("rates", 1, np.float64),
            ("losses", 1, np.float64),
            ("shares_of_hits", 1, np.float64),
            ("slots", len(program.slots), SLOT),
        ):
            places[name] = arena.take(count, dtype)
        own_input = tables.slots[0]["ld"] if kind.gathers else 0
        widths = plan.slot_size + own_input if kind.loss else plan.buffers * plan.buffer_ld
        values = arena.take(rows * widths, real)[0]
        gradients = arena.take(rows * plan.slot_size * kind.backward, real)[0]
        if run is None:
            return
        for name, (address, array) in places.items():
            run[name] = address if len(array) else 0
        run["gradient"] = run["flat"]
        run["on_the_spot"] = kind.updates and not kind.flat
        run["capacity"], run["most_tile"] = rows, self._tile
        run["row_ld"] = 0 if kind.loss else plan.buffer_ld
        run["scratch_size"], run["training"] = scratch_size, kind.training
        run["bfloat16"] = kind.bfloat16
        run["threads"] = 1
        hits, slots = places["hits"][1], places["slots"][1]
        hits[...] = np.nan  # and so they stay where the loss knows nothing of them
        slots[...] = tables.slots
        for number, (slot, place) in enumerate(zip(slots, plan.places, strict=True)):
            slot["source"] = place.home if kind.training else place.source
            at = place.offset if kind.loss else place.buffer * plan.buffer_ld
            slot["values"] = values + rows * at * real.itemsize if at >= 0 else 0
            if kind.backward:
                slot["gradients"] = gradients + rows * place.offset * real.itemsize
            if number == 0 and not kind.gathers:
                slot["values"], slot["ld"] = 0, slot["width"]
