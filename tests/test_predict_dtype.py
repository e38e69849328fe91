"""The argument `predict_dtype`: whom it touches, and that no prepared weight is ever stale."""

import copy
import gc
import pickle
import threading

import numpy as np
import pytest
from judge import same_bits

import fastnn as fn

X = np.random.default_rng(3).normal(0, 1, (20, 5)).astype(np.float32)
Y = np.random.default_rng(4).normal(0, 1, (20, 3)).astype(np.float32)


# -- the argument ----------------------------------------------------------------------------------


def small(backend, **told):
    return fn.Network(
        [fn.Dense(33, "relu"), fn.Dense(3)],
        input_size=5,
        backend=backend.name,
        predict_dtype="bfloat16",
        **told,
    )


def test_it_goes_with_float32_only(backend):
    with pytest.raises(ValueError, match="'bfloat16'.*'float32'.*'float64'"):
        small(backend, dtype="float64")
    net = fn.Network([fn.Dense(2)], dtype="float64")
    with pytest.raises(ValueError, match="'bfloat16'.*'float32'.*'float64'"):
        net.predict_dtype = "bfloat16"
    assert net.predict_dtype is None
    with pytest.raises(ValueError, match="predict_dtype"):
        fn.Network([fn.Dense(2)], predict_dtype="float16")


def test_it_can_be_switched_and_changes_predictions_alone(backend):
    net = small(backend)
    half, measured = net.predict(X), net.evaluate(X, Y)
    net.predict_dtype = None
    full = net.predict(X)
    assert 0 < np.abs(full - half).max() < 0.1
    assert net.evaluate(X, Y) == measured
    net.predict_dtype = "bfloat16"
    out = np.empty_like(half)
    assert net.predict(X, out) is out
    assert same_bits(out, half)
    assert same_bits(net.predict(X.tolist()), half)


def test_copies_keep_it_and_files_do_not(backend, tmp_path):
    net = small(backend)
    wanted = net.predict(X)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert same_bits(other.predict(X), wanted)
    net.save(tmp_path / "net.fnn")
    assert fn.Network.load(tmp_path / "net.fnn").predict_dtype is None
    told = {"backend": backend.name, "predict_dtype": "bfloat16"}
    assert same_bits(fn.Network.load(tmp_path / "net.fnn", **told).predict(X), wanted)


# -- never stale ---------------------------------------------------------------------------------


def fresh(net):
    """Return what a network with these weights predicts that has never predicted before."""
    other = small(fn.backends.get(net.backend))
    other.parameters_vector = net.parameters_vector
    return other.predict(X)


def one_step(net):
    net.train_batch(X, Y)


def fit(net):
    net.fit(X, Y, epochs=2, progress=False)


def fit_and_restore(net):
    callback = fn.callbacks.EarlyStopping("loss", patience=1, restore_best=True)
    net.optimizer = fn.optimizers.SGD(2.0, clip_norm=1.0)  # it gets worse at once
    net.fit(X, Y, epochs=5, callbacks=[callback], progress=False)


def set_the_vector(net):
    net.parameters_vector = net.parameters_vector * 2


def write_into_a_view(net):
    net.parameters["0.weight"][1, 2] += 1


def write_into_a_view_of_a_view(net):
    part = net.parameters["0.weight"][1:][:, 2]
    gc.collect()
    net.predict(X)
    part += 1


def write_into_the_memory(net):
    view = memoryview(net.parameters["1.bias"])
    net.predict(X)
    view[0] = 3.0


def diverge(net):
    with np.errstate(all="ignore"), pytest.raises(fn.errors.DivergenceError):
        net.train_batch(X, np.full_like(Y, 3e38))


CHANGES = (
    one_step,
    fit,
    fit_and_restore,
    set_the_vector,
    write_into_a_view,
    write_into_a_view_of_a_view,
    write_into_the_memory,
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_prediction_sees_every_change_of_the_weights(backend, change):
    net = small(backend)
    before = net.predict(X)
    for _ in range(2):
        change(net)
        assert same_bits(net.predict(X), fresh(net))
    assert not same_bits(net.predict(X), before)


def test_a_step_that_diverges_leaves_no_stale_weights(backend):
    net = small(backend)
    net.predict(X)
    diverge(net)
    assert same_bits(net.predict(X), fresh(net))


def test_a_view_that_is_kept_counts_at_every_prediction(backend):
    net = small(backend)
    bias = net.parameters["1.bias"]
    for value in (1.0, 2.0, 3.0):
        bias[:] = value
        assert same_bits(net.predict(X), fresh(net))
    again = net.parameters["0.weight"]  # a second loan, behind which the first one lives on
    del again
    net.predict(X)
    bias[:] = 4.0
    assert same_bits(net.predict(X), fresh(net))


def test_weights_are_prepared_once_while_nobody_can_write(compiled):
    net = small(compiled)
    executable = net._executable
    if not hasattr(executable, "_prepared"):
        pytest.skip("this backend keeps nothing")
    assert executable._prepared() is executable._prepared()
    views = net.parameters
    assert executable._prepared() is not executable._prepared()
    del views
    gc.collect()
    assert executable._prepared() is executable._prepared()
    kept = executable._prepared()
    net.train_batch(X, Y)
    assert executable._prepared() is not kept


def test_rows_that_fit_as_they_are_give_the_bits_of_those_that_do_not(compiled):
    net = small(compiled)
    for _ in range(2):  # the second time the weights are prepared, and the fast road is open
        for rows in (X, X[:1], X[::2].copy()):
            assert same_bits(net.predict(rows), net.predict(rows.tolist()))
            out = np.empty((len(rows), 3), np.float32)
            assert net.predict(rows, out) is out
            assert same_bits(out, net.predict(np.asfortranarray(rows)))
    with pytest.raises(ValueError, match="finite|NaN|nan"):
        net.predict(np.full((1, 5), np.nan, np.float32))


def test_threads_may_predict_while_weights_change(backend):
    net = small(backend)
    start = net.parameters_vector
    allowed = []
    for factor in (1.0, 2.0):
        net.parameters_vector = start * np.float32(factor)
        allowed.append(net.predict(X))
    wrong, done = [], threading.Event()

    def watch():
        while not done.is_set():
            if not np.isfinite(net.predict(X)).all():
                wrong.append("not finite")

    watchers = [threading.Thread(target=watch) for _ in range(3)]
    for watcher in watchers:
        watcher.start()
    for turn in range(200):
        net.parameters_vector = start * np.float32(1.0 + turn % 2)
        if not same_bits(net.predict(X), allowed[turn % 2]):
            wrong.append(turn)
    done.set()
    for watcher in watchers:
        watcher.join()
    assert not wrong
