"""What all tests of the CUDA backend need: a GPU, or Numba's simulator of one."""

import sys

import pytest

from fastnn.backends.cuda import target


@pytest.fixture(autouse=True, scope="session")
def _threads_take_turns():
    """Let the threads of the simulator, which mostly wait for each other, take short turns."""
    before = sys.getswitchinterval()
    if target.SIMULATED:
        sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)
