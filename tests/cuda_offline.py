"""Compiles kernels without a GPU, for one of compute capability 8.0: to PTX, and by ptxas.

So errors of types are found that the simulator, which is Python, does not know.
"""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fastnn.backends.cuda import target

CAPABILITY = (8, 0)


class Host(np.ndarray):
    """An array that stands in for one on the device."""

    def copy_to_host(self):
        return np.asarray(self)


class NoDevice:
    compute_capability = CAPABILITY


def patch(monkeypatch, launch):
    """Let helpers run without a device: `launch` gets every kernel and its arguments."""
    if target.NAME == "numba_cuda_mlir":
        from numba_cuda_mlir import tools

        def capability(kind=str):
            return CAPABILITY if kind is tuple else "sm_{}{}".format(*CAPABILITY)

        monkeypatch.setattr(tools, "get_gpu_compute_capability", capability)
    else:
        from numba.cuda import dispatcher

        monkeypatch.setattr(dispatcher, "get_current_device", NoDevice)
    monkeypatch.setattr(target.cuda, "to_device", lambda array: array.view(Host))
    monkeypatch.setattr(
        target.Kernel, "launch", lambda kernel, stream, grid, block, *a: launch(kernel, a)
    )


def _type(argument):
    if target.NAME == "numba_cuda_mlir":
        from numba_cuda_mlir import types
    else:
        from numba import types
    if isinstance(argument, np.ndarray):
        return types.Array(getattr(types, argument.dtype.name), 1, "C")
    name = {int: "int64", float: "float64"}.get(type(argument))
    return getattr(types, name or argument.dtype.name)


def compile_ptx(function, arguments):
    """Return the PTX of a kernel for arguments of these types."""
    arguments = [_type(argument) for argument in arguments]
    return target.cuda.compile_ptx(function, tuple(arguments), cc=CAPABILITY)[0]


def why_not():
    """Return why nothing can be compiled here, or None."""
    if target.cuda is None or target.SIMULATED:
        return target.NAME if target.cuda is None else "the simulator does not compile"
    try:
        with pytest.MonkeyPatch.context() as monkeypatch:
            patch(monkeypatch, None)
            compile_ptx(lambda: None, ())
    except Exception as error:  # each target has its own for a compiler that is not there
        lines = str(error).strip().splitlines()
        return f"{target.NAME} {target.VERSION} cannot compile: {lines[0] if lines else error!r}"
    return None


def instructions(ptx):
    """Return how often each instruction stands in a PTX."""
    return Counter(re.findall(r"^\s+(?:@!?%p\d+ )?([a-z][\w.]*)", ptx, re.MULTILINE))


def ptxas():
    """Return the path of the assembler that the wheels of the CUDA toolkit bring, or None."""
    places = (Path(place) / "nvidia" for place in sys.path)
    return next((path for place in places for path in place.glob("*/bin/ptxas")), None)


def assemble(ptx, folder, registers):
    """Return what the assembler says of a kernel: registers, bytes of its stack, shared bytes."""
    source = folder / "kernel.ptx"
    source.write_text(ptx)
    command = [ptxas(), "-v", "-arch=sm_{}{}".format(*CAPABILITY), f"-maxrregcount={registers}"]
    command += [source, "-o", folder / "cubin"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found = (r"Used (\d+) registers", r"(\d+) bytes stack frame", r"(\d+) bytes smem")
    return tuple(int((re.search(pattern, said) or [0, 0])[1]) for pattern in found)
