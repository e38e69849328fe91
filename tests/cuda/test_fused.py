"""A small network in one launch: the numbers of the reference, layer by layer."""

import networks
import numpy as np
import pytest
import tolerance
from networks import Described, fn, losses

from fastnn import backends
from fastnn.backends.cuda import target
from fastnn.backends.cuda.device import fused
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.reference.interpreter import Pass
from fastnn.program import lower

pytestmark = pytest.mark.skipif(
    target.why_not() is not None, reason=f"set NUMBA_ENABLE_CUDASIM=1: {target.why_not()}"
)

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
dense = fn.Dense
# By name: layers of 3 inputs, and a loss. In the simulator a tile has 8 rows, or 4.
NETWORKS = {
    "one": ([dense(4, "softmax")], losses.CrossEntropy(0.1)),
    "two": ([dense(5, "relu"), dense(2, "softmax", use_bias=False)], losses.CrossEntropy()),
    "three": (
        [dense(5, "tanh"), dense(4, "sigmoid"), dense(3, "sigmoid")],
        losses.BinaryCrossEntropy(),
    ),
    "four": (
        [dense(2), dense(3, "relu"), dense(1, "exp"), dense(2, "tanh")],
        losses.Huber(0.5),
    ),
    "hinge": ([dense(3, "tanh"), dense(2)], losses.Hinge()),
    "counts": ([dense(3, "relu"), dense(2, "exp")], losses.Poisson()),
    "wide": ([dense(88, "relu"), dense(5)], losses.MeanSquaredError()),
}


def there(array):
    return target.cuda.to_device(np.ascontiguousarray(array).reshape(-1))


def matrix(rows, columns, dtype):
    return Matrix(there(np.full((rows, columns + 1), np.nan, dtype)), columns + 1)


def fetch(m, columns):
    return m.at.copy_to_host().reshape(-1, m.ld)[:, :columns]


def close(got, want, dtype):
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance.PASS[dtype] * np.abs(want).max())


@DTYPES
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_values_losses_and_gradients_are_those_of_the_reference(dtype, name, weighted):
    layers, loss = NETWORKS[name]
    executable = networks.compile_network(
        Described(layers, 3, loss), backends.get("reference"), dtype
    )
    program, B = executable.program, 13
    batch = networks.random_batch(program, B, dtype, weighted=weighted)
    chain = fused.Chain.of(program, np.dtype(dtype))
    assert chain is not None
    widths = [layer.O for layer in chain.layers]
    values, gradients = ([matrix(B, w, dtype) for w in widths] for _ in range(2))
    row_loss, hits = there(np.full(B, np.nan)), there(np.full(B, np.nan))
    parameters, X = there(executable.parameters), Matrix(there(batch.X), 3)
    labels = batch.Y.ndim == 1
    targets = fused.Targets(
        None if labels else Matrix(there(batch.Y), widths[-1]),
        there(batch.Y) if labels else None,
        there(batch.weight) if weighted else None,
        there(np.array([0.25])),
    )
    told = parameters, targets, loss.name, loss.constant, B
    chain.train(0, values, gradients, row_loss, hits, X, *told)

    run = Pass(executable, batch.X)
    scores = run.forward()
    d = [np.zeros_like(slot) for slot in run.slots]
    want_loss, want_hits, want = np.empty(B), np.full(B, np.nan), np.empty_like(scores)
    executable._loss(want_loss, want_hits, want, scores, batch, slice(None), 0.25)
    d[program.scores] = want
    for number, op in reversed(list(enumerate(program.ops))):
        run._backward_data(number, op, d)
    close(row_loss.copy_to_host(), want_loss, dtype)
    close(hits.copy_to_host(), want_hits, dtype)
    for n, (op, width) in enumerate(zip(chain.ops, widths, strict=True)):
        slot = program.ops[op].output
        behind = chain.ops[n + 1] if n + 1 < len(widths) else len(program.ops)
        output = program.ops[behind - 1].output  # of the activation, where there is one
        close(fetch(values[n], width), run.slots[output], dtype)
        close(fetch(gradients[n], width), d[slot], dtype)

    out = matrix(B, widths[-1], dtype)
    chain.predict(0, out, X, parameters, B)
    close(fetch(out, widths[-1]), scores, dtype)


@pytest.mark.parametrize(
    ("layers", "loss"),
    [
        ([dense(4, "gelu"), dense(2)], losses.MeanSquaredError()),  # its slope wants the scores
        ([dense(4), fn.Dropout(0.5), dense(2)], losses.MeanSquaredError()),
        ([fn.Residual([dense(3)]), dense(2)], losses.MeanSquaredError()),
        ([dense(2)] * (fused.DEEPEST + 1), losses.MeanSquaredError()),
        ([dense(200), dense(200)], losses.MeanSquaredError()),  # more than shared memory holds
        ([fn.Activation("tanh"), dense(2)], losses.MeanSquaredError()),
    ],
)
def test_what_does_not_fit_is_no_chain(layers, loss):
    assert fused.Chain.of(lower(layers, 3, loss), np.dtype("float32")) is None
