"""Threads and processes: a fork works whenever it comes, and nothing starts a thread unasked.

A child that hangs must not hang the tests, so each claim has a process of its own. The pool alone
is held to the same by test_pool, without Python in the way.
"""

import sys

import processes
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")

# Batches of 100 rows are worth threads: see WORK_OF_TWO in src_c/run.c.
HEAD = """
import hashlib, os, sys
import numpy as np

def threads_here():
    return len(os.listdir("/proc/self/task"))

at_first = threads_here()  # NumPy has some of its own
import fastnn as fn
after_import = threads_here()

rng = np.random.default_rng(0)
X, y = rng.normal(0, 1, (200, 60)), rng.integers(0, 3, 200)

def network(threads):
    layers = [fn.Dense(100, "relu"), fn.Dropout(0.2), fn.Dense(3, "softmax")]
    return fn.Network(layers, input_size=60, threads=threads, backend=BACKEND)

def train(net, epochs=3):
    net.fit(X, y, epochs=epochs, batch_size=100, progress=False)
    return hashlib.sha256(net.parameters_vector.tobytes() + net.predict(X).tobytes()).hexdigest()

def train_afresh(threads):
    return train(network(threads))

def in_child(call):
    "Return what a forked child says: the result of a call, and how many threads it has then."
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, f"{call()} {threads_here()}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read) as pipe:
        result, threads = pipe.read().split()
    os.waitpid(child, 0)
    return result, int(threads)
"""


def holds(text, tmp_path, backend):
    """Hold what text claims of a backend, behind the head."""
    text = f"{HEAD}\nBACKEND = {backend.name!r}\n{text}"
    processes.hold(text, tmp_path, OPENBLAS_NUM_THREADS="1")


def test_neither_the_import_nor_one_thread_starts_another(tmp_path, compiled):
    text = """
assert after_import == at_first
net = network(1)
train(net)
net.evaluate(X, y)
assert threads_here() == at_first
train(network(3))
assert threads_here() == at_first + 2
"""
    holds(text, tmp_path, compiled)


def test_parent_and_child_train_on_with_threads(tmp_path, compiled):
    text = """
alone = train_afresh(1)
net = network(3)
train(net, epochs=1)
assert in_child(lambda: train(net, epochs=2)) == (alone, 3)
assert in_child(lambda: in_child(lambda: train(net, epochs=2))[0]) == (alone, 1)
assert train(net, epochs=2) == alone
assert in_child(lambda: train_afresh(5)) == (alone, 5)
"""
    holds(text, tmp_path, compiled)


def test_a_fork_while_another_thread_trains_disturbs_neither(tmp_path, compiled):
    text = """
import threading
alone, others, over = train_afresh(1), set(), threading.Event()

def train_on_and_on():
    while not over.is_set():
        others.add(train(network(2), epochs=40))

wanted = train(network(1), epochs=40)
other = threading.Thread(target=train_on_and_on)
other.start()
try:
    for _ in range(20):
        assert in_child(lambda: train_afresh(3)) == (alone, 3)
finally:
    over.set()
    other.join()
assert others == {wanted}
"""
    holds(text, tmp_path, compiled)


def test_a_pool_of_forked_processes_trains_with_threads(tmp_path, compiled):
    text = """
import multiprocessing
alone = train_afresh(2)
with multiprocessing.get_context("fork").Pool(2) as pool:
    assert pool.map(train_afresh, [1, 2, 3, 4, 5]) == [alone] * 5
    assert train_afresh(3) == alone
"""
    holds(text, tmp_path, compiled)
