"""threadpoolctl sees and sets the thread limit of the C core, and costs nothing without it.

What registration does lasts for a process, so each claim has a process of its own.
"""

import sys

import processes
import pytest

pytest.importorskip("fastnn.backends.native", exc_type=ImportError)

HEAD = """
import sys
import numpy as np
import fastnn as fn

def network(**told):
    return fn.Network([fn.Dense(500, "relu"), fn.Dense(3)], input_size=100, **told)

X = np.random.default_rng(0).normal(0, 1, (300, 100))

def told():
    [entry] = threadpoolctl.ThreadpoolController().select(user_api="fastnn").info()
    return entry
"""


def holds(text, tmp_path, *, before=""):
    """Hold what text claims, behind the head, and `before` at the start."""
    options = ("-W", "error")
    processes.hold(before + HEAD + text, tmp_path, options, FASTNN_NUM_THREADS="4")


def test_fastnn_does_not_import_it(tmp_path):
    holds("network().predict(X); assert 'threadpoolctl' not in sys.modules", tmp_path)


@pytest.mark.parametrize(
    "stub",
    ["None", "types.ModuleType('threadpoolctl')"],
    ids=["blocked", "too old to be told of libraries"],
)
def test_fastnn_works_where_it_cannot_be_used(stub, tmp_path):
    before = f"import sys, types; sys.modules['threadpoolctl'] = {stub}"
    holds("assert network().predict(X).shape == (300, 3)", tmp_path, before=before)


def test_it_sees_the_core_from_the_first_network_on(tmp_path):
    pytest.importorskip("threadpoolctl")
    text = """
net = network()
from fastnn.backends.native import _core
assert told()["filepath"] == _core.__file__
assert told()["internal_api"] == "fastnn"
assert told()["num_threads"] == 4
fn.set_num_threads(3)
assert told()["num_threads"] == 3
network()
assert len(threadpoolctl.ThreadpoolController().select(user_api="fastnn")) == 1
"""
    holds(text, tmp_path, before="import threadpoolctl")


def test_it_is_told_by_hand_where_it_is_imported_later(tmp_path):
    pytest.importorskip("threadpoolctl")
    text = """
net = network()
import threadpoolctl
from fastnn.backends.native import threadpool
assert len(threadpoolctl.ThreadpoolController().select(user_api="fastnn")) == 0
threadpool.register()
threadpool.register()
assert told()["num_threads"] == 4
"""
    holds(text, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_a_limit_holds_for_networks_that_are_there_and_ends_with_its_block(tmp_path):
    pytest.importorskip("threadpoolctl")
    text = """
import os
from threadpoolctl import threadpool_limits

def started():
    global before
    before, last = len(os.listdir("/proc/self/task")), before
    return before - last

net, own = network(), network(threads=6)
before = 0
started()
with threadpool_limits(1):
    out = net.predict(X)
    assert own.predict(X).tobytes() == out.tobytes()
    assert started() == 0
with threadpool_limits({"fastnn": 2}):
    within = network()  # has all the threads again once the limit is gone
    assert own.predict(X).tobytes() == out.tobytes()
    assert within.predict(X).tobytes() == out.tobytes()
    assert started() == 1
assert within.predict(X).tobytes() == out.tobytes()
assert started() == 4 - 2
assert own.predict(X).tobytes() == out.tobytes()
assert started() == 6 - 4
"""
    holds(text, tmp_path, before="import threadpoolctl")


def test_limits_are_restored_whatever_happened_inside(tmp_path):
    pytest.importorskip("threadpoolctl")
    text = """
from threadpoolctl import threadpool_limits
import ctypes
net = network()
limit = ctypes.CDLL(told()["filepath"]).fnn_thread_limit
assert limit() == 0
with threadpool_limits(4):  # the very number that networks have without a limit
    assert limit() == told()["num_threads"] == 4
    with threadpool_limits(0, user_api="fastnn"):
        assert limit() == told()["num_threads"] == 1
    with threadpool_limits(2**40, user_api="fastnn"):
        assert limit() == told()["num_threads"] == 4096
        fn.set_num_threads(7)
    with threadpool_limits(1, user_api="blas"):
        assert limit() == 4
    assert limit() == 4
assert limit() == 0
assert told()["num_threads"] == 7
"""
    holds(text, tmp_path, before="import threadpoolctl")
