"""The same bits: whatever the batch, the alignment, the number of threads, and who else calls.

Everything is held against the same call in this process. No hash is stored: the bits are promised
for one code path of one version, and they hang on the functions of the C library. The other code
paths of this processor run these tests too, from test_code_paths.
"""

import hashlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import networks
import numpy as np
import pytest
from networks import Described, fn, losses

from fastnn.backends import Batch
from fastnn.optimizers import Adam

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])

# Wide enough for several threads and for blocks in every direction.
WIDE = Described(
    [
        fn.Dense(1031, "relu"),
        fn.Dropout(0.2),
        fn.Dense(131, "gelu", l2=1e-3, penalty_per_row=True),
        fn.LayerNorm(),
        fn.Residual([fn.Gated(131, "swiglu")]),
        fn.Dense(10, "softmax"),
    ],
    130,
    losses.CrossEntropy(),
)

# Widths that leave columns over behind every vector, and enough work for threads.
ODD = Described(
    [
        fn.Dense(100, "silu"),
        fn.Dropout(0.2),
        fn.LayerNorm(),
        fn.Residual([fn.Gated(100), fn.Dropout(0.1)]),
        fn.Columns(3, 50, [fn.Dense(9, "tanh", use_bias=False)]),
        fn.Dense(33, "tanh", max_norm=2.0),
        fn.Concat([fn.Dense(1, "softplus", use_bias=False)]),
        fn.Dense(17, "elu", l1=1e-4),
        fn.Dense(3),
    ],
    17,
    losses.CrossEntropy(0.1),
)
ODD_BATCHES = Described(
    [
        fn.Dense(100, "relu"),
        fn.BatchNorm(),
        fn.Residual([fn.Dense(17, "tanh"), fn.BatchNorm(), fn.Dense(100)]),
        fn.Dropout(0.2),
        fn.Gated(33, "geglu"),
        fn.BatchNorm(),
        fn.Dense(3, "gelu"),
        fn.Dense(1),
    ],
    33,
    losses.Huber(0.7),
)

LARGE = {"wide": WIDE, "odd widths": ODD, "odd widths and batch norms": ODD_BATCHES}
NETWORKS = [pytest.param(networks.random_network(s), id=f"random {s}") for s in range(0, 20, 3)]
NETWORKS += [pytest.param(described, id=name) for name, described in LARGE.items()]
ROWS = 200

# Calls with less work than this have one thread: see WORK_OF_TWO in src_c/run.c.
WORK_OF_TWO = 400_000


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


def shifted(array, elements):
    """Return a copy that begins so many elements behind the start of its memory."""
    moved = np.empty(array.size + elements, array.dtype)[elements:].reshape(array.shape)
    moved[...] = array
    return moved


@DTYPES
@pytest.mark.parametrize("described", NETWORKS)
def test_a_prediction_does_not_depend_on_alignment(compiled, described, dtype):
    executable = networks.compile_network(described, compiled, dtype)
    X = rows_of(described, dtype, 33)
    whole = networks.predict(executable, X)
    for shift in range(1, 64 // X.itemsize):
        out = shifted(whole, 64 // X.itemsize - shift)
        out.fill(np.nan)
        executable.predict(shifted(X, shift), out)
        assert out.tobytes() == whole.tobytes(), shift


@DTYPES
@pytest.mark.parametrize("described", NETWORKS)
def test_training_does_not_depend_on_alignment(compiled, described, dtype):
    executable = networks.compile_network(described, compiled, dtype)
    batch = networks.random_batch(executable.program, 33, dtype, weighted=True)
    told = {"training": True, "seed": 5, "step": 6}
    loss, gradient, input_gradient = networks.gradient_of(executable, batch, **told)
    for shift in (1, 3):
        moved = Batch(*(shifted(array, shift) for array in (batch.X, batch.Y, batch.weight)))
        into = shifted(gradient, shift), shifted(input_gradient, shift)
        for array in into:
            array.fill(np.nan)
        assert executable.loss_and_gradient(moved, *into, **told) == loss
        assert into[0].tobytes() == gradient.tobytes()
        assert into[1].tobytes() == input_gradient.tobytes()


def rows_for_threads(program):
    """Return with how many rows a call of the program is worth threads."""
    width = [slot.width for slot in program.slots]
    work = sum(
        (width[op.inputs[0]] if op.kind == "dense" else 16) * width[op.output] for op in program.ops
    )
    return WORK_OF_TWO // work + 1


def everything(compiled, described, dtype, threads):
    """Return one hash of predictions, a gradient, an evaluation, and of training in two ways.

    The large networks take 50 steps each way. A clipped norm needs the whole gradient before the
    first update; without one every block of parameters is updated on the spot.
    """
    executable = networks.compile_network(described, compiled, dtype, threads)
    enough = rows_for_threads(executable.program)
    rows, size = max(ROWS, enough), max(33, enough)
    batch = networks.random_batch(executable.program, rows, dtype, weighted=True)
    told = [networks.predict(executable, batch.X), executable.evaluate(batch)]
    told += networks.gradient_of(executable, batch, training=True, seed=5, step=6)
    steps = 50 if described in LARGE.values() else 3
    order = np.random.default_rng(9).integers(0, rows, steps * size)
    for clip_norm in (None, 0.5):
        state = executable.new_state(Adam(0.003, weight_decay=0.01, clip_norm=clip_norm))
        lost, hits = np.empty(steps), np.empty(steps)
        rates = np.full(steps, 0.003)
        assert executable.run_steps(batch, order, size, state, rates, 3, lost, hits) == steps
        assert np.isfinite(executable.parameters).all()
        told += [executable.parameters.copy(), executable.states.copy(), state.moments, lost, hits]
    return hashlib.sha256(b"".join(np.asarray(value).tobytes() for value in told)).hexdigest()


@DTYPES
@pytest.mark.parametrize("described", NETWORKS)
def test_nothing_depends_on_the_number_of_threads(compiled, described, dtype):
    one = everything(compiled, described, dtype, 1)
    for threads in (2, 3, 5, 8):
        assert everything(compiled, described, dtype, threads) == one, threads


def time_of_workers():
    """Return how long the workers have run, in nanoseconds: those that Python does not know too."""
    time.sleep(0.01)  # until those that wait awake for more work have gone to sleep
    others = (thread for thread in threading.enumerate() if not thread.name.startswith("fastnn-"))
    known = {str(thread.native_id) for thread in others}
    tasks = [task for task in Path("/proc/self/task").iterdir() if task.name not in known]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="threads tell no times here")
@pytest.mark.parametrize("described", NETWORKS)
def test_workers_take_part_where_threads_are_tried(compiled, described):
    # Guards the guard: calls below WORK_OF_TWO would prove nothing about threads.
    before = time_of_workers()
    everything(compiled, described, "float32", 1)
    alone = time_of_workers()
    assert alone == before
    everything(compiled, described, "float32", 8)
    assert time_of_workers() > alone


@DTYPES
def test_nothing_depends_on_who_has_the_pool(compiled, dtype):
    """Others train and predict all the time, so the pool is taken at some calls, free at others."""
    one = everything(compiled, ODD, dtype, 1)
    over = threading.Event()

    def train():
        calls = set()
        while not over.is_set():
            calls.add(everything(compiled, ODD_BATCHES, dtype, 3))
        return calls

    def predict():
        executable = networks.compile_network(WIDE, compiled, dtype, threads=2)
        X, calls = rows_of(WIDE, dtype), set()
        while not over.is_set():
            calls.add(networks.predict(executable, X).tobytes())
        return calls

    with ThreadPoolExecutor(3) as pool:
        others = [pool.submit(call) for call in (train, train, predict)]
        try:
            for threads in (2, 5, 8, 3, 2):
                assert everything(compiled, ODD, dtype, threads) == one
        finally:
            over.set()
        trained, again, predicted = (other.result() for other in others)
    assert trained == again == {everything(compiled, ODD_BATCHES, dtype, 1)}
    assert len(predicted) == 1


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
