"""Tiles of products in the Numba backend: all widths of vectors give the same bits, and no more.

A product by plain loops is what each of them is held against: every element is one sum in the order
of k, rounded alike, so nothing may depend on where in which tile it stands.
"""

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

import disassembly
import numpy as np
import pytest

import fastnn

numba = pytest.importorskip("numba")

from llvmlite import binding

from fastnn.activations import FORMULAS
from fastnn.backends.jit.instructions import ARM, has
from fastnn.backends.numba_cpu import entry, panels, products, table
from fastnn.backends.numba_cpu.memory import OPTIONS

PLAIN = "0"
WIDTHS = ["16"]
if not ARM:
    WIDTHS += ["32"] if has("avx2") and has("fma") else []
    WIDTHS += ["64"] if has("avx512f") else []
WIDTH = pytest.mark.parametrize("width", WIDTHS)
DTYPE = pytest.mark.parametrize("dtype", ["float32", "float64"])

RELU = list(FORMULAS).index("relu")
TALL = 14  # rows of the highest tile of two vectors
GAP = 3  # numbers between rows, which nobody may touch
UNTOUCHED = 12345.0


def sizes(width, dtype):
    """Return rows and columns of products: at all edges of tiles, and of rows of tiles."""
    lanes = int(width) // np.dtype(dtype).itemsize
    edges = {1, lanes - 1, lanes, lanes + 1, 2 * lanes - 1, 2 * lanes, 2 * lanes + 1} - {0}
    rows = (1, 2, 3, 5, 6, TALL - 1, TALL, TALL + 1)
    found = {(M, N) for M in range(1, 2 * TALL + 3) for N in edges}
    found |= {(M, N) for M in rows for N in range(1, 2 * lanes + 2)}
    found |= {(M, k * lanes + d) for M in range(1, 8) for k in (4, 8, 12) for d in (-1, 0, 1)}
    return sorted(found)


def matrix(rng, rows, columns, dtype):
    """Return numbers in rows that are further apart than they are long."""
    memory = np.full((rows, columns + GAP), UNTOUCHED, dtype)
    memory[:, :columns] = rng.standard_normal((rows, columns))
    return memory


def call(kernel, dtype, width, *arguments):
    """Call a kernel with vectors of a width; an array stands for its address."""
    function = ctypes.CFUNCTYPE(None)(table.address(kernel, dtype, width))
    passed = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    function(*(ctypes.c_int64(a) for a in passed))


def forward(rng, M, N, K, dtype, accumulate):
    """Return the arguments of Y = f(X @ W + b), (M, N), and which of them are set."""
    Y, X, W = matrix(rng, M, N, dtype), matrix(rng, M, K, dtype), matrix(rng, K, N, dtype)
    b = rng.standard_normal(N).astype(dtype)
    arguments = [Y, N + GAP, X, K + GAP, W, N + GAP, b if accumulate else 0]
    return "dense_forward", [*arguments, RELU if M % 2 else 0, M, K, N], [0]


def data(rng, M, N, K, dtype, accumulate):
    """Return those of dX = dY @ W.T, (M, N)."""
    dX, dY, W = matrix(rng, M, N, dtype), matrix(rng, M, K, dtype), matrix(rng, N, K, dtype)
    X = np.maximum(matrix(rng, M, N, dtype), 0)
    arguments = [dX, N + GAP, dY, K + GAP, W, K + GAP, X if M % 2 else 0, N + GAP]
    return "dense_backward_data", [*arguments, int(accumulate), M, N, K], [0]


def weights(rng, M, N, K, dtype, accumulate):
    """Return those of dW = X.T @ dY, (M, N), and db = dY.sum(axis=0)."""
    dW, X, dY = matrix(rng, M, N, dtype), matrix(rng, K, M, dtype), matrix(rng, K, N, dtype)
    db = rng.standard_normal(N).astype(dtype)
    arguments = [dW, N + GAP, db, X, M + GAP, dY, N + GAP, int(accumulate)]
    return "dense_backward_weights", [*arguments, K, M, N], [0, 2]


PRODUCTS = pytest.mark.parametrize("product", [forward, data, weights])


def run(width, kernel, arguments, dtype):
    """Return copies of the arguments, after a call with these."""
    copies = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    call(kernel, dtype, width, *copies)
    return copies


def hold(width, product, M, N, K, dtype, accumulate, spoil=None):
    """Hold a product by vectors of a width against the plain one, bit for bit."""
    rng = np.random.default_rng([M, N, K])
    kernel, arguments, outputs = product(rng, M, N, K, dtype, accumulate)
    if spoil:
        spoil(rng, [a for a in arguments[1:] if isinstance(a, np.ndarray) and a.ndim == 2])
    want = run(PLAIN, kernel, arguments, dtype)
    got = run(width, kernel, arguments, dtype)
    told = f"{kernel} {M} x {N}, depth {K}, added: {accumulate}"
    for number, argument in enumerate(arguments):
        if isinstance(argument, np.ndarray):
            np.testing.assert_array_equal(got[number], want[number], told)
            if number not in outputs or argument.ndim == 2:
                kept = np.s_[:, -GAP:] if number in outputs else ...
                np.testing.assert_array_equal(got[number][kept], argument[kept], told)


@PRODUCTS
@WIDTH
@DTYPE
def test_every_tile_has_the_bits_of_plain_loops(product, width, dtype):
    for number, (M, N) in enumerate(sizes(width, dtype)):
        hold(width, product, M, N, 3 + number % 2, dtype, number % 3 == 0)


@PRODUCTS
@WIDTH
@DTYPE
@pytest.mark.parametrize("depth", [0, 1, 255, 256, 257, 896, 897, 1025])
def test_long_sums_have_the_bits_of_plain_loops(product, width, dtype, depth):
    for M, N in ((1, 1), (5, 7), (TALL + 1, 35), (3, 129), (33, 10)):
        for accumulate in (False, True):
            hold(width, product, M, N, depth, dtype, accumulate)


def spoil(rng, matrices):
    """Put a number that is not finite into each of some matrices."""
    for array in matrices:
        array[rng.integers(len(array)), rng.integers(array.shape[1])] = rng.choice([np.nan, np.inf])


@PRODUCTS
@WIDTH
@DTYPE
def test_what_is_not_finite_reaches_the_same_elements(product, width, dtype):
    for number, (M, N) in enumerate(sizes(width, dtype)[::5]):
        hold(width, product, M, N, 3, dtype, number % 2 == 0, spoil)


@WIDTH
def test_a_fault_of_one_element_is_found(width, monkeypatch):
    plain = call

    def faulty(kernel, dtype, given, *arguments):
        plain(kernel, dtype, given, *arguments)
        if given == width:
            arguments[0][-1, 0] = np.nextafter(arguments[0][-1, 0], np.float32(9))

    monkeypatch.setitem(globals(), "call", faulty)
    with pytest.raises(AssertionError, match="depth 4"):
        hold(width, forward, 15, 17, 4, "float32", True)


# -- machine code ----------------------------------------------------------------------------------

# Of vectors of so many bytes: a processor with no more registers than they fill, and its registers.
PROCESSORS = {"32": ("haswell", "ymm", 16), "64": ("skylake-avx512", "zmm", 32)}


@pytest.mark.slow
@pytest.mark.parametrize("width", [width for width in WIDTHS if width in PROCESSORS])
def test_sums_stay_in_registers(width, tmp_path):
    if not shutil.which("objdump"):
        pytest.skip("there is no objdump (binutils)")
    processor, name, registers = PROCESSORS[width]
    pointer, n = numba.types.CPointer(numba.types.float32), numba.types.int64
    signature = numba.types.void(pointer, n, pointer, n, n, pointer, n, pointer, pointer, *[n] * 6)
    maker = entry.maker(panels.product(width), signature, "product")
    module = binding.parse_assembly(numba.cfunc(n(), **OPTIONS)(maker).inspect_llvm())
    machine = binding.Target.from_triple(module.triple).create_target_machine(cpu=processor, opt=3)
    (tmp_path / "product.o").write_bytes(machine.emit_object(module))
    loops = disassembly.product_loops(disassembly.disassemble(tmp_path / "product.o"))
    found = {str(loop): disassembly.faults(loop) for loop in loops}
    assert {loop: faults for loop, faults in found.items() if faults} == {}
    assert {loop.width for loop in loops} == {name}
    assert max(len(loop.fused) for loop in loops) >= 0.7 * registers


# -- the choice ------------------------------------------------------------------------------------

PROGRAM = """
from fastnn.backends.numba_cpu import products, table
table.address("dense_forward", "float32")
kernels = [k for k in table._compiled if "product" in k[0] or "dense" in k[0]]
print(products.VECTOR, sum(table._compiled[k].cache_hits for k in kernels), len(kernels))
"""


def chosen(folder, width):
    """Return the width that a process takes, what it finds in the cache, and what it needs."""
    environment = {
        **os.environ,
        "FASTNN_NUMBA_VECTOR": width,
        "NUMBA_CACHE_DIR": str(folder),
        "PYTHONPATH": str(Path(fastnn.__file__).parents[1]),
    }
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)


def test_the_width_can_be_asked_for_and_has_files_of_its_own_in_the_cache(tmp_path):
    told = [chosen(tmp_path, width).stdout.split() for width in ("16", "0", "16")]
    assert told == [["16", "0", "2"], ["0", "0", "2"], ["16", "2", "2"]]


def test_a_width_that_there_is_not_is_told(tmp_path):
    assert "FASTNN_NUMBA_VECTOR is '48', expected one of 64, 32, 16, 0" in (
        chosen(tmp_path, "48").stderr
    )


def test_the_widest_vectors_of_the_processor_are_taken():
    assert (os.environ.get("FASTNN_NUMBA_VECTOR") or WIDTHS[-1]) == products.VECTOR
