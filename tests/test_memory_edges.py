"""No kernel reads or writes outside of its arrays: they end, or begin, at memory nobody may touch.

Every array lies directly against a page without any right; whoever steps over the edge is killed.
So all this happens in a process of its own: this file, run as a script.
"""

import ctypes
import mmap
import os
import subprocess
import sys
from dataclasses import dataclass, replace

import adversarial
import networks
import numpy as np
import pytest
from networks import Described, fn, losses

from fastnn import backends
from fastnn.backends import Batch
from fastnn.optimizers import Adam
from fastnn.program.kernels import KERNELS

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pages are protected by mprotect")

PAGE = mmap.PAGESIZE
SIDES = ("end", "start")
TIGHT = adversarial.Layout("tight", lead=0, trail=0)
LAYOUTS = (TIGHT, replace(TIGHT, gap=3), replace(TIGHT, gap=1, reversed=True))


class Edge:
    """A stretch of memory between two pages that nobody may touch."""

    def __init__(self, side, pages=64):
        self.side, size = side, (pages + 2) * PAGE
        self.memory = np.frombuffer(mmap.mmap(-1, size), np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        for page in (0, pages + 1):
            address = ctypes.c_void_p(self.memory.ctypes.data + page * PAGE)
            if libc.mprotect(address, ctypes.c_size_t(PAGE), 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.inside = self.memory[PAGE:-PAGE]

    def allocate(self, size):
        """Return so many bytes, directly at the edge."""
        assert size <= len(self.inside)
        return self.inside[len(self.inside) - size :] if self.side == "end" else self.inside[:size]


@dataclass
class Edges:
    """As many stretches as a call has arrays, used again for the next call."""

    side: str

    def __post_init__(self):
        self.pool, self.used = [Edge(self.side) for _ in range(12)], 0

    def put(self, array, layout=TIGHT):
        """Return the array at an edge."""
        self.used += 1
        return adversarial.place(array, layout, self.pool[self.used - 1].allocate).window


def call_kernels(backend, dtype, edges):
    for kernel in KERNELS.values():
        sizes = adversarial.shapes(kernel) + adversarial.long_shapes(kernel)
        sizes += adversarial.tile_shapes(kernel)
        for variant in adversarial.variants(kernel):
            for number, size in enumerate(sizes):
                call = adversarial.make(kernel, variant, size, dtype)
                edges.used = 0
                layout = LAYOUTS[number % len(LAYOUTS)]
                print(call, layout, flush=True)
                put = {n: a if a is None else edges.put(a, layout) for n, a in call.arrays.items()}
                call.run(backend.kernels, put)


def widths():
    for width in (1, 13, 15, 17, 33):
        layers = [fn.Dense(width, "tanh"), fn.Gated(width, "swiglu"), fn.LayerNorm()]
        layers += [fn.Concat([fn.Dense(3, "gelu")]), fn.Dropout(0.3)]
        yield Described([*layers, fn.Dense(5, "softmax")], width, losses.CrossEntropy())
        yield Described([*layers, fn.Dense(2, "sigmoid")], width, losses.BinaryCrossEntropy())


def call_executables(backend, dtype, edges):
    for described in widths():
        for rows in (1, 2, 7, 14, 15, 33):
            edges.used = 0
            executable = networks.compile_network(described, backend, dtype, threads=2)
            executable.parameters = edges.put(executable.parameters)
            plain = networks.random_batch(executable.program, rows, dtype, weighted=rows > 2)
            told = (a if a is None else edges.put(a) for a in (plain.X, plain.Y, plain.weight))
            batch = Batch(*told)
            out = edges.put(np.empty((rows, executable.program.outputs), dtype))
            gradient, into = (edges.put(a) for a in (executable.parameters, plain.X))
            print(described, rows, flush=True)
            executable.predict(batch.X, out)
            executable.evaluate(batch)
            executable.loss_and_gradient(batch, gradient, into, training=True, seed=1, step=2)
            state = executable.new_state(Adam(0.01))
            order = edges.put(np.arange(rows)[::-1].copy())
            steps = -(-rows // 7)
            rates, loss, hits = (edges.put(np.full(steps, 0.01)) for _ in range(3))
            executable.run_steps(batch, order, 7, state, rates, 1, loss, hits)


def step_over(side):
    array = Edges(side).put(np.zeros(5))
    beyond = array.ctypes.data + (array.nbytes if side == "end" else -1)
    print(ctypes.c_char.from_address(beyond).value)


if __name__ == "__main__":
    task, name, dtype, side = sys.argv[1:]
    if task == "step over":
        step_over(side)
    else:
        tasks = {"kernels": call_kernels, "executables": call_executables}
        tasks[task](backends.get(name), dtype, Edges(side))
    print("survived")


def in_a_process(*arguments):
    return subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, timeout=100
    )


@pytest.mark.parametrize("side", SIDES)
def test_whoever_steps_over_the_edge_is_killed(side):
    # Guards the guard: without this, the tests below could not fail.
    process = in_a_process("step over", "", "", side)
    assert process.returncode < 0
    assert "survived" not in process.stdout


@pytest.mark.parametrize("task", ["kernels", "executables"])
@pytest.mark.parametrize("dtype", adversarial.DTYPES)
@pytest.mark.parametrize("side", SIDES)
def test_nothing_outside_of_an_array_is_touched(compiled, task, dtype, side):
    process = in_a_process(task, compiled.name, dtype, side)
    told = process.stdout.splitlines()[-1:]
    assert told == ["survived"], f"{process.returncode} {told} {process.stderr[-2000:]}"
