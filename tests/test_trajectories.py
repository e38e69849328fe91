"""Twenty steps of every optimizer: by the formulas in loops, and the same path on every backend."""

import math
from dataclasses import replace

import naive
import networks
import numpy as np
import pytest
import tolerance
from networks import Described, fn, losses

from fastnn.backends import Batch, get
from fastnn.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop

KINDS = {
    "sgd": SGD(0.05),
    "momentum": SGD(0.05, momentum=0.9),
    "nesterov": SGD(0.05, momentum=0.9, nesterov=True),
    "adam": Adam(0.01),
    "adamw": AdamW(0.01, weight_decay=0.1),
    "adam with epsilon hat": Adam(0.01, epsilon=0.003, epsilon_hat=True),
    "rmsprop": RMSprop(0.005),
    "rmsprop with momentum": RMSprop(0.002, momentum=0.8),
    "adagrad": Adagrad(0.05),
    "nadam": NAdam(0.01, momentum_decay=0.04),
    "lion": Lion(0.002),
}
LIMITS = {
    "": {},
    "decay": {"weight_decay": 0.02},
    "clip_value": {"clip_value": 0.01},
    "clip_norm": {"clip_norm": 0.1},
    "all": {"weight_decay": 0.02, "clip_value": 0.05, "clip_norm": 0.1},
}
OPTIMIZERS = [
    pytest.param(replace(kind, **limits), id=f"{name} {told}".strip())
    for name, kind in KINDS.items()
    for told, limits in LIMITS.items()
]

ROWS, BATCH, STEPS, SEED = 23, 5, 20, 11
EVERYTHING = Described(
    [
        fn.Dense(6, "tanh", l1=0.01, regularize_bias=True),
        fn.Dropout(0.3),
        fn.LayerNorm(),
        fn.Residual([fn.Gated(6, "swiglu", l2=0.02)]),
        fn.Concat([fn.Dense(3, "silu", use_bias=False)]),
        fn.Columns(2, 5, [fn.Dense(2, use_bias=False)]),
        fn.Dense(3, "softmax"),
    ],
    4,
    losses.CrossEntropy(0.05),
)
# Rows that hang together, and columns that are held to a norm: what the claims about single rows
# and single rates leave out. No bias stands straight before a batch norm, which would cancel it.
COUPLED = Described(
    [
        fn.Dense(6, "tanh", max_norm=0.9),
        fn.BatchNorm(),
        fn.Dropout(0.3),
        fn.Residual([fn.Gated(6, "glu", max_norm=1.1), fn.BatchNorm(0.5, 0.1)]),
        fn.Dense(2),
    ],
    4,
    losses.Hinge(),
)
NETWORKS = pytest.mark.parametrize(
    "described", [EVERYTHING, COUPLED], ids=["everything", "coupled"]
)


class Walk:
    """A network on a backend, with its optimizer, some rows, and what its steps reported."""

    def __init__(self, backend, optimizer, described=EVERYTHING, dtype="float64", threads=1):
        self.executable = networks.compile_network(described, backend, dtype, threads)
        self.state = self.executable.new_state(optimizer)
        program = self.executable.program
        self.batch = networks.random_batch(program, ROWS, dtype, weighted=True)
        self.losses, self.hits = [], []

    def steps(self, order=None, batch_size=BATCH, rates=None, batch=None):
        """Take one step for every batch of the order; return how many were taken."""
        rows = len(batch or self.batch) if order is None else len(order)
        count = -(-rows // batch_size)
        rate = self.state.optimizer.learning_rate
        rates = np.full(count, rate) if rates is None else np.array(rates)
        loss, hits = np.full(count, np.nan), np.full(count, np.nan)
        taken = self.executable.run_steps(
            batch or self.batch, order, batch_size, self.state, rates, SEED, loss, hits
        )
        self.losses += list(loss)
        self.hits += list(hits)
        return taken

    def epochs(self):
        """Take the twenty steps, each epoch in another order."""
        for epoch in range(STEPS // 5):
            assert self.steps(shuffled(epoch)) == 5
        return self

    def bits(self):
        """Return everything that the steps have changed or told, as bytes."""
        told = np.array([self.losses, self.hits])
        return self.executable.parameters.tobytes() + self.state.moments.tobytes() + told.tobytes()


def shuffled(epoch):
    return np.random.default_rng(epoch).permutation(ROWS)


def close(got, want, bound=tolerance.TRAJECTORY["float64"]):
    scale = np.abs(want).max(initial=1e-300)
    assert np.abs(got - want).max(initial=0) <= bound * scale


# -- the formulas --------------------------------------------------------------------------------


def naive_step(program, optimizer, parameters, gradient, moments, step):
    """Clip a gradient and update every parameter, by the formulas in loops."""
    o, g = optimizer, gradient.tolist()
    if o.clip_value is not None:
        g = naive.clip(g, o.clip_value)["g"]
    norm = naive.sum_of_squares(g)["return"] ** 0.5
    if o.clip_norm is not None and norm > o.clip_norm:
        g = naive.scale(g, o.clip_norm / norm)["g"]
    for p in program.parameters:
        place = slice(p.offset, p.end)
        w, m = parameters[place].tolist(), [row[place].tolist() for row in moments]
        decay = o.weight_decay if p.regularized else 0.0
        if isinstance(o, SGD):
            velocity = m[0] if m else None
            told = (o.learning_rate, o.momentum, o.nesterov, decay)
            new = naive.sgd_update(w, velocity, g[place], *told)
        elif isinstance(o, Adam):
            told = (o.beta1, o.beta2, o.epsilon, o.epsilon_hat, decay, isinstance(o, AdamW), step)
            new = naive.adam_update(w, *m, g[place], o.learning_rate, *told)
        elif isinstance(o, Adagrad):
            new = naive.adagrad_update(w, *m, g[place], o.learning_rate, o.epsilon, decay)
        elif isinstance(o, NAdam):
            told = (o.beta1, o.beta2, o.epsilon, o.momentum_decay, decay)
            mus = [naive.nadam_momentum(o.beta1, o.momentum_decay, n + 1) for n in range(step)]
            told = (o.learning_rate, *told, math.prod(mus), step)
            new = naive.nadam_update(w, *m, g[place], *told)
        elif isinstance(o, Lion):
            told = (o.learning_rate, o.beta1, o.beta2, decay)
            new = naive.lion_update(w, *m, g[place], *told)
        else:
            told = (o.decay, o.momentum, o.epsilon, decay)
            buffer = m[1] if len(m) > 1 else None
            new = naive.rmsprop_update(w, m[0], buffer, g[place], o.learning_rate, *told)
        w = np.array(new.pop("w")).reshape(p.rows, p.stride)
        if p.max_norm:
            w[:, : p.columns] = naive.max_norm(w[:, : p.columns].tolist(), p.max_norm)["W"]
        parameters[place] = w.ravel()
        for row, value in zip(moments, new.values(), strict=True):
            row[place] = value


@NETWORKS
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_twenty_steps_follow_the_formulas(backend, optimizer, described):
    walk, twin = Walk(backend, optimizer, described).epochs(), Walk(backend, optimizer, described)
    executable, moments = twin.executable, twin.state.moments
    for step in range(STEPS):
        start = step % 5 * BATCH
        rows = shuffled(step // 5)[start : start + BATCH]
        batch = Batch(*(array[rows] for array in (twin.batch.X, twin.batch.Y, twin.batch.weight)))
        # The mask of a step is keyed by the number of the step, so it is that of the walk.
        loss, gradient, _ = networks.gradient_of(
            executable, batch, training=True, seed=SEED, step=step
        )
        assert walk.losses[step] == pytest.approx(loss, rel=tolerance.TRAJECTORY["float64"])
        args = executable.program, optimizer, executable.parameters, gradient, moments
        naive_step(*args, step + 1)
    close(walk.executable.parameters, executable.parameters)
    for got, want in zip(walk.state.moments, moments, strict=True):
        close(got, want)
    assert walk.state.step == STEPS


# scikit-learn 1.9's classes, and the same with ours.
OF_SCIKIT_LEARN = [
    ("AdamOptimizer", {"epsilon": 0.003}, Adam(0.02, epsilon=0.003, epsilon_hat=True)),
    ("SGDOptimizer", {"momentum": 0.9, "nesterov": True}, KINDS["nesterov"]),
    ("SGDOptimizer", {"momentum": 1.0, "nesterov": False}, SGD(0.02, momentum=1.0)),
]


@pytest.mark.parametrize(("name", "constants", "optimizer"), OF_SCIKIT_LEARN)
def test_the_steps_are_those_of_scikit_learn(backend, name, constants, optimizer):
    theirs = pytest.importorskip("sklearn.neural_network._stochastic_optimizers")
    walk, twin = Walk(backend, optimizer), Walk(backend, optimizer)
    walk.epochs()
    parameters = twin.executable.parameters
    rate = optimizer.learning_rate
    judge = getattr(theirs, name)([parameters], learning_rate_init=rate, **constants)
    for step in range(STEPS):
        rows = shuffled(step // 5)[step % 5 * BATCH :][:BATCH]
        batch = Batch(*(array[rows] for array in (twin.batch.X, twin.batch.Y, twin.batch.weight)))
        told = networks.gradient_of(twin.executable, batch, training=True, seed=SEED, step=step)
        judge.update_params([parameters], [told[1]])
    close(walk.executable.parameters, parameters)


def test_running_statistics_follow_every_batch(backend):
    described = Described([fn.BatchNorm(0.2), fn.Dense(2)], 4, losses.Hinge())
    walk, start = Walk(backend, KINDS["sgd"], described), Walk(backend, KINDS["sgd"], described)
    walk.epochs()
    states, X = start.executable.states, start.batch.X
    places = [slice(s.offset, s.end) for s in walk.executable.program.states]
    for step in range(STEPS):
        rows = shuffled(step // 5)[step % 5 * BATCH :][:BATCH]
        batch = naive.batch_norm_statistics(X[rows].tolist())
        running = [states[place].tolist() for place in places]
        new = naive.batch_norm_update(*running, *batch.values(), 0.2, len(rows))
        for place, value in zip(places, new.values(), strict=True):
            states[place] = value
    close(walk.executable.states, states)


# -- one path on all backends --------------------------------------------------------------------


@NETWORKS
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_backend_walks_the_path_of_the_reference(compiled, optimizer, described):
    walk, want = (Walk(b, optimizer, described).epochs() for b in (compiled, get("reference")))
    close(walk.executable.parameters, want.executable.parameters)
    close(walk.executable.states, want.executable.states)
    for got, moment in zip(walk.state.moments, want.state.moments, strict=True):
        close(got, moment)
    np.testing.assert_allclose(walk.losses, want.losses, rtol=tolerance.TRAJECTORY["float64"])
    np.testing.assert_allclose(walk.hits, want.hits, rtol=tolerance.TRAJECTORY["float64"])


@pytest.mark.parametrize("seed", range(20))
def test_random_networks_walk_the_path_of_the_reference(compiled, seed):
    # Slowly: what explodes, as an exp in the middle does, takes any rounding with it.
    described = networks.random_network(seed)
    optimizer = replace(KINDS["nesterov"], learning_rate=0.002)
    walk = Walk(compiled, optimizer, described).epochs()
    want = Walk(get("reference"), optimizer, described).epochs()
    close(walk.executable.parameters, want.executable.parameters)
    np.testing.assert_allclose(walk.losses, want.losses, rtol=tolerance.TRAJECTORY["float64"])


def test_float32_walks_beside_float64(backend):
    walk = Walk(backend, KINDS["momentum"], dtype="float32").epochs()
    want = Walk(get("reference"), KINDS["momentum"]).epochs()
    close(walk.executable.parameters, want.executable.parameters, tolerance.TRAJECTORY["float32"])


# -- rows, order, weights ------------------------------------------------------------------------

ADAM = KINDS["adam"]


def test_an_order_is_the_rows_put_in_that_order(backend):
    order = np.random.default_rng(0).integers(0, ROWS, 33)  # some rows twice, some never
    walk, laid_out = Walk(backend, ADAM), Walk(backend, ADAM)
    b = laid_out.batch
    assert walk.steps(order) == 7
    assert laid_out.steps(batch=Batch(b.X[order], b.Y[order], b.weight[order])) == 7
    assert walk.bits() == laid_out.bits()


def test_without_an_order_the_rows_come_as_they_are(backend):
    walk, counted = Walk(backend, ADAM), Walk(backend, ADAM)
    assert walk.steps() == counted.steps(np.arange(ROWS)) == 5
    assert walk.bits() == counted.bits()


def test_the_last_batch_counts_with_its_own_mean(backend):
    walk, one_by_one = Walk(backend, ADAM), Walk(backend, ADAM)
    walk.steps()
    for start in range(0, ROWS, BATCH):
        rows = np.arange(start, min(start + BATCH, ROWS))
        one_by_one.steps(rows, batch_size=len(rows))
    assert walk.bits() == one_by_one.bits()


def test_steps_in_two_calls_are_steps_in_one(backend):
    whole, halves = Walk(backend, ADAM), Walk(backend, ADAM)
    order = np.concatenate([np.arange(20), np.arange(20)[::-1]])
    whole.steps(order)
    halves.steps(order[:20])
    halves.steps(order[20:])
    assert whole.bits() == halves.bits()


def test_a_batch_may_be_larger_than_the_table(backend):
    walk = Walk(backend, ADAM)
    loss = networks.gradient_of(walk.executable, walk.batch, training=True, seed=SEED)[0]
    assert walk.steps(batch_size=1000) == 1
    assert walk.losses == [pytest.approx(loss, rel=tolerance.REGROUPED)]


def test_a_row_of_weight_0_teaches_nothing(backend):
    walk, other = Walk(backend, ADAM), Walk(backend, ADAM)
    light = other.batch.weight == 0
    assert light.sum() >= 5
    other.batch.X[light] = 3.0
    other.batch.Y[light] = 0
    walk.steps()
    other.steps()
    close(walk.executable.parameters, other.executable.parameters, tolerance.REGROUPED)
    np.testing.assert_allclose(walk.losses, other.losses, rtol=tolerance.REGROUPED)


def test_only_the_ratios_of_the_weights_count(backend):
    walk, other = Walk(backend, ADAM), Walk(backend, ADAM)
    other.batch.weight[...] *= 3.7
    walk.steps()
    other.steps()
    close(walk.executable.parameters, other.executable.parameters)


def test_equal_weights_are_no_weights(backend):
    walk, other = Walk(backend, ADAM), Walk(backend, ADAM)
    walk.steps(batch=Batch(walk.batch.X, walk.batch.Y, np.full(ROWS, 2.0)))
    other.steps(batch=Batch(walk.batch.X, walk.batch.Y))
    close(walk.executable.parameters, other.executable.parameters)


# -- rates, padding, divergence ------------------------------------------------------------------


def test_every_step_has_the_rate_of_its_place(backend):
    walk = Walk(backend, KINDS["sgd"])
    start = walk.executable.parameters.copy()
    walk.steps(rates=np.zeros(5))
    assert (walk.executable.parameters == start).all()
    single = Walk(backend, KINDS["sgd"])
    single.steps(rates=[0, 0, 0.1, 0, 0])
    batch = Batch(*(a[10:15] for a in (walk.batch.X, walk.batch.Y, walk.batch.weight)))
    gradient = networks.gradient_of(walk.executable, batch, training=True, seed=SEED, step=2)[1]
    close(single.executable.parameters, start - 0.1 * gradient, tolerance.REGROUPED)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_padding_stays_0(backend, optimizer, dtype):
    walk = Walk(backend, optimizer, dtype=dtype)
    walk.steps()
    beside = networks.padding(walk.executable.program)
    assert beside.any()
    assert not walk.executable.parameters[beside].any()
    assert not walk.state.moments[:, beside].any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop with momentum"])
def test_a_step_that_diverges_is_not_made(backend, dtype, name):
    described = Described([fn.Dense(5, "identity"), fn.Dense(2)], 4, losses.MeanSquaredError())
    walk, two = (Walk(backend, KINDS[name], described, dtype) for _ in range(2))
    rates = np.array([0.1, np.finfo(dtype).max / 16, 0.1, 0.1, 0.1])
    taken = walk.steps(rates=rates)
    assert 1 < taken < 5
    assert not np.isfinite(walk.losses[taken])
    assert np.isfinite(walk.losses[:taken]).all()
    assert walk.state.step == taken
    two.steps(np.arange(taken * BATCH), rates=rates[:taken])
    assert (walk.executable.parameters == two.executable.parameters).all()
    assert (walk.state.moments == two.state.moments).all()


# The square of 1e100 is finite, but the slope 2e100 times an input of 1e250 is not; the square of
# 1e200 is infinite, and the gradient 2e200 is not.
@pytest.mark.parametrize(("x", "y", "loss"), [(1e250, 1e100, 1e200), (1.0, 1e200, np.inf)])
def test_neither_loss_nor_gradient_may_be_infinite(backend, x, y, loss):
    described = Described([fn.Dense(1)], 1, losses.MeanSquaredError())
    walk = Walk(backend, KINDS["sgd"], described)
    walk.executable.parameters[...] = 0
    assert walk.steps(batch=Batch(np.array([[x]]), np.array([[y]]))) == 0
    assert walk.losses == [pytest.approx(loss)]
    assert walk.state.step == 0
    assert np.isfinite(walk.executable.parameters).all()
    if not np.isfinite(loss):
        assert not walk.executable.parameters.any()


def test_training_leaves_its_inputs_alone(backend):
    walk = Walk(backend, ADAM)
    order = shuffled(0)
    arrays = walk.batch.X, walk.batch.Y, walk.batch.weight, order
    before = [array.tobytes() for array in arrays]
    for array in arrays:
        array.flags.writeable = False
    walk.steps(order)
    assert [array.tobytes() for array in arrays] == before


def test_no_rates_no_steps(backend):
    walk = Walk(backend, ADAM)
    before = walk.bits()
    assert walk.steps(np.empty(0, np.int64)) == 0
    assert walk.bits() == before
