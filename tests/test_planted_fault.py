"""A wrong kernel turns the suite red: faults planted into every row of the table must be found.

Tests that cannot fail prove nothing. Here the checks of the other files judge the reference with
one fault at a time in one of its kernels, and have to object.
"""

import ctypes
import itertools
from types import SimpleNamespace

import judge
import numpy as np
import pytest

from fastnn.program.kernels import KERNELS

EPS = np.finfo(np.float32).eps


def faulty(kernel, replacement):
    """Return the kernels of the reference with another function for one row.

    The replacement gets the sound function, its arrays and its constants, both by name.
    """
    sound = getattr(judge.REFERENCE, kernel.name)
    names = [a.name for a in kernel.arguments]

    def function(*values):
        arrays = dict(zip(names, values[: len(names)], strict=True))
        constants = dict(zip(kernel.constants, values[len(names) :], strict=True))
        return replacement(sound, arrays, constants)

    others = {name: getattr(judge.REFERENCE, name) for name in KERNELS}
    return SimpleNamespace(**{**others, kernel.name: function})


def written(kernel, arrays, dtype="real"):
    """Return the arrays that the kernel writes, without empty ones."""
    told = [arrays[a.name] for a in kernel.arguments if a.role != "in" and a.dtype == dtype]
    return [array for array in told if array is not None and array.size]


def read(kernel, arrays):
    """Return the real inputs, without empty ones."""
    told = [arrays[a.name] for a in kernel.arguments if a.role == "in" and a.dtype == "real"]
    return [array for array in told if array is not None and array.size]


def behind(array):
    """Return the column behind the last one, which belongs to somebody else."""
    start = array[..., -1:]
    shifted = start.__array_interface__["data"][0] + array.itemsize
    memory = (ctypes.c_byte * array.itemsize).from_address(shifted)
    return np.frombuffer(memory, array.dtype)


# -- faults of any kernel: each takes the row, the sound function, its arrays and constants ------


def leaves_the_last_column(kernel, sound, arrays, constants):
    outputs = written(kernel, arrays)
    before = [array[..., -1].copy() for array in outputs]
    returned = sound(*arrays.values(), *constants.values())
    for array, column in zip(outputs, before, strict=True):
        array[..., -1] = column
    return returned


def turns_the_sign(kernel, sound, arrays, constants):
    returned = sound(*arrays.values(), *constants.values())
    for array in written(kernel, arrays) + written(kernel, arrays, "float64"):
        np.negative(array, out=array)
    return None if returned is None else -returned


def is_a_little_off(kernel, sound, arrays, constants):
    returned = sound(*arrays.values(), *constants.values())
    for array in written(kernel, arrays):
        exact = kernel.tolerance == "exact"
        array[...] = np.nextafter(array, np.inf) if exact else array * (1 + 64 * EPS)
    return None if returned is None else returned + 64 * EPS * max(1, returned)


def writes_behind_the_row(kernel, sound, arrays, constants):
    returned = sound(*arrays.values(), *constants.values())
    for array in written(kernel, arrays):
        behind(array)[...] = 0
    return returned


def reads_behind_the_row(kernel, sound, arrays, constants):
    returned = sound(*arrays.values(), *constants.values())
    extra = sum(0 * float(behind(array)[0]) for array in read(kernel, arrays))
    for array in written(kernel, arrays):
        array[..., 0] += extra
    return None if returned is None else returned + extra


def changes_an_input(kernel, sound, arrays, constants):
    for array in read(kernel, arrays):
        ctypes.memset(array.ctypes.data, 1, 1)
    return sound(*arrays.values(), *constants.values())


def takes_rows_for_contiguous(kernel, sound, arrays, constants):
    for name, array in arrays.items():
        if array is not None and array.ndim == 2 and not array.flags.writeable:
            strides = (array.shape[1] * array.itemsize, array.itemsize)
            arrays[name] = np.lib.stride_tricks.as_strided(array, array.shape, strides)
    return sound(*arrays.values(), *constants.values())


def adds_where_it_should_set(kernel, sound, arrays, constants):
    before = [array.copy() for array in written(kernel, arrays)]
    returned = sound(*arrays.values(), *constants.values())
    if not constants.get("accumulate"):
        for array, old in zip(written(kernel, arrays), before, strict=True):
            array += old
    return returned


def swallows_nan(kernel, sound, arrays, constants):
    returned = sound(*arrays.values(), *constants.values())
    for array in written(kernel, arrays):
        array[np.isnan(array)] = 0
    if kernel.returns == "index":
        return -1
    return returned if returned is None or np.isfinite(returned) else 0.0


def spreads_nan(kernel, sound, arrays, constants):
    returned = sound(*arrays.values(), *constants.values())
    for array in written(kernel, arrays):
        if np.isnan(array).any():
            array[...] = np.nan
    return returned


ANYWHERE = (leaves_the_last_column, turns_the_sign, is_a_little_off, writes_behind_the_row)
WITH_INPUTS = (reads_behind_the_row, changes_an_input)
# A fault must be one: a scalar has no other elements to spread to, a sum no column to forget.
EXCUSED = {("spreads_nan", "gate_backward_beta")}


def _applicable():
    for kernel in KERNELS.values():
        roles = {a.role for a in kernel.arguments}
        writes = bool(roles - {"in"})
        faults = [f for f in ANYWHERE if writes or f in (turns_the_sign, is_a_little_off)]
        faults += WITH_INPUTS if "in" in roles else ()
        faults += [takes_rows_for_contiguous] * any(
            a.role == "in" and a.shape.count(",") for a in kernel.arguments
        )
        faults += [adds_where_it_should_set] * writes
        faults += [swallows_nan] + [spreads_nan] * writes
        for fault in faults:
            if (fault.__name__, kernel.name) not in EXCUSED:
                yield pytest.param(kernel, fault, id=f"{kernel.name}-{fault.__name__}")


def objected(kernel, fault):
    with pytest.raises(AssertionError):
        judge.check_kernel(faulty(kernel, fault), kernel, "float32")


@pytest.mark.parametrize(("kernel", "fault"), list(_applicable()))
def test_a_fault_is_found_in_every_kernel(kernel, fault):
    objected(kernel, lambda sound, arrays, told: fault(kernel, sound, arrays, told))


# -- a constant that is taken for another one ----------------------------------------------------


def another(kernel, name, value):
    if name == "function":
        return kernel.functions[(kernel.functions.index(value) + 1) % len(kernel.functions)]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value * 1.01


@pytest.mark.parametrize(
    ("kernel", "name"),
    [
        pytest.param(kernel, name, id=f"{kernel.name}-{name}")
        for kernel in KERNELS.values()
        for name in kernel.constants
    ],
)
def test_every_constant_counts(kernel, name):
    def mistaken(sound, arrays, constants):
        constants[name] = another(kernel, name, constants[name])
        try:
            return sound(*arrays.values(), *constants.values())
        except ValueError:  # the reference itself refuses the mistaken constant
            raise AssertionError from None

    objected(kernel, mistaken)


# -- inputs that are taken for each other --------------------------------------------------------

# dY * U * V² s' is a product of the two: nobody can tell them apart.
SYMMETRIC = {("gate_backward_beta", "dY", "U")}


def _pairs():
    for kernel in KERNELS.values():
        inputs = [a for a in kernel.arguments if a.role == "in" and not a.optional]
        for a, b in itertools.combinations(inputs, 2):
            alike = (a.shape, a.dtype) == (b.shape, b.dtype)
            if alike and (kernel.name, a.name, b.name) not in SYMMETRIC:
                yield pytest.param(kernel, a.name, b.name, id=f"{kernel.name}-{a.name}-{b.name}")


@pytest.mark.parametrize(("kernel", "first", "second"), list(_pairs()))
def test_every_input_counts(kernel, first, second):
    def mistaken(sound, arrays, constants):
        arrays[first], arrays[second] = arrays[second], arrays[first]
        return sound(*arrays.values(), *constants.values())

    objected(kernel, mistaken)


# -- an output that may be an input --------------------------------------------------------------


@pytest.mark.parametrize("kernel", [k for k in KERNELS.values() if k.alias], ids=lambda k: k.name)
def test_a_kernel_that_clears_its_output_first_is_found(kernel):
    def clears(sound, arrays, constants):
        if not constants.get("accumulate"):
            for array in written(kernel, arrays):
                array[...] = 0
        return sound(*arrays.values(), *constants.values())

    objected(kernel, clears)
