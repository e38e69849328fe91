"""Where a network finds room on the device: for passes, for rows, and for what steps tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Batch
from fastnn.backends.cuda.memory import Device
from fastnn.backends.cuda.source import (
    CHUNK_BYTES,
    Parts,
    Rows,
    Sources,
    Stream,
    parts_of,
)
from fastnn.backends.cuda.source import row_bytes as data_bytes
from fastnn.backends.cuda.steps import Run
from fastnn.backends.cuda.workspace import Workspace, row_bytes
from fastnn.program import Program
from fastnn.program.plan import Plan

__all__ = ["Room"]

# Rows of a prediction or an evaluation go through the network in chunks that take so much memory
# at most, and those of a training step in chunks that take this share of what is free.
CHUNK_MEMORY = 256 << 20
TRAINING_SHARE = 0.5


class Room:
    """Memory that calls share: it grows with the largest, and goes with the network.

    Parameters
    ----------
    device : Device
    program : Program
    plan : Plan
    dtype : numpy.dtype
    """

    def __init__(self, device: Device, program: Program, plan: Plan, dtype: np.dtype[Any]) -> None:
        self._device, self._program, self._plan, self._dtype = device, program, plan, dtype
        self._sources = Sources(device)
        self._spaces: dict[bool, Workspace] = {}
        self._streams: dict[Any, Stream] = {}
        self._run: Run | None = None

    def space(self, rows: int, *, backward: bool, whole: bool = False) -> Workspace:
        """Return a workspace for so many rows, or for as many of them as there is memory for."""
        space = self._spaces.get(backward)
        if space is not None and space.rows >= rows:
            return space
        if not whole:
            each = row_bytes(self._program, self._plan, self._dtype.itemsize, backward=backward)
            free, _ = self._device.memory()
            most = max(CHUNK_MEMORY, TRAINING_SHARE * free) if backward else CHUNK_MEMORY
            rows = int(min(rows, max(1, most / each)))  # what the simulator has free is infinite
        if space is None or space.rows < rows:
            space = Workspace(
                self._device, self._program, self._plan, self._dtype, rows, backward=backward
            )
            self._spaces[backward] = space
        return space

    def stream(self, parts: Parts, rows: int) -> Stream:
        """Return buffers through which chunks of at least so many rows stream."""
        kind = tuple(part is not None for part in parts)
        stream = self._streams.get(kind)
        if stream is None or stream.rows < rows:
            self._streams.pop(kind, None)
            stream = self._streams[kind] = Stream(self._device, parts, rows)
        return stream

    def parts(self, batch: Batch, rows: int) -> Iterator[tuple[int, int, Rows]]:
        """Yield all rows of a batch on the device: number of the first, how many, and where."""
        resident = self._sources.resident(batch)
        if resident is not None:
            for first in range(0, len(batch), rows):
                count = min(rows, len(batch) - first)
                yield first, count, resident.part(first)
            return
        parts = parts_of(batch)
        stream = self.stream(parts, rows)
        for first in range(0, len(batch), rows):
            count = min(rows, len(batch) - first)
            sent = stream.send(parts, slice(first, first + count))
            yield first, count, sent
            stream.used(sent)

    def run(self, steps: int, rows: int) -> Run:
        """Return what the steps of a call read and write."""
        if self._run is None or not self._run.fits(steps, rows):
            if self._run is not None:
                steps, rows = max(steps, self._run.steps), max(rows, self._run.rows)
            self._run = Run(self._device, self._dtype, steps, rows)
        return self._run

    def steps(
        self, batch: Batch, order: npt.NDArray[np.int64] | None, batch_size: int, count: int
    ) -> tuple[Iterator[tuple[Rows, int]], npt.NDArray[np.int64]]:
        """Return the steps of a call with the rows of each, and the places of the rows in these."""
        length = len(batch) if order is None else len(order)
        # A batch that comes once goes the way of what streams: its memory is there already.
        resident = None if order is None else self._sources.resident(batch)
        if resident is not None:
            assert order is not None
            return ((resident, s) for s in range(count)), order
        parts = parts_of(batch)
        most = CHUNK_BYTES // data_bytes(parts) // batch_size * batch_size
        stream = self.stream(parts, max(batch_size, min(most, length)))
        period = stream.steps(batch_size) * batch_size
        steps = stream.chunks(parts, order, batch_size, count)
        return steps, np.arange(length, dtype=np.int64) % period
