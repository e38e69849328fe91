"""The workers: Python threads that wait for a run, and then work in compiled code without the GIL.

A process has one pool, and the pool serves one run at a time. Nobody waits for it: where it is
taken, the caller works alone. Nothing depends on who runs which item, so the bits are the same.
"""

from __future__ import annotations

import os
import threading
from queue import SimpleQueue

from fastnn.backends.numba_cpu.engine.compiling import door, engine_address
from fastnn.backends.numba_cpu.workspace import Workspace

__all__ = ["Pool", "pool"]

# More threads than this are not taken, the caller counted.
MOST = 256

# A run that a worker is to help with, and its generation; or None, to end.
Message = tuple[Workspace, int] | None


class _Worker(threading.Thread):
    """Helps with runs, one after another; where it was busy it comes late, which is harmless."""

    def __init__(self, number: int) -> None:
        # No run waits for it at the end of the process: it is told to end, and joined.
        super().__init__(name=f"fastnn-{number}")
        self.number = number
        self.messages: SimpleQueue[Message] = SimpleQueue()

    def run(self) -> None:
        """Wait for messages."""
        help_out, code = door("help_out"), engine_address("help_out")
        while (message := self.messages.get()) is not None:
            workspace, generation = message
            help_out(code, workspace.address, self.number, generation)
            del message, workspace  # the memory is the caller's


class Pool:
    """The workers of this process."""

    def __init__(self) -> None:
        self._over = False
        self.forget()

    def begin(self, workspace: Workspace, threads: int, generation: int) -> int:
        """Take the pool, send workers to a run, and return how many threads it has.

        That is 1 where the caller is alone.
        """
        wanted = min(threads, MOST) - 1
        # One step, so that whoever is interrupted has either taken the pool or not.
        if wanted < 1 or self._over or self._owner.setdefault("run", workspace) is not workspace:
            return 1
        while len(self._workers) < wanted:
            worker = _Worker(len(self._workers) + 1)
            # Known before it starts: where an interrupt comes meanwhile, it is told to end all the
            # same, else the process would wait for it forever.
            self._workers.append(worker)
            try:
                worker.start()
            except RuntimeError:  # the system gives no more threads
                self._workers.remove(worker)
                break
        for worker in self._workers[:wanted]:
            worker.messages.put((workspace, generation))
        return 1 + min(wanted, len(self._workers))

    def end(self, workspace: Workspace) -> None:
        """Give the pool back, where a run has it."""
        if self._owner.get("run") is workspace:
            del self._owner["run"]

    def stop(self) -> None:
        """End all workers, when the process does."""
        self._over = True
        for worker in self._workers:
            worker.messages.put(None)

    def forget(self) -> None:
        """Forget the workers, which a forked child has not, and whoever had the pool."""
        self._owner: dict[str, Workspace] = {}
        self._workers: list[_Worker] = []


pool = Pool()
os.register_at_fork(after_in_child=pool.forget)
# The interpreter joins threads before it calls what `atexit` knows. This is how the executors of
# the standard library end their own.
threading._register_atexit(pool.stop)  # type: ignore[attr-defined]
