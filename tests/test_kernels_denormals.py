"""Denormal numbers are kept: no kernel of any backend takes them, or what becomes of them, for 0.

A processor flushes them where a library has asked for it, -ffast-math for one, and so does a
formula that underflows on its way. The bounds of the other tests would let both pass.
"""

from types import SimpleNamespace

import adversarial
import judge
import numpy as np
import pytest

from fastnn.activations import FORMULAS
from fastnn.program.kernels import KERNELS

# By kernel: the arguments that are denormal here, and the outputs that have to be.
DENORMAL = {
    "dense_forward": ("X b", "Y"),
    "dense_backward_data": ("dY", "dX"),
    "dense_backward_weights": ("dY", "dW db"),
    "activation_forward": ("X", "Y"),
    "activation_backward": ("dY", "dX"),
    "softmax_forward": ("X", "Y"),
    "softmax_backward": ("dY", "dX"),
    "dropout": ("X", "Y"),
    "layer_norm_forward": ("scale shift", "Y"),
    "layer_norm_backward_data": ("dY", "dX"),
    "layer_norm_backward_parameters": ("dY", "dscale dshift"),
    "batch_norm_statistics": ("X", "mean"),
    "batch_norm_forward": ("scale shift", "Y"),
    "batch_norm_backward_data": ("dY", "dX"),
    "batch_norm_backward_parameters": ("dY", "dscale dshift"),
    "batch_norm_update": (
        "running_mean running_variance mean variance",
        "running_mean running_variance",
    ),
    "gate_forward": ("U", "Y"),
    "gate_backward": ("dY", "dU dV"),
    "gate_backward_beta": ("dY", "dbeta"),
    "copy": ("X", "Y"),
    "gather_rows": ("X", "Y"),
    "loss": ("factor", "dZ"),
    "loss_labels": ("factor", "dZ"),
    "penalty": ("dW W", "dW"),
    "clip": ("g", "g"),
    "scale": ("g", "g"),
    "sgd_update": ("w velocity g", "w velocity"),
    "adam_update": ("w m g", "w m"),
    "rmsprop_update": ("w buffer g", "w buffer"),
    "adagrad_update": ("w g", "w"),
    "nadam_update": ("w m g", "w m"),
    "lion_update": ("m g", "m"),
    "max_norm": ("W", "W"),
}
# Nothing of these is a number of the dtype.
NO_OUTPUT = {"sum_of_squares", "first_nonfinite"}
# What becomes 0 here becomes 0 by definition, as in the instructions of processors.
FLUSHED = {"round_bfloat16", "dense_forward_bfloat16"}

SIZES = {"B": 5, "I": 7, "O": 37, "N": 41}
# Functions whose values are denormal far on the left, not next to 0.
DECAYING = {"sigmoid", "exp", "softplus"}
# Functions that have only the values 0 and 1, and no slope.
STEPS = {"heaviside"}

ROWS = pytest.mark.parametrize("kernel", [KERNELS[name] for name in DENORMAL], ids=DENORMAL)
DTYPES = pytest.mark.parametrize("dtype", adversarial.DTYPES)


def calls(kernel, dtype):
    """Yield a call for every way to call a kernel, with denormal arguments."""
    told, _ = DENORMAL[kernel.name]
    info = np.finfo(dtype)
    far_left = np.log(float(info.tiny)) - 2.0  # of exp, where its values have lost some digits
    for constants, absent in adversarial.variants(kernel):
        if constants.get("accumulate") or constants.get("function") in STEPS:
            continue
        if "factor" in told:
            constants = {**constants, "factor": 0.05 * float(info.tiny)}
        call = adversarial.make(kernel, (constants, absent), SIZES, dtype)
        for name in set(told.split()) & set(call.arrays):
            array = call.arrays[name]
            if array is None:
                continue
            left = kernel.name == "softmax_forward" or constants.get("function") in DECAYING
            if left and name == "X":
                array[...] = far_left + np.clip(array, -1, 1)
                if kernel.name == "softmax_forward":
                    array[:, 0] = 0
            else:
                array[...] = (np.float64(array) * (0.02 * float(info.tiny))).astype(dtype)
        yield call


def judged(kernels, call):
    """Hold a call against the reference; return the outputs where 0 would not have passed."""
    truth = judge.truth_by_reference(call)
    bounds = judge.bounds_of(call, truth)
    arrays = call.copy()
    returned = call.run(kernels, arrays)
    judge.check_outputs(call, arrays, returned, truth, bounds)
    telling = set()
    for name in call.outputs():
        size = np.abs(np.float64(truth[name]))
        denormal = (size > bounds[name]) & (size < float(np.finfo(arrays[name].dtype).tiny))
        if denormal.any():
            telling.add(name)
    return telling


@ROWS
@DTYPES
def test_denormal_numbers_are_kept(backend, kernel, dtype):
    telling = set()
    for call in calls(kernel, dtype):
        telling |= judged(backend.kernels, call)
    assert telling >= set(DENORMAL[kernel.name][1].split())


def test_every_kernel_is_asked():
    assert set(DENORMAL) | NO_OUTPUT | FLUSHED == set(KERNELS)


@DTYPES
def test_squares_of_denormal_float32_are_not_lost(backend, dtype):
    g = np.full(37, 3 * np.finfo(np.float32).smallest_subnormal, dtype)
    assert backend.kernels.sum_of_squares(g) == pytest.approx(37 * (3 * 2.0**-149) ** 2, rel=1e-14)
    assert backend.kernels.first_nonfinite(g[None]) == -1


def flushed(kernel):
    """Return the kernels of the reference, one of which flushes what it writes."""
    sound = getattr(judge.REFERENCE, kernel.name)

    def function(*values):
        returned = sound(*values)
        for array in values[: len(kernel.arguments)]:
            if isinstance(array, np.ndarray) and array.dtype.kind == "f" and array.flags.writeable:
                array[np.abs(array) < np.finfo(array.dtype).tiny] = 0
        return returned

    others = {name: getattr(judge.REFERENCE, name) for name in KERNELS}
    return SimpleNamespace(**{**others, kernel.name: function})


@ROWS
@DTYPES
def test_a_kernel_that_flushes_is_found(kernel, dtype):
    for call in calls(kernel, dtype):
        if judged(judge.REFERENCE, call):
            with pytest.raises(AssertionError):
                judged(flushed(kernel), call)


@pytest.mark.parametrize(
    "name", ["identity", "relu", "leaky_relu", "tanh", "elu", "softsign", "sine"]
)
@DTYPES
def test_the_smallest_number_comes_out_where_the_slope_is_1(backend, name, dtype):
    X = np.full((2, 37), np.finfo(dtype).smallest_subnormal)
    Y = np.full_like(X, np.nan)
    backend.kernels.activation_forward(Y, X, name, FORMULAS[name].default)
    assert (Y == X).all()
