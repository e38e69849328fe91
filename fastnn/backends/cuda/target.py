"""The one place that imports a CUDA target: a package that compiles Python for the GPU.

Three packages have the same interface: numba_cuda_mlir, its forerunner numba-cuda, and the
deprecated target inside Numba itself. The first that is installed is used; the environment variable
FASTNN_CUDA_TARGET names another. With NUMBA_ENABLE_CUDASIM=1 the last two simulate a GPU, slowly,
by a Python thread for every thread of a kernel.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import math as python_math
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

from fastnn.backends.cuda import simulated

__all__ = ["NAME", "SIMULATED", "VERSION", "Kernel", "cuda", "device_function", "math", "why_not"]

ENVIRONMENT = "FASTNN_CUDA_TARGET"
# In the order of preference: the distribution, and the module that is its interface. Where
# numba-cuda is installed, it takes the place of numba.cuda.
TARGETS = {
    "numba_cuda_mlir": "numba_cuda_mlir.cuda",
    "numba-cuda": "numba.cuda",
    "numba": "numba.cuda",
}
NO_PACKAGE = (
    "no package that compiles for CUDA is installed (numba-cuda, or numba_cuda_mlir); "
    "pip install 'fastnn-core[cuda]'"
)
NO_DRIVER = "no driver of an NVIDIA GPU is found"
NO_DEVICE = "the driver finds no GPU (none is there, or CUDA_VISIBLE_DEVICES hides all)"
NO_COMPILER = (
    "the CUDA target has no NVVM to compile with; pip install 'numba-cuda[cu12]' brings it"
)
FORKED = (
    "this process was forked from one that had used CUDA, whose state does not survive a fork; "
    "start processes by 'spawn' or 'forkserver', or use CUDA in the child only"
)


def _owner(module: Any) -> str:
    """Return the distribution that an imported interface belongs to."""
    parts = (module.__file__ or "").replace(os.sep, "/").split("/")
    return next((n for n in TARGETS if n.replace("-", "_") in parts), "numba")


def _simulates(module: Any) -> bool:
    return module.jit.__module__.endswith("simulator.api")


def _find() -> tuple[Any, str]:
    """Return the interface that is to be used and its name, or None and the reason why not."""
    wanted = os.environ.get(ENVIRONMENT, "")
    if wanted and wanted not in TARGETS:
        return None, f"{ENVIRONMENT} is {wanted!r}, which is none of {', '.join(TARGETS)}"
    for name, path in TARGETS.items():
        if wanted not in ("", name):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what is deprecated there is no user's business
                module = importlib.import_module(path)
        except ImportError:
            continue
        owner = _owner(module)
        # The successor has no simulator: who asks for one gets it from the next target.
        right = _simulates(module) == (os.environ.get("NUMBA_ENABLE_CUDASIM", "0") != "0")
        if owner == name and right:
            return module, name
    return None, NO_PACKAGE if not wanted else f"the package {wanted} is not installed"


cuda, NAME = _find()
SIMULATED = cuda is not None and _simulates(cuda)
VERSION = "" if cuda is None else importlib.metadata.version(NAME)
# What kernels compute with. Python's own functions raise errors where those of a GPU give NaN.
math: Any = simulated if SIMULATED else python_math
if SIMULATED:
    simulated.repair_shared_arrays()

# The process in which the driver was first asked. Its state does not survive a fork.
_asked_in: int | None = None


def why_not() -> str | None:
    """Return None where CUDA can be used in this process, else the sentence that says why not."""
    global _asked_in
    if cuda is None:
        return NAME
    if SIMULATED:
        return None
    if _asked_in not in (None, os.getpid()):
        return FORKED
    _asked_in = os.getpid()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if not len(cuda.gpus):
                return NO_DEVICE
            return None if cuda.is_available() else NO_COMPILER
    except cuda.CudaSupportError as error:
        if "NO_DEVICE" in str(error):
            return NO_DEVICE
        text = str(error).removeprefix("Error at driver init:").strip(" :\n")
        return f"{NO_DRIVER} ({text.splitlines()[0] if text else type(error).__name__})"


# The simulator runs one kernel at a time.
_simulating = threading.Lock()
# Who changes the filters of warnings for a while must not be overtaken by another who does.
_configuring = threading.Lock()
# Configurations of a kernel that are kept; the sizes of batches that are predicted may be many.
KEPT = 256


class Kernel:
    """A function compiled for the GPU, once for every combination of types of its arguments.

    Parameters
    ----------
    function : callable
        A kernel in the part of Python that all targets know.
    registers : int, optional
        The most that a thread may use.
    """

    def __init__(self, function: Callable[..., None], registers: int | None = None) -> None:
        self.function = function
        options = {} if SIMULATED or registers is None else {"max_registers": registers}
        self._dispatcher = cuda.jit(function, **options)
        self._configured: dict[Any, Any] = {}

    def launch(
        self, stream: Any, grid: tuple[int, ...], block: tuple[int, ...], *arguments: Any
    ) -> None:
        """Launch the kernel; nothing waits for its end.

        Parameters
        ----------
        stream : object
            A stream of the target, or 0.
        grid, block : tuple of int
            Blocks of the grid and threads of a block, along x first. A grid of no blocks does
            nothing.
        *arguments : object
            1-D arrays on the device, and NumPy or Python scalars.
        """
        if 0 in grid:
            return
        if SIMULATED:
            with _simulating, warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # overflow is found as such
                self._dispatcher[grid, block](*arguments)
            return
        key = grid, block, id(stream)
        known = self._configured.get(key)
        if known is not None:
            known[0](*arguments)
            return
        with _configuring, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a small batch leaves most of a GPU idle
            launch = self._dispatcher[grid, block, stream]
            launch(*arguments)  # compiled now, if it is new
        if len(self._configured) >= KEPT:
            self._configured.clear()
        self._configured[key] = launch, stream  # which lives on, so its id stays its own


def device_function(function: Callable[..., Any]) -> Any:
    """Return a function that kernels can call; it is compiled into them."""
    return function if SIMULATED else cuda.jit(function, device=True)
