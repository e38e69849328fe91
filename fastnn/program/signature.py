"""What a row of the kernel table says: a kernel's arguments, constants and costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

__all__ = ["Argument", "Kernel", "changes", "check_arguments", "reads", "sets"]

Count = Callable[..., int]


@dataclass(frozen=True)
class Argument:
    """An array argument of a kernel.

    Attributes
    ----------
    name : str
    role : {"in", "out", "inout"}
        An ``out`` array is overwritten without being read, unless the kernel accumulates.
    shape : str
        The letters of its sizes, such as ``"B,I"``.
    dtype : {"real", "float64", "int64"}
        ``real`` is the dtype of the kernel, float32 or float64.
    optional : bool
        Whether None may stand in its place: an output that is not wanted, an input that is absent.
    """

    name: str
    role: str
    shape: str
    dtype: str = "real"
    optional: bool = False


@dataclass(frozen=True)
class Kernel:
    """A row of the table.

    Attributes
    ----------
    name : str
        Name of the function in every backend.
    arguments : tuple of Argument
    constants : tuple of str
        Names of the scalar arguments, which follow the arrays. ``accumulate`` (a bool) says whether
        the outputs are set or added to.
    functions : tuple of str
        The values of the constant ``function``, where there is one.
    alias : tuple of (str, str)
        Pairs (output, input) that may be the same array.
    returns : str
        What the function returns: nothing, ``"real"`` (a float) or ``"index"``.
    accumulator : {"real", "float64", "none"}
        The dtype in which sums run; ``none`` where nothing is summed.
    tolerance : str
        The class of its error bound, a key of ``CLASSES`` in ``tests/tolerance``.
    flops, bytes : callable
        Counts from the sizes by letter; bytes are in units of one element.
    saves : str
        What the backward pass needs of the forward pass.
    """

    name: str
    arguments: tuple[Argument, ...]
    constants: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    alias: tuple[tuple[str, str], ...] = ()
    returns: str = ""
    accumulator: str = "none"
    tolerance: str = "exact"
    flops: Count = lambda **n: 0
    bytes: Count = lambda **n: 0
    saves: str = ""


def sets(name: str, shape: str, dtype: str = "real", *, optional: bool = False) -> Argument:
    """Return an argument that a kernel writes."""
    return Argument(name, "out", shape, dtype, optional)


def reads(name: str, shape: str, dtype: str = "real", *, optional: bool = False) -> Argument:
    """Return an argument that a kernel reads."""
    return Argument(name, "in", shape, dtype, optional)


def changes(name: str, shape: str, *, optional: bool = False) -> Argument:
    """Return an argument that a kernel reads and writes."""
    return Argument(name, "inout", shape, "real", optional)


def check_arguments(
    kernel: Kernel, arrays: Mapping[str, npt.NDArray[Any] | None]
) -> dict[str, int]:
    """Hold the arrays of a call against the row of a kernel.

    Parameters
    ----------
    kernel : Kernel
    arrays : mapping of str to ndarray or None
        The array arguments by name.

    Returns
    -------
    dict of str to int
        The size of every letter.

    Raises
    ------
    TypeError
        When an array that is not optional is missing, or a dtype is wrong.
    ValueError
        When ranks or sizes disagree, or rows are not contiguous.
    """
    sizes: dict[str, int] = {"1": 1}
    real: Any = None
    for argument in kernel.arguments:
        array = arrays[argument.name]
        where = f"{argument.name} of {kernel.name}"
        if array is None:
            if not argument.optional:
                raise TypeError(f"{where} is missing")
            continue
        if argument.dtype != "real" and array.dtype.name != argument.dtype:
            raise TypeError(f"{where} must be {argument.dtype}, not {array.dtype}")
        if argument.dtype == "real":
            real = array.dtype if real is None else real
            if array.dtype != real or array.dtype.name not in ("float32", "float64"):
                raise TypeError(f"{where} is {array.dtype}, the other arrays are {real}")
        letters = argument.shape.split(",")
        if array.ndim != len(letters):
            raise ValueError(f"{where} must have shape ({argument.shape}), not {array.shape}")
        if array.size and array.shape[-1] > 1 and array.strides[-1] != array.itemsize:
            raise ValueError(f"the rows of {where} must be contiguous")
        for letter, size in zip(letters, array.shape, strict=True):
            if sizes.setdefault(letter, size) != size:
                raise ValueError(f"{where} has {letter}={size}, another array {sizes[letter]}")
    return sizes
