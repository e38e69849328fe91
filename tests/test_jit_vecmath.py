"""The functions in Numba are as near to the truth as those in C, and their loops become vectors."""

import math
import os
import re
import subprocess
import sys
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import ulp

numba = pytest.importorskip("numba")

from fastnn import backends
from fastnn.backends.jit import angles, instructions, vecmath

FUNCTIONS = {
    name: getattr(module, name)
    for module in (vecmath, angles)
    for name in module.__all__
    if name not in {"limit", "logaddexp", "near_cos", "near_sin", "normal_tail"}
}

# What `ulp.BOUNDS` says of those that the C core has too, and what is promised of all others.
BOUNDS = {name: 2.5 for name in FUNCTIONS}
BOUNDS |= {name: ulp.BOUNDS[name].float32 for name in ("exp", "log1p", "softplus")}
BOUNDS |= {"exp2": 1.25, "log": 1.25, "erf": 1.75, "log2": 2, "expm1": 1.75}

# The same in the dtypes that NumPy has it in; of errors and the normal distribution see below.
TRUTHS = {
    "sigmoid": lambda x: np.where(x < 0, np.exp(-abs(x)), 1) / (1 + np.exp(-abs(x))),
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))),
}
ERRORS = {
    "erf": math.erf,
    "erfc": math.erfc,
    "normal_cdf": lambda x: math.erfc(-x * math.sqrt(0.5)) / 2,
}
WIDER = {np.float32: np.float64, np.float64: np.longdouble}

# Ends, branches, and seams of the reductions; their neighbours are taken too.
POINTS = [0.0, 0.25, 0.5, 1.0, 2.0, 8.0, 14.5, 20.0, 38.8, 40.0, 88.7228, 89.4, 103.972, 104.0]
POINTS += [709.783, 710.5, 745.133, 746.0, 128.0, 149.0, 1024.0, 1074.0, 1e5, 1e9, 200.0, 5e4]
POINTS += [*(k * math.log(2) / 2 for k in range(1, 300)), *(k * math.pi / 4 for k in range(1, 80))]
POINTS += [1e-45, 1e-38, 1.2e-38, 5e-324, 2.2e-308, 3e38, 1.7e308, math.sqrt(0.5), math.sqrt(2)]


@cache
def looped(name):
    """Return a loop over an array, as kernels have them."""
    function = FUNCTIONS[name]

    @numba.njit(error_model="numpy")
    def loop(y, x):
        for i in range(x.size):
            y[i] = function(x[i])

    return loop


def values(name, x):
    """Return the values of a function on an array."""
    y = np.empty_like(x)
    looped(name)(y, x)
    return y


def arguments(dtype, count):
    """Return arguments all over the dtype, most of them where functions bend."""
    integer = np.int32 if dtype == np.float32 else np.int64
    with np.errstate(over="ignore"):
        points = np.array([*POINTS, math.inf, math.nan], dtype)
    near = points.view(integer)[:, None] + np.arange(-8, 9, dtype=integer)
    rng = np.random.default_rng(7)
    bits = rng.integers(0, 2 ** (8 * dtype().nbytes), count, dtype=np.dtype(f"u{dtype().nbytes}"))
    middle = rng.normal(0, 3, count).astype(dtype)
    wide = rng.uniform(-110, 110, count).astype(dtype)
    x = np.concatenate([near.ravel().view(dtype), middle, wide])
    return np.concatenate([x, -x, bits.view(dtype)])


def distances(y, truth):
    """Return how far values are from the truth, in ULP; infinite for a wrong NaN or sign of 0."""
    limits = np.finfo(y.dtype)
    wide = truth.dtype.type
    past = wide(2) ** limits.maxexp
    wrong = (np.isnan(y) != np.isnan(truth)) | ((y == 0) & (np.signbit(y) != np.signbit(truth)))
    got = np.where(np.isinf(y), np.copysign(past, y), y.astype(wide))
    want = np.clip(truth, -past, past)
    _, exponent = np.frexp(np.where(np.isnan(want), 0, want))
    exponent = np.clip(exponent - 1, limits.minexp, limits.maxexp - 1)
    unit = np.ldexp(wide(1), exponent - limits.nmant)
    far = np.where(np.isnan(got) & np.isnan(want), 0, np.abs(got - want) / unit)
    return np.where(wrong, np.inf, far)


def worst(name, dtype, count):
    """Return the largest distance of a function from the truth, and where."""
    x = arguments(dtype, count)
    if name in ERRORS:
        x = x[: 3 * count : 5] if dtype == np.float32 else x[:0]
    with np.errstate(all="ignore"):
        wide = x.astype(WIDER[dtype])
        if name in ERRORS:
            truth = np.array([ERRORS[name](v) for v in wide.tolist()])
        else:
            truth = TRUTHS.get(name, getattr(np, name, None))(wide)
        far = distances(values(name, x), truth)
    return (float(far.max()), float(x[far.argmax()])) if far.size else (0.0, 0.0)


def beyond(dtype, count):
    """Return the functions that break their bounds, with the worst of each."""
    found = {name: worst(name, dtype, count) for name in FUNCTIONS}
    return {name: far for name, far in found.items() if not far[0] <= BOUNDS[name]}


needs_wider = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 63, reason="a long double is no wider than a double here"
)


def test_every_function_stays_within_its_bound_in_float32():
    assert beyond(np.float32, 200_000) == {}


@needs_wider
def test_every_function_stays_within_its_bound_in_float64():
    assert beyond(np.float64, 50_000) == {}


# Processors to compile for, which this one can run if it can run AVX2: without AVX-512, and without
# fused products.
OTHERS = {
    "avx2": ("haswell", "+avx2,+fma,+bmi,+bmi2,+lzcnt,+movbe,+f16c,+popcnt,+sse4.2"),
    "base": ("x86-64", "+sse2"),
}
COMMAND = "import sys; sys.path.insert(0, sys.argv[1]); import test_jit_vecmath as t; t.main()"


def main():
    """Print what breaks its bound, and whether products are fused."""
    print(beyond(np.float32, 20_000), instructions.FUSED, instructions.SCALES)


@pytest.mark.slow
@pytest.mark.parametrize("processor", OTHERS)
def test_bounds_hold_without_avx512_and_without_fused_products(processor):
    if "+avx2," not in numba.core.registry.cpu_target.target_context.codegen().magic_tuple()[2]:
        pytest.skip("this processor has no AVX2")
    name, features = OTHERS[processor]
    run = subprocess.run(
        [sys.executable, "-c", COMMAND, str(Path(__file__).parent)],
        env={**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": features},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert not run.returncode, run.stderr
    assert run.stdout == f"{{}} {processor == 'avx2'} False\n"


def exact_erfc(x):
    """Return erfc(x), x > 0, by the series of e**(x**2) erf(x), in whole numbers of 1500 bits."""
    bits = 1500
    one = 1 << bits
    numerator, denominator = x.as_integer_ratio()
    x = (numerator << bits) // denominator
    square = x * x >> bits
    term = total = x
    n = 1
    while term:
        n += 2
        term = (term * 2 * square >> bits) // n
        total += term
    exponential = term = one
    n = 0
    while term:
        n += 1
        term = (term * square >> bits) // n
        exponential += term
    pi = angles_of_machin(bits)
    erf = (2 * total << bits) // math.isqrt(pi << bits) * one // exponential
    return one - erf, one


def angles_of_machin(bits):
    """Return pi in units of 2**-bits: John Machin's formula of 1706."""

    def arctan_of_inverse(n):
        power = total = (1 << bits + 32) // n
        k = 1
        while power:
            power //= -n * n
            k += 2
            total += power // k
        return total

    return (16 * arctan_of_inverse(5) - 4 * arctan_of_inverse(239)) >> 32


def test_the_error_function_stays_within_its_bound_in_float64():
    rng = np.random.default_rng(3)
    x = np.concatenate([rng.uniform(0, 26, 150), rng.uniform(0, 3, 150), [0.5, 0.4999999, 1e-9]])
    erf, erfc = values("erf", x), values("erfc", x)
    for i, point in enumerate(x.tolist()):
        truth, one = exact_erfc(point)
        for got, want, bound in ((erf[i], one - truth, 1.75), (erfc[i], truth, 2.5)):
            off = abs(Fraction(float(got)) - Fraction(want, one)) / Fraction(math.ulp(want / one))
            assert off <= bound, (point, float(off))
    tail = values("normal_cdf", -x)
    # The argument of erfc is rounded here: that alone moves it by so much.
    rounded = 2.5e-16 * x * x + 5e-16
    assert (abs(tail - values("erfc", x * math.sqrt(0.5)) / 2) <= rounded * tail).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["exp", "sigmoid", "tanh", "softplus", "sin"])
def test_bits_are_those_of_the_native_backend(name, dtype):
    if "native" not in backends.available() or not instructions.FUSED:
        pytest.skip("there is nothing that does the same")
    native = backends.get("native")
    if native.details()["isa"] == "base":
        pytest.skip("the baseline fuses no products")
    x = arguments(dtype, 20_000)
    y = np.empty_like(x)[None]
    native.kernels.activation_forward(y, x[None], {"sin": "sine"}.get(name, name), 0.0)
    np.testing.assert_array_equal(values(name, x), y[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bits_do_not_depend_on_the_place_in_a_loop(name, dtype):
    x = arguments(dtype, 40)[::11]
    together = values(name, x)
    alone = np.concatenate([values(name, x[i : i + 1]) for i in range(x.size)])
    shifted = values(name, x[5:])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together[5:], shifted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_loop_becomes_vectors(name, dtype):
    if not instructions.FUSED or "x86_64" not in instructions.TRIPLE:
        pytest.skip("only the code of x86-64 with fused products is read")
    values(name, np.ones(3, dtype))
    kind = numba.typeof(np.ones(3, dtype))
    text = looped(name).inspect_asm((kind, kind))
    suffix = "ps" if dtype == np.float32 else "pd"
    assert re.search(rf"vfn?m(add|sub)\d+{suffix}.*%[yz]mm", text)
    if name in {"sin", "cos"}:  # they are called, and have the products in them
        assert re.search(rf"\$fastnn_{name}_\w+_x\d+", text)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_logaddexp_does_not_overflow(dtype):
    @numba.njit
    def call(a, b):
        return vecmath.logaddexp(a, b)

    pairs = [(0.0, 0.0), (1000.0, 1000.5), (-np.inf, -np.inf), (np.inf, np.inf), (-np.inf, 3.0)]
    pairs += [(np.inf, -np.inf), (np.nan, 1.0), (1.0, np.nan), (-3.0, 50.0)]
    for a, b in pairs:
        with np.errstate(invalid="ignore"):
            want = np.logaddexp(dtype(a), dtype(b))
        np.testing.assert_allclose(call(dtype(a), dtype(b)), want, rtol=4 * np.finfo(dtype).eps)
