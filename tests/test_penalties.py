"""Penalties per row: those of a batch are as much smaller as its rows weigh."""

import networks
import numpy as np
import pytest
import tolerance
from networks import Described, fn, losses
from test_trajectories import BATCH, ROWS, Walk, close

from fastnn import Network
from fastnn.backends import Batch, get
from fastnn.optimizers import SGD

WEIGHTED = pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])


def penalized(width, share=1.0, per_row=False):
    """Return a network that has penalties of both kinds, and one that stays as it is."""
    told = {"regularize_bias": True, "penalty_per_row": per_row}
    layers = [
        fn.Dense(width, "tanh", l1=share * 0.2, **told),
        fn.Gated(3, "reglu", l1=share * 0.1, l2=share * 0.3, **told),
        fn.Dense(2, l2=0.4),
    ]
    return Described(layers, 4, losses.MeanSquaredError())


def rows_of(walk, rows, weighted):
    b = walk.batch
    return Batch(b.X[rows], b.Y[rows], b.weight[rows] if weighted else None)


# The narrow one is updated from a flat gradient, the wide one block by block.
@pytest.mark.parametrize("width", [6, 300])
@WEIGHTED
def test_every_step_divides_by_the_rows_of_its_own_batch(backend, width, weighted):
    walk = Walk(backend, SGD(0.01), penalized(width, per_row=True))
    parameters = walk.executable.parameters.copy()
    order = np.random.default_rng(3).permutation(ROWS)
    walk.steps(order, batch=rows_of(walk, slice(None), weighted))
    assert ROWS % BATCH
    for step, start in enumerate(range(0, ROWS, BATCH)):
        rows = order[start : start + BATCH]
        total = walk.batch.weight[rows].sum() if weighted else len(rows)
        twin = Walk(get("reference"), SGD(0.01), penalized(width, share=1 / total))
        twin.executable.parameters[...] = parameters
        twin.steps(batch=rows_of(walk, rows, weighted))
        parameters = twin.executable.parameters
        assert walk.losses[step] == pytest.approx(twin.losses[0], rel=1e-10)
    assert np.abs(parameters).max() < 10
    close(walk.executable.parameters, parameters)


@WEIGHTED
def test_a_loss_and_its_gradient_divide_by_all_rows(backend, weighted):
    walk = Walk(backend, SGD(0.1), penalized(6, per_row=True))
    batch = rows_of(walk, slice(None), weighted)
    total = batch.weight.sum() if weighted else ROWS
    twin = networks.compile_network(penalized(6, share=1 / total), get("reference"))
    bound = tolerance.PASS["float64"]
    for got, want in zip(
        networks.gradient_of(walk.executable, batch), networks.gradient_of(twin, batch), strict=True
    ):
        close(np.asarray(got), np.asarray(want), bound)
    assert walk.executable.evaluate(batch)[0] == pytest.approx(twin.evaluate(batch)[0], rel=bound)


def test_evaluate_divides_by_the_weights_of_all_rows(backend):
    rng = np.random.default_rng(0)
    X, y, weight = rng.normal(size=(3000, 2)), rng.normal(size=(3000, 1)), rng.random(3000)
    layers = [fn.Dense(1, l1=0.5, l2=0.6, penalty_per_row=True)], [fn.Dense(1)]
    nets = [Network(l, input_size=2, dtype="float64", backend=backend.name) for l in layers]
    w = nets[0].parameters["0.weight"]
    assert (w == nets[1].parameters["0.weight"]).all()
    cost = 0.5 * np.abs(w).sum() + 0.3 * (w * w).sum()
    for told, total in ((), 3000), ((weight,), weight.sum()):
        with_penalty, without = (net.evaluate(X, y, *told)["loss"] for net in nets)
        assert with_penalty - without == pytest.approx(cost / total, rel=1e-9)
