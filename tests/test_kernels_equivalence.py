"""Every kernel of every backend against the reference: sizes, layouts, values, aliases."""

import adversarial
import judge
import numpy as np
import pytest
import tolerance

from fastnn.program.kernels import KERNELS

ROWS = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
DTYPES = pytest.mark.parametrize("dtype", adversarial.DTYPES)


@ROWS
@DTYPES
@pytest.mark.parametrize("kind", ["ordinary", "extreme"])
def test_every_size_gives_the_numbers_of_the_reference(backend, kernel, dtype, kind):
    judge.check_numbers(backend.kernels, kernel, dtype, kind, rounds=2)


@ROWS
@DTYPES
def test_every_layout_gives_them_and_nothing_else_is_touched(backend, kernel, dtype):
    judge.check_layouts(backend.kernels, kernel, dtype)


@ROWS
@DTYPES
def test_nan_and_infinity_reach_exactly_the_outputs_of_the_reference(backend, kernel, dtype):
    judge.check_nonfinite(backend.kernels, kernel, dtype)


@pytest.mark.parametrize("kernel", [k for k in KERNELS.values() if k.alias], ids=lambda k: k.name)
@DTYPES
def test_an_output_may_be_the_input_that_the_table_names(backend, kernel, dtype):
    judge.check_aliases(backend.kernels, kernel, dtype)


@DTYPES
def test_the_first_of_equal_scores_is_the_guess(backend, dtype):
    Z = np.array([[1, 3, 3, 0], [0.0, -0.0, -1, -2], [-0.0, 0.0, -1, -2], [2, 2, 2, 2]], dtype)
    row_loss = np.empty(4)
    for labels, right in (([1, 0, 0, 0], 1), ([2, 1, 1, 3], 0)):
        hits = np.full(4, np.nan)
        backend.kernels.loss_labels(row_loss, hits, None, Z, np.array(labels), None, 0.0, 1.0)
        assert (hits == right).all()
        T = np.eye(4, dtype=dtype)[labels]
        backend.kernels.loss(row_loss, hits, None, Z, T, None, "cross_entropy", 0.0, 1.0)
        assert (hits == right).all()


@DTYPES
def test_a_score_of_0_says_no_and_a_target_of_a_half_too(backend, dtype):
    Z, T = (np.array([row], dtype) for row in ([0, -0.0, 1e-30, 1e-30], [0.5, 0.4, 0.5, 0.6]))
    row_loss, hits = np.empty(1), np.empty(1)
    backend.kernels.loss(row_loss, hits, None, Z, T, None, "binary_cross_entropy", 0.0, 1.0)
    assert hits == 0.75


@DTYPES
@pytest.mark.parametrize("size", [1.0, 88.0, 1e4, 1e30])
def test_scores_of_any_size_give_probabilities_and_finite_losses(backend, dtype, size):
    rng = np.random.default_rng(0)
    Z = (size * rng.choice([-1, -0.5, 0, 0.5, 1], (200, 7))).astype(dtype)
    Y, dZ, row_loss = np.empty_like(Z), np.empty_like(Z), np.empty(200)
    backend.kernels.softmax_forward(Y, Z)
    assert (Y >= 0).all()
    bound = tolerance.SUM_OF_PROBABILITIES * np.finfo(dtype).eps
    np.testing.assert_allclose(Y.sum(axis=1), 1, rtol=bound)
    backend.kernels.activation_forward(Y, Z, "sigmoid", 0.0)
    assert ((Y >= 0) & (Y <= 1)).all()
    T = rng.uniform(0, 1, Z.shape).astype(dtype)
    for function in ("cross_entropy", "binary_cross_entropy"):
        backend.kernels.loss(row_loss, None, dZ, Z, T, None, function, 0.0, 1.0)
        assert np.isfinite(row_loss).all()
        assert np.isfinite(dZ).all()


@DTYPES
def test_a_sum_over_nothing_is_the_bias_or_zero(backend, dtype):
    X, W, b = np.empty((3, 0), dtype), np.empty((0, 5), dtype), np.arange(5, dtype=dtype)
    Y = np.full((3, 5), np.nan, dtype)
    backend.kernels.dense_forward(Y, X, W, b, "identity")
    assert (b == Y).all()
    dW, db = np.full((4, 5), np.nan, dtype), np.full(5, np.nan, dtype)
    backend.kernels.dense_backward_weights(
        dW, db, np.empty((0, 4), dtype), np.empty((0, 5), dtype), False
    )
    assert not dW.any()
    assert not db.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(0,), (1,), (40,), (3, 7), (0, 4), (700, 400)])
def test_every_backend_finds_the_first_value_that_is_not_finite(backend, dtype, shape):
    array = np.ones(shape, dtype)
    assert backend.first_nonfinite(array) == -1
    for at in {0, array.size // 2, array.size - 1} if array.size else ():
        array.reshape(-1)[at] = np.inf if at % 2 else np.nan
        assert backend.first_nonfinite(array) == at
        array[...] = 1


UNALIGNED = np.zeros(13, np.uint8)[1:].view(np.float32)


@pytest.mark.parametrize(
    "array", [np.zeros(3, np.int64), np.zeros(3, ">f4"), UNALIGNED, np.zeros((4, 4))[:, 1]]
)
def test_values_of_another_kind_are_not_looked_at(compiled, array):
    with pytest.raises(ValueError, match=r"aligned array of float32 or float64|contiguous"):
        compiled.first_nonfinite(array)
