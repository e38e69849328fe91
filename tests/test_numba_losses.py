"""A row's cross entropy has the same bits alone as among others, in the Numba backend.

Few scores are worked on one by one there, and many in vectors of rows.
"""

import numpy as np
import pytest

pytest.importorskip("numba")

from fastnn.backends.numba_cpu import kernels
from fastnn.backends.numba_cpu.few import FEW

ROWS = FEW + 1  # so many are no few scores, however short the rows are


def cross_entropy(Z, T, labels, weight, smoothing):
    """Return what the kernel sets, for T or else for the labels."""
    losses, hits, dZ = np.zeros(len(Z)), np.zeros(len(Z)), np.zeros_like(Z)
    if T is None:
        kernels.loss_labels(losses, hits, dZ, Z, labels, weight, smoothing, 0.3)
    else:
        kernels.loss(losses, hits, dZ, Z, T, weight, "cross_entropy", smoothing, 0.3)
    return losses, hits, dZ


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("by_labels", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_row_alone_has_the_bits_that_it_has_among_others(dtype, by_labels, smoothing):
    rng = np.random.default_rng(0)
    for O in range(1, FEW + 2):
        Z = (3 * rng.standard_normal((ROWS, O))).astype(dtype)
        T = None if by_labels else rng.random((ROWS, O)).astype(dtype)
        labels, weight = rng.integers(0, O, ROWS), rng.random(ROWS).astype(dtype)
        together = cross_entropy(Z, T, labels, weight, smoothing)
        for r in range(ROWS):
            one = np.s_[r : r + 1]
            targets = None if T is None else T[one]
            alone = cross_entropy(Z[one], targets, labels[one], weight[one], smoothing)
            for a, b in zip(alone, together, strict=True):
                np.testing.assert_array_equal(a, b[one], f"row {r} of {O} scores")
