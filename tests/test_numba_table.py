"""Kernels of the Numba backend: compiled once, kept on disk, in whatever folder can be written."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastnn

numba = pytest.importorskip("numba")

from fastnn.backends.numba_cpu import table
from fastnn.backends.numba_cpu.memory import OPTIONS, call, call_int64, local, part

# Compiles or loads a few kernels, runs one, and tells how many came from the cache.
PROGRAM = """
import ctypes, warnings
import numpy as np
warnings.simplefilter("error")
from fastnn.backends.numba_cpu import table
for kernel, choice in (("scale", ""), ("activation_forward", "exp")):
    table.address(kernel, np.float32, choice)
run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_double, ctypes.c_int64)
g = np.arange(5, dtype=np.float32)
run(table.address("scale", "float32"))(g.ctypes.data, 2.0, len(g))
assert g.tolist() == [0, 2, 4, 6, 8]
compiled = table._compiled.values()
print(sum(c.cache_hits for c in compiled), len(compiled))
"""


def hits(home, **environment):
    """Return how many kernels a new process finds in the cache, and how many it asks for."""
    told = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "XDG_"))}
    told |= {"HOME": str(home), "PYTHONPATH": str(Path(fastnn.__file__).parents[1]), **environment}
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=told,
        cwd="/",  # what stands in the current folder is imported first
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert process.returncode == 0, process.stderr
    found, asked = map(int, process.stdout.split())
    return found, asked


def copied(folder):
    """Return the environment in which a copy of the package is imported, and the copy."""
    shutil.copytree(
        Path(fastnn.__file__).parent,
        folder / "fastnn",
        ignore=shutil.ignore_patterns("__pycache__", "*.so", "*.npz"),
    )
    return {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}, folder / "fastnn"


@pytest.fixture
def nowhere(tmp_path):
    """Return a path at which no folder can be made, not even by the superuser."""
    file = tmp_path / "file"
    file.write_text("")
    return file / "folder"


def test_the_next_process_loads_what_this_one_compiled(tmp_path):
    told = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    assert hits(tmp_path, **told)[0] == 0
    found, asked = hits(tmp_path, **told)
    assert found == asked


def test_other_sources_compile_anew(tmp_path):
    told, package = copied(tmp_path)
    told["NUMBA_CACHE_DIR"] = str(tmp_path / "cache")
    hits(tmp_path, **told)
    # A file whose functions are inlined elsewhere: Numba itself looks at the kernel's file alone.
    changed = package / "backends" / "jit" / "vecmath.py"
    changed.write_text(changed.read_text() + "\n# changed\n")
    assert hits(tmp_path, **told)[0] == 0


def test_a_package_that_cannot_be_written_uses_the_folder_of_the_user(tmp_path):
    told, package = copied(tmp_path / "site")
    # A file in the place of the folder: the superuser may write into any folder.
    for folder in (package / "backends" / "numba_cpu", package / "backends" / "jit"):
        (folder / "__pycache__").write_text("")
    home = tmp_path / "home"
    hits(home, **told)
    assert list(home.rglob("*.nbc"))
    found, asked = hits(home, **told)
    assert found == asked


def test_without_any_folder_every_process_compiles(tmp_path, nowhere):
    told, package = copied(tmp_path / "site")
    (package / "backends" / "numba_cpu" / "__pycache__").write_text("")
    told["NUMBA_CACHE_DIR"] = str(nowhere)
    for _ in range(2):
        assert hits(nowhere, **told)[0] == 0


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
def test_broken_files_are_made_anew(tmp_path, kind):
    told = {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    hits(tmp_path, **told)
    files = list(tmp_path.rglob(f"*.{kind}"))
    assert len(files) > 1
    for at, file in enumerate(files):
        data = file.read_bytes()
        file.write_bytes((data[: len(data) // 2], data[::-1], b"")[at % 3])
    assert hits(tmp_path, **told)[0] == 0
    found, asked = hits(tmp_path, **told)
    assert found == asked


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_code_calls_kernels_by_their_address(dtype):
    X, Y = np.arange(21, dtype=dtype).reshape(3, 7), np.zeros((3, 9), dtype)
    bad = np.ones((3, 4), dtype)
    bad[1, 2] = np.inf

    @numba.njit(**OPTIONS)
    def run(copy, search, y, x, b):
        call(copy, y, 9, x, 7, False, 3, 7)
        return call_int64(search, b, 4, 3, 4)

    addresses = (table.address(name, dtype) for name in ("copy", "first_nonfinite"))
    assert run(*addresses, *(a.ctypes.data for a in (Y, X, bad))) == 6
    assert (Y[:, :7] == X).all()
    assert not Y[:, 7:].any()


def test_an_array_on_the_stack_is_one_for_each_call_that_is_written():
    @numba.njit(**OPTIONS)
    def run(x):
        total = 0.0
        for turn in range(3):
            here, there = local(x, 8), local(x, 8)
            for k in range(8):
                here[k], there[k] = turn + k, -k
            total += part(here, 2, 4)[1] + there[3]
        return total

    assert run(np.zeros(1)) == 3.0


def test_a_kernel_that_is_not_there_is_told():
    with pytest.raises(KeyError, match="no_such_kernel"):
        table.address("no_such_kernel", np.float32)
    with pytest.raises(KeyError, match="no_such_function"):
        table.address("activation_forward", np.float32, "no_such_function")
