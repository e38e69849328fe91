"""Predictions by factors of bfloat16: the bits of their products, and that none is ever stale."""

import copy
import gc
import os
import pickle
import subprocess
import sys
import threading

import networks
import numpy as np
import pytest

import fastnn as fn
from fastnn import backends
from fastnn.data import load_digits

rounded = backends.get("reference").kernels.round_bfloat16


def near(X):
    """Return X rounded to bfloat16."""
    Y = np.empty_like(X)
    rounded(Y, X)
    return Y


def same(a, b):
    """Tell whether two float32 arrays have the same bits, NaN counted as one number."""
    return np.array_equal(a, b, equal_nan=True) and (np.signbit(a) == np.signbit(b)).all()


# -- the kernels ---------------------------------------------------------------------------------


def test_rounding_goes_to_the_nearest_and_to_the_even_one_of_two(backend):
    bits = np.array(
        [
            (0x3F808000, 0x3F800000),  # half-way, the even one is below
            (0x3F818000, 0x3F820000),  # half-way, the even one is above
            (0x3F808001, 0x3F810000),
            (0x3F817FFF, 0x3F810000),
            (0xBF818000, 0xBF820000),
            (0x7F7FFFFF, 0x7F800000),  # the largest float is infinite
            (0xFF800000, 0xFF800000),
            (0x00800000, 0x00800000),  # the smallest normal number stays
            (0x007FFFFF, 0x00000000),  # all below become 0, and keep their sign
            (0x80000001, 0x80000000),
            (0x80000000, 0x80000000),
        ],
        np.uint32,
    )
    X, Y = (np.ascontiguousarray(column)[:, None].view(np.float32) for column in bits.T)
    got = np.empty_like(X)
    backend.kernels.round_bfloat16(got, X)
    assert (got.view(np.uint32) == Y.view(np.uint32)).all()
    low_nan = np.array([[0x7F800001]], np.uint32).view(np.float32)  # a payload that is cut off
    backend.kernels.round_bfloat16(low_nan, low_nan)
    assert np.isnan(low_nan).all()


# Depths: nothing, odd ones, tails of a vector, and beyond the blocks of k in pairs and in numbers.
DEPTHS = (0, 1, 2, 15, 16, 17, 31, 33, 64, 77, 897, 1201, 1795, 2049)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("function", ["identity", "relu"])
def test_a_product_has_the_bits_of_the_product_of_rounded_factors(compiled, depth, function):
    rng = np.random.default_rng(depth)
    for rows, columns in ((1, 1), (1, 130), (3, 64), (5, 31), (6, 129), (14, 32), (33, 47)):
        X = rng.normal(0, 1, (rows, depth)).astype(np.float32)
        W = rng.normal(0, 1, (depth, columns)).astype(np.float32)
        for b in (None, rng.normal(0, 1, columns).astype(np.float32)):
            got, wanted = np.empty((2, rows, columns), np.float32)
            compiled.kernels.dense_forward_bfloat16(got, X, W, b, function)
            compiled.kernels.dense_forward(wanted, near(X), near(W), b, function)
            assert same(got, wanted), (rows, columns, b is None)


def test_the_sign_of_a_zero_sum_survives_the_padding_of_an_odd_depth(compiled):
    X, W = np.array([[-0.0]], np.float32), np.array([[1.0]], np.float32)
    b, Y = np.array([-0.0], np.float32), np.empty((1, 1), np.float32)
    compiled.kernels.dense_forward_bfloat16(Y, X, W, b, "identity")
    assert Y == 0
    assert np.signbit(Y)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("depth", [4, 5])
def test_nan_and_infinity_reach_the_sums_that_they_are_in(compiled, value, depth):
    rng = np.random.default_rng(0)
    for where in range(depth):
        X = rng.normal(0, 1, (3, depth)).astype(np.float32)
        W = rng.normal(0, 1, (depth, 20)).astype(np.float32)
        W[where, 17], X[2, where] = value, 0  # 0 * infinity is NaN
        got, wanted = np.empty((2, 3, 20), np.float32)
        compiled.kernels.dense_forward_bfloat16(got, X, W, None, "identity")
        with np.errstate(invalid="ignore"):
            compiled.kernels.dense_forward(wanted, near(X), near(W), None, "identity")
        assert same(got, wanted)
        assert (~np.isfinite(got)).sum() == 3


# -- whole networks ------------------------------------------------------------------------------


def predict(executable, X, *, bfloat16=True):
    out = np.full((len(X), executable.program.outputs), np.nan, np.float32)
    executable.predict(X, out, bfloat16=bfloat16)
    return out


WIDE = networks.Described(
    [
        fn.Dense(1031, "relu"),
        fn.Dropout(0.2),
        fn.Dense(131, "gelu"),
        fn.LayerNorm(),
        fn.Residual([fn.Gated(131, "swiglu")]),
        fn.Concat([fn.Dense(7, "tanh", use_bias=False)]),
        fn.BatchNorm(),
        fn.Dense(10, "softmax"),
    ],
    131,
    fn.losses.CrossEntropy(),
)
NETWORKS = [pytest.param(networks.random_network(s), id=f"random {s}") for s in range(0, 20, 3)]
NETWORKS += [pytest.param(WIDE, id="wide")]


def rows_of(described, rows):
    return np.random.default_rng(7).normal(0, 1, (rows, described.inputs)).astype(np.float32)


@pytest.mark.parametrize("described", NETWORKS)
def test_a_row_does_not_depend_on_batch_order_or_threads(compiled, described):
    executable = networks.compile_network(described, compiled, "float32", threads=2)
    X = rows_of(described, 200)
    whole = predict(executable, X)
    for size in (1, 2, 3, 7, 64, 199):
        for start in range(0, 200 - size + 1, max(size, 25)):
            part = predict(executable, X[start : start + size])
            assert same(part, whole[start : start + size]), (size, start)
    order = np.random.default_rng(8).permutation(200)
    assert same(predict(executable, X[order]), whole[order])
    for threads in (1, 3):
        other = networks.compile_network(described, compiled, "float32", threads=threads)
        assert same(predict(other, X), whole)


# One rounding of a factor that falls the other way moves a score by about one unit of bfloat16.
UNITS = 4 * 2.0**-8


@pytest.mark.parametrize("described", NETWORKS)
def test_a_network_is_near_the_reference(compiled, described):
    reference = networks.compile_network(described, backends.get("reference"), "float32")
    executable = networks.compile_network(described, compiled, "float32")
    X = rows_of(described, 50)
    wanted, got = predict(reference, X), predict(executable, X)
    size = np.abs(wanted).max()
    assert np.abs(got - wanted).max() <= UNITS * size
    assert np.abs(got - predict(executable, X, bfloat16=False)).max() <= 10 * UNITS * size


def test_the_reference_rounds_the_factors_of_every_dense_layer():
    described = networks.Described(
        [fn.Dense(9, "tanh"), fn.Dense(2, "identity")], 5, fn.losses.MeanSquaredError()
    )
    executable = networks.compile_network(described, backends.get("reference"), "float32")
    X = rows_of(described, 6)
    W, b, V, c = (executable.view(p) for p in executable.program.parameters)
    hidden = np.tanh(near(X) @ near(W) + b)
    assert same(predict(executable, X), near(hidden) @ near(V) + c)


def test_other_code_paths_have_the_same_scores(tmp_path):
    """Apart from activations with functions of their own: relu and scores are the same anywhere."""
    text = """
import sys, numpy as np, fastnn as fn
net = fn.Network([fn.Dense(101, "relu"), fn.Dense(33, "relu"), fn.Dense(7)], input_size=77,
                 backend="native", predict_dtype="bfloat16")
X = np.random.default_rng(1).normal(0, 1, (40, 77)).astype("float32")
sys.stdout.buffer.write(net.predict(X).tobytes())
"""
    told = {}
    for path in ("avx512", "avx2"):
        run = subprocess.run(
            [sys.executable, "-c", text],
            cwd=tmp_path,
            env={**os.environ, "FASTNN_ISA": path},
            capture_output=True,
            timeout=110,
        )
        if run.returncode == 0:
            told[path] = run.stdout
        else:
            assert b"names no code path for this processor" in run.stderr
    if len(told) < 2:
        pytest.skip("this build or this processor has fewer than two paths that fuse")
    assert len(told["avx2"]) == 40 * 7 * 4
    assert told["avx2"] == told["avx512"]


def test_digits_are_told_apart_as_well(backend):
    digits = load_digits()
    net = fn.Network([fn.Dense(64, "relu"), fn.Dense(10, "softmax")], backend=backend.name)
    net.fit(digits.X_train, digits.y_train, epochs=10, progress=False)
    X, y = digits.X_test, digits.y_test
    full = net.predict(X)
    net.predict_dtype = "bfloat16"
    half = net.predict(X)
    assert (full != half).any()
    assert np.abs(full - half).max() < 0.05
    assert (full.argmax(1) == half.argmax(1)).mean() > 0.99
    assert abs((full.argmax(1) == y).mean() - (half.argmax(1) == y).mean()) < 0.01
    assert net.evaluate(X, y)["accuracy"] == pytest.approx((full.argmax(1) == y).mean())


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


X = np.random.default_rng(3).normal(0, 1, (20, 5)).astype(np.float32)
Y = np.random.default_rng(4).normal(0, 1, (20, 3)).astype(np.float32)


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
    assert same(out, half)
    assert same(net.predict(X.tolist()), half)


def test_copies_keep_it_and_files_do_not(backend, tmp_path):
    net = small(backend)
    wanted = net.predict(X)
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert same(other.predict(X), wanted)
    net.save(tmp_path / "net.fnn")
    assert fn.Network.load(tmp_path / "net.fnn").predict_dtype is None
    told = {"backend": backend.name, "predict_dtype": "bfloat16"}
    assert same(fn.Network.load(tmp_path / "net.fnn", **told).predict(X), wanted)


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
        assert same(net.predict(X), fresh(net))
    assert not same(net.predict(X), before)


def test_a_step_that_diverges_leaves_no_stale_weights(backend):
    net = small(backend)
    net.predict(X)
    diverge(net)
    assert same(net.predict(X), fresh(net))


def test_a_view_that_is_kept_counts_at_every_prediction(backend):
    net = small(backend)
    bias = net.parameters["1.bias"]
    for value in (1.0, 2.0, 3.0):
        bias[:] = value
        assert same(net.predict(X), fresh(net))
    again = net.parameters["0.weight"]  # a second loan, behind which the first one lives on
    del again
    net.predict(X)
    bias[:] = 4.0
    assert same(net.predict(X), fresh(net))


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
            assert same(net.predict(rows), net.predict(rows.tolist()))
            out = np.empty((len(rows), 3), np.float32)
            assert net.predict(rows, out) is out
            assert same(out, net.predict(np.asfortranarray(rows)))
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
        if not same(net.predict(X), allowed[turn % 2]):
            wrong.append(turn)
    done.set()
    for watcher in watchers:
        watcher.join()
    assert not wrong
