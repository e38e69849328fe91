"""The GPU as the executables see it: memory, copies, a stream for each, and what can go wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.cuda import target
from fastnn.errors import BackendUnavailable

__all__ = ["Device", "address", "memory_share"]

Array = npt.NDArray[Any]

# Share of the free memory that the rows of a training may take; what is larger streams.
SHARE_VARIABLE = "FASTNN_CUDA_MEMORY"
SHARE = 0.8

# cuda.h: CUDA_ERROR_OUT_OF_MEMORY.
OUT_OF_MEMORY = 2


def address(array: Any) -> int:
    """Return where an array on the device begins; in the simulator, where it begins here."""
    interface = getattr(array, "__cuda_array_interface__", None) or array.__array_interface__
    return int(interface["data"][0])


def memory_share() -> float:
    """Return the share of the free memory that rows may take.

    Raises
    ------
    ValueError
        When the environment variable holds no number from 0 to 1.
    """
    text = os.environ.get(SHARE_VARIABLE, "")
    try:
        share = float(text) if text else SHARE
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise ValueError(f"{SHARE_VARIABLE} must be a number from 0 to 1, got {text!r}")
    return share


class Device:
    """Memory of the GPU and a stream on it; every array is 1-D, and every copy is in order.

    Attributes
    ----------
    stream : object
        Of the target; what is put on it happens in order.
    """

    def __init__(self) -> None:
        reason = target.why_not()
        if reason is not None:
            raise BackendUnavailable(f"the backend 'cuda' is not available: {reason}")
        self._process = os.getpid()
        self.stream, self._copies = target.cuda.stream(), target.cuda.stream()
        # What is copied to the device lives until the copy is over: where a GPU reads the memory of
        # the processor by itself, that may be after the call.
        self._in_flight: list[Array] = []

    def check(self) -> None:
        """Make sure that this process may use the GPU.

        Raises
        ------
        BackendUnavailable
            In a child that was forked after the GPU was used.
        """
        if os.getpid() != self._process:
            raise BackendUnavailable(target.FORKED)

    @property
    def handle(self) -> int:
        """Address of the stream, for libraries in C; 0 in the simulator."""
        return 0 if target.SIMULATED else int(self.stream)

    def memory(self) -> tuple[float, float]:
        """Return how many bytes are free on the device, and how many it has."""
        free, total = target.cuda.current_context().get_memory_info()
        return free, total

    def empty(self, length: int, dtype: npt.DTypeLike) -> Any:
        """Return an array on the device whose elements may be anything.

        Raises
        ------
        MemoryError
            With the bytes that were asked for, those that are free, and all.
        """
        wanted = max(length, 1)  # an array without elements has no address
        asked = wanted * np.dtype(dtype).itemsize
        try:
            return self._allocate(wanted, dtype)
        except Exception as error:
            # A target has its own class of error, with the number of the driver.
            if not isinstance(error, MemoryError) and not _is_out_of_memory(error):
                raise
        free, total = self.memory()
        raise MemoryError(
            f"the GPU has no memory for {_size(asked)} more: {_size(free)} of {_size(total)} are "
            "free; a smaller batch_size needs less, or end what else uses the GPU"
        ) from None

    def _allocate(self, length: int, dtype: npt.DTypeLike) -> Any:
        return target.cuda.device_array(length, dtype=np.dtype(dtype), stream=self._stream)

    def zeros(self, length: int, dtype: npt.DTypeLike) -> Any:
        """Return an array of zeros on the device."""
        array = self.empty(length, dtype)
        self.write(array, np.zeros(max(length, 1), dtype))
        return array

    def upload(self, array: Array) -> Any:
        """Return a copy of a contiguous array on the device, flat."""
        copy = self.empty(array.size, array.dtype)
        self.write(copy, array)
        return copy

    def write(self, there: Any, here: Array) -> None:
        """Copy a contiguous array to the device; it may change behind `synchronize`."""
        flat = np.ascontiguousarray(here).reshape(-1)
        if flat.size:
            there[: flat.size].copy_to_device(flat, stream=self._stream)
            self._in_flight.append(flat)

    def copy(self, there: Any, source: Any) -> None:
        """Copy one array of the device into another of the same length."""
        there.copy_to_device(source, stream=self._stream)

    def send(self, there: Any, pinned: Array, free: Any) -> None:
        """Copy a pinned array beside what runs on the stream.

        Parameters
        ----------
        there : device array
        pinned : ndarray
            It may change once `sent` is over.
        free : object
            A mark on the stream behind which nobody reads what was there, or None.
        """
        if free is not None:
            free.wait(self._copying)
        there[: pinned.size].copy_to_device(pinned, stream=self._copying)

    def sent(self) -> Any:
        """Let the stream wait for all that was sent, and return a mark that is over by then."""
        mark = self._mark(self._copying)
        mark.wait(self._stream)
        return mark

    def read(self, there: Any, here: Array) -> None:
        """Copy an array of the device into a contiguous one, and wait for it."""
        flat = here.reshape(-1)
        if flat.size:
            there[: flat.size].copy_to_host(flat, stream=self._stream)
        self.synchronize()

    def synchronize(self) -> None:
        """Wait until all that was put on the stream is done."""
        self.stream.synchronize()
        self._in_flight.clear()

    def pinned(self, length: int, dtype: npt.DTypeLike) -> Array:
        """Return an array here from which a copy runs beside everything else.

        Raises
        ------
        MemoryError
            When the system does not let so much memory be pinned.
        """
        wanted = max(length, 1)
        try:
            return target.cuda.pinned_array(wanted, dtype=np.dtype(dtype))
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
        asked = wanted * np.dtype(dtype).itemsize
        raise MemoryError(f"the system pins no {_size(asked)} of memory for copies to the GPU")

    def event(self) -> Any:
        """Return a mark on the stream that can be waited for."""
        return self._mark(self._stream)

    def _mark(self, stream: Any) -> Any:
        mark = target.cuda.event() if target.SIMULATED else target.cuda.event(timing=False)
        mark.record(stream)
        return mark

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Keep the target from freeing memory for a while, as when launches are recorded."""
        with getattr(target.cuda, "defer_cleanup", nullcontext)():
            yield

    # The simulator has streams, but does not take them everywhere.
    @property
    def _stream(self) -> Any:
        return 0 if target.SIMULATED else self.stream

    @property
    def _copying(self) -> Any:
        return 0 if target.SIMULATED else self._copies


def _is_out_of_memory(error: Exception) -> bool:
    code = getattr(error, "code", None)
    try:
        return code is not None and int(code) == OUT_OF_MEMORY
    except (TypeError, ValueError):
        return False


def _size(count: float) -> str:
    """Return a number of bytes for people."""
    if count == float("inf"):
        return "any number of bytes"
    if count < 1 << 20:
        return f"{int(count)} bytes"
    return f"{count / 2**20:,.0f} MiB" if count < 1 << 34 else f"{count / 2**30:,.1f} GiB"
