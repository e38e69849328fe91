"""Every function of the core is as near to the truth as it says, on every path, in every dtype.

A driver in C holds the functions against the next wider dtype of the C library, and prints the
worst of each in units in the last place. The bounds stand in ulp.py.
"""

import os
import shutil
import subprocess
import sys

import compiled
import numpy as np
import pytest
import ulp

from fastnn import backends
from fastnn.activations import FORMULAS

pytestmark = pytest.mark.skipif(compiled.compiler() is None, reason="there is no C compiler")

# No power of 2, so that the last bits of the numbers move: about every 2**12-th float32.
SAMPLES = {"float32": 1049359, "float64": 300_000}

# Faults to plant in the functions, all at once, as each has a function that no other one touches:
# the right text, the wrong one, and who must notice.
FAULTS = {
    "a coefficient is off": ("0x1.110776p-7f", "0x1.111776p-7f", "sine"),
    "another one": ("0x1.999c0cp-2f", "0x1.99ac0cp-2f", "log1p"),
    "one of a tail": ("0x1.7023fap-6f", "0x1.7033fap-6f", "gelu"),
    "denormals underflow": ("EXP_LOWEST PICK(-104", "EXP_LOWEST PICK(-87", "exp"),
    "0 loses its sign": ("(vec){0} - quotient", "-quotient", "tanh"),
}


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Return the driver with the functions of all paths."""
    return ulp.build(tmp_path_factory.mktemp("ulp"))


@pytest.mark.parametrize("dtype", SAMPLES)
def test_every_function_stays_within_its_bound_on_every_path(driver, dtype):
    try:
        found = list(ulp.measure(driver, dtype, SAMPLES[dtype]))
    except subprocess.CalledProcessError as error:
        if error.returncode == 3:
            pytest.skip("a long double is no wider than a double here")
        raise
    assert {worst.function for worst in found} == set(ulp.BOUNDS)
    beyond = [w for w in found if not w.ulp <= getattr(ulp.BOUNDS[w.function], dtype)]
    assert not beyond


def test_every_activation_has_a_bound():
    assert set(FORMULAS) <= set(ulp.BOUNDS)


def test_a_bound_beyond_the_promise_says_why():
    assert all(bound.why for bound in ulp.BOUNDS.values() if max(bound[:2]) > 2.5)


@pytest.fixture(scope="module")
def faulty(tmp_path_factory):
    """Return the driver with faulty functions, of the path that every such processor has."""
    folder = tmp_path_factory.mktemp("faulty")
    shutil.copytree(compiled.ROOT / "src_c/kernels", folder / "kernels")
    source = folder / "kernels/vecmath.inc"
    text = source.read_text()
    for right, wrong, _ in FAULTS.values():
        assert right in text
        text = text.replace(right, wrong)
    source.write_text(text)
    return ulp.build(folder, list(compiled.PATHS)[-1:], folder)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_driver_notices_a_planted_fault(fault, faulty):
    *_, function = FAULTS[fault]
    (worst,) = ulp.measure(faulty, "float32", SAMPLES["float32"], [function])
    assert not worst.ulp <= ulp.BOUNDS[function].float32


INSTALLED = """
import sys
import numpy as np
from fastnn import backends
from fastnn.activations import FORMULAS

native = backends.get("native")
X = {dtype: np.load(f"{dtype}.npy") for dtype in ("float32", "float64")}
Y = {}
for name, formula in FORMULAS.items():
    for dtype, x in X.items():
        y = Y[f"{name} {dtype}"] = np.empty_like(x)
        native.kernels.activation_forward(y, x, name, formula.default)
np.savez(sys.argv[1], isa=native.details()["isa"], **Y)
"""


@pytest.mark.skipif("native" not in backends.available(), reason="there is no native backend")
@pytest.mark.parametrize("path", compiled.PATHS)
def test_what_is_measured_is_what_is_installed(driver, path, tmp_path):
    rng = np.random.default_rng(0)
    ends = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 5e-324, 104.5, -104.5, 746, -746]
    x = np.concatenate([ends, rng.normal(0, 3, 2000), rng.uniform(-800, 800, 1000)])
    for dtype in SAMPLES:
        np.save(tmp_path / f"{dtype}.npy", x.astype(dtype)[None])
    run = subprocess.run(
        [sys.executable, "-c", INSTALLED, f"{path}.npz"],
        cwd=tmp_path,
        env={**os.environ, "FASTNN_ISA": path},
        capture_output=True,
        text=True,
        timeout=100,
    )
    if "names no code path for this processor" in run.stderr:
        pytest.skip(f"this processor has no path {path}")
    assert not run.returncode, run.stderr
    installed = np.load(tmp_path / f"{path}.npz")
    assert installed["isa"] == path
    for name in FORMULAS:
        for dtype in SAMPLES:
            command = [*compiled.program(driver), "values", path, dtype, name]
            told = subprocess.run(
                command, input=x.astype(dtype).tobytes(), capture_output=True, check=True
            )
            measured = np.frombuffer(told.stdout, dtype)
            same = installed[f"{name} {dtype}"][0]
            np.testing.assert_array_equal(measured, same, err_msg=f"{name} {dtype}")
            zero = measured == 0
            assert (np.signbit(measured[zero]) == np.signbit(same[zero])).all()
