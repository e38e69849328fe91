"""What all tests of the CUDA backend need: a GPU, or Numba's simulator of one."""

import sys

import pytest

from fastnn import backends
from fastnn.backends.cuda import target


@pytest.fixture(autouse=True, scope="session")
def _threads_take_turns():
    """Let the threads of the simulator, which mostly wait for each other, take short turns."""
    before = sys.getswitchinterval()
    if target.SIMULATED:
        sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def cuda():
    """Return the backend."""
    reason = backends.why_unavailable("cuda")
    if reason is not None:
        pytest.skip(f"{reason}; NUMBA_ENABLE_CUDASIM=1 simulates a GPU")
    return backends.get("cuda")
