"""Matrix products at the edges of tiles, panels and blocks, whatever the path has of these.

Products of small whole numbers are exact in any order, so they have to be equal; what is not finite
has to reach what it would reach in a sum that is written out.
"""

import itertools
from types import SimpleNamespace

import adversarial
import judge
import numpy as np
import pytest

from fastnn.program.kernels import KERNELS

BFLOAT16 = "dense_forward_bfloat16"
PRODUCTS = ("dense_forward", BFLOAT16, "dense_backward_data", "dense_backward_weights")
KERNEL = pytest.mark.parametrize("name", PRODUCTS)
DTYPES = pytest.mark.parametrize("dtype", adversarial.DTYPES)

ROWS = range(1, 31)
COLUMNS = sorted({1, 143} | {n + d for n in (4, 8, 16, 32, 64, 128) for d in (-1, 0, 1)})
SHALLOW = 3
# The length of the sum, at the edges of the blocks that a long one is cut into.
DEPTHS = (0, 1, 2, 255, 256, 257, 895, 896, 897, 1024, 1025, 1153)


def whole(rng, *shape):
    """Return small whole numbers, few of them 0."""
    return rng.integers(-4, 5, shape).astype(np.float64)


def written_out(A, B):
    """Return the matrix product as a sum in the order of the index, term by term."""
    total = np.zeros((len(A), B.shape[1]))
    with np.errstate(all="ignore"):
        for k in range(len(B)):
            total += A[:, k, None] * B[k]
    return total


def multiply(kernels, name, A, B, dtype, start=None):
    """Let a kernel compute A @ B, into memory full of NaN, or added to what there is."""
    if name == BFLOAT16:
        kernels, name = SimpleNamespace(dense_forward=kernels.dense_forward_bfloat16), PRODUCTS[0]
    A, B = A.astype(dtype), B.astype(dtype)
    C = np.full((len(A), B.shape[1]), np.nan, dtype) if start is None else start.astype(dtype)
    add = start is not None
    with np.errstate(all="ignore"):
        if name == "dense_forward":
            kernels.dense_forward(C, A, B, None, "identity")
        elif name == "dense_backward_data":
            kernels.dense_backward_data(C, A, np.ascontiguousarray(B.T), None, add)
        else:
            kernels.dense_backward_weights(C, None, np.ascontiguousarray(A.T), B, add)
    return C


def check_shapes(kernels, name, dtype):
    rng = np.random.default_rng(0)
    for M, N in itertools.product(ROWS, COLUMNS):
        A, B = whole(rng, M, SHALLOW), whole(rng, SHALLOW, N)
        want = A @ B
        np.testing.assert_array_equal(multiply(kernels, name, A, B, dtype), want, f"{M}, {N}")
        if "backward" in name:
            start = whole(rng, M, N)
            got = multiply(kernels, name, A, B, dtype, start)
            np.testing.assert_array_equal(got, start + want, f"added, {M}, {N}")


def check_nonfinite(kernels, name, dtype):
    rng = np.random.default_rng(1)
    for number, (M, N) in enumerate(itertools.product(ROWS, COLUMNS)):
        A, B = whole(rng, M, SHALLOW), whole(rng, SHALLOW, N)
        for matrix, value in ((A, np.nan), (B, np.inf), (A, -np.inf), (B, np.nan))[number % 2 :: 2]:
            matrix.flat[rng.integers(matrix.size)] = value
        got = multiply(kernels, name, A, B, dtype)
        np.testing.assert_array_equal(got, written_out(A, B), f"{M}, {N}")


def check_depths(kernels, name, dtype):
    rng = np.random.default_rng(2)
    eps = float(np.finfo(dtype).eps)
    for K, (M, N) in itertools.product(DEPTHS, ((1, 1), (3, 129), (15, 33), (29, 17))):
        A, B = whole(rng, M, K), whole(rng, K, N)
        np.testing.assert_array_equal(multiply(kernels, name, A, B, dtype), A @ B, f"{M}, {N}, {K}")
        A, B = (rng.normal(0, 1, x.shape).astype(dtype) for x in (A, B))
        for factor in (A, B) if name == BFLOAT16 else ():
            judge.REFERENCE.round_bfloat16(factor, factor)
        A, B = A.astype(np.longdouble), B.astype(np.longdouble)
        error = np.abs(multiply(kernels, name, A, B, dtype) - A @ B)
        assert (error <= (K + 2) * eps * (np.abs(A) @ np.abs(B))).all(), (M, N, K)


CHECKS = (check_shapes, check_nonfinite, check_depths)
CHECK = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@CHECK
@KERNEL
@DTYPES
def test_products_are_right_at_the_edges_of_tiles(backend, check, name, dtype):
    check(backend.kernels, name, dtype)


def test_every_product_is_asked():
    assert {k.name for k in KERNELS.values() if k.tolerance == "product"} == set(PRODUCTS)


# -- faults of tiles, each of which some check must find -------------------------------------------


def forgets_the_last_lane_of_wide_rows(A, B, C):
    if C.shape[1] > 128:
        C[:, 127] = 0


def pads_the_sum(A, B, C):
    with np.errstate(all="ignore"):
        C += 0 * A.sum() * (len(A) == 28)


def forgets_the_last_term_of_a_block(A, B, C):
    if len(B) > 256:
        C -= np.outer(A[:, 255], B[255]).astype(C.dtype)


def rounds_as_float16_does(A, B, C):
    if len(B) > 1000:
        C[...] = C * (1 + 2.0**-11)


FAULTS = (
    forgets_the_last_lane_of_wide_rows,
    pads_the_sum,
    forgets_the_last_term_of_a_block,
    rounds_as_float16_does,
)


def check_all(kernels, name, dtype):
    for check in CHECKS:
        check(kernels, name, dtype)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_of_a_tile_is_found(fault):
    def dense_forward(C, A, B, b, function):
        judge.REFERENCE.dense_forward(C, A, B, b, function)
        fault(A, B, C)

    with pytest.raises(AssertionError):
        check_all(SimpleNamespace(dense_forward=dense_forward), "dense_forward", "float32")
