"""The kernel table: one row a kernel, from which tests, checks and benchmarks are generated.

A kernel is a function on arrays. Its arguments come in the order outputs, inputs, constants, and
are 2-D with unit column stride (rows may be further apart than they are long) or 1-D and
contiguous. The letters of a shape are those of `docs/architecture.md`: B batch rows, I inputs and O
outputs of a layer, N the length of a flat vector; equal letters must be equal sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from fastnn.activations import FORMULAS
from fastnn.layers import GATES
from fastnn.losses import LOSSES

__all__ = ["KERNELS", "Argument", "Kernel", "check_arguments"]

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
        The class of its error bound, a key of the table in ``tests/tolerance.py``.
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


def _in(name: str, shape: str, dtype: str = "real", *, optional: bool = False) -> Argument:
    return Argument(name, "in", shape, dtype, optional)


def _out(name: str, shape: str, dtype: str = "real", *, optional: bool = False) -> Argument:
    return Argument(name, "out", shape, dtype, optional)


def _inout(name: str, shape: str, *, optional: bool = False) -> Argument:
    return Argument(name, "inout", shape, "real", optional)


ROWS = (
    # Y = X @ W + b
    Kernel(
        "dense_forward",
        (_out("Y", "B,O"), _in("X", "B,I"), _in("W", "I,O"), _in("b", "O", optional=True)),
        accumulator="real",
        tolerance="product",
        flops=lambda B, I, O: 2 * B * I * O,
        bytes=lambda B, I, O: B * I + I * O + B * O,
        saves="X",
    ),
    # dX = dY @ W.T
    Kernel(
        "dense_backward_data",
        (_out("dX", "B,I"), _in("dY", "B,O"), _in("W", "I,O")),
        ("accumulate",),
        accumulator="real",
        tolerance="product",
        flops=lambda B, I, O: 2 * B * I * O,
        bytes=lambda B, I, O: B * I + I * O + B * O,
    ),
    # dW = X.T @ dY;  db = dY.sum(axis=0)
    Kernel(
        "dense_backward_weights",
        (_out("dW", "I,O"), _out("db", "O", optional=True), _in("X", "B,I"), _in("dY", "B,O")),
        ("accumulate",),
        accumulator="real",
        tolerance="product",
        flops=lambda B, I, O: 2 * B * I * O + B * O,
        bytes=lambda B, I, O: B * I + I * O + B * O,
    ),
    # Y = f(X)
    Kernel(
        "activation_forward",
        (_out("Y", "B,O"), _in("X", "B,O")),
        ("function", "constant"),
        functions=tuple(FORMULAS),
        alias=(("Y", "X"),),
        tolerance="elementwise",
        flops=lambda B, O: B * O,
        bytes=lambda B, O: 2 * B * O,
        saves="X, Y",
    ),
    # dX = dY * f'(X), where Y = f(X)
    Kernel(
        "activation_backward",
        (_out("dX", "B,O"), _in("dY", "B,O"), _in("X", "B,O"), _in("Y", "B,O")),
        ("function", "constant", "accumulate"),
        functions=tuple(FORMULAS),
        alias=(("dX", "dY"),),
        tolerance="elementwise",
        flops=lambda B, O: 2 * B * O,
        bytes=lambda B, O: 4 * B * O,
    ),
    # Y = exp(X - max) / sum(exp(X - max)) along each row
    Kernel(
        "softmax_forward",
        (_out("Y", "B,O"), _in("X", "B,O")),
        alias=(("Y", "X"),),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 4 * B * O,
        bytes=lambda B, O: 2 * B * O,
        saves="Y",
    ),
    # dX = Y * (dY - sum(dY * Y)), where Y = softmax(X)
    Kernel(
        "softmax_backward",
        (_out("dX", "B,O"), _in("dY", "B,O"), _in("Y", "B,O")),
        ("accumulate",),
        alias=(("dX", "dY"),),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 4 * B * O,
        bytes=lambda B, O: 3 * B * O,
    ),
    # Y = X * mask / (1 - rate); the same call on gradients is its backward pass
    Kernel(
        "dropout",
        (_out("Y", "B,O"), _in("X", "B,O")),
        ("rate", "seed", "step", "layer", "first_row", "accumulate"),
        alias=(("Y", "X"),),
        tolerance="elementwise",
        flops=lambda B, O: B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # Y = (X - mean) * inverse_deviation * scale + shift along each row
    Kernel(
        "layer_norm_forward",
        (
            _out("Y", "B,O"),
            _out("mean", "B"),
            _out("inverse_deviation", "B"),
            _in("X", "B,O"),
            _in("scale", "O"),
            _in("shift", "O"),
        ),
        ("epsilon",),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 8 * B * O,
        bytes=lambda B, O: 2 * B * O,
        saves="X, mean, inverse_deviation",
    ),
    Kernel(
        "layer_norm_backward_data",
        (
            _out("dX", "B,O"),
            _in("dY", "B,O"),
            _in("X", "B,O"),
            _in("mean", "B"),
            _in("inverse_deviation", "B"),
            _in("scale", "O"),
        ),
        ("accumulate",),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 10 * B * O,
        bytes=lambda B, O: 3 * B * O,
    ),
    Kernel(
        "layer_norm_backward_parameters",
        (
            _out("dscale", "O"),
            _out("dshift", "O"),
            _in("dY", "B,O"),
            _in("X", "B,O"),
            _in("mean", "B"),
            _in("inverse_deviation", "B"),
        ),
        ("accumulate",),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 5 * B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # Y = U * f(V)
    Kernel(
        "gate_forward",
        (_out("Y", "B,O"), _in("U", "B,O"), _in("V", "B,O")),
        ("function", "constant"),
        functions=tuple(GATES.values()),
        tolerance="elementwise",
        flops=lambda B, O: 2 * B * O,
        bytes=lambda B, O: 3 * B * O,
        saves="U, V",
    ),
    # dU = dY * f(V);  dV = dY * U * f'(V)
    Kernel(
        "gate_backward",
        (_out("dU", "B,O"), _out("dV", "B,O"), _in("dY", "B,O"), _in("U", "B,O"), _in("V", "B,O")),
        ("function", "constant"),
        functions=tuple(GATES.values()),
        tolerance="elementwise",
        flops=lambda B, O: 4 * B * O,
        bytes=lambda B, O: 5 * B * O,
    ),
    # dbeta = sum(dY * U * V**2 * s * (1 - s)) with s = sigmoid(beta * V)
    Kernel(
        "gate_backward_beta",
        (_out("dbeta", "1"), _in("dY", "B,O"), _in("U", "B,O"), _in("V", "B,O")),
        ("beta", "accumulate"),
        accumulator="float64",
        tolerance="reduction",
        flops=lambda B, O: 6 * B * O,
        bytes=lambda B, O: 3 * B * O,
    ),
    # Y = X or Y += X: residual sums, the columns of a concatenation, and their gradients
    Kernel(
        "copy",
        (_out("Y", "B,O"), _in("X", "B,O")),
        ("accumulate",),
        flops=lambda B, O: B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # Y[r] = X[index[r]]
    Kernel(
        "gather_rows",
        (_out("Y", "B,I"), _in("X", "N,I"), _in("index", "B", "int64")),
        bytes=lambda B, I, N: 2 * B * I,
    ),
    # The loss of every row of scores Z against targets T, its share of right outputs, and
    # dZ = factor * weight * d(loss)/dZ. hits is for classes and probabilities; else it is not set.
    Kernel(
        "loss",
        (
            _out("row_loss", "B", "float64"),
            _out("hits", "B", "float64", optional=True),
            _out("dZ", "B,O", optional=True),
            _in("Z", "B,O"),
            _in("T", "B,O"),
            _in("weight", "B", optional=True),
        ),
        ("function", "constant", "factor"),
        functions=tuple(LOSSES),
        accumulator="float64",
        tolerance="loss",
        flops=lambda B, O: 6 * B * O,
        bytes=lambda B, O: 3 * B * O,
    ),
    # Cross entropy against labels 0..O-1: T is one-hot at the label.
    Kernel(
        "loss_labels",
        (
            _out("row_loss", "B", "float64"),
            _out("hits", "B", "float64", optional=True),
            _out("dZ", "B,O", optional=True),
            _in("Z", "B,O"),
            _in("labels", "B", "int64"),
            _in("weight", "B", optional=True),
        ),
        ("constant", "factor"),
        accumulator="float64",
        tolerance="loss",
        flops=lambda B, O: 6 * B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # Returns l1 * sum|W| + l2/2 * sum(W**2);  dW += l1 * sign(W) + l2 * W
    Kernel(
        "penalty",
        (_inout("dW", "N", optional=True), _in("W", "N")),
        ("l1", "l2"),
        returns="real",
        accumulator="float64",
        tolerance="reduction",
        flops=lambda N: 6 * N,
        bytes=lambda N: 3 * N,
    ),
    Kernel(
        "sum_of_squares",
        (_in("g", "N"),),
        returns="real",
        accumulator="float64",
        tolerance="reduction",
        flops=lambda N: 2 * N,
        bytes=lambda N: N,
    ),
    # g = min(max(g, -limit), limit), NaN kept
    Kernel(
        "clip",
        (_inout("g", "N"),),
        ("limit",),
        flops=lambda N: 2 * N,
        bytes=lambda N: 2 * N,
    ),
    Kernel(
        "scale",
        (_inout("g", "N"),),
        ("factor",),
        tolerance="elementwise",
        flops=lambda N: N,
        bytes=lambda N: 2 * N,
    ),
    # The formulas of the updates stand in fastnn/optimizers.py; step counts from 1.
    Kernel(
        "sgd_update",
        (_inout("w", "N"), _inout("velocity", "N", optional=True), _in("g", "N")),
        ("rate", "momentum", "nesterov", "weight_decay"),
        tolerance="update",
        flops=lambda N: 6 * N,
        bytes=lambda N: 5 * N,
    ),
    Kernel(
        "adam_update",
        (_inout("w", "N"), _inout("m", "N"), _inout("v", "N"), _in("g", "N")),
        ("rate", "beta1", "beta2", "epsilon", "weight_decay", "decoupled", "step"),
        tolerance="update",
        flops=lambda N: 14 * N,
        bytes=lambda N: 7 * N,
    ),
    Kernel(
        "rmsprop_update",
        (
            _inout("w", "N"),
            _inout("v", "N"),
            _inout("buffer", "N", optional=True),
            _in("g", "N"),
        ),
        ("rate", "decay", "momentum", "epsilon", "weight_decay"),
        tolerance="update",
        flops=lambda N: 10 * N,
        bytes=lambda N: 7 * N,
    ),
    # Flat index of the first NaN or infinity in row-major order, -1 where there is none
    Kernel(
        "first_nonfinite",
        (_in("X", "B,I"),),
        returns="index",
        bytes=lambda B, I: B * I,
    ),
)

KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in ROWS}


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
