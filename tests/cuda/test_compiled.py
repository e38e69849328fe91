"""Every kernel is compiled as for a GPU, where a CUDA target can do that; none is needed."""

import adversarial
import cuda_offline as offline
import numpy as np
import pytest

from fastnn import optimizers
from fastnn.backends.cuda import kernels
from fastnn.backends.cuda.device import columns, elementwise, fused, product, step, update
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.layers import Dense
from fastnn.losses import CrossEntropy
from fastnn.program import lower
from fastnn.program.kernels import KERNELS

WHY_NOT = offline.why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(WHY_NOT is not None, reason=WHY_NOT or ""),
]

ROWS = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
SIZES = {"B": 5, "I": 3, "O": 7, "N": 9}


@pytest.fixture
def compiled(monkeypatch):
    """Return a dictionary that fills with the PTX of every kernel that a helper launches."""
    found = {}

    def launch(kernel, arguments):
        if id(kernel) not in found:
            found[id(kernel)] = offline.compile_ptx(kernel.function, arguments)

    offline.patch(monkeypatch, launch)
    return found


def wide(ptx):
    """Return the instructions in float64."""
    return {name for name in offline.instructions(ptx) if "f64" in name}


def some(variants, most):
    """Return so many ways to call a kernel for each of its functions, the first one and others."""
    by_function = {}
    for variant in variants:
        by_function.setdefault(variant[0].get("function"), []).append(variant)
    return [v for told in by_function.values() for v in told[:: -(-len(told) // most)]]


@ROWS
@pytest.mark.parametrize("dtype", adversarial.DTYPES)
def test_every_kernel_of_the_table_compiles(compiled, kernel, dtype):
    for variant in some(adversarial.variants(kernel), 2 if dtype == "float32" else 1):
        call = adversarial.make(kernel, variant, SIZES, dtype)
        call.run(kernels)
        # The sine of a large float32 is reduced in float64 by CUDA's own library.
        narrow = dtype == "float32" and kernel.accumulator != "float64"
        if narrow and variant[0].get("function") != "sine":
            assert not any(map(wide, compiled.values())), f"float64 in {call}"
        if variant[0].get("function") == "sine":
            compiled.clear()
    assert compiled or kernel.functions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_a_step_needs_beside_the_table_compiles(compiled, dtype):
    v, numbers, wide_v = np.zeros(64, dtype), np.zeros(9, np.int64), np.zeros(9)
    M = Matrix(v, 8)
    flags = np.zeros(9, np.uint8)
    for limit, penalties in ((None, (None, None)), (0.5, ((v, v, flags), wide_v))):
        step.gradient_pass(0, v, wide_v, v, *penalties, limit, 9)
    for hits, weight in ((None, None), (wide_v, v)):
        told = wide_v, wide_v, v, numbers, wide_v, wide_v, hits, weight, v
        step.finish_batch(0, *told, 0.5, 9, 9)
    step.weigh_batch(0, wide_v, v, 9)
    step.advance(0, numbers)
    elementwise.gather(0, v, v, numbers, numbers, 2, 4)
    elementwise.gather(0, numbers, numbers, numbers, numbers, 2, 4)
    columns.column_sums(0, v, M, True, 8, 8)
    for make in optimizers.OPTIMIZERS.values():
        optimizer = make()
        moments, flags = (v,) * optimizer.moment_count, np.zeros(9, np.uint8)
        update.update(0, v, moments, v, flags, v, numbers, v, optimizer, 9)
    for function in ("gelu", "mish", "relu", "tanh"):
        elementwise.add_bias(0, M, v, function, 0.5, 8, 8)
        product.forward(0, M, M, M, v, function, 0.5, 8, 8, 8)
    assert len(compiled) > 20


@pytest.mark.skipif(WHY_NOT is None and offline.ptxas() is None, reason="there is no ptxas")
@pytest.mark.parametrize("tile", product.TILES, ids=str)
@pytest.mark.parametrize(
    "form",
    [
        product.Form(bias=True, function="gelu"),
        product.Form(right=True, mask="tanh", accumulate=True),
        product.Form(left=True, sums=True),
    ],
    ids=["forward", "backward data", "backward weights"],
)
def test_the_tiles_of_a_product_stay_in_registers(compiled, tile, form, tmp_path):
    M = Matrix(np.zeros(64, np.float32), 8)
    kernel = product._product(np.float32, tile, form)
    kernel.launch(0, (1, 1), tile.block, *M, *M, *M, M.at, M.at, *M, np.float32(0), 8, 8, 8)
    (ptx,) = compiled.values()
    registers, stack, shared = offline.assemble(ptx, tmp_path, product.REGISTERS)
    assert registers <= product.REGISTERS
    assert stack == 0
    assert 0 < shared <= 48 * 1024
    assert offline.instructions(ptx)["fma.rn.f32"] >= tile.own_rows * tile.own_columns


@pytest.mark.skipif(WHY_NOT is None and offline.ptxas() is None, reason="there is no ptxas")
def test_a_network_in_one_launch_fits_into_a_multiprocessor(compiled, tmp_path):
    program = lower([Dense(100, "relu"), Dense(10, "softmax")], 64, CrossEntropy())
    chain = fused.Chain.of(program, np.dtype("float32"))
    assert chain is not None
    vector, M, rows = np.zeros(64, np.float32), Matrix(np.zeros(64, np.float32), 8), np.zeros(8)
    targets = fused.Targets(None, np.zeros(8, np.int64), None, rows)
    told = vector, targets, "cross_entropy", 0.0, 8
    chain.train(0, (M, M), (M, M), rows, rows, M, *told)
    chain.predict(0, M, M, vector, 8)
    for ptx in compiled.values():
        registers, stack, shared = offline.assemble(ptx, tmp_path, 255)
        assert registers * fused.THREADS <= 65536
        assert stack == 0
        assert shared <= fused.SHARED_BYTES
