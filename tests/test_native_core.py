"""Promises of the C core beyond its numbers: equal bits, interrupts, memory that runs out."""

import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import compiled
import numpy as np
import pytest

from fastnn import Network, backends, losses
from fastnn import layers as fn
from fastnn.optimizers import SGD, Adam, RMSprop
from fastnn.program import lower
from fastnn.program.program import Op, Slot

native = pytest.importorskip("fastnn.backends.native", exc_type=ImportError)
core = native._core

LAYERS = [
    fn.Dropout(0.1),
    fn.Dense(9, "relu"),
    fn.Residual([fn.LayerNorm(), fn.Gated(9), fn.Dropout(0.3)]),
    fn.Concat([fn.Dense(5, "tanh")]),
    fn.Dense(3, "softmax"),
]
INPUTS = 4
ROWS = 1300  # more than two chunks
LAST = list(compiled.PATHS)[-1]  # the code path of every such processor


def network(layers=LAYERS, inputs=INPUTS, loss=None, dtype="float32"):
    program = lower(layers, inputs, loss)
    executable = native.BACKEND.compile(program, np.dtype(dtype), 1)
    rng = np.random.default_rng(0)
    for parameter in program.parameters:
        executable.view(parameter)[...] = rng.normal(0, 0.3, parameter.shape)
    return executable


def batch_of(executable, rows=ROWS, weighted=True):
    rng = np.random.default_rng(1)
    X = rng.normal(0, 1, (rows, executable.program.inputs)).astype(executable.dtype)
    labels = rng.integers(0, executable.program.outputs, rows)
    weight = rng.uniform(0.5, 2, rows).astype(executable.dtype) if weighted else None
    return backends.Batch(X, labels, weight)


def predict(executable, X):
    out = np.full((len(X), executable.program.outputs), np.nan, executable.dtype)
    executable.predict(X, out)
    return out


def gradient_of(executable, batch):
    gradient = np.full(executable.program.size, np.nan, executable.dtype)
    executable.loss_and_gradient(batch, gradient, training=True, seed=3, step=4)
    return gradient


def train(executable, batch, order=None, batch_size=100, steps=5, optimizer=None):
    state = executable.new_state(optimizer or Adam())
    rates, lost, hits = np.full(steps, 0.01), np.empty(steps), np.empty(steps)
    taken = executable.run_steps(batch, order, batch_size, state, rates, 7, lost, hits)
    return taken, state, lost, hits


# -- equal bits -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_prediction_does_not_depend_on_the_rows_around_it(dtype):
    executable = network(dtype=dtype)
    X = batch_of(executable).X
    whole = predict(executable, X)
    for start, end in ((0, 1), (511, 513), (700, 707), (1299, 1300)):
        alone = predict(executable, X[start:end])
        assert alone.tobytes() == whole[start:end].tobytes()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_weights_gradients_summed_in_two_calls_have_the_bits_of_one(dtype):
    rng = np.random.default_rng(2)
    X, dY = (rng.normal(0, 1, (23, 6)).astype(dtype) for _ in range(2))
    mean, scale = (rng.normal(0, 1, 23).astype(dtype) for _ in range(2))
    kernels = native.kernels

    def sums(cuts):
        dW, db, dscale, dshift, dbeta = (np.zeros(n, dtype) for n in ((6, 6), 6, 6, 6, 1))
        for first, last in zip(cuts, cuts[1:], strict=False):
            part = slice(first, last)
            kernels.dense_backward_weights(dW, db, X[part], dY[part], True)
            kernels.layer_norm_backward_parameters(
                dscale, dshift, dY[part], X[part], mean[part], scale[part], True
            )
            kernels.gate_backward_beta(dbeta, dY[part], X[part], X[part], 1.3, True)
        return [array.tobytes() for array in (dW, db, dscale, dshift, dbeta)]

    assert sums([0, 23]) == sums([0, 1, 16, 17, 23])


def test_training_in_order_and_by_number_have_the_same_bits():
    rng = np.random.default_rng(3)
    order = rng.permutation(ROWS)
    by_number, in_order = network(), network()
    batch = batch_of(by_number)
    shuffled = backends.Batch(batch.X[order], batch.Y[order], batch.weight[order])
    results = [
        train(by_number, batch, order, batch_size=600, steps=3),
        train(in_order, shuffled, None, batch_size=600, steps=3),
    ]
    assert by_number.parameters.tobytes() == in_order.parameters.tobytes()
    np.testing.assert_array_equal(results[0][2:], results[1][2:])


def test_fitting_keeps_one_copy_of_the_parameters_and_no_mask_of_them():
    net = Network([fn.Dense(1000), fn.Dense(1000)], input_size=1000, backend="native")
    rows = np.ones((2, 1000), np.float32)
    net.fit(rows, rows, progress=False)
    tracemalloc.start()
    net.fit(rows, rows, progress=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.01 * net.parameters_vector.nbytes


def test_eight_threads_predict_the_same_bits_at_once():
    executable = network()
    X = batch_of(executable).X
    wanted = predict(executable, X).tobytes()
    wrong = []

    def work():
        for _ in range(20):
            if predict(executable, X).tobytes() != wanted:
                wrong.append(threading.get_ident())

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_one_hot_targets_have_the_bits_of_labels():
    executable = network()
    batch = batch_of(executable)
    one_hot = np.eye(3, dtype=np.float32)[batch.Y]
    other = backends.Batch(batch.X, one_hot, batch.weight)
    assert gradient_of(executable, batch).tobytes() == gradient_of(executable, other).tobytes()


# -- memory ---------------------------------------------------------------------------------------

CALLS = {
    "compile": lambda executable, batch: network(),
    "predict": lambda executable, batch: predict(executable, batch.X),
    "evaluate": lambda executable, batch: executable.evaluate(batch),
    "gradient": gradient_of,
    "train": lambda executable, batch: train(executable, batch, np.arange(ROWS)),
}


@pytest.mark.parametrize("name", CALLS)
def test_when_any_allocation_fails_nothing_has_changed_and_the_next_call_works(name):
    executable = network()
    batch = batch_of(executable)
    before = executable.parameters.copy()
    for successes in range(100):
        core.fail_allocation_after(successes)
        try:
            CALLS[name](executable, batch)
        except MemoryError:
            assert executable.parameters.tobytes() == before.tobytes()
        else:
            break
        finally:
            core.fail_allocation_after(-1)
    assert 0 < successes < 100, "every call allocates, and not without end"
    assert np.isfinite(predict(executable, batch.X)).all()


def test_a_workspace_beyond_all_memory_is_refused_whatever_the_last_call_left():
    # The overflow of its size was taken for a size, and any memory of the engine for enough of it.
    first, *_ = (program := lower([fn.BatchNorm(), fn.Dense(2, "softmax")], 1, None)).ops
    ops, slots = [first], list(program.slots[:2])
    for number in range(1, 631):  # double the width 30 times, then keep it
        kind = "concat" if number <= 30 else "add"
        ops.append(Op(kind, (number, number), number + 1, (False, True)))
        slots.append(Slot(str(number), 2 ** min(number, 30)))
    program = program._replace(ops=tuple(ops), slots=tuple(slots))
    executable = native.BACKEND.compile(program, np.dtype("float32"), 1)
    X, labels = np.zeros((2**22, 1), np.float32), np.zeros(2**22, np.int64)
    assert executable.evaluate(backends.Batch(X[:0], labels[:0])) == (0, 0)
    with pytest.raises(MemoryError):
        executable.loss_and_gradient(backends.Batch(X, labels), None, training=True)


# -- interrupts -----------------------------------------------------------------------------------

WIDE = [fn.Dense(2048, "gelu"), fn.Dense(2048, "gelu"), fn.Dense(3, "softmax")]
SLACK = 0.1  # seconds between Ctrl-C and the exception


def interrupted(call, after=0.15):
    """Return how long after Ctrl-C the call ended, which it must have done by KeyboardInterrupt."""
    sent = []

    def press():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    def call_and_wait():
        call()
        time.sleep(10 * after)  # a call that is over too early must not let Ctrl-C end the tests

    timer = threading.Timer(after, press)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        call_and_wait()
    ended = time.monotonic()
    timer.join()
    return ended - sent[0]


@pytest.mark.parametrize(
    ("layers", "inputs", "rows", "batch_size", "steps"),
    [(LAYERS, INPUTS, ROWS, 100, 10**6), (WIDE, 2048, 2000, 1000, 1000)],
    ids=["many short steps", "few long steps"],
)
def test_ctrl_c_stops_training_soon_and_at_a_whole_step(layers, inputs, rows, batch_size, steps):
    executable, again = (network(layers, inputs) for _ in range(2))
    batch = batch_of(executable, rows)
    order = np.resize(np.arange(rows), batch_size * steps)
    state = executable.new_state(Adam())
    rates, lost, hits = np.full(steps, 1e-3), np.empty(steps), np.empty(steps)
    late = interrupted(
        lambda: executable.run_steps(batch, order, batch_size, state, rates, 7, lost, hits)
    )
    assert late < SLACK
    assert state.step < steps
    other = again.new_state(Adam())
    taken = slice(state.step)
    again.run_steps(batch, order, batch_size, other, rates[taken], 7, lost[taken], hits[taken])
    assert again.parameters.tobytes() == executable.parameters.tobytes()
    assert other.moments.tobytes() == state.moments.tobytes()


def test_ctrl_c_stops_the_prediction_of_many_rows_soon():
    executable = network(WIDE, 2048)
    X = np.zeros((50_000, 2048), np.float32)
    assert interrupted(lambda: predict(executable, X)) < SLACK


# -- the door -------------------------------------------------------------------------------------


def test_a_row_number_or_label_out_of_range_is_refused_before_anything_changes():
    executable = network()
    batch = batch_of(executable)
    before = executable.parameters.copy()
    for bad in (-1, ROWS):
        order = np.arange(ROWS)
        order[17] = bad
        with pytest.raises(ValueError, match=rf"order\[17\] is {bad}, expected 0 to {ROWS - 1}"):
            train(executable, batch, order)
    labels = batch.Y.copy()
    labels[5] = 3
    with pytest.raises(ValueError, match=r"labels\[5\] is 3, expected 0 to 2"):
        train(executable, backends.Batch(batch.X, labels))
    assert executable.parameters.tobytes() == before.tobytes()


@pytest.mark.parametrize(
    ("number", "change"),
    [
        (0, {"output": 2}),
        (0, {"inputs": (1,)}),
        (0, {"inputs": (-1,)}),
        (0, {"constant": 1.0}),
        (1, {"parameters": (0, 99)}),
        (1, {"parameters": (1, 0)}),
        (1, {"parameters": ()}),
        (3, {"parameters": (0, 1)}),
        (6, {"inputs": (0, 5)}),
        (6, {"accumulate": (True, False)}),
        (8, {"inputs": (2, 0)}),
    ],
)
def test_a_program_that_does_not_fit_together_is_refused(number, change):
    program = network().program
    ops = list(program.ops)
    ops[number] = ops[number]._replace(**change)
    with pytest.raises(ValueError, match=f"the program does not fit together: op {number}, "):
        core.Engine(program._replace(ops=tuple(ops)), "float32", 1)


def test_a_parameter_outside_of_the_vector_is_refused():
    program = network().program
    for change in ({"offset": -16}, {"offset": program.size}, {"stride": 8}, {"stride": 2**62}):
        parameters = (program.parameters[0]._replace(**change), *program.parameters[1:])
        with pytest.raises(
            ValueError, match="the program does not fit together: parameter 1.weight"
        ):
            core.Engine(program._replace(parameters=parameters), "float32", 1)


def test_labels_for_a_loss_of_values_are_refused():
    executable = network([fn.Dense(3)], loss=losses.MeanSquaredError())
    with pytest.raises(ValueError, match="labels go with cross_entropy only"):
        executable.evaluate(batch_of(executable))


def test_arrays_that_do_not_fit_are_refused():
    executable = network()
    batch = batch_of(executable)
    X, labels, weight = batch.X, batch.Y, batch.weight
    wrong = [
        lambda: executable.predict(X[:, :3].copy(), np.empty((ROWS, 3), np.float32)),
        lambda: executable.predict(X, np.empty((ROWS - 1, 3), np.float32)),
        lambda: executable.predict(X, np.empty((ROWS, 4), np.float32)),
        lambda: executable.predict(X.astype(np.float64), np.empty((ROWS, 3), np.float32)),
        lambda: executable.predict(X[::2], np.empty((ROWS // 2, 3), np.float32)),
        lambda: executable.evaluate(backends.Batch(X, labels[1:])),
        lambda: executable.evaluate(backends.Batch(X, labels, weight[1:])),
        lambda: executable.evaluate(backends.Batch(X, np.zeros((ROWS, 2), np.float32))),
        lambda: executable.loss_and_gradient(batch, np.empty(7, np.float32)),
        lambda: executable.loss_and_gradient(batch, None, np.empty((ROWS, 3), np.float32)),
        lambda: train(executable, batch, batch_size=0),
        lambda: train(executable, batch, batch_size=1000, steps=3),
    ]
    for call in wrong:
        with pytest.raises(ValueError, match=r"expected|contiguous|at least|fewer"):
            call()


@pytest.mark.parametrize(
    "optimizer",
    [SGD(momentum=0.5, nesterov=True), Adam(clip_norm=0.01), RMSprop(momentum=0.5, clip_value=0.1)],
    ids=lambda optimizer: optimizer.name,
)
def test_a_loss_that_is_not_finite_ends_training_before_its_step(optimizer):
    executable = network()
    batch = batch_of(executable)
    batch.X[250] = np.inf
    taken, state, lost, _ = train(executable, batch, optimizer=optimizer)
    assert (taken, state.step) == (2, 2)
    assert np.isfinite(lost[:2]).all()
    assert np.isnan(lost[2])
    assert np.isfinite(executable.parameters).all()
    assert np.isfinite(state.moments).all()


@pytest.mark.parametrize(("name", "works"), [("", True), (LAST, True), ("avx1024", False)])
def test_the_environment_names_the_code_path(name, works):
    run = subprocess.run(
        [sys.executable, "-c", "from fastnn.backends import get; get('native')"],
        env={**os.environ, "FASTNN_ISA": name},
        capture_output=True,
        text=True,
    )
    assert (run.returncode == 0) == works, run.stderr
    if not works:
        assert "FASTNN_ISA=avx1024 names no code path" in run.stderr
        assert LAST in run.stderr.splitlines()[-1]
