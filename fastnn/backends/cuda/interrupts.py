"""Ctrl-C at whole steps: a signal that comes between two launches waits until they are undone."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

__all__ = ["Deferred"]


class Deferred:
    """Holds back Ctrl-C inside a ``with``; behind it, what the signal would have done happens.

    Only the main thread gets signals, and only handlers in Python are held back: elsewhere, and
    where somebody ignores the signal, nothing changes.

    Attributes
    ----------
    pending : bool
        Whether the signal came.
    """

    def __init__(self) -> None:
        self.pending = False
        self._before: Any = None
        self._told: tuple[int, FrameType | None] = (signal.SIGINT, None)

    def __enter__(self) -> Deferred:
        if threading.current_thread() is threading.main_thread():
            handler = signal.getsignal(signal.SIGINT)
            if callable(handler):
                signal.signal(signal.SIGINT, self._note)
                self._before = handler
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.pending, self._told = True, (number, frame)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            if self.pending:
                self._before(*self._told)
