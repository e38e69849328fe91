"""Fixtures for all tests: every backend that can be used here in turn, and files."""

import signal

import pytest

from fastnn import backends

# Fixtures that only one subject needs stand beside its other helpers.
pytest_plugins = ["command_line", "model_files"]

# A GPU has tests of its own, in the folder cuda.
AVAILABLE = [name for name in backends.available() if name != "cuda"]
COMPILED = [name for name in AVAILABLE if name != "reference"]


@pytest.fixture(autouse=True, scope="session")
def _ctrl_c():
    """Let Ctrl-C work: a shell that starts the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(params=AVAILABLE)
def backend(request):
    """Return every backend in turn."""
    return backends.get(request.param)


@pytest.fixture(params=COMPILED)
def compiled(request):
    """Return every backend in turn that promises more than the reference: equal bits, for one."""
    return backends.get(request.param)


@pytest.fixture
def write_file(tmp_path):
    """Return a function that writes bytes or text to a file of that name, and gives its path."""

    def write(name, content):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def table(write_file):
    """Return a function that writes a table to a file, and gives its path."""
    return lambda content, name="table.csv": write_file(name, content)
