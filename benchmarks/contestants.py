"""Who takes part: the libraries, how each is used, and the process that each runs in."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import selectors
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import openblas

__all__ = ["CONTESTANTS", "DROPPED", "Contestant", "Worker", "WorkerDied", "called", "present"]

WORKER = Path(__file__).with_name("worker.py")
TIMEOUT = 1200.0  # seconds for one answer; compilers take their time

# The variables by which libraries are told the number of threads.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "FASTNN_NUM_THREADS",
)
# Set by the harness or by nobody: they change what a library does.
DROPPED = (
    "FASTNN_ISA",
    "MKL_ENABLE_INSTRUCTIONS",
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "XLA_FLAGS",
)


@dataclass(frozen=True)
class Contestant:
    """A library, used in one way.

    Attributes
    ----------
    name : str
        What the tables call it.
    module : str
        Its file in ``peers``.
    packages : tuple of str
        Packages that must be installed.
    parts : tuple of str
        ``training``, ``inference``, ``busy``.
    mode : str
        Which way of using the library.
    environment : dict
        Variables of its process.
    best_core : bool
        Whether it runs on the fastest core of OpenBLAS, where that is not the default.
    """

    name: str
    module: str
    packages: tuple[str, ...]
    parts: tuple[str, ...] = ("training", "inference")
    mode: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    best_core: bool = False


ALL_PARTS = ("training", "inference", "busy")
CONTESTANTS = (
    Contestant("fastnn", "fastnn_peer", ("fastnn",), ALL_PARTS, "shuffled"),
    Contestant("fastnn resident", "fastnn_peer", ("fastnn",), ("training",), "resident"),
    Contestant("fastnn on Numba", "fastnn_peer", ("fastnn", "numba"), mode="shuffled on numba"),
    Contestant("PyTorch", "torch_peer", ("torch",), ALL_PARTS, "eager"),
    Contestant("PyTorch compiled", "torch_peer", ("torch",), mode="compiled"),
    Contestant("JAX", "jax_peer", ("jax",)),
    Contestant("ONNX Runtime", "onnx_peer", ("onnxruntime", "onnx"), ("inference",)),
    Contestant("NumPy", "numpy_peer", ("numpy",), ALL_PARTS),
    Contestant("NumPy, best core", "numpy_peer", ("numpy",), best_core=True),
    Contestant("scikit-learn", "sklearn_peer", ("sklearn",)),
)


def called(contestant: Contestant, text: str) -> bool:
    """Return whether a text is in its name or its packages, whatever the case."""
    return text.lower() in " ".join((contestant.name, *contestant.packages)).lower()


def present(wanted: list[str]) -> tuple[list[Contestant], dict[str, str]]:
    """Return who can take part, and for each of the others the reason why not.

    Parameters
    ----------
    wanted : list of str
        Texts to look for in the names and packages, whatever their case; all are wanted where it
        is empty. fastnn itself always takes part.
    """
    found, left_out = [], {}
    for contestant in CONTESTANTS:
        ours = contestant.packages == ("fastnn",)
        if wanted and not ours and not any(called(contestant, text) for text in wanted):
            continue
        missing = [p for p in contestant.packages if importlib.util.find_spec(p) is None]
        if missing:
            left_out[contestant.name] = f"{' and '.join(missing)} not installed"
        elif contestant.best_core:
            core, reason = openblas.best_core(_environment(1))
            if core:
                own = {"OPENBLAS_CORETYPE": core}
                found.append(replace(contestant, name=f"NumPy {core}", environment=own))
            else:
                left_out[contestant.name] = reason
        else:
            found.append(contestant)
    return found, left_out


def _environment(threads: int) -> dict[str, str]:
    """Return the variables of a contestant's process."""
    kept = {k: v for k, v in os.environ.items() if k not in DROPPED}
    return kept | {name: str(threads) for name in THREAD_VARIABLES}


class WorkerDied(Exception):
    """A contestant's process ended or fell silent; the text holds the last that it said."""


class Worker:
    """The process of a contestant, bound to some cores.

    Parameters
    ----------
    contestant : Contestant
    cores : list of int
        Cores that it may use; as many threads are used.

    Raises
    ------
    WorkerDied
        When the library cannot be loaded.
    """

    def __init__(self, contestant: Contestant, cores: list[int]) -> None:
        self.contestant, self.cores = contestant, cores
        options = {
            "module": contestant.module,
            "mode": contestant.mode,
            "threads": len(cores),
            "cores": cores,
        }
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115, it lives as long as the worker
        # Python puts the folder of the script first on its path, not the current one: the package
        # that is measured is the installed one.
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), json.dumps(options)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=_environment(len(cores)) | contestant.environment,
            text=True,
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._process.stdout, selectors.EVENT_READ)
        try:
            self.description = self.ask("hello")
        except WorkerDied:
            self.close()
            raise

    def ask(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises
        ------
        WorkerDied
            When there is none.
        """
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise WorkerDied(self._last_words()) from None
        if not self._selector.select(TIMEOUT):
            self._process.kill()
            raise WorkerDied(f"no answer to {do!r} within {TIMEOUT:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise WorkerDied(self._last_words())
        return json.loads(line)

    def run(self, count: int) -> dict[str, Any]:
        """Take at least so many steps of the prepared case; return what `worker` answers.

        Raises
        ------
        WorkerDied
            When it cannot.
        """
        return self.must("run", count=count)

    def must(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and return the answer.

        Raises
        ------
        WorkerDied
            When there is none, or it is that the library cannot do it.
        """
        told = self.ask(do, **arguments)
        if "unable" in told:
            raise WorkerDied(told["unable"])
        return told

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            try:
                self._process.stdin.write('{"do": "quit"}\n')
                self._process.stdin.close()
                self._process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self._process.kill()
        self._process.wait()
        self._selector.close()
        for pipe in (self._process.stdin, self._process.stdout, self._log):
            with contextlib.suppress(OSError):  # it was broken already
                pipe.close()

    def _last_words(self) -> str:
        self._process.wait(10)
        self._log.seek(0)
        said = [line for line in self._log.read().splitlines() if line.strip()]
        return said[-1] if said else f"ended with status {self._process.returncode}"
