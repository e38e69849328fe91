"""Every code path of the native backend that runs here, not only the one that is chosen."""

import os
import subprocess
import sys
from pathlib import Path

import compiled
import pytest

from fastnn import backends

FILES = {
    "numbers": ("test_kernels_oracle.py", "test_kernels_equivalence.py", "test_same_bits.py"),
    "bfloat16": ("test_bfloat16.py",),
    "edges": ("test_kernels_tiles.py", "test_kernels_denormals.py", "test_memory_edges.py"),
}
HERE = Path(__file__).parent

pytestmark = pytest.mark.skipif(
    "native" not in backends.available(), reason="the native backend is not there"
)


def in_a_process(path, folder, *arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,  # not the checkout: what is installed is tested
        env={**os.environ, "FASTNN_ISA": path},
        capture_output=True,
        text=True,
        timeout=110,
    )


def chosen(path, folder):
    """Return the path that a process takes which was told to take this one; "" where it refuses."""
    text = "from fastnn.backends import get; print(get('native').details()['isa'])"
    return in_a_process(path, folder, "-c", text).stdout.strip()


@pytest.mark.slow
@pytest.mark.parametrize("path", compiled.PATHS)
@pytest.mark.parametrize("group", FILES)
def test_every_path_passes_the_tests_of_the_kernels(path, group, tmp_path):
    taken = chosen(path, tmp_path)
    if not taken:
        pytest.skip(f"this build or this processor has no path {path}")
    assert taken == path
    if taken == chosen("", tmp_path):
        pytest.skip(f"{path} is the path that all other tests take")
    files = [str(HERE / name) for name in FILES[group]]
    told = ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k", "native", *files)
    run = in_a_process(path, tmp_path, *told)
    assert run.returncode == 0, run.stdout[-3000:]
    assert " passed" in run.stdout


def test_some_path_is_taken(tmp_path):
    assert chosen("", tmp_path) in compiled.PATHS
