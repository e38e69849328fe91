"""The same bits: whatever the batch, the alignment, the number of threads, and who else calls."""

from concurrent.futures import ThreadPoolExecutor

import networks
import numpy as np
import pytest
from networks import Described, fn, losses

from fastnn.optimizers import Adam

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])

# Wide enough for several threads and for blocks in every direction.
WIDE = Described(
    [
        fn.Dense(1031, "relu"),
        fn.Dropout(0.2),
        fn.Dense(131, "gelu", l2=1e-3),
        fn.LayerNorm(),
        fn.Residual([fn.Gated(131, "swiglu")]),
        fn.Dense(10, "softmax"),
    ],
    130,
    losses.CrossEntropy(),
)
NETWORKS = [pytest.param(networks.random_network(s), id=f"random {s}") for s in range(0, 20, 3)]
NETWORKS += [pytest.param(WIDE, id="wide")]
ROWS = 200


def rows_of(described, dtype, rows=ROWS):
    return np.random.default_rng(7).normal(0, 1, (rows, described.inputs)).astype(dtype)


@DTYPES
@pytest.mark.parametrize("described", NETWORKS)
def test_a_prediction_does_not_depend_on_the_batch(compiled, described, dtype):
    executable = networks.compile_network(described, compiled, dtype, threads=2)
    X = rows_of(described, dtype)
    whole = networks.predict(executable, X)
    for size in (1, 2, 3, 7, 64, ROWS - 1):
        for start in range(0, ROWS - size + 1, max(size, ROWS // 8)):
            part = networks.predict(executable, X[start : start + size])
            assert part.tobytes() == whole[start : start + size].tobytes(), (size, start)


@DTYPES
@pytest.mark.parametrize("described", NETWORKS)
def test_a_prediction_does_not_depend_on_the_place_of_its_row(compiled, described, dtype):
    executable = networks.compile_network(described, compiled, dtype, threads=2)
    X, order = rows_of(described, dtype), np.random.default_rng(8).permutation(ROWS)
    whole = networks.predict(executable, X)
    assert (networks.predict(executable, X[order]) == whole[order]).all()


@DTYPES
@pytest.mark.parametrize("described", NETWORKS)
def test_a_prediction_does_not_depend_on_alignment(compiled, described, dtype):
    executable = networks.compile_network(described, compiled, dtype)
    X = rows_of(described, dtype, 33)
    whole = networks.predict(executable, X)
    for shift in (1, 3):
        raw = np.empty(X.size + shift, dtype)
        moved = raw[shift:].reshape(X.shape)
        moved[...] = X
        out = np.empty(whole.size + shift, dtype)[shift:].reshape(whole.shape)
        executable.predict(moved, out)
        assert out.tobytes() == whole.tobytes()


def everything(compiled, described, dtype, threads):
    """Return the bits of a prediction, a gradient, an evaluation and of some steps."""
    executable = networks.compile_network(described, compiled, dtype, threads)
    batch = networks.random_batch(executable.program, ROWS, dtype, weighted=True)
    told = [networks.predict(executable, batch.X), *executable.evaluate(batch)]
    told += networks.gradient_of(executable, batch, training=True, seed=5, step=6)
    state = executable.new_state(Adam(0.01, clip_norm=0.5, weight_decay=0.01))
    losses, hits, rates = np.empty(7), np.empty(7), np.full(7, 0.01)
    executable.run_steps(batch, None, 32, state, rates, 3, losses, hits)
    told += [executable.parameters, state.moments, losses, hits]
    return [np.asarray(value).tobytes() for value in told]


@DTYPES
@pytest.mark.parametrize("described", NETWORKS)
def test_nothing_depends_on_the_number_of_threads(compiled, described, dtype):
    one = everything(compiled, described, dtype, 1)
    for threads in (2, 3):
        assert everything(compiled, described, dtype, threads) == one


@DTYPES
def test_the_same_calls_give_the_same_bits_again(backend, dtype):
    described = networks.random_network(4)
    first = everything(backend, described, dtype, 2)
    assert everything(backend, described, dtype, 2) == first


def test_predictions_from_several_threads_at_once_are_those_of_one(backend):
    described = networks.random_network(10)
    executable = networks.compile_network(described, backend, threads=2)
    X = rows_of(described, "float64")
    whole = networks.predict(executable, X).tobytes()
    with ThreadPoolExecutor(8) as pool:
        again = list(pool.map(lambda _: networks.predict(executable, X).tobytes(), range(100)))
    assert set(again) == {whole}
