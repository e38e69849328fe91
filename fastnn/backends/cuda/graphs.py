"""CUDA graphs by stream capture: many launches recorded once, and replayed by one call.

A launch from Python costs microseconds, a small kernel less. The functions of the driver are called
through ctypes with the stream of the target, so that every target of Numba can have its launches
recorded. What is recorded keeps its arguments: whatever changes from replay to replay stands in
memory of the device.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable
from typing import Any

__all__ = ["Graph", "GraphError", "driver", "record"]

# cuda.h: CU_STREAM_CAPTURE_MODE_RELAXED. Memory that Python happens to free meanwhile, in this
# thread or another, does not spoil the recording.
RELAXED = 2


class GraphError(RuntimeError):
    """A step could not be recorded; launched one by one it runs as well."""


def driver() -> Any:
    """Return the driver's library, which the target has loaded already, or None."""
    for name in ("libcuda.so.1", "libcuda.so", "nvcuda.dll"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


class Graph:
    """Launches ready to be replayed.

    Parameters
    ----------
    library : object
        The driver's library.
    stream : int
        Address of the stream.
    executable : ctypes.c_void_p
        What cuGraphInstantiateWithFlags returned.
    keep : object
        What the launches refer to, which must live as long as they may be replayed.
    """

    def __init__(self, library: Any, stream: int, executable: Any, keep: Any) -> None:
        self._library, self._stream, self._executable = library, stream, executable
        self._keep = keep
        # Not at the end of the process, which frees everything.
        weakref.finalize(self, _destroy, library, executable, os.getpid()).atexit = False

    def replay(self) -> None:
        """Put all launches on the stream once more."""
        stream = ctypes.c_void_p(self._stream)
        _call(self._library, "cuGraphLaunch", self._executable, stream)


def record(library: Any, stream: int, launch: Callable[[], None], keep: Any = None) -> Graph:
    """Return what a function launches on a stream, as a graph; nothing of it runs.

    Every kernel must have been launched before: to compile and load one is no part of a graph.

    Parameters
    ----------
    library : object
        The driver's library.
    stream : int
        Address of a stream that is not the default one.
    launch : callable
    keep : object
        As for `Graph`.

    Raises
    ------
    GraphError
        When the driver refuses, because `launch` did what cannot be recorded, say. The stream can
        be used on.
    """
    where = ctypes.c_void_p(stream)
    _call(library, "cuStreamBeginCapture_v2", where, ctypes.c_int(RELAXED))
    graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
    try:
        try:
            launch()
        finally:  # in any case: a stream that is being captured is of no other use
            status = int(library.cuStreamEndCapture(where, ctypes.byref(graph)))
        if status:
            raise GraphError(f"cuStreamEndCapture failed with CUresult {status}")
        flags = ctypes.c_ulonglong(0)
        _call(library, "cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, flags)
    finally:
        if graph.value:
            library.cuGraphDestroy(graph)
    return Graph(library, stream, executable, keep)


def _destroy(library: Any, executable: Any, process: int) -> None:
    if os.getpid() == process:  # the driver is not to be called in a forked child
        library.cuGraphExecDestroy(executable)


def _call(library: Any, name: str, *arguments: Any) -> None:
    function = getattr(library, name, None)
    if function is None:
        raise GraphError(f"this driver has no {name}")
    status = int(function(*arguments))
    if status:
        raise GraphError(f"{name} failed with CUresult {status}")
