"""The parts of the CUDA backend that need no GPU: mirrors of vectors, Ctrl-C, and the precision."""

import os
import signal
import threading
import time

import numpy as np
import pytest

import fastnn as fn
from fastnn.backends import precision
from fastnn.backends.cuda.interrupts import Deferred
from fastnn.backends.cuda.mirror import DeviceState, Mirror


class FakeDevice:
    """Memory of a device that is memory here, and a count of what is copied."""

    def __init__(self):
        self.copies = []

    def check(self):
        pass

    def empty(self, length, dtype):
        return np.full(length, 99, dtype)

    def write(self, there, here):
        self.copies.append("write")
        there[...] = here.reshape(-1)

    def read(self, there, here):
        self.copies.append("read")
        here.reshape(-1)[...] = there


@pytest.fixture
def device():
    return FakeDevice()


def test_a_mirror_copies_only_what_changed(device):
    here = np.arange(4.0)
    mirror = Mirror(device, here)
    there = mirror.on_device()
    assert (there == here).all()
    assert mirror.on_device() is there
    assert mirror.on_host() is here
    assert device.copies == ["write"]
    there += 1
    mirror.written_there()
    assert (mirror.on_host() == [1, 2, 3, 4]).all()
    assert mirror.on_host() is here
    assert device.copies == ["write", "read"]
    here[0] = 7
    mirror.written_here()
    assert mirror.on_device()[0] == 7


def test_a_mirror_that_somebody_may_have_written_into_is_copied_whatever_it_knows(device):
    here = np.arange(4.0)
    mirror = Mirror(device, here)
    mirror.on_device()
    here[1] = 5
    assert mirror.on_device()[1] == 1
    assert mirror.on_device(fresh=True)[1] == 5


def test_a_fresh_copy_does_not_lose_what_the_device_wrote(device):
    mirror = Mirror(device, np.zeros(2))
    mirror.on_device()[...] = 3
    mirror.written_there()
    assert (mirror.on_device(fresh=True) == 3).all()


def test_moments_stay_on_the_device_until_somebody_looks(device):
    state = DeviceState(fn.Adam(), np.zeros((2, 3)), device)
    state.mirror.on_device()[...] = 4
    state.mirror.written_there()
    state.mirror.on_device()
    assert device.copies == ["write"]
    assert (state.moments == 4).all()
    state.moments[...] = 0  # as after a step that diverged
    assert (state.mirror.on_device() == 0).all()
    state.moments = np.ones((2, 3))
    assert (state.mirror.on_device() == 1).all()


# -- Ctrl-C --------------------------------------------------------------------------------------


def test_ctrl_c_waits_for_the_end_and_is_not_lost():
    told = []

    def interrupted():
        with Deferred() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
            deadline = time.monotonic() + 10
            while not interrupts.pending and time.monotonic() < deadline:
                time.sleep(0.001)
            told.append(interrupts.pending)

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert told == [True]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_comes_after_the_wait_is_as_before():
    with Deferred() as interrupts:
        assert signal.getsignal(signal.SIGINT) == interrupts._note
    assert not interrupts.pending
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_signal_that_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Deferred() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
        assert not interrupts.pending
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_have_no_handlers_to_change():
    told = []

    def run():
        with Deferred() as interrupts:
            told.append(interrupts.pending)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert told == [False]


# -- precision -----------------------------------------------------------------------------------


def test_the_precision_of_products_has_the_names_of_pytorch():
    assert precision.get_float32_matmul_precision() == "highest"
    fn.set_float32_matmul_precision("high")
    try:
        assert precision.get_float32_matmul_precision() == "high"
    finally:
        fn.set_float32_matmul_precision("highest")
    with pytest.raises(ValueError, match="did you mean 'highest'"):
        fn.set_float32_matmul_precision("higest")
    with pytest.raises(ValueError, match="known: high, highest"):
        fn.set_float32_matmul_precision(None)


def test_the_precision_changes_nothing_on_the_processor():
    net = fn.Network([fn.Dense(7, "tanh"), fn.Dense(2)], input_size=5)
    X = np.random.default_rng(0).normal(size=(9, 5))
    before = net.predict(X)
    fn.set_float32_matmul_precision("high")
    try:
        assert net.predict(X).tobytes() == before.tobytes()
    finally:
        fn.set_float32_matmul_precision("highest")
