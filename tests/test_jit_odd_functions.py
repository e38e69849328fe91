"""Functions of one's own that raise, count, or use odd numbers from outside, as machine code."""

import ctypes
from types import SimpleNamespace

import numpy as np
import pytest

from fastnn.errors import CompilationError

pytest.importorskip("numba")

from fastnn.backends.jit import functions

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])
P, N, D = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
FORWARD = ctypes.CFUNCTYPE(None, P, N, P, N, N, N)
BACKWARD = ctypes.CFUNCTYPE(None, P, N, P, N, P, N, N, N, N)
ROWS = ctypes.CFUNCTYPE(None, P, P, N, P, N, P, N, P, D, N, N)


def one(z):
    return 1.0


def values(function, X):
    """Return what the compiled function makes of a row of scores."""
    Y, n = np.full_like(X, 7), len(X)
    custom = SimpleNamespace(name="mine", function=function, derivative=one)
    forward = functions.compile_activation(custom, X.dtype).forward
    FORWARD(forward)(Y.ctypes.data, n, X.ctypes.data, n, 1, n)
    return Y


def slopes(function, X, accumulate):
    """Return what the compiled function gives as a derivative, behind a gradient of 1."""
    dX, dY, n = np.zeros_like(X), np.ones_like(X), len(X)
    custom = SimpleNamespace(name="mine", function=one, derivative=function)
    backward = functions.compile_activation(custom, X.dtype).backward
    matrices = [argument for A in (dX, dY, X) for argument in (A.ctypes.data, n)]
    BACKWARD(backward)(*matrices, accumulate, 1, n)
    return dX


def loss(function, X):
    """Return the loss of a row by the compiled function, and its gradient by the same."""
    row_loss, dX, n = np.full(1, 7.0), np.full_like(X, 7), len(X)
    custom = SimpleNamespace(
        name="mine", function=lambda z, t: function(z), derivative=lambda z, t: function(z)
    )
    rows = functions.compile_loss(custom, X.dtype).rows
    matrices = [argument for A in (dX, X, X) for argument in (A.ctypes.data, n)]
    ROWS(rows)(row_loss.ctypes.data, *matrices, None, float(n), 1, n)
    return row_loss[0], dX


# -- what raises inside --------------------------------------------------------------------------

STAIRS = np.array([0.0, 0.25, 0.75, 1.0])


def stairs(z):
    return STAIRS[int(min(max(z, 0.0), 3.0))]


def few_stairs(z):
    return (0.0, 0.25, 0.75, 1.0)[int(z)]


def many_turns(z):
    total = 0.0
    for _ in range(0, 4, 2 if z == z else 0):
        total += z
    return total / 2


@pytest.mark.parametrize("function", [stairs, few_stairs, many_turns])
@DTYPES
def test_what_raises_inside_gives_nan_there_alone(function, dtype, capfd):
    X = np.array([1.0, 3.0, np.nan, 2.0, 0.0], dtype)
    expected = [function(x) if x == x else np.nan for x in X.tolist()]
    np.testing.assert_array_equal(values(function, X), expected)
    for accumulate in (0, 1):
        np.testing.assert_array_equal(slopes(function, X, accumulate), expected)
    row_loss, gradient = loss(function, X)
    assert np.isnan(row_loss)
    np.testing.assert_array_equal(gradient, expected)
    assert capfd.readouterr() == ("", "")


# -- numbers from outside ------------------------------------------------------------------------


def test_functions_of_whole_numbers_alone_are_as_exact_as_float64():
    X = np.linspace(-3, 3, 40)
    Y = values(lambda z: z * 4 * np.arctan(1), X)
    np.testing.assert_allclose(Y, X * np.pi, rtol=1e-15)


@DTYPES
@pytest.mark.parametrize("number", [np.array(0.5), np.array(0.5, np.float32), np.array(3)])
def test_an_array_of_no_dimensions_is_a_number(number, dtype):
    X = np.linspace(-3, 3, 40, dtype=dtype)
    Y = values(lambda z: number if z > 0 else float(number) * z, X)
    np.testing.assert_array_equal(Y, np.where(X > 0, dtype(number), dtype(number) * X))


def raising(z):
    if z > 3:
        raise ValueError("too much")
    return z


shadowed = raising


def of_the_global(z):
    return shadowed(z)


def closed(shadowed):
    return lambda z: shadowed * z


def test_a_variable_around_a_function_hides_a_global():
    assert values(closed(3.0), np.ones(3, np.float32)).tolist() == [3, 3, 3]
    with pytest.raises(CompilationError, match="exceptions cannot be raised inside"):
        values(of_the_global, np.ones(3, np.float32))
