"""Predictions by factors of bfloat16: the bits of their products, and how near they are."""

import os
import subprocess
import sys

import networks
import numpy as np
import pytest
from judge import same_bits

import fastnn as fn
from fastnn import backends
from fastnn.data import load_digits

rounded = backends.get("reference").kernels.round_bfloat16


def near(X):
    """Return X rounded to bfloat16."""
    Y = np.empty_like(X)
    rounded(Y, X)
    return Y


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
            assert same_bits(got, wanted), (rows, columns, b is None)


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
        assert same_bits(got, wanted)
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
            assert same_bits(part, whole[start : start + size]), (size, start)
    order = np.random.default_rng(8).permutation(200)
    assert same_bits(predict(executable, X[order]), whole[order])
    for threads in (1, 3):
        other = networks.compile_network(described, compiled, "float32", threads=threads)
        assert same_bits(predict(other, X), whole)


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
    assert same_bits(predict(executable, X), near(hidden) @ near(V) + c)


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
