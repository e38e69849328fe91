"""Where data, weights and errors go: copies, chunks, graphs, cuBLAS, Ctrl-C, forks, no memory."""

import os
import signal
import sys
import threading
import time

import networks
import numpy as np
import processes
import pytest
from cuda_walks import EVERYTHING, SMALL, Walk, close

import fastnn as fn
from fastnn import backends
from fastnn.backends.cuda import executable as module
from fastnn.backends.cuda import room, target
from fastnn.errors import BackendUnavailable
from fastnn.optimizers import SGD, Adam

ADAM = Adam(0.01, clip_norm=0.1)
ORDER = np.array([4, 0, 2, 1, 3])


def same(a, b):
    for got, want in zip(a.all(), b.all(), strict=True):
        assert np.asarray(got).tobytes() == np.asarray(want).tobytes()


@pytest.fixture
def uploads(monkeypatch):
    """Return the shapes of all arrays, but those of zeros, that are copied to a device."""
    shapes = []
    device = module.Device
    write, send = device.write, device.send

    def written(self, there, here):
        if here.any():
            shapes.append(here.shape)
        write(self, there, here)

    def sent(self, there, pinned, free):
        shapes.append(("sent", pinned.size))
        send(self, there, pinned, free)

    monkeypatch.setattr(device, "write", written)
    monkeypatch.setattr(device, "send", sent)
    return shapes


def fetched_by(names, on_host):
    """Return a way to get a mirror's array that notes when it is fetched from the device."""

    def noted(self):
        if self._current == "there":
            names.append(self._here.shape)
        return on_host(self)

    return noted


def test_a_fit_uploads_its_data_once_and_fetches_no_weights(cuda, uploads, monkeypatch):
    X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    y, weight = np.arange(7) % 2, np.linspace(1, 2, 7, dtype=np.float32)
    validation = (X[:3] + 1, y[:3])
    net = fn.Network([fn.Dense(2, "softmax")], input_size=3, backend="cuda")
    uploads.clear()
    fetched = []
    monkeypatch.setattr(module.Mirror, "on_host", fetched_by(fetched, module.Mirror.on_host))
    net.fit(
        X,
        y,
        epochs=3,
        batch_size=4,
        sample_weight=weight,
        validation_data=validation,
        progress=False,
    )
    P = net._executable.program.size
    assert uploads.count((7, 3)) == 1  # X
    assert uploads.count((3, 3)) == 1
    assert uploads.count((P,)) == 1  # the first weights
    assert not [shape for shape in uploads if shape[0] == "sent"]
    assert fetched == []
    net.fit(X, y, epochs=1, batch_size=4, progress=False)
    assert uploads.count((7, 3)) == 2  # another batch, which may hold other numbers
    assert uploads.count((P,)) == 1


def test_data_are_freed_with_their_batch(cuda):
    walk = Walk(SMALL, cuda, SGD(0.1))
    sources = walk.executable._room._sources._resident
    walk.steps(1, np.arange(2))
    walk.executable.evaluate(walk.batch)
    assert len(sources) == 1
    walk.batch = None
    assert not sources


def test_what_streams_has_the_bits_of_what_stays(cuda, monkeypatch, uploads):
    stays, streams = (Walk(EVERYTHING, cuda, ADAM, "float32") for _ in range(2))
    stays.steps(3, ORDER)
    told = stays.executable.evaluate(stays.batch)
    monkeypatch.setenv("FASTNN_CUDA_MEMORY", "0.5")
    device = streams.executable._device
    monkeypatch.setattr(device, "memory", lambda: (64, 1 << 30))  # five rows take more than half
    monkeypatch.setattr(room, "CHUNK_BYTES", 1)  # a chunk has the rows of one step
    monkeypatch.setattr(room, "CHUNK_MEMORY", 1 << 20)
    uploads.clear()
    streams.steps(3, ORDER)
    assert len([shape for shape in uploads if shape[0] == "sent"]) == 9  # X, labels and weights
    same(stays, streams)
    assert streams.executable.evaluate(streams.batch) == told


def test_with_a_share_of_nothing_everything_streams(cuda, monkeypatch, uploads):
    monkeypatch.setenv("FASTNN_CUDA_MEMORY", "0")
    walk = Walk(SMALL, cuda, SGD(0.1))
    walk.steps(2, np.arange(4))
    assert [shape for shape in uploads if shape[0] == "sent"]
    assert not walk.executable._room._sources._resident


def test_rows_that_find_no_place_in_one_piece_stream(cuda, monkeypatch, uploads):
    walk, twin = (Walk(SMALL, cuda, SGD(0.1)) for _ in range(2))
    device, allocate = walk.executable._device, walk.executable._device._allocate

    def broken(length, dtype):
        if length == walk.batch.X.size:
            raise OutOfMemory
        return allocate(length, dtype)

    monkeypatch.setattr(device, "_allocate", broken)
    for trained in (walk, twin):
        trained.steps(1, np.arange(2))
    assert len([shape for shape in uploads if shape[0] == "sent"]) == 3
    same(walk, twin)


def test_the_share_of_the_memory_is_a_share(cuda, monkeypatch):
    walk = Walk(SMALL, cuda, SGD(0.1))
    for wrong in ("half", "2", "-1"):
        monkeypatch.setenv("FASTNN_CUDA_MEMORY", wrong)
        with pytest.raises(ValueError, match=f"FASTNN_CUDA_MEMORY must be .* got '{wrong}'"):
            walk.steps(1, np.arange(2))
    assert walk.state.step == 0


def test_a_batch_beyond_the_memory_goes_in_parts(cuda, monkeypatch):
    described = networks.Described(
        [fn.Dense(3, "tanh", l2=0.1), fn.Dropout(0.3), fn.Dense(2)], 2, fn.losses.Huber(0.7)
    )
    whole, parts = (Walk(described, cuda, ADAM, "float64") for _ in range(2))
    monkeypatch.setattr(room, "CHUNK_MEMORY", 1)
    monkeypatch.setattr(parts.executable._device, "memory", lambda: (900, 1 << 30))
    for walk in (whole, parts):
        assert walk.steps(1, ORDER, 5) == 1
    assert (
        parts.executable._room._spaces[True].rows < 5 == whole.executable._room._spaces[True].rows
    )
    for got, want in zip(whole.all(), parts.all(), strict=True):
        close(got, want, 1e-12)
    X = whole.batch.X
    assert (networks.predict(whole.executable, X) == networks.predict(whole.executable, X)).all()
    close(networks.predict(parts.executable, X), networks.predict(whole.executable, X), 1e-12)


# -- live arrays ---------------------------------------------------------------------------------


def test_views_are_live_and_what_is_written_into_them_counts(cuda):
    net = fn.Network(
        [fn.Dense(2), fn.BatchNorm()], input_size=2, backend="cuda", optimizer=SGD(0.1)
    )
    X = np.array([[1.0, 2], [3, 5]], np.float32)
    views, states = net.parameters, net.states
    before = {name: view.copy() for name, view in (*views.items(), *states.items())}
    net.train_batch(X, X)
    for name, view in (*views.items(), *states.items()):
        assert (view != before[name]).any()
    predicted = net.predict(X)
    views["0.weight"][...] = 0
    assert (net.predict(X) != predicted).any()
    states["1.running_mean"][...] = 7
    moved = net.predict(X)
    net.parameters_vector = np.zeros_like(net.parameters_vector)
    assert (net.predict(X) == 0).all()
    assert (moved != 0).any()


def test_a_network_is_saved_with_what_the_device_holds(cuda, tmp_path):
    net = fn.Network([fn.Dense(2)], input_size=2, backend="cuda")
    X = np.array([[1.0, 2], [3, 5]], np.float32)
    net.train_batch(X, X)
    net.save(tmp_path / "net.safetensors")
    again = fn.Network.load(tmp_path / "net.safetensors", backend="cuda")
    for other in (net, again):
        other.train_batch(X, X)
    assert again.parameters_vector.tobytes() == net.parameters_vector.tobytes()
    assert again._state.optimizer.moments.tobytes() == net._state.optimizer.moments.tobytes()


def test_threads_may_predict_at_once(cuda):
    net = fn.Network([fn.Dense(2, "tanh")], input_size=2, backend="cuda")
    X = np.ones((3, 2), np.float32)
    want, told = net.predict(X).tobytes(), []

    def run():
        told.append(net.predict(X).tobytes())

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [want] * 3


# -- errors --------------------------------------------------------------------------------------


class OutOfMemory(Exception):
    """The error of a target, with the number of the driver."""

    code = 2


def allocations_failing(monkeypatch, device, nth):
    """Let an allocation on a device fail, once; return the lengths of all that were asked for."""
    allocate, asked = device._allocate, []

    def fails(length, dtype):
        asked.append(length)
        if len(asked) == nth + 1:
            raise OutOfMemory
        return allocate(length, dtype)

    monkeypatch.setattr(device, "_allocate", fails)
    monkeypatch.setattr(device, "memory", lambda: (1 << 21, 1 << 24))
    return asked


def test_no_memory_on_the_device_leaves_the_network_as_it_is(cuda, monkeypatch):
    monkeypatch.setenv("FASTNN_CUDA_MEMORY", "0")  # rows that find no place would stream instead
    twin = Walk(SMALL, cuda, ADAM, "float32")
    asked = allocations_failing(monkeypatch, twin.executable._device, -1)
    twin.steps(3, ORDER)
    for nth in range(0, len(asked), 3):
        walk = Walk(SMALL, cuda, ADAM, "float32")
        allocations_failing(monkeypatch, walk.executable._device, nth)
        with pytest.raises(MemoryError, match="no memory for .* more: 2 MiB of 16 MiB are free"):
            walk.steps(3, ORDER)
        taken = walk.state.step  # the last step, of fewer rows, asks for memory of its own
        assert taken in (0, 2)
        walk.steps(3 - taken, ORDER[2 * taken :])
        for got, want in zip(walk.all()[:3], twin.all()[:3], strict=True):
            assert got.tobytes() == want.tobytes()


def test_memory_that_cannot_be_pinned_is_told_apart(cuda, monkeypatch):
    walk = Walk(SMALL, cuda, ADAM, "float32")

    def refused(length, dtype):
        raise OutOfMemory

    with monkeypatch.context() as planted:
        planted.setattr(target.cuda, "pinned_array", refused)
        with pytest.raises(MemoryError, match="the system pins no 40 bytes"):
            walk.steps(1, None, 5)
    assert walk.steps(1, None, 5) == 1


def test_ctrl_c_ends_training_at_a_whole_step(cuda, monkeypatch):
    walk, twin = (Walk(SMALL, cuda, ADAM, "float32") for _ in range(2))
    launch, launched = module.Recipe.launch, []

    def interrupted(self):
        launched.append(self)
        if len(launched) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.05)
        launch(self)

    with monkeypatch.context() as planted:
        planted.setattr(module.Recipe, "launch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            walk.steps(3, ORDER)
    assert walk.state.step == len(launched) == 2
    twin.steps(2, ORDER[:4])
    assert walk.executable.parameters.tobytes() == twin.executable.parameters.tobytes()
    assert walk.state.moments.tobytes() == twin.state.moments.tobytes()
    assert (walk.losses[:2] == twin.losses[:2]).all()


@pytest.mark.skipif(sys.platform != "linux", reason="there is no fork")
def test_a_child_that_was_forked_behind_the_first_use_says_so(cuda, tmp_path):
    text = """
import os, sys
import numpy as np
import fastnn as fn
from fastnn.errors import BackendUnavailable

net = fn.Network([fn.Dense(2)], input_size=2, backend="cuda")
X = np.ones((2, 2), np.float32)
net.train_batch(X, X)
child = os.fork()
if child == 0:
    told = []
    for call in (lambda: net.predict(X), lambda: net.train_batch(X, X), lambda: net.parameters):
        try:
            call()
        except BackendUnavailable as error:
            told.append("'spawn'" in str(error))
    os._exit(0 if told == [True] * 3 else 1)
assert os.waitpid(child, 0)[1] == 0
assert net.train_batch(X, X) > 0
"""
    processes.hold(text, tmp_path)


def test_the_simulator_tells_that_it_is_none_of_a_gpu(cuda):
    assert backends.why_unavailable("cuda") is None
    details = cuda.details()
    assert details["target"].split()[0] == target.NAME
    if target.SIMULATED:
        assert details["device"].startswith("simulated")
    assert fn.info()["backend cuda"] == "available"


def test_a_process_without_a_device_says_why(cuda, monkeypatch):
    monkeypatch.setattr(target, "why_not", lambda: target.NO_DEVICE)
    with pytest.raises(BackendUnavailable, match="finds no GPU"):
        fn.Network([fn.Dense(2)], input_size=2, backend="cuda")
    with pytest.raises(BackendUnavailable, match="finds no GPU"):
        Walk(SMALL, cuda, SGD(0.1))


def test_an_update_that_overflows_is_undone_on_the_device(cuda):
    net = fn.Network([fn.Dense(2)], input_size=2, backend="cuda", optimizer=SGD(1e30))
    X = np.array([[1.0, 2], [3, 5]], np.float32)
    net.train_batch(X, net.predict(X))  # nothing to learn
    before = net.parameters_vector
    with pytest.raises(fn.errors.DivergenceError):
        net.train_batch(X, 1e9 * X)
    assert net.parameters_vector.tobytes() == before.tobytes()
    with pytest.raises(fn.errors.DivergenceError):
        net.fit(X, 1e9 * X, epochs=3, batch_size=2, progress=False)
    assert np.isfinite(net.parameters_vector).all()
    net.optimizer = SGD(1e-3)
    net.parameters_vector = np.zeros(6)
    assert net.train_batch(X, X) > 0
