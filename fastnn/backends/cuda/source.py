"""The rows that steps work on: on the device for as long as somebody has them, or in chunks."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from fastnn.backends.base import Batch
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.cuda.memory import Device, memory_share

__all__ = ["CHUNK_BYTES", "Parts", "Rows", "Sources", "Stream", "parts_of", "row_bytes"]

Array = npt.NDArray[Any]
Parts: TypeAlias = tuple[Array, Array | None, Array | None, Array | None]

# A chunk that streams is long enough for a copy to run at full speed, and two of them are small
# beside the memory of any GPU.
CHUNK_BYTES = 32 << 20


class Rows:
    """Rows on the device, without gaps.

    Attributes
    ----------
    X : Matrix
    T : Matrix or None
        The targets, where they are values.
    labels : device array or None
        The targets, where they are classes.
    weight : device array or None
        The weights of the rows, None: 1 for each.
    recipes : dict
        What steps on these rows launch, made ready; it goes when the rows go.
    """

    def __init__(self, arrays: Sequence[Any], widths: Sequence[int]) -> None:
        X, T, self.labels, self.weight = arrays
        self.X = Matrix(X, widths[0])
        self.T = None if T is None else Matrix(T, widths[1])
        self.recipes: dict[Any, Any] = {}

    def part(self, first: int) -> Rows:
        """Return the rows from a number on."""
        X, T, labels, weight = self.X, self.T, self.labels, self.weight
        arrays = (
            X.at[first * X.ld :],
            None if T is None else T.at[first * T.ld :],
            None if labels is None else labels[first:],
            None if weight is None else weight[first:],
        )
        return Rows(arrays, (X.ld, 0 if T is None else T.ld))


def parts_of(batch: Batch) -> Parts:
    """Return what the rows of a batch consist of: inputs, values, labels, weights."""
    labels = batch.Y.ndim == 1
    return (batch.X, None if labels else batch.Y, batch.Y if labels else None, batch.weight)


def _widths(parts: Parts) -> list[int]:
    """Return how many numbers of each part belong to a row."""
    return [0 if a is None else math.prod(a.shape[1:]) for a in parts]


def row_bytes(parts: Parts) -> int:
    """Return the bytes of a row."""
    widths = zip(parts, _widths(parts), strict=True)
    return sum(a.itemsize * width for a, width in widths if a is not None)


class Sources:
    """The batches that are on the device, each as long as it lives.

    Parameters
    ----------
    device : Device
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._resident: dict[int, tuple[Any, Rows]] = {}

    def resident(self, batch: Batch) -> Rows | None:
        """Return a batch as rows on the device, uploaded once; None where it has no place there."""
        key = id(batch)
        found = self._resident.get(key)
        if found is not None and found[0]() is batch:
            return found[1]
        free, _ = self._device.memory()
        parts = parts_of(batch)
        # So written that nothing of an infinite memory, as the simulator has it, is nothing.
        if not row_bytes(parts) * len(batch) <= memory_share() * free:
            return None
        try:
            uploaded = [None if a is None else self._device.upload(a) for a in parts]
        except MemoryError:  # free, but not in one piece
            return None
        rows = Rows(uploaded, _widths(parts))
        resident = self._resident
        # Freed with the batch, whose number may then be another's.
        reference = weakref.ref(batch, lambda _: resident.pop(key, None))
        resident[key] = reference, rows
        return rows


class _Buffers:
    """Room for a chunk here, where copies run beside everything else, and on the device."""

    def __init__(self, device: Device, parts: Parts, rows: int) -> None:
        sizes = [rows * width for width in _widths(parts)]
        pairs = list(zip(parts, sizes, strict=True))
        self.here = [None if a is None else device.pinned(n, a.dtype) for a, n in pairs]
        self.there = [None if a is None else device.empty(n, a.dtype) for a, n in pairs]
        self.rows = Rows(self.there, _widths(parts))
        # Marks: behind the last copy from here, and the last step that worked on it there.
        self.sent: Any = None
        self.used: Any = None


class Stream:
    """Two buffers through which rows of one kind stream to the device.

    Parameters
    ----------
    device : Device
    parts : tuple
        As `parts_of` returns them, of these widths and dtypes.
    rows : int
        The most rows of a chunk.
    """

    def __init__(self, device: Device, parts: Parts, rows: int) -> None:
        self._device, self.rows = device, rows
        self._buffers = [_Buffers(device, parts, rows) for _ in range(2)]
        self._next = 0

    def send(self, parts: Parts, chosen: npt.NDArray[np.int64] | slice) -> Rows:
        """Put some rows on their way to the device, and return where they will be.

        What is put on the stream behind this finds them there. They stay until the next but one.
        """
        buffers = self._buffers[self._next]
        self._next = 1 - self._next
        if buffers.sent is not None:
            buffers.sent.synchronize()
        for array, here, there in zip(parts, buffers.here, buffers.there, strict=True):
            if array is None or here is None:
                continue
            part = array[chosen]
            here[: part.size].reshape(part.shape)[...] = part
            self._device.send(there, here[: part.size], buffers.used)
        buffers.sent = self._device.sent()
        return buffers.rows

    def used(self, rows: Rows) -> None:
        """Note that all steps on rows that were sent are on the stream."""
        for buffers in self._buffers:
            if buffers.rows is rows:
                buffers.used = self._device.event()

    def steps(self, batch_size: int) -> int:
        """Return how many steps work on a chunk."""
        return self.rows // batch_size

    def chunks(
        self, parts: Parts, order: npt.NDArray[np.int64] | None, batch_size: int, count: int
    ) -> Iterator[tuple[Rows, int]]:
        """Yield all steps of a call, a chunk at a time, each with the rows that it works on.

        The rows of a chunk stand in the order of training, the first of its first step first.
        """
        length = len(parts[0]) if order is None else len(order)
        steps = self.steps(batch_size)
        for first in range(0, count, steps):
            last = min(first + steps, count)
            window = slice(first * batch_size, min(last * batch_size, length))
            rows = self.send(parts, window if order is None else order[window])
            for s in range(first, last):
                yield rows, s
            self.used(rows)
