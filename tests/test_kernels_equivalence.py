"""Every kernel of every backend against the reference: sizes, layouts, values, aliases."""

import adversarial
import judge
import numpy as np
import pytest

from fastnn.program.kernels import KERNELS

ROWS = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
DTYPES = pytest.mark.parametrize("dtype", adversarial.DTYPES)


@ROWS
@DTYPES
@pytest.mark.parametrize("kind", ["ordinary", "extreme"])
def test_every_size_gives_the_numbers_of_the_reference(backend, kernel, dtype, kind):
    judge.check_numbers(backend.kernels, kernel, dtype, kind)


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
def test_a_sum_over_nothing_is_the_bias_or_zero(backend, dtype):
    X, W, b = np.empty((3, 0), dtype), np.empty((0, 5), dtype), np.arange(5, dtype=dtype)
    Y = np.full((3, 5), np.nan, dtype)
    backend.kernels.dense_forward(Y, X, W, b)
    assert (b == Y).all()
    dW, db = np.full((4, 5), np.nan, dtype), np.full(5, np.nan, dtype)
    backend.kernels.dense_backward_weights(
        dW, db, np.empty((0, 4), dtype), np.empty((0, 5), dtype), False
    )
    assert not dW.any()
    assert not db.any()
