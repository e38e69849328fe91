"""The values of nasty calls: what goes into every argument of a kernel.

Ordinary ones, and extreme ones: in the bends of functions, in their tails, at the ends of floats.
"""

import numpy as np

from fastnn.activations import FORMULAS
from fastnn.backends import get

# Powers of ten in "extreme" values, such that no product of a kernel's arguments overflows float32.
MAGNITUDE = {"exact": 37, "product": 15, "elementwise": 6, "reduction": 6, "loss": 6, "update": 4}
# Arguments of activations go wherever floats go.
SCORES = {("activation_forward", "X"), ("activation_backward", "X")} | {
    ("gate_forward", "V"),
    ("gate_backward", "V"),
}
POSITIVE = {"v", "weight", "inverse_deviation", "variance", "running_variance"}
# Targets and weights are checked at the door: no kernel ever sees a NaN in them.
CHECKED = {"T", "weight"}
# Computed from other arguments by the forward pass.
DERIVED = {
    ("activation_backward", "Y"),
    ("softmax_backward", "Y"),
    ("layer_norm_backward_data", "mean"),
    ("layer_norm_backward_data", "inverse_deviation"),
    ("layer_norm_backward_parameters", "mean"),
    ("layer_norm_backward_parameters", "inverse_deviation"),
    ("batch_norm_backward_data", "mean"),
    ("batch_norm_backward_data", "variance"),
    ("batch_norm_backward_parameters", "mean"),
    ("batch_norm_backward_parameters", "variance"),
}


def _extreme(rng, shape, power, dtype):
    values = 10.0 ** rng.uniform(-power, power, shape) * rng.choice([-1, 1], shape)
    subnormal = float(np.finfo(dtype).smallest_subnormal)
    special = rng.choice([0.0, -0.0, subnormal, -3 * subnormal], shape)
    return np.where(rng.random(shape) < 0.15, special, values)


def _scores(rng, shape, dtype, function):
    """Return scores in the bends, in the tails down to underflow, and out to the ends."""
    end = 1.25 * np.log(float(np.finfo(dtype).max))
    tails = rng.uniform(-end, 0.7 * end, shape)
    far = _extreme(rng, shape, 30, dtype)
    kind = rng.random(shape)
    scores = np.where(kind < 0.3, rng.normal(0, 3, shape), np.where(kind < 0.7, tails, far))
    return np.minimum(scores, 0.7 * end) if function == "exp" else scores


def real(rng, kernel, argument, shape, dtype, kind, constants):
    """Return what goes into an argument of real numbers, in float64."""
    extreme = kind == "extreme"
    if argument.role == "out" and not constants.get("accumulate"):
        return np.full(shape, np.nan)  # who reads it is found out
    if argument.name == "T" and constants["function"] in ("cross_entropy", "binary_cross_entropy"):
        return rng.uniform(0, 1, shape)
    if argument.name == "T" and constants["function"] == "hinge":
        return rng.choice([-1.0, 1.0], shape)
    if argument.name == "T" and constants["function"] == "poisson":
        return rng.poisson(2.0, shape).astype(np.float64)
    if argument.name == "Z" and constants.get("function") == "poisson" and extreme:
        return _scores(rng, shape, dtype, "exp")
    if (kernel.name, argument.name) in SCORES and extreme:
        return _scores(rng, shape, dtype, constants["function"])
    # A 0 here and there, of either sign: 0 * inf is NaN, and who skips it is found out.
    values = rng.normal(0, 1, shape) * (rng.random(shape) > 0.07)
    if extreme:
        values = _extreme(rng, shape, MAGNITUDE[kernel.tolerance], dtype)
    if argument.name == "weight":
        return np.abs(rng.normal(0, 1, shape)) * (rng.random(shape) > 0.2)
    return np.abs(values) if argument.name in POSITIVE else values


def derive(kernel, arrays, dtype, constants):
    """Fill in what the forward pass would have left for a backward kernel."""
    forward = get("reference").kernels
    with np.errstate(all="ignore"):
        if kernel.name == "softmax_backward":
            forward.softmax_forward(arrays["Y"], arrays["Y"].copy())
        elif kernel.name.startswith("layer_norm_backward"):
            X = arrays["X"]
            unit, Y = np.ones(X.shape[1], dtype), np.empty_like(X)
            statistics = arrays["mean"], arrays["inverse_deviation"]
            forward.layer_norm_forward(Y, *statistics, X, unit, unit, 1e-5)
        elif kernel.name.startswith("batch_norm_backward") and len(arrays["X"]):
            forward.batch_norm_statistics(arrays["mean"], arrays["variance"], arrays["X"])
        elif kernel.name == "activation_backward":
            formula = FORMULAS[constants["function"]]
            arrays["Y"][...] = formula.value(arrays["X"], constants["constant"])
