"""Whole networks on the device, against the reference: every op, loss and optimizer."""

from dataclasses import replace

import networks
import numpy as np
import pytest
import tolerance
from cuda_walks import ALL_LIMITS, EVERYTHING, OPTIMIZERS, REFERENCE, ROWS, SEED, SMALL, Walk, close
from networks import Described, fn, losses

from fastnn.backends import Batch
from fastnn.optimizers import SGD, Adam


def twins(described, backend, dtype="float64"):
    """Return a network on a backend and on the reference, with the same weights."""
    return [networks.compile_network(described, b, dtype) for b in (backend, REFERENCE)]


@pytest.mark.parametrize("seed", range(10))
def test_random_networks_compute_what_the_reference_computes(cuda, seed):
    described, dtype = networks.random_network(seed), ("float32", "float64")[seed % 2]
    ours, theirs = twins(described, cuda, dtype)
    batch = networks.random_batch(
        ours.program, ROWS, dtype, weighted=bool(seed % 3), labels=bool(seed % 4)
    )
    bound = tolerance.PASS[dtype]
    close(networks.predict(ours, batch.X), networks.predict(theirs, batch.X), bound)
    close(ours.evaluate(batch), theirs.evaluate(batch), bound)
    told = {"training": True, "seed": SEED, "step": 2**33 + seed}
    pairs = zip(
        networks.gradient_of(ours, batch, **told),
        networks.gradient_of(theirs, batch, **told),
        strict=True,
    )
    for got, want in pairs:
        close(got, want, bound)


@pytest.mark.parametrize("seed", [3, 7])
def test_gradients_without_training_are_those_of_the_reference(cuda, seed):
    ours, theirs = twins(networks.random_network(seed), cuda)
    batch = networks.random_batch(ours.program, 3)
    for got, want in zip(
        networks.gradient_of(ours, batch), networks.gradient_of(theirs, batch), strict=True
    ):
        close(got, want, tolerance.PASS["float64"])


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_optimizer_walks_the_path_of_the_reference(cuda, optimizer):
    ours, theirs = (Walk(SMALL, b, optimizer) for b in (cuda, REFERENCE))
    for walk in (ours, theirs):
        assert walk.steps(2, np.array([4, 0, 2])) == 2
        assert walk.steps(1, None) == 1
        assert walk.state.step == 3
    for got, want in zip(ours.all(), theirs.all(), strict=True):
        close(got, want, tolerance.TRAJECTORY["float64"])


CHAINS = {
    "one layer": ([fn.Dense(2, use_bias=False)], losses.CrossEntropy(0.1)),
    "three layers": (
        [fn.Dense(5, "relu"), fn.Dense(3, "sigmoid", l2=0.1), fn.Dense(2, "tanh")],
        losses.Huber(0.7),
    ),
    "two layers": ([fn.Dense(4, "exp"), fn.Dense(2, "sigmoid")], losses.BinaryCrossEntropy()),
}


@pytest.mark.parametrize(("layers", "loss"), CHAINS.values(), ids=CHAINS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_chain_of_layers_trains_in_one_launch_as_layer_by_layer(cuda, layers, loss, weighted):
    described = Described(layers, 3, loss)
    chained, layered = (
        Walk(described, cuda, Adam(0.01), "float64", weighted=weighted) for _ in range(2)
    )
    assert chained.executable._chain is not None
    layered.executable._chain = None
    order = np.array([4, 0, 2, 1, 3])
    for walk in (chained, layered):
        assert walk.steps(2, order, 3) == 2
    for got, want in zip(chained.all(), layered.all(), strict=True):
        close(got, want, tolerance.TRAJECTORY["float64"])
    X = chained.batch.X
    close(networks.predict(chained.executable, X), networks.predict(layered.executable, X), 1e-10)
    close(
        chained.executable.evaluate(chained.batch),
        layered.executable.evaluate(layered.batch),
        1e-10,
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_network_of_everything_walks_the_path_of_the_reference(cuda, dtype):
    optimizer = Adam(0.01, **ALL_LIMITS)
    ours, theirs = (Walk(EVERYTHING, b, optimizer, dtype) for b in (cuda, REFERENCE))
    order = np.array([4, 0, 2, 1, 3])
    for walk in (ours, theirs):
        assert walk.steps(3, order) == 3
    for got, want in zip(ours.all(), theirs.all(), strict=True):
        close(got, want, tolerance.TRAJECTORY[dtype])
    padding = networks.padding(ours.executable.program)
    assert not ours.executable.parameters[padding].any()


@pytest.mark.parametrize(("head", "loss"), networks.LOSSES)
def test_every_loss_tells_what_the_reference_tells(cuda, head, loss):
    layer = fn.Dense(2, head, l1=0.1, l2=0.2, penalty_per_row=True)
    ours, theirs = twins(Described([layer], 2, loss), cuda)
    batch = networks.random_batch(ours.program, 3, labels=False, weighted=True)
    close(ours.evaluate(batch), theirs.evaluate(batch), tolerance.PASS["float64"])
    got, want = (networks.gradient_of(e, batch) for e in (ours, theirs))
    close(got[1], want[1], tolerance.PASS["float64"])


def test_the_masks_of_dropout_are_those_of_the_processor(cuda):
    described = Described([fn.Dropout(0.4), fn.Dense(2)], 9, losses.MeanSquaredError())
    ours, theirs = twins(described, cuda, "float32")
    batch = networks.random_batch(ours.program, 6, "float32")
    told = {"training": True, "seed": 2**64 - 1, "step": 2**40 + 3}
    got, want = (networks.gradient_of(e, batch, **told)[2] for e in (ours, theirs))
    assert ((got == 0) == (want == 0)).all()
    assert 0 < np.count_nonzero(want) < want.size


def test_predictions_in_bfloat16_are_those_of_the_reference(cuda):
    described = Described([fn.Dense(5, "relu"), fn.Dense(3)], 4, losses.MeanSquaredError())
    ours, theirs = twins(described, cuda, "float32")
    X = networks.random_batch(ours.program, 4, "float32").X
    outs = [np.empty((4, 3), np.float32) for _ in range(3)]
    ours.predict(X, outs[0], bfloat16=True)
    theirs.predict(X, outs[1], bfloat16=True)
    close(outs[0], outs[1], tolerance.PASS["float32"])
    assert (outs[0] != networks.predict(ours, X)).any()
    ours.view(ours.program.parameters[0])[...] *= 2
    ours.changed()
    ours.predict(X, outs[2], bfloat16=True)
    assert (outs[2] != outs[0]).any()


# -- what does not go well -----------------------------------------------------------------------


def test_a_step_that_diverges_is_not_made(cuda):
    walk, twin = (Walk(SMALL, cuda, Adam(0.01), "float32", weighted=False) for _ in range(2))
    Y = walk.batch.Y.copy()
    Y[2] = 3e38
    assert walk.steps(3, np.arange(5), batch=Batch(walk.batch.X, Y)) == 1
    assert twin.steps(1, np.arange(2)) == 1
    assert walk.state.step == 1
    for got, want in zip(walk.all()[:3], twin.all()[:3], strict=True):
        assert got.tobytes() == want.tobytes()
    assert np.isfinite(walk.losses[0])
    assert not np.isfinite(walk.losses[1])


# The square of 1e100 is finite, but the slope 2e100 times an input of 1e250 is not; the square of
# 1e200 is infinite, and the gradient 2e200 is not.
@pytest.mark.parametrize(("x", "y", "loss"), [(1e250, 1e100, 1e200), (1.0, 1e200, np.inf)])
def test_neither_loss_nor_gradient_may_be_infinite(cuda, x, y, loss):
    described = Described([fn.Dense(1)], 1, losses.MeanSquaredError())
    walk = Walk(described, cuda, SGD(0.1))
    walk.executable.parameters[...] = 0
    walk.executable.changed()
    assert walk.steps(1, None, 1, Batch(np.array([[x]]), np.array([[y]]))) == 0
    assert walk.losses[0] == pytest.approx(loss)
    assert walk.state.step == 0
    assert not walk.executable.parameters.any()


def test_training_goes_on_behind_a_step_that_diverged(cuda):
    walk = Walk(SMALL, cuda, SGD(0.1), "float32", weighted=False)
    bad = Batch(walk.batch.X, np.full_like(walk.batch.Y, 3e38))
    assert walk.steps(1, None, 5, bad) == 0
    assert walk.steps(1, None, 5) == 1
    assert np.isfinite(walk.executable.parameters).all()


def test_no_rates_no_steps(cuda):
    walk = Walk(SMALL, cuda, SGD(0.1))
    before = walk.executable.parameters.copy()
    assert walk.steps(0, np.arange(0)) == 0
    assert (walk.executable.parameters == before).all()


def test_a_row_of_weight_0_teaches_nothing(cuda):
    whole = Walk(SMALL, cuda, replace(OPTIMIZERS["adam"], clip_norm=None))
    weight = np.array([1.0, 0, 2, 0, 1])
    chosen = weight > 0
    X, Y = whole.batch.X.copy(), whole.batch.Y
    whole.steps(1, None, 5, Batch(X, Y, weight))
    part = Walk(SMALL, cuda, replace(OPTIMIZERS["adam"], clip_norm=None))
    part.steps(1, None, 3, Batch(X[chosen], Y[chosen], weight[chosen]))
    close(whole.executable.parameters, part.executable.parameters, tolerance.REGROUPED)
