"""Loops over Python floats judge the reference, and every backend, on small shapes."""

import ast
import inspect
from pathlib import Path

import adversarial
import judge
import naive
import numpy as np
import pytest
import tolerance

from fastnn.activations import FORMULAS
from fastnn.program.kernels import KERNELS

ROWS = pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
DTYPES = pytest.mark.parametrize("dtype", adversarial.DTYPES)

SHAPES = ({"B": 1, "I": 1, "O": 1, "N": 1}, {"B": 3, "I": 5, "O": 7, "N": 9})
LARGER = {"B": 9, "I": 17, "O": 5, "N": 33}


@ROWS
@DTYPES
@pytest.mark.parametrize("kind", ["ordinary", "extreme"])
def test_the_loops_agree_with_every_kernel(backend, kernel, dtype, kind):
    for variant in adversarial.variants(kernel):
        for sizes in (*SHAPES, LARGER):
            call = adversarial.make(kernel, variant, sizes, dtype, kind)
            truth = judge.truth_by_loops(call)
            bounds = judge.bounds_of(call, truth)
            judge.check_call(backend.kernels, call, adversarial.LAYOUTS[0], truth, bounds)


def test_the_loops_import_nothing_of_the_package():
    imported = set()
    for file in Path(naive.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add("." * node.level + (node.module or ""))
    assert {name.split(".")[0] for name in imported} == {"math", "naive"}


# -- completeness --------------------------------------------------------------------------------


@ROWS
def test_every_row_of_the_table_has_its_loops(kernel):
    read = [a.name for a in kernel.arguments if a.role != "out"]
    constants = [name for name in kernel.constants if name != "accumulate"]
    assert list(inspect.signature(getattr(naive, kernel.name)).parameters) == read + constants


@ROWS
def test_every_backend_has_every_row_with_the_arguments_of_the_table(backend, kernel):
    function = getattr(backend.kernels, kernel.name)
    names = [*(a.name for a in kernel.arguments), *kernel.constants]
    call = adversarial.make(kernel, adversarial.variants(kernel)[0], SHAPES[1], "float64")
    with np.errstate(all="ignore"):
        function(**call.copy(), **call.constants)  # by the names of the table
    try:
        signature = inspect.signature(function)
    except ValueError:  # compiled without one
        return
    assert list(signature.parameters) == names


@ROWS
def test_every_variant_names_every_constant_and_function(kernel):
    variants = adversarial.variants(kernel)
    assert {v["function"] for v, _ in variants if "function" in v} == set(kernel.functions)
    assert all(tuple(constants) == kernel.constants for constants, _ in variants)
    optional = {a.name for a in kernel.arguments if a.optional}
    assert set().union(*(absent for _, absent in variants)) == optional


@ROWS
def test_every_size_takes_every_value_of_the_generator(kernel):
    drawn = adversarial.shapes(kernel)
    for letter in adversarial.letters(kernel):
        least = adversarial.least(kernel, letter)
        assert {s[letter] for s in drawn} == {s for s in adversarial.SIZES if s >= least}


def test_the_loops_know_every_activation_and_loss():
    assert set(naive.VALUE) == set(naive.SLOPE) == set(FORMULAS)
    assert {*naive.PER_OUTPUT, "cross_entropy"} == set(KERNELS["loss"].functions)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_slopes_of_the_loops_are_the_differences_of_their_values(name):
    # Whoever judges the slopes of others has to be judged once.
    c, h = FORMULAS[name].default, 1e-3
    for x in (-7.3, -2.1, -0.6, -0.05, 0.07, 0.9, 3.2, 8.4):
        f = [naive.VALUE[name](x + k * h, c) for k in (-2, -1, 1, 2)]
        difference = (8 * (f[2] - f[1]) - (f[3] - f[0])) / (12 * h)
        assert naive.SLOPE[name](x, c) == pytest.approx(difference, **tolerance.LOOPS)
