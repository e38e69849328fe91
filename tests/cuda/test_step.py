"""What a captured step reads from the device: the clock, the table of scalars, the partial sums."""

import numpy as np
import pytest

from fastnn import backends, optimizers
from fastnn.activations import FORMULAS
from fastnn.backends.cuda import target
from fastnn.backends.cuda.device import columns, elementwise, functions, product, step, update
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.losses import MeanSquaredError
from fastnn.program import LossHead, Parameter, Program

pytestmark = pytest.mark.skipif(
    target.why_not() is not None, reason=f"set NUMBA_ENABLE_CUDASIM=1: {target.why_not()}"
)

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
N = 53
RNG = np.random.default_rng(0)


def there(array):
    """Return an array on the device, as one vector."""
    return target.cuda.to_device(np.ascontiguousarray(array).reshape(-1))


def matrix(array):
    return Matrix(there(array), array.shape[1])


def clock(position=0, stopped=0, first=0, seed=0):
    return there(np.array([position, stopped, first, seed]))


def close(got, want, dtype, factor=8):
    bound = factor * np.finfo(dtype).eps
    np.testing.assert_allclose(got.copy_to_host(), want, rtol=bound, atol=bound)


OPTIMIZERS = {
    "sgd": optimizers.SGD(weight_decay=0.1),
    "momentum": optimizers.SGD(momentum=0.9, weight_decay=0.1),
    "nesterov": optimizers.SGD(momentum=0.9, nesterov=True),
    "adam": optimizers.Adam(weight_decay=0.1),
    "adamw": optimizers.AdamW(weight_decay=0.1),
    "adam with epsilon hat": optimizers.Adam(epsilon=0.003, epsilon_hat=True),
    "rmsprop": optimizers.RMSprop(momentum=0.5, weight_decay=0.1),
    "adagrad": optimizers.Adagrad(weight_decay=0.1),
    "nadam": optimizers.NAdam(weight_decay=0.1),
    "lion": optimizers.Lion(weight_decay=0.1),
}


@DTYPES
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_replayed_updates_are_those_of_the_reference(dtype, optimizer):
    # Two parameters, of which one has no weight decay; four steps, of one table.
    spans = (Parameter("w", (32,), 0, 32, True, 0, 0, 0, "zeros", (1, 1)),)
    spans += (Parameter("b", (16,), 32, 16, False, 0, 0, 0, "zeros", (1, 1)),)
    head = LossHead(MeanSquaredError.name, 0.0, "values", "identity")
    executable = backends.get("reference").compile(
        Program((), spans, (), (), head, 48, 0), np.dtype(dtype), 1
    )
    state = executable.new_state(optimizer)
    state.step, state.product = 5, 0.4
    executable.parameters[...] = RNG.normal(size=48)
    state.moments[...] = np.abs(RNG.normal(size=state.moments.shape))
    rates = np.array([0.1, 0.01, 0.05, 0.2])
    table = there(update.scalars(optimizer, rates, state.step, state.product, dtype))
    w, moments = there(executable.parameters), tuple(there(m) for m in state.moments)
    flags, now = there(np.array([1, 1, 0], np.uint8)), clock()
    factor = there(np.array([0.5], dtype))
    for rate in rates:
        g = RNG.normal(size=48).astype(dtype)
        update.update(0, w, moments, there(g), flags, table, now, factor, optimizer, 48)
        step.advance(0, now)
        executable._update(g * np.asarray(0.5, dtype), state, rate)
    assert now.copy_to_host().tolist() == [4, 0, 0, 0]
    close(w, executable.parameters, dtype, 64)
    for m, want in zip(moments, state.moments, strict=True):
        close(m, want, dtype, 64)


@DTYPES
def test_a_clock_that_has_stopped_leaves_everything_as_it_is(dtype):
    optimizer = optimizers.Adam()
    held = [RNG.normal(size=48).astype(dtype) for _ in range(3)]
    w, m, v = (there(a) for a in held)
    table, now = there(update.scalars(optimizer, np.ones(1), 0, 1.0, dtype)), clock(stopped=1)
    flags, one = there(np.ones(3, np.uint8)), there(np.ones(1, dtype))
    update.update(0, w, (m, v), w, flags, table, now, one, optimizer, 48)
    columns.max_norm(0, Matrix(w, 8), now, 1e-3, 6, 8)
    columns.batch_norm_update(0, v, m, w, w, now, 0.1, 5, 48)
    step.advance(0, now)
    for got, want in zip((w, m, v), held, strict=True):
        assert got.copy_to_host().tobytes() == want.tobytes()
    assert now.copy_to_host().tolist() == [0, 1, 0, 0]


@DTYPES
@pytest.mark.parametrize("clip_value", [None, 0.7])
@pytest.mark.parametrize("penalized", [False, True])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_batch_is_finished_as_the_reference_does_it(dtype, clip_value, penalized, weighted):
    g, w = RNG.normal(size=(2, N)).astype(dtype)
    l1, l2 = np.zeros((2, -(-N // update.GROUP)), dtype)
    if penalized:
        l1[1], l2[1], l2[3] = 0.3, 0.2, 0.4
    per_row = np.zeros(len(l1), np.uint8)
    per_row[1] = 1  # the others are not divided by the 8 rows
    share = np.where(per_row, 1 / 8, 1)
    each1, each2 = (np.repeat(share * p, update.GROUP)[:N] for p in (l1, l2))
    want = g + each1 * np.sign(w) + each2 * w
    cost = (each1 * np.abs(w) + 0.5 * each2 * w.astype(np.float64) ** 2).sum()
    if clip_value:
        want = np.clip(want, -clip_value, clip_value)
    row_loss, hits, weight = RNG.random((3, 11))
    weight = weight.astype(dtype)
    losses, shares, factor = there(np.zeros(3)), there(np.zeros(3)), there(np.zeros(1, dtype))
    partials, now, gradient = there(np.zeros(3 * step.PARTIALS)), clock(position=1), there(g)
    penalties = (there(l1), there(l2), there(per_row)) if penalized else None
    rows = there(np.array([1 / 8]))
    step.gradient_pass(0, gradient, partials, there(w), penalties, rows, clip_value, N)
    close(gradient, want, dtype)
    batch = there(row_loss), there(hits), there(weight) if weighted else None
    states = there(np.ones(5, dtype))
    step.finish_batch(0, losses, shares, factor, now, partials, *batch, states, 0.5, N, 11)
    shared = weight.astype(np.float64) if weighted else np.ones(11)
    mean = [(shared * v).sum() / shared.sum() for v in (row_loss, hits)]
    close(losses, [0, mean[0] + cost, 0], dtype)
    close(shares, [0, mean[1], 0], dtype)
    close(factor, 0.5 / np.sqrt((want * want).sum()), dtype)
    assert now.copy_to_host().tolist() == [1, 0, 0, 0]
    if weighted:
        one = there(np.zeros(1))
        step.weigh_batch(0, one, batch[2], 11)
        close(one, 1 / shared.sum(), "float64")


@DTYPES
@pytest.mark.parametrize("where", ["gradient", "loss", "states", "nowhere"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stops_the_clock(dtype, where, value):
    gradient, states = np.ones(N, dtype), np.ones(5, dtype)
    row_loss, now = np.ones(11), clock()
    planted = {"gradient": gradient, "loss": row_loss, "states": states}.get(where)
    if planted is not None:
        planted[3] = value
    partials = there(np.zeros(3 * step.PARTIALS))
    # What is clipped is finite behind that: it must be seen before.
    step.gradient_pass(0, there(gradient), partials, there(gradient), None, None, 0.5, N)
    told = there(np.zeros(1)), there(np.zeros(1)), there(np.zeros(1, dtype)), now, partials
    step.finish_batch(0, *told, there(row_loss), None, None, there(states), None, N, 11)
    assert now.copy_to_host()[1] == int(where != "nowhere")
    assert np.isnan(told[1].copy_to_host()[0])


def test_a_gradient_whose_squares_overflow_does_not_stop_the_clock():
    gradient, now = np.full(N, 1e200), clock()
    partials = there(np.zeros(3 * step.PARTIALS))
    step.gradient_pass(0, there(gradient), partials, there(gradient), None, None, None, N)
    told = there(np.zeros(1)), there(np.zeros(1)), there(np.zeros(1)), now, partials
    step.finish_batch(0, *told, there(np.ones(2)), None, None, None, None, N, 2)
    assert now.copy_to_host()[1] == 0


@DTYPES
def test_rows_labels_and_masks_are_those_of_the_position(dtype):
    X, labels, index = RNG.normal(size=(20, 3)).astype(dtype), RNG.integers(0, 9, 20), np.arange(20)
    RNG.shuffle(index)
    now, Y = clock(position=2, first=40, seed=-7), matrix(np.zeros((6, 3), dtype))
    elementwise.gather_rows(0, Y, matrix(X), there(index), now, 6, 6, 3)
    assert (Y.at.copy_to_host().reshape(6, 3) == X[index[12:18]]).all()
    y = there(np.zeros(6, np.int64))
    elementwise.gather(0, y, there(labels), there(index), now, 6, 6)
    assert (y.copy_to_host() == labels[index[12:18]]).all()
    elementwise.dropout(0, Y, matrix(X[:6]), now, 0.4, 3, 1, False, 6, 3)
    want = np.empty((6, 3), dtype)
    backends.get("reference").kernels.dropout(want, X[:6], 0.4, 2**64 - 7, 42, 3, 1, False)
    assert Y.at.copy_to_host().tobytes() == want.tobytes()


@DTYPES
@pytest.mark.parametrize("function", FORMULAS)
def test_a_product_brings_along_any_function_and_its_slope(dtype, function):
    X, W, dY = (RNG.normal(size=s).astype(dtype) for s in ((9, 5), (5, 17), (9, 17)))
    b, c, formula = (
        RNG.normal(size=17).astype(dtype),
        FORMULAS[function].default,
        FORMULAS[function],
    )
    Z = X.astype(np.float64) @ W + b
    Y = matrix(np.zeros_like(dY))
    product.forward(0, Y, matrix(X), matrix(W), there(b), function, c, 9, 5, 17)
    close(Y.at, formula.value(Z, c).reshape(-1), dtype, 256)
    Y = matrix(X @ W)
    elementwise.add_bias(0, Y, there(b), function, c, 9, 17)
    close(Y.at, formula.value(Z, c).reshape(-1), dtype, 256)
    db = there(np.ones(17, dtype))
    columns.column_sums(0, db, matrix(dY), True, 9, 17)
    close(db, 1 + dY.sum(axis=0), dtype)
    if function in functions.FROM_OUTPUT:
        scores = X.astype(np.float64)
        outputs = formula.value(scores, c)
        dX = matrix(np.ones((9, 5), dtype))
        told = matrix(outputs.astype(dtype)), function, c, True
        product.backward_data(0, dX, matrix(dY), matrix(W), *told, 9, 5, 17)
        want = (1 + dY.astype(np.float64) @ W.T) * formula.derivative(scores, outputs, c)
        close(dX.at, want.reshape(-1), dtype, 256)
