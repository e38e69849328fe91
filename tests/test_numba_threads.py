"""The workers of the Numba backend, where an interrupt comes while they are called."""

import subprocess
import sys

import pytest

pytest.importorskip("numba")

# Interrupts the first call of workers at a place, and lets the next one have them again.
PROGRAM = """
import numpy as np
import fastnn as fn
from fastnn.backends.numba_cpu import threads

layers = [fn.Dense(256, "relu"), fn.Dense(10, "softmax")]
net = fn.Network(layers, input_size=64, backend="numba", threads=3)
X = np.ones((4000, 64), np.float32)
net.predict(X[:1])
owner, name = {place}
original, calls = getattr(owner, name), []

def interrupted(*arguments):
    result = original(*arguments)
    calls.append(len(threads.pool._workers))
    if len(calls) == 1:
        raise KeyboardInterrupt
    return result

setattr(owner, name, interrupted)
try:
    net.predict(X)
    raise SystemExit("there was no interrupt")
except KeyboardInterrupt:
    print("interrupted")
assert threads.pool._owner == {{}}
once = net.predict(X)
assert len(calls) > 1, calls
assert len(threads.pool._workers) == 2
assert (net.predict(X) == once).all()
"""


@pytest.mark.parametrize("place", ['(threads._Worker, "start")', '(threads.pool, "begin")'])
def test_an_interrupt_while_workers_are_called_leaves_them_for_the_next_run(place):
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(place=place)],
        capture_output=True,
        text=True,
        timeout=200,  # which passes where the process waits for a worker that nobody ends
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "interrupted\n"
