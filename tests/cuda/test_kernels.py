"""Every kernel on the device, or on a simulated one, against the reference.

The sizes are small, for the simulator has a Python thread for every thread of a kernel; its tiles
and blocks are small too, so that every loop has its tail.
"""

import itertools

import adversarial
import judge
import numpy as np
import pytest

from fastnn import backends
from fastnn.backends.cuda import kernels, target
from fastnn.program.kernels import KERNELS

pytestmark = pytest.mark.skipif(
    target.why_not() is not None, reason=f"set NUMBA_ENABLE_CUDASIM=1: {target.why_not()}"
)

ROWS = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
DTYPES = pytest.mark.parametrize("dtype", adversarial.DTYPES)

# Simulated, a product has tiles of 8 by 16 and a depth of 4, a sum over rows or columns 4 by 2
# threads, and a pass over a vector 3 blocks of 8: these are those, one less, one more, and more.
SIZES = (
    {"B": 9, "I": 5, "O": 17, "N": 25},
    {"B": 7, "I": 3, "O": 15, "N": 7},
    {"B": 8, "I": 4, "O": 16, "N": 8},
    {"B": 1, "I": 1, "O": 1, "N": 1},
    {"B": 17, "I": 9, "O": 33, "N": 51},
    {"B": 0, "I": 2, "O": 3, "N": 0},
    {"B": 3, "I": 0, "O": 2, "N": 9},
)
# So many calls try all variants with all sizes; more take turns with the sizes, two for a variant.
FEW = 60


def at_least(kernel, sizes):
    return {c: max(n, adversarial.least(kernel, c)) for c, n in sizes.items()}


def pairs(kernel):
    """Return ways to call a kernel: variants with sizes."""
    variants = adversarial.variants(kernel)
    if len(variants) * len(SIZES) <= FEW:
        return itertools.product(variants, SIZES)
    return [
        (variant, SIZES[(n + turn * 3) % len(SIZES)])
        for turn in range(2)
        for n, variant in enumerate(variants)
    ]


def check(kernel, variant, sizes, dtype, number, kind="ordinary"):
    call = adversarial.make(kernel, variant, at_least(kernel, sizes), dtype, kind)
    truth = judge.truth_by_reference(call)
    layout = adversarial.LAYOUTS[number % len(adversarial.LAYOUTS)]
    judge.check_call(kernels, call, layout, truth, judge.bounds_of(call, truth))


@ROWS
@DTYPES
def test_every_variant_and_every_tail_give_the_numbers_of_the_reference(kernel, dtype):
    for number, (variant, sizes) in enumerate(pairs(kernel)):
        check(kernel, variant, sizes, dtype, number)


@ROWS
@DTYPES
def test_extreme_values_give_the_numbers_of_the_reference(kernel, dtype):
    for number, variant in enumerate(adversarial.variants(kernel)):
        check(kernel, variant, SIZES[0], dtype, number, "extreme")


@ROWS
@DTYPES
def test_nan_and_infinity_reach_exactly_the_outputs_of_the_reference(kernel, dtype, monkeypatch):
    # A few of all combinations: every variant is met, and everything that can be planted.
    variants = adversarial.variants(kernel)
    planted = {str(v): list(adversarial.plants(kernel, v[1])) for v in variants}
    plants = max(map(len, planted.values()))
    for n in range(max(len(variants), plants)):
        variant = variants[n % len(variants)]
        told = planted[str(variant)]
        if told:
            monkeypatch.setattr(adversarial, "variants", lambda _, v=variant: [v])
            plant = told[n % len(told)]
            monkeypatch.setattr(adversarial, "plants", lambda *_, p=plant: [p])
            monkeypatch.setattr(judge, "SMALL", [at_least(kernel, SIZES[0])])
            judge.check_nonfinite(kernels, kernel, dtype)


@pytest.mark.parametrize("kernel", [k for k in KERNELS.values() if k.alias], ids=lambda k: k.name)
@DTYPES
def test_an_output_may_be_the_input_that_the_table_names(kernel, dtype, monkeypatch):
    monkeypatch.setattr(judge, "SMALL", SIZES[:1])
    judge.check_aliases(kernels, kernel, dtype)


@DTYPES
@pytest.mark.parametrize("told", adversarial.DROPOUT, ids=str)
def test_the_masks_of_dropout_are_those_of_every_backend(dtype, told):
    X = np.random.default_rng(0).normal(0, 1, (5, 11)).astype(dtype)
    here = np.empty_like(X)
    kernels.dropout(here, X, **told, accumulate=False)
    for name in backends.available():
        there = np.empty_like(X)
        backends.get(name).kernels.dropout(there, X, **told, accumulate=False)
        assert here.tobytes() == there.tobytes(), name


def test_the_first_of_equal_scores_is_the_guess():
    Z = np.array([[1, 3, 3, 0], [0.0, -0.0, -1, -2], [-0.0, 0.0, -1, -2], [2, 2, 2, 2]])
    row_loss = np.empty(4)
    for labels, right in (([1, 0, 0, 0], 1), ([2, 1, 1, 3], 0)):
        hits = np.full(4, np.nan)
        kernels.loss_labels(row_loss, hits, None, Z, np.array(labels), None, 0.0, 1.0)
        assert (hits == right).all()
        T = np.eye(4)[labels]
        kernels.loss(row_loss, hits, None, Z, T, None, "cross_entropy", 0.0, 1.0)
        assert (hits == right).all()


def test_numbers_that_lead_outside_of_an_array_are_refused():
    X, row_loss = np.zeros((4, 3)), np.zeros(2)
    for bad in (-1, 4):
        with pytest.raises(ValueError, match=rf"index\[1\] is {bad}, expected 0 to 3"):
            kernels.gather_rows(np.zeros((2, 3)), X, np.array([0, bad]))
    with pytest.raises(ValueError, match=r"labels\[0\] is 3, expected 0 to 2"):
        kernels.loss_labels(row_loss, None, None, X[:2], np.array([3, 0]), None, 0.0, 1.0)
