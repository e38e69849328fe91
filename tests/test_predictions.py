"""Whole networks predict what their layers say, and evaluate what they predict."""

import subprocess
import sys

import naive
import networks
import numpy as np
import pytest
import tolerance
from networks import fn, losses

from fastnn.backends import available, get
from fastnn.optimizers import SGD

SEEDS = range(30)


def close(got, want, dtype="float64"):
    assert np.abs(got - want).max() <= tolerance.PASS[dtype] * np.abs(want).max()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_network_predicts_what_its_layers_say(backend, seed):
    described = networks.random_network(seed)
    executable = networks.compile_network(described, backend)
    weights = networks.weights_of(executable)
    X = np.random.default_rng(seed).normal(0, 1, (5, described.inputs))
    want = networks.forward(described.layers, weights, X.tolist())
    close(networks.predict(executable, X), np.array(want))


def test_ten_consecutive_networks_have_layers_of_every_kind():
    # Guards the guard: the networks above are only worth what they hold.
    kinds = {
        type(layer).__name__ + getattr(layer, "kind", "")
        for seed in range(10)
        for layer in networks.random_network(seed).layers
    }
    gates = {f"Gated{kind}" for kind in fn.GATES}
    norms = {"LayerNorm", "BatchNorm"}
    lists = {"Residual", "Concat", "Columns"}
    assert kinds == {"Dense", "Activation", "Dropout", *lists, *norms, *gates}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_the_loss_of_a_batch_is_the_weighted_mean_of_its_rows(backend, seed, weighted):
    described = networks.random_network(seed)
    executable = networks.compile_network(described, backend)
    program = executable.program
    batch = networks.random_batch(program, 7, weighted=weighted, labels=seed % 2 == 0)
    weights = networks.weights_of(executable)
    *body, last = described.layers
    if described.loss.heads:  # the loss takes the scores, before the head
        last = fn.Dense(last.units)
    scores = networks.forward([*body, last], weights, batch.X.tolist())
    T = batch.Y if batch.Y.ndim == 2 else np.eye(program.outputs)[batch.Y]
    w = np.ones(7) if batch.weight is None else batch.weight
    rows = naive.loss(scores, T.tolist(), None, described.loss.name, described.loss.constant, 1)
    penalty = sum(
        naive.penalty(None, np.ravel(weights[p.name]).tolist(), p.l1, p.l2)["return"]
        / (w.sum() if p.penalty_per_row else 1)
        for p in program.parameters
    )
    loss = w @ rows["row_loss"] / w.sum() + penalty
    share = np.nan if rows["hits"][0] is None else w @ rows["hits"] / w.sum()
    got = executable.evaluate(batch)
    np.testing.assert_allclose(got, (loss, share), rtol=tolerance.PASS["float64"])
    loss = networks.gradient_of(executable, batch)[0]
    assert loss == pytest.approx(got[0], rel=tolerance.REGROUPED)


@pytest.mark.parametrize("seed", SEEDS)
def test_float32_is_float64_but_for_rounding(backend, seed):
    described = networks.random_network(seed)
    wide = networks.compile_network(described, get("reference"))
    narrow = networks.compile_network(described, backend, "float32")
    X = np.random.default_rng(seed).normal(0, 1, (9, described.inputs))
    close(networks.predict(narrow, X.astype(np.float32)), networks.predict(wide, X), "float32")


def test_dropout_is_off_when_predicting_and_on_when_training(backend):
    described = networks.Described(
        [fn.Dense(8, "tanh"), fn.Dropout(0.5), fn.Dense(3)],
        4,
        losses.MeanSquaredError(),
    )
    executable = networks.compile_network(described, backend)
    batch = networks.random_batch(executable.program, 6)
    quiet = executable.evaluate(batch)[0]
    noisy = [
        networks.gradient_of(executable, batch, training=True, seed=s, step=t)[0]
        for s, t in ((0, 0), (0, 1), (1, 0), (0, 0))
    ]
    assert noisy[0] == noisy[3]
    assert len({quiet, *noisy}) == 4


def test_no_rows_give_no_predictions(backend):
    executable = networks.compile_network(networks.random_network(5), backend)
    assert networks.predict(executable, np.empty((0, executable.program.inputs))).size == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_nan_and_infinity_spread_through_a_network_as_in_the_reference(compiled, seed, value):
    patterns = []
    for backend in (compiled, get("reference")):
        executable = networks.compile_network(networks.random_network(seed), backend)
        batch = networks.random_batch(executable.program, 9)
        batch.X[4, seed % executable.program.inputs] = value
        told = [networks.predict(executable, batch.X)]
        told += networks.gradient_of(executable, batch)
        batch.X[4] = 0
        weights = executable.view(executable.program.parameters[seed % 2])
        weights.flat[seed % weights.size] = value
        told += [networks.predict(executable, batch.X), *networks.gradient_of(executable, batch)]
        patterns.append([np.where(np.isfinite(t), 0, t) for t in told])
    for got, want in zip(*patterns, strict=True):
        np.testing.assert_array_equal(got, want)


# Sizes around the tiles, where the kernels meet: all of a step at once, against the reference.
WIDTHS = (1, 13, 14, 15, 16, 17, 31, 33, 65, 1031)


@pytest.mark.parametrize("rows", [1, 2, 13, 14, 15, 16, 17, 33, 64, 257, 1025, 2600])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_of_any_size_agree_with_the_reference(compiled, dtype, rows):
    for width in WIDTHS if rows < 100 else (1, 17):
        layers = [
            fn.Dense(width, "tanh"),
            fn.Dropout(0.2),
            fn.Gated(33, "geglu"),
            fn.Dense(width, "silu"),
            fn.Dense(7, "softmax"),
        ]
        agree(compiled, dtype, networks.Described(layers, 29, losses.CrossEntropy()), rows)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_steps_through_wide_layers_agree_with_the_reference(compiled, dtype):
    # Wide on both sides: such a product is taken in pieces, whichever way it goes.
    layers = [fn.Dense(1031, "tanh"), fn.Dense(1031, "silu"), fn.Dense(7, "softmax")]
    agree(compiled, dtype, networks.Described(layers, 1031, losses.CrossEntropy()), 67)


def agree(compiled, dtype, described, rows):
    """Hold everything that an executable does with some rows against the reference."""
    told = []
    for backend, kind in ((compiled, dtype), (get("reference"), "float64")):
        executable = networks.compile_network(described, backend, kind)
        batch = networks.random_batch(executable.program, rows, kind, seed=rows)
        outputs = [networks.predict(executable, batch.X), *executable.evaluate(batch)]
        outputs += networks.gradient_of(executable, batch, training=True, seed=1, step=2)
        loss, hits, rates = np.empty(1), np.empty(1), np.full(1, 0.1)
        state = executable.new_state(SGD())
        executable.run_steps(batch, None, rows, state, rates, 3, loss, hits)
        told.append([*outputs, executable.parameters, loss, hits])
    for got, want in zip(*told, strict=True):
        close(got, want, dtype)


MANY_ROWS = """
import resource
import numpy as np
import fastnn as fn

net = fn.Network([fn.Dense(512, "relu")] * 6 + [fn.Dense(2)], input_size=4, backend="native")
X, out = np.ones((200_000, 4), "float32"), np.ones((200_000, 2), "float32")
net.predict(X[:1000], out=out[:1000])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
net.predict(X, out=out)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif("native" not in available(), reason="a promise of the native backend")
def test_many_rows_need_no_more_memory_than_a_thousand():
    told = subprocess.run(
        [sys.executable, "-c", MANY_ROWS], capture_output=True, text=True, check=True
    )
    assert int(told.stdout) < 2048, "KB: a slot of the rows would take 400,000"
