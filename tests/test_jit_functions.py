"""A user's function becomes a loop over a tile that does what the function does, in its dtype."""

import ctypes
import math
import re
import threading
from math import tanh as hyperbolic_tangent
from types import SimpleNamespace

import numpy as np
import pytest

numba = pytest.importorskip("numba")

import fastnn
from fastnn import activations
from fastnn.backends.jit import functions, instructions

DTYPES = [np.float32, np.float64]
ALPHA = 1.6732632423543772
POWERS = (0.5, 0.25, 3)
TABLE = np.array([0.5, -0.25, 0.125])


def one(z):
    return 1.0


def custom(function, derivative=one):
    """Return what the registry of activations and losses would hold."""
    return SimpleNamespace(name="mine", function=function, derivative=derivative)


def plus_1(z):
    return z + 1


def identity(z):
    return z


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def scaled(steepness):
    def inner(z, shift=0.25, *, factor=2):
        return steepness * sigmoid(z + shift) * factor

    return inner


def branching(z):
    if z > 1:
        return np.log(z)
    if z < -1:
        return -ALPHA
    return z * z - 1


def looping(z):
    total = POWERS[0]
    for power in range(1, 4):
        total = total * z + TABLE[power - 1]
    return total


def inner_function(z):
    def half(x):
        return x / 2

    return half(z) + half(1)


def assigned(z):
    positive = z > 0
    y = np.where(positive, z, ALPHA * np.expm1(z))
    y += 3
    return y


FUNCTIONS = {
    "squareplus": lambda z: (z + np.sqrt(z * z + 4.0)) / 2.0,
    "sigmoid": sigmoid,
    "helper": lambda z: z * sigmoid(z),
    "closure": scaled(1.5),
    "imported": lambda z: hyperbolic_tangent(z) + math.exp(-abs(z)),
    "branching": branching,
    "looping": looping,
    "inner_function": inner_function,
    "assigned": assigned,
    "conditional": lambda z: z if z > 0 else ALPHA * (math.exp(z) - 1),
    "several_times": lambda z: np.tanh(np.log1p(np.exp(z))) * z,
    "error_function": lambda z: 0.5 * z * (1 + math.erf(z / math.sqrt(2))),
    "tail": lambda z: math.erfc(z) + math.erfc(-z),
    "trigonometric": lambda z: np.sin(3 * z) + np.cos(z) ** 2,
    "powers": lambda z: z**3 - z**2 + np.abs(z) ** 1.5 + np.power(z, 2) + np.square(z),
    "rounded": lambda z: np.sign(z) + np.heaviside(z, 0.5) + np.floor(z) + np.fabs(z),
    "bounded": lambda z: np.clip(z, -1, 1) + np.maximum(z, 0) - np.minimum(z, 0.5) + max(z, 0.1),
    "hyperbolic": lambda z: np.log(np.cosh(z)) + np.sinh(z / 4) + np.logaddexp(z, 0),
    "bases": lambda z: np.exp2(z) + np.log2(z * z + 1) + np.log10(z * z + 1) + np.pi,
    "of_arrays": lambda z: np.ones_like(z) + np.zeros_like(z) + np.full_like(z, 3),
    "comparison": lambda z: z > 0,
    "constant": lambda z: 7,
    "large": lambda z: 100000 * z + 1e-3,
    "both": lambda z: 1.0 if z > 0 and z < 1 else 0.0,
    "reciprocal": lambda z: np.reciprocal(np.copysign(1 + abs(z), z)),
    "dispatcher": lambda z: compiled_by_numba(z) + 1,
}
# These are C's own, one by one; and these ask C, in double, where the argument is large.
SLOW = {"powers"}
FAR = {"trigonometric"}


@numba.njit
def compiled_by_numba(x):
    return x * 0.5


def run(compiled, X, Y):
    """Call the forward function of C: Y = f(X), the padding left alone."""
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p, ctypes.c_int64] * 2, *[ctypes.c_int64] * 2)
    B, O = X.shape
    ld = [A.strides[0] // A.itemsize for A in (Y, X)]
    call(compiled.forward)(Y.ctypes.data, ld[0], X.ctypes.data, ld[1], B, O)


def run_backward(compiled, dX, dY, X, accumulate):
    """Call the backward function of C."""
    signature = [*[ctypes.c_void_p, ctypes.c_int64] * 3, *[ctypes.c_int64] * 3]
    arguments = [v for A in (dX, dY, X) for v in (A.ctypes.data, A.strides[0] // A.itemsize)]
    ctypes.CFUNCTYPE(None, *signature)(compiled.backward)(*arguments, accumulate, *X.shape)


def scores(dtype, rows=7, columns=45, ld=48):
    """Return a matrix with padding that is NaN."""
    X = np.full((rows, ld), np.nan, dtype)
    X[:, :columns] = np.random.default_rng(1).normal(0, 2, (rows, columns))
    X[0, :4] = 0, -0.0, 1, -1
    return X, X[:, :columns]


def one_by_one(function, X):
    """Return the function of every element, as Python computes it."""
    flat = [float(function(float(x))) for x in X.ravel()]
    return np.array(flat).reshape(X.shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_tile_has_the_value_of_every_element(name, dtype):
    whole, X = scores(dtype)
    out = np.full_like(whole, 5)
    compiled = functions.compile_activation(custom(FUNCTIONS[name]), dtype)
    run(compiled, X, out[:, : X.shape[1]])
    want = one_by_one(FUNCTIONS[name], X)
    tolerance = 60 * np.finfo(dtype).eps
    np.testing.assert_allclose(out[:, : X.shape[1]], want, rtol=tolerance, atol=tolerance)
    assert (out[:, X.shape[1] :] == 5).all()
    in_place = X.copy()
    run(compiled, in_place, in_place)
    np.testing.assert_array_equal(in_place, out[:, : X.shape[1]])


@pytest.mark.parametrize("name", sorted(set(FUNCTIONS) - SLOW))
def test_float32_stays_float32_and_loops_become_vectors(name):
    if "x86_64" not in instructions.TRIPLE or not instructions.FUSED:
        pytest.skip("only the code of x86-64 with vectors of 32 bytes is read")
    compiled = functions.compile_activation(custom(FUNCTIONS[name]), np.float32)
    for code in compiled.code:
        text = code.inspect_asm() if hasattr(code, "inspect_asm") else code._library.get_asm_str()
        lines = [line.strip() for line in text.splitlines()]
        wider = [line for line in lines if re.match(r"vcvts[sd]2s[sd]|vcvtp[sd]2p[sd]", line)]
        assert not wider or name in FAR
        assert any(re.match(r"v\w+.*%[yz]mm", line) for line in lines)


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_comes_through_as_in_numpy(dtype):
    X = np.full((1, 40), np.nan, dtype)
    Y = np.empty_like(X)
    for name in ("bounded", "rounded", "error_function", "squareplus", "trigonometric"):
        run(functions.compile_activation(custom(FUNCTIONS[name]), dtype), X, Y)
        assert np.isnan(Y).all(), name
    for function in (lambda z: 1.0 if z > 0 else 0.0, lambda z: np.where(z > 0, z, 0)):
        run(functions.compile_activation(custom(function), dtype), X, Y)
        assert (Y == 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_backward_multiplies_by_the_derivative_and_adds_where_told(dtype):
    whole, X = scores(dtype)
    dY = np.random.default_rng(2).normal(0, 1, X.shape).astype(dtype)
    compiled = functions.compile_activation(custom(one, FUNCTIONS["squareplus"]), dtype)
    want = dY * one_by_one(FUNCTIONS["squareplus"], X)
    tolerance = 10 * np.finfo(dtype).eps
    dX = np.full_like(whole, 2)
    run_backward(compiled, dX[:, :45], dY, X, 0)
    np.testing.assert_allclose(dX[:, :45], want, rtol=tolerance)
    assert (dX[:, 45:] == 2).all()
    run_backward(compiled, dX[:, :45], dY, X, 1)
    np.testing.assert_allclose(dX[:, :45], 2 * want, rtol=tolerance)
    in_place = dY.copy()
    run_backward(compiled, in_place, in_place, X, 0)
    np.testing.assert_array_equal(in_place, dX[:, :45] / 2)


# Narrower than a vector, with and without what is left over, more of it than a block of the stack.
SHAPES = [(1, 1), (700, 1), (3, 10), (60, 45), (5, 64), (9, 100), (2, 300), (1, 700), (3, 1024)]


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_element_of_any_shape_is_computed_once_and_no_other(shape, accumulate):
    compiled = functions.compile_activation(custom(plus_1, identity), np.float32)
    B, O = shape
    X = np.full((B, O + 3), np.nan, np.float32)
    X[:, :O] = np.arange(1, B * O + 1).reshape(shape)
    Y = np.full((B + 1, O + 5), 7, np.float32)
    run(compiled, X[:, :O], Y[:B, :O])
    np.testing.assert_array_equal(Y[:B, :O], X[:, :O] + 1)
    half = np.full(shape, 0.5, np.float32)
    run_backward(compiled, Y[:B, :O], half, X[:, :O], accumulate)
    np.testing.assert_array_equal(Y[:B, :O], X[:, :O] / 2 + (X[:, :O] + 1) * accumulate)
    assert (Y[:, O:] == 7).all()
    assert (Y[B] == 7).all()


# row_loss, dZ, Z and T with their leading dimensions, weight, factor, B, O
LOSS = ctypes.CFUNCTYPE(
    None,
    *[ctypes.c_void_p, *[ctypes.c_void_p, ctypes.c_int64] * 3],
    *[ctypes.c_void_p, ctypes.c_double, ctypes.c_int64, ctypes.c_int64],
)


def log_cosh(z, t):
    return np.log(np.cosh(z - t))


def log_cosh_derivative(z, t):
    return np.tanh(z - t)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [1, 45, 700])
def test_a_loss_is_the_mean_over_the_outputs_of_a_row(dtype, weighted, outputs):
    rng = np.random.default_rng(4)
    Z, T = (rng.normal(0, 2, (5, outputs)).astype(dtype) for _ in "ZT")
    weight = rng.uniform(0.5, 2, 5).astype(dtype) if weighted else None
    losses, dZ = np.empty(5), np.empty_like(Z)
    compiled = functions.compile_loss(custom(log_cosh, log_cosh_derivative), dtype)
    pair = [ctypes.c_void_p, ctypes.c_int64]
    signature = [
        ctypes.c_void_p,
        *pair * 3,
        ctypes.c_void_p,
        ctypes.c_double,
        *[ctypes.c_int64] * 2,
    ]
    call = ctypes.CFUNCTYPE(None, *signature)(compiled.rows)

    def compute(gradient):
        call(
            *(losses.ctypes.data, gradient, outputs, Z.ctypes.data, outputs, T.ctypes.data),
            *(outputs, weight.ctypes.data if weighted else None, 0.125, 5, outputs),
        )

    compute(dZ.ctypes.data)
    wide = Z.astype(np.float64) - T
    tolerance = 30 * np.finfo(dtype).eps
    want = np.log(np.cosh(wide)).mean(axis=1)
    np.testing.assert_allclose(losses, want, rtol=tolerance, atol=tolerance)
    factor = 0.125 * (weight[:, None] if weighted else 1)
    np.testing.assert_allclose(dZ, factor * np.tanh(wide) / outputs, rtol=tolerance, atol=1e-30)
    before = losses.copy()
    compute(None)
    np.testing.assert_array_equal(losses, before)


def test_a_loss_is_summed_in_double_in_the_order_of_the_outputs():
    Z = np.full((1, 1000), 1e-8, np.float32)
    Z[0, 0] = 1
    total = 0.0
    for z in Z[0]:
        total += float(z)
    losses = np.empty(1)
    compiled = functions.compile_loss(custom(lambda z, t: z + t, lambda z, t: 1), np.float32)
    pair = [ctypes.c_void_p, ctypes.c_int64]
    signature = [
        ctypes.c_void_p,
        *pair * 3,
        ctypes.c_void_p,
        ctypes.c_double,
        *[ctypes.c_int64] * 2,
    ]
    zeros = np.zeros_like(Z)
    ctypes.CFUNCTYPE(None, *signature)(compiled.rows)(
        *(losses.ctypes.data, None, 0, Z.ctypes.data, 1000, zeros.ctypes.data, 1000, None, 1.0),
        *(1, 1000),
    )
    assert losses[0] == total / 1000


@pytest.mark.parametrize("dtype", DTYPES)
def test_other_compiled_code_can_call_the_functions(dtype):
    value, derivative = functions.scalar_functions(custom(sigmoid, branching), dtype)

    @numba.njit(error_model="numpy")
    def both(z):
        return value(z), derivative(z)

    y, slope = both(dtype(0.5))
    np.testing.assert_allclose([y, slope], [sigmoid(0.5), -0.75], rtol=1e-6)
    assert (
        both.overloads[(numba.typeof(dtype(0)),)].signature.return_type.dtype.name
        == np.dtype(dtype).name
    )


def test_a_registered_activation_can_be_called_by_another(monkeypatch):
    monkeypatch.setattr(activations, "CUSTOM", {})

    @fastnn.activation(derivative=lambda z: (1 + z / np.sqrt(z * z + 4)) / 2)
    def squareplus_of_jit(z):
        return (z + np.sqrt(z * z + 4)) / 2

    X = np.linspace(-3, 3, 41, dtype=np.float32)[None]
    Y = np.empty_like(X)
    compiled = functions.compile_activation(custom(lambda z: 2 * squareplus_of_jit(z)), np.float32)
    run(compiled, X, Y)
    np.testing.assert_allclose(Y, 2 * squareplus_of_jit(X), rtol=1e-6)


def test_numpy_and_math_are_left_alone():
    before = np.exp, math.exp, sigmoid.__globals__["np"], sigmoid.__code__.co_consts
    functions.compile_activation(custom(sigmoid), np.float32)
    assert before == (np.exp, math.exp, np, sigmoid.__code__.co_consts)


def test_division_by_0_gives_what_numpy_gives():
    X = np.array([[0.0, -0.0, 2.0]], np.float32)
    Y = np.empty_like(X)
    run(functions.compile_activation(custom(lambda z: 1 / z), np.float32), X, Y)
    np.testing.assert_array_equal(Y, [[np.inf, -np.inf, 0.5]])


# -- once for all --------------------------------------------------------------------------------


def test_the_same_functions_are_compiled_once():
    first = functions.compile_activation(custom(sigmoid, branching), np.float32)
    again = SimpleNamespace(name="other", function=sigmoid, derivative=branching)
    assert functions.compile_activation(again, "float32") is first
    assert functions.compile_activation(again, np.float64) is not first


def test_threads_compile_at_once():
    made = []

    def times(k):
        return lambda z: z * k

    mine = [times(k / 8) for k in range(4)]

    def work(k):
        made.append((k, functions.compile_activation(custom(mine[k % 4]), np.float32)))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({compiled.forward for _, compiled in made}) == 4
    X = np.ones((2, 20), np.float32)
    for k, compiled in made:
        Y = np.empty_like(X)
        run(compiled, X, Y)
        assert (k % 4 / 8 == Y).all()
