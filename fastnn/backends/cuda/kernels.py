"""The kernels of the table as plain functions on arrays: copied in, run on the device, copied out.

A function of this module takes the arrays and constants of its row in `fastnn.program.kernels` in
the table's order, or by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.checked import checked_kernels
from fastnn.backends.cuda import target
from fastnn.backends.cuda.device import columns, elementwise, flat, losses, product, rows, update
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, Optimizer, RMSprop
from fastnn.program.kernels import KERNELS, Kernel, check_arguments

__all__ = list(KERNELS)

Array = npt.NDArray[Any]


# Arrays without a place of their own, made by the kernels that work with them.
CLOCK = (0, 0, 0, 0)


class Guest:
    """An array while it is on the device.

    Attributes
    ----------
    array : ndarray
        What it is here.
    at : device array
        Its elements, one-dimensional.
    ld : int
        Elements from one row to the next. Rows that lie apart here lie apart there.
    """

    def __init__(self, array: Array) -> None:
        self.array = array
        self._rows, self._width = (1, *array.shape)[-2:]
        self.ld = self._width if array.flags.c_contiguous else self._width + 3
        flat = np.zeros((max(self._rows, 1), max(self.ld, 1)), array.dtype)  # never empty
        flat[: self._rows, : self._width] = array
        self._shape = flat.shape
        self.at = target.cuda.to_device(flat.reshape(-1))

    @property
    def matrix(self) -> Matrix:
        """The array as helpers take a matrix."""
        return Matrix(self.at, self.ld)

    def fetch(self) -> None:
        """Copy the elements back into the array."""
        there = self.at.copy_to_host().reshape(self._shape)
        self.array[...] = there[: self._rows, : self._width].reshape(self.array.shape)


class Call:
    """The arguments of one call of a kernel, on the device.

    Attributes
    ----------
    stream : int
        The default stream.
    constants : dict of str to object
    sizes : tuple of int
        In the order of their letters.
    real : type
        The dtype of the kernel.
    """

    stream = 0

    def __init__(self, kernel: Kernel, values: Mapping[str, Any]) -> None:
        self.kernel = kernel
        self._arrays = arrays = {a.name: values[a.name] for a in kernel.arguments}
        self.constants = {name: values[name] for name in kernel.constants}
        sizes = check_arguments(kernel, arrays)
        self.sizes = tuple(sizes[letter] for letter in sorted(sizes) if letter.isalpha())
        for name, letter in (("index", "N"), ("labels", "O")):
            if name in arrays:
                _inside(name, arrays[name], sizes[letter])
        # An array that stands twice among the arguments is one array on the device too.
        guests = {id(a): Guest(a) for a in arrays.values() if a is not None}
        self._guests = {n: None if a is None else guests[id(a)] for n, a in arrays.items()}
        real = (a.name for a in kernel.arguments if a.dtype == "real")
        self.real = next(arrays[n].dtype.type for n in real if arrays[n] is not None)

    def __getitem__(self, name: str) -> Any:
        """Return an array as the helpers take it: a matrix, a vector or None."""
        guest = self._guests[name]
        if guest is None:
            return None
        told = next(a for a in self.kernel.arguments if a.name == name)
        return guest.matrix if "," in told.shape else guest.at

    def host(self, name: str) -> Array:
        """Return an array of the caller."""
        return self._arrays[name]

    def arrays(self, *names: str) -> list[Any]:
        """Return several arrays, or all of them."""
        return [self[name] for name in names or self._guests]

    def launch(self, helper: Callable[..., None], *arguments: Any) -> None:
        """Launch by a helper: with these arguments, then the sizes."""
        helper(self.stream, *arguments, *self.sizes)

    def new(self, *elements: Any, dtype: Any = None) -> Any:
        """Return a vector of these elements on the device."""
        return target.cuda.to_device(np.array(elements, dtype or self.real))

    def room(self, dtype: Any) -> Any:
        """Return a vector to work with, for helpers that take two launches."""
        return target.cuda.to_device(np.zeros(flat.PARTIALS, dtype))

    def result(self, helper: Callable[..., None], *arguments: Any, dtype: Any = np.float64) -> Any:
        """Return the one number that a helper leaves; vectors to work with follow its arguments."""
        out = self.new(0, dtype=dtype)
        told = *arguments, self.room(dtype), *self.constants.values(), *self.sizes
        helper(self.stream, out, *told)
        return out.copy_to_host()[0].item()

    def fetch(self) -> None:
        """Copy all outputs back."""
        for argument in self.kernel.arguments:
            guest = self._guests[argument.name]
            if argument.role != "in" and guest is not None:
                guest.fetch()


def _inside(name: str, numbers: npt.NDArray[np.int64], limit: int) -> None:
    """Refuse numbers that would lead outside of an array."""
    outside = np.flatnonzero((numbers < 0) | (numbers >= limit))
    if len(outside):
        at = outside[0]
        raise ValueError(f"{name}[{at}] is {numbers[at]}, expected 0 to {limit - 1}")


# Kernels whose helpers take what the table says, in its order.
STRAIGHT: dict[str, Callable[..., None]] = {
    helper.__name__: helper
    for helper in (
        elementwise.activation_backward,
        elementwise.activation_forward,
        elementwise.copy,
        rows.softmax_forward,
        rows.softmax_backward,
        rows.layer_norm_forward,
        rows.layer_norm_backward_data,
        columns.layer_norm_backward_parameters,
        columns.batch_norm_statistics,
        columns.batch_norm_forward,
        columns.batch_norm_backward_data,
        columns.batch_norm_backward_parameters,
        flat.clip,
        flat.scale,
    )
}


def _dense_forward(call: Call) -> None:
    call.launch(product.forward, *call.arrays(), call.constants["function"], 0.0)


def _dense_backward_data(call: Call) -> None:
    told = "relu", 0.0, call.constants["accumulate"]
    call.launch(product.backward_data, *call.arrays(), *told)


def _dense_backward_weights(call: Call) -> None:
    call.launch(product.backward_weights, *call.arrays(), call.constants["accumulate"])


def _gate_forward(call: Call) -> None:
    constant = call.new(call.constants["constant"])
    call.launch(elementwise.gate_forward, *call.arrays(), constant, call.constants["function"])


def _gate_backward(call: Call) -> None:
    constant = call.new(call.constants["constant"])
    call.launch(elementwise.gate_backward, *call.arrays(), constant, call.constants["function"])


def _gate_backward_beta(call: Call) -> None:
    beta = call.new(call.constants["beta"])
    partials = call.room(np.float64)
    adds = call.constants["accumulate"]
    call.launch(flat.gate_backward_beta, *call.arrays(), beta, partials, adds)


def _dropout(call: Call) -> None:
    told = call.constants
    seed = np.uint64(told["seed"] & 2**64 - 1).astype(np.int64)
    step = np.uint64(told["step"] & 2**64 - 1).astype(np.int64)
    clock = call.new(0, 0, step, seed, dtype=np.int64)
    rest = (told[name] for name in ("rate", "layer", "first_row", "accumulate"))
    call.launch(elementwise.dropout, *call.arrays(), clock, *rest)


def _gather_rows(call: Call) -> None:
    B, I, _ = call.sizes  # N, which is no size of the launch, comes last
    clock = call.new(*CLOCK, dtype=np.int64)
    Y, X, index = call.arrays()
    elementwise.gather_rows(call.stream, Y, X, index, clock, 0, B, I)


def _batch_norm_update(call: Call) -> None:
    clock = call.new(*CLOCK, dtype=np.int64)
    call.launch(columns.batch_norm_update, *call.arrays(), clock, *call.constants.values())


def _max_norm(call: Call) -> None:
    clock = call.new(*CLOCK, dtype=np.int64)
    call.launch(columns.max_norm, *call.arrays(), clock, call.constants["limit"])


def _loss(call: Call) -> None:
    factor = call.new(call.constants["factor"], dtype=np.float64)
    told = call.constants["function"], call.constants["constant"]
    call.launch(losses.loss, *call.arrays(), factor, *told)


def _loss_labels(call: Call) -> None:
    factor = call.new(call.constants["factor"], dtype=np.float64)
    call.launch(losses.loss_labels, *call.arrays(), factor, call.constants["constant"])


def _first_nonfinite(call: Call) -> int:
    return call.result(flat.first_nonfinite, *call.arrays(), dtype=np.int64)


def _penalty(call: Call) -> float:
    return call.result(flat.penalty, *call.arrays())


def _sum_of_squares(call: Call) -> float:
    return call.result(flat.sum_of_squares, *call.arrays())


def _update(call: Call, optimizer: Optimizer, *moments: str, before: float = 1.0) -> None:
    (N,) = call.sizes
    step = call.constants.get("step", 1) - 1
    rates = np.array([call.constants["rate"]], np.float64)
    table = update.scalars(optimizer, rates, step, before, call.real)
    flags = call.new(*np.ones(-(-N // update.GROUP) + 1), dtype=np.uint8)
    clock, clip = call.new(*CLOCK, dtype=np.int64), call.new(1)
    held = tuple(v for v in call.arrays(*moments) if v is not None)
    w, g = call.arrays("w", "g")
    call.launch(update.update, w, held, g, flags, call.new(*table[0]), clock, clip, optimizer)


def _told(call: Call, *names: str) -> dict[str, Any]:
    return {name: call.constants[name] for name in (*names, "weight_decay")}


def _sgd_update(call: Call) -> None:
    _update(call, SGD(**_told(call, "momentum", "nesterov")), "velocity")


def _adam_update(call: Call) -> None:
    kind = AdamW if call.constants["decoupled"] else Adam
    _update(call, kind(**_told(call, "beta1", "beta2", "epsilon", "epsilon_hat")), "m", "v")


def _rmsprop_update(call: Call) -> None:
    _update(call, RMSprop(**_told(call, "decay", "momentum", "epsilon")), "v", "buffer")


def _adagrad_update(call: Call) -> None:
    _update(call, Adagrad(**_told(call, "epsilon")), "v")


def _nadam_update(call: Call) -> None:
    optimizer = NAdam(**_told(call, "beta1", "beta2", "epsilon", "momentum_decay"))
    mu = optimizer.mu(call.constants["step"])  # the product of the table counts this step too
    _update(call, optimizer, "m", "v", before=call.constants["product"] / mu if mu else 0.0)


def _lion_update(call: Call) -> None:
    _update(call, Lion(**_told(call, "beta1", "beta2")), "m")


def _dense_forward_bfloat16(call: Call) -> None:
    Y, X, W, b = call.arrays()
    rounded = [Guest(_rounded(a)).matrix for a in (call.host("X"), call.host("W"))]
    call.launch(product.forward, Y, *rounded, b, call.constants["function"], 0.0)


def _round_bfloat16(call: Call) -> None:
    Y = Guest(_rounded(call.host("X")))
    call.launch(elementwise.copy, call["Y"], Y.matrix, False)


def _rounded(X: Array) -> Array:
    """Return numbers rounded to bfloat16, which float64 goes to by way of float32."""
    with np.errstate(over="ignore"):
        out = np.array(X, np.float32)
    guest = Guest(out)
    elementwise.round_bfloat16(Call.stream, guest.matrix, guest.matrix, *out.shape)
    guest.fetch()
    return out.astype(X.dtype)


def _run(kernel: Kernel, dtype: str, values: Mapping[str, Any]) -> Any:
    """Copy in, launch, and copy out."""
    call = Call(kernel, values)
    helper = STRAIGHT.get(kernel.name)
    returned = None
    if helper is None:
        returned = globals()[f"_{kernel.name}"](call)
    else:
        call.launch(helper, *call.arrays(), *call.constants.values())
    call.fetch()
    return returned


globals().update(checked_kernels(_run))
