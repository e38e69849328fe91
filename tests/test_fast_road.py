"""Arrays that fit as they are take a fast road; nobody can tell, but by the clock.

A twin of every network takes the thorough road always, and both have to give the same bits, or the
same error, and end as the same network.
"""

import signal
import sys
import threading

import numpy as np
import pytest
from roads import (
    LAYOUTS,
    NETWORKS,
    B,
    I,
    O,
    Subclass,
    closed,
    frozen,
    loss_of,
    moved,
    network,
    outcome,
    put,
    rows,
    standing,
    targets,
    twins,
)

import fastnn as fn
from fastnn import losses, optimizers, schedules
from fastnn.errors import DivergenceError
from fastnn.optimizers import Adam

# -- the same bits --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 7, 300])  # with the GIL, and without it
def test_predictions_have_the_bits_of_the_thorough_road(compiled, name, dtype, count):
    told = {"dtype": dtype, "loss": loss_of(name)}
    fast, slow = twins(NETWORKS[name], compiled, **told)
    X = rows(count, dtype)
    closed(fast)
    assert outcome(lambda: fast.predict(X)) == outcome(lambda: slow.predict(X))
    out = np.full((count, fast.program.outputs), np.nan, dtype)
    assert fast.predict(X, out=out) is out
    assert out.tobytes() == slow.predict(X).tobytes()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 7, 300])
def test_steps_have_the_bits_of_the_thorough_road(compiled, name, dtype, count):
    told = {"dtype": dtype, "loss": loss_of(name)}
    fast, slow = twins(NETWORKS[name], compiled, **told)
    X, y = rows(count, dtype), targets(name, count, dtype)
    closed(fast)
    for _ in range(4):
        loss = fast.train_batch(X, y)
        assert isinstance(loss, float)
        assert loss == slow.train_batch(X, y)
    assert fast.steps == 4
    assert standing(fast) == standing(slow)


@pytest.mark.parametrize(
    "optimizer",
    [
        optimizers.SGD(0.1),
        optimizers.SGD(0.1, momentum=0.9, nesterov=True),
        optimizers.AdamW(weight_decay=0.1, clip_norm=0.01),
        optimizers.RMSprop(momentum=0.5, clip_value=0.01),
        optimizers.Adagrad(),
        optimizers.NAdam(),
        optimizers.Lion(schedules.Cosine(0.01, length=5, unit="step", warmup=2)),
    ],
    ids=repr,
)
def test_every_optimizer_steps_the_same_on_both_roads(compiled, optimizer):
    X, y = rows(), targets("classes", B, "float32")
    fast, slow = twins(None, compiled, optimizer="sgd")
    for net in (fast, slow):
        net.train_batch(X, y)
        net.optimizer = optimizer  # what was prepared for the old one is of no use
    closed(fast)
    for _ in range(8):
        assert fast.train_batch(X, y) == slow.train_batch(X, y)
    assert standing(fast) == standing(slow)


def test_the_roads_can_be_mixed_with_fit_and_files(compiled, tmp_path):
    X, y = rows(), targets("classes", B, "float32")
    fast, slow = twins(None, compiled, optimizer=Adam(schedules.Exponential(0.01)))
    for net in (fast, slow):
        for _ in range(3):
            net.train_batch(X, y)
            net.fit(X, y, epochs=2, batch_size=3, progress=False)
    path = tmp_path / "net.safetensors"
    fast.save(path)
    again = closed(fn.Network.load(path, backend=compiled.name))
    assert again.train_batch(X, y) == slow.train_batch(X, y)
    assert standing(again) == standing(slow)


def test_what_is_written_into_a_parameter_counts_at_once(compiled):
    net = closed(network(None, compiled))
    before = net.predict(rows())
    net.parameters["0.weight"][...] = 0
    net.parameters["1.weight"][...] = 0
    assert (net.predict(rows()) == np.float32(1) / O).all()
    assert not (before == np.float32(1) / O).all()


def test_other_vectors_of_parameters_are_seen(compiled):
    net = network(None, compiled)
    X, first = rows(), net.predict(rows())
    net._executable.parameters = np.zeros_like(net._executable.parameters)
    if compiled.name == "native":  # its fast road knows the vectors of the beginning
        assert net._executable.try_predict(X, None) is None
    assert (net.predict(X) == np.float32(1) / O).all()
    assert not (net.predict(X) == first).all()


def test_the_moments_of_a_larger_network_are_left_alone(compiled):
    small, large = (network([fn.Dense(n), fn.Dense(O, "softmax")], compiled) for n in (4, 400))
    for net in (small, large):
        net.predict(rows())  # lays it out
    y, state = targets("classes", B, "float32"), small._state.optimizer
    assert large._executable.try_step(rows(), y, state, 0.1, 0) is None
    assert state.step == 0
    assert not state.moments.any()


def test_labels_that_are_not_aligned_are_moved_for_the_thorough_road():
    net, y = network(), moved(targets("classes", B, ""))
    net.predict(rows())  # lays it out
    assert not y.flags.aligned
    assert net._door.batch(net.program, rows(), y, None).Y.flags.aligned


def test_the_reference_has_no_fast_road():
    net = network(backend="reference")
    state = net._state.optimizer
    assert net._executable.try_predict(rows(), None) is None
    assert net._executable.try_step(rows(), targets("classes", B, ""), state, 0.1, 0) is None
    assert net.steps == 0


# -- what does not fit ----------------------------------------------------------------------------


def test_only_rows_that_need_no_conversion_take_the_fast_road(compiled):
    executable = network(None, compiled)._executable
    fit = [
        name for name in LAYOUTS if executable.try_predict(LAYOUTS[name](rows()), None) is not None
    ]
    assert fit == ["read-only", "other rows"]


@pytest.mark.parametrize("name", LAYOUTS)
@pytest.mark.parametrize("count", [1, B])
def test_rows_that_deviate_get_what_the_thorough_road_gives(compiled, name, count):
    fast, slow = twins(None, compiled)
    X, y = LAYOUTS[name](rows(count)), targets("classes", count, "")
    got, wanted = (outcome(lambda net=net: net.predict(X)) for net in (fast, slow))
    assert got == wanted
    got, wanted = (outcome(lambda net=net: net.train_batch(X, y)) for net in (fast, slow))
    assert got == wanted
    assert standing(fast) == standing(slow)


@pytest.mark.parametrize("network_name", [name for name in NETWORKS if name != "wide"])
@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "complex"])
def test_targets_that_deviate_get_what_the_thorough_road_gives(compiled, network_name, name):
    fast, slow = twins(NETWORKS[network_name], compiled, loss=loss_of(network_name))
    X, y = rows(), LAYOUTS[name](targets(network_name, B, "float32"))
    got, wanted = (outcome(lambda net=net: net.train_batch(X, y)) for net in (fast, slow))
    assert got == wanted
    assert standing(fast) == standing(slow)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("classes", O),
        ("classes", -1),
        ("classes", 2**62),
        ("probabilities", -0.0),
        ("probabilities", -1e-40),
        ("probabilities", 1.0000002),
        ("probabilities", 0.0),
        ("probabilities", 1.0),
        ("counts", -0.0),
        ("counts", -1.0),
        ("counts", 1e9),
        ("values", -np.inf),
    ],
)
@pytest.mark.parametrize("count", [B, 300])
def test_targets_at_the_edge_get_what_the_thorough_road_gives(compiled, name, value, count):
    fast, slow = twins(NETWORKS[name], compiled, loss=loss_of(name))
    X, y = rows(count), targets(name, count, "float32")
    y.reshape(-1)[-1] = value
    got, wanted = (outcome(lambda net=net: net.train_batch(X, y)) for net in (fast, slow))
    assert got == wanted
    assert standing(fast) == standing(slow)


def test_signs_and_rows_of_probabilities_take_the_thorough_road(compiled):
    hinge = network([fn.Dense(1)], compiled, loss=losses.Hinge())
    assert hinge._executable.try_step(rows(), np.zeros(B), hinge._state.optimizer, 0.1, 0) is None
    classes = network(None, compiled)
    halves = np.full((B, O), 0.5, np.float32)
    with pytest.raises(ValueError, match=r"every row of y must sum to 1 .* row 0 sums to 1.5"):
        classes.train_batch(rows(), halves)


def test_weights_of_rows_are_heeded(compiled):
    fast, slow = twins(None, compiled)
    X, y, weight = rows(), targets("classes", B, ""), np.arange(B)
    assert fast.train_batch(X, y, weight) == slow.train_batch(X, y, weight)
    assert fast.train_batch(X, y, weight) != network(None, compiled).train_batch(X, y)


BUFFERS = {
    "fits": lambda: np.empty((B, O), np.float32),
    "wider": lambda: np.empty((B, O)),
    "big-endian": lambda: np.empty((B, O), ">f4"),
    "integers": lambda: np.empty((B, O), np.int32),
    "Fortran": lambda: np.empty((B, O), np.float32, order="F"),
    "strided": lambda: np.empty((B, 2 * O), np.float32)[:, ::2],
    "unaligned": lambda: moved(np.empty((B, O), np.float32)),
    "read-only": lambda: frozen(np.empty((B, O), np.float32)),
    "subclass": lambda: np.empty((B, O), np.float32).view(Subclass),
    "a row less": lambda: np.empty((B - 1, O), np.float32),
    "a column more": lambda: np.empty((B, O + 1), np.float32),
    "flat": lambda: np.empty(B * O, np.float32),
    "list": lambda: [[0.0] * O] * B,
}


@pytest.mark.parametrize("name", BUFFERS)
def test_a_buffer_that_deviates_gets_what_the_thorough_road_gives(compiled, name):
    fast, slow = twins(None, compiled)
    first, second = BUFFERS[name](), BUFFERS[name]()
    got = outcome(lambda: fast.predict(rows(), out=first))
    assert got == outcome(lambda: slow.predict(rows(), out=second))
    if got[0] in (np.ndarray, Subclass):
        assert first.tobytes() == second.tobytes() == slow.predict(rows()).tobytes()


@pytest.mark.parametrize("shift", [0, 1, I * B - 1, I * B])
def test_predictions_may_be_written_over_the_rows(compiled, shift):
    net = network([fn.Dense(8, "tanh"), fn.Dense(I)], compiled)
    wanted = net.predict(rows()).tobytes()
    memory = np.zeros(2 * B * I, np.float32)
    X, out = (memory[at : at + B * I].reshape(B, I) for at in (0, shift))
    X[...] = rows()
    assert net._executable.try_predict(X, out) is None or shift == I * B
    X[...] = rows()
    assert net.predict(X, out=out) is out
    assert out.tobytes() == wanted


# -- trouble --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "times_x", "times_y"),
    [
        (optimizers.SGD(0.1), np.nan, 1),
        (optimizers.SGD(0.1), 1, 1e38),
        (optimizers.SGD(3e38), 1, 10),
        (optimizers.Adam(1e39, weight_decay=10), 1, 1),
        (optimizers.RMSprop(1e-30), 1e8, 1e17),
    ],
    ids=["a weight before", "the loss", "a weight behind", "Adam's", "a moment"],
)
def test_divergence_is_told_and_undone_as_on_the_thorough_road(
    compiled, optimizer, times_x, times_y
):
    fast, slow = twins([fn.Dense(6), fn.Dense(O)], compiled)
    X, y = rows(), rows(B, width=O)
    for net in (fast, slow):
        net.train_batch(X, y)
        net.optimizer = optimizer
        if np.isnan(times_x):
            net.parameters["0.weight"][0, 0] = np.nan
    before = standing(fast)
    X *= np.float32(1 if np.isnan(times_x) else times_x)
    y *= np.float32(times_y)
    closed(fast)
    told = [outcome(lambda net=net: net.train_batch(X, y)) for net in (fast, slow)]
    assert told[0] == told[1]
    assert told[0][0] is DivergenceError
    assert standing(fast) == standing(slow)
    if optimizer.name == "rmsprop":  # only the moments are not finite
        assert fast.steps == 1
        assert not fast._state.optimizer.moments.any()
    else:
        assert standing(fast)[0][0] == before[0][0]


@pytest.mark.parametrize("after", range(3))
def test_a_step_without_memory_leaves_the_network_as_it_was(after):
    core = pytest.importorskip("fastnn.backends.native._core")
    net = network(backend="native")
    before = standing(net)
    X, y = rows(), targets("classes", B, "")
    net.train_batch(X, y)
    fresh = network(backend="native")
    core.fail_allocation_after(after)
    try:
        try:
            fresh.train_batch(X, y)
        except MemoryError:
            assert standing(fresh) == before
        else:
            assert standing(fresh) == standing(net)
    finally:
        core.fail_allocation_after(-1)


def test_ctrl_c_ends_a_long_prediction_on_the_fast_road(compiled):
    net = closed(network([fn.Dense(2048, "gelu"), fn.Dense(2048, "gelu")], compiled))
    X, out = np.ones((20_000, I), np.float32), np.zeros((20_000, 2048), np.float32)

    def ring(number, frame):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        with pytest.raises(KeyboardInterrupt):
            net.predict(X, out)
        assert not out.any(axis=1).all()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("name", ["classes", "wide"])
def test_threads_that_predict_at_once_get_the_bits_of_their_own_rows(compiled, name):
    net = closed(network(NETWORKS[name], compiled))
    told = [rows(count) for count in (1, 1, 2, 3, 50, 200)]
    for n, X in enumerate(told):
        X += n
    wanted = [net.predict(X).tobytes() for X in told]
    wrong = []
    gate = threading.Barrier(len(told))

    def work(number):
        gate.wait()
        for _ in range(300):
            if net.predict(told[number]).tobytes() != wanted[number]:
                wrong.append(number)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        threads = [threading.Thread(target=work, args=(n,)) for n in range(len(told))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong


def test_nothing_is_kept_of_what_a_call_was_given(compiled):
    net = network(None, compiled)
    X, y, out = rows(), targets("classes", B, ""), np.empty((B, O), np.float32)
    bad = put(X, (0, 0), np.nan)
    short = np.empty((1, O), np.float32)
    values = X, y, out, bad, short
    before = [sys.getrefcount(value) for value in values]
    for _ in range(50):
        net.predict(X)
        net.predict(X, out)
        net.train_batch(X, y)
        with pytest.raises(ValueError, match="X holds nan"):
            net.train_batch(bad, y)
        with pytest.raises(ValueError, match="out must have shape"):
            net.predict(X, short)
    assert [sys.getrefcount(value) for value in values] == before
