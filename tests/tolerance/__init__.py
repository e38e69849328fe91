"""All tolerances: how far a kernel may be from the truth, by the classes of the kernel table.

A bound is  c * eps * n * size  with one constant c for a class. eps belongs to the dtype of the
kernel (twice the unit roundoff), n counts the roundings behind one result, and size is the result
with every minus turned into a plus: the sum of the absolute values of what is added up. Where
nothing cancels, size is the result itself, and the bound is one in ULP. Where a formula rounds the
argument of a function (the square in a Gaussian, the cube in gelu_tanh), size holds what that
moves.
"""

import numpy as np

from tolerance import layers, losses, updates
from tolerance.layers import ROUNDINGS

# The constant of each class. `exact` has no rounding of its own: the correctly rounded truth. Over
# all calls of the tests, the worst of the NumPy reference is 0.60 of its bound (mish in float32),
# the worst of the C core 0.71 (mish in float64).
CLASSES = {
    "exact": 0.0,
    # K products and K sums of unit roundoff eps / 2, against a truth that is no worse.
    "product": 1.0,
    # Four ULP: two for a polynomial of one function, the rest for the few operations around it.
    "elementwise": 4.0,
    "reduction": 2.0,
    "loss": 4.0,
    "update": 4.0,
}

# What underflow may take from a result, in units of the smallest number above 0: a handful of
# operations below the smallest normal number, where a relative error has no meaning.
UNDERFLOW = 128.0

# Whole executables against the truth, relative to the largest element of a vector: one pass through
# a network, and twenty steps of training.
PASS = {"float32": 1e-4, "float64": 1e-12}
TRAJECTORY = {"float32": 1e-4, "float64": 1e-10}
# The same numbers, summed in another order or from other weights, in float64.
REGROUPED = 1e-13
# The sum of the probabilities of a row, in units of eps.
SUM_OF_PROBABILITIES = 8
# The slopes of the loops against differences of their values: relative, and absolute.
LOOPS = {"rel": 1e-9, "abs": 1e-10}
# Gradients against differences of fourth order: of the element, or of the share of the largest.
GRADIENT, GRADIENT_SHARE = 1e-7, 1e-2


def allowed(kernel, arrays, constants, truth):
    """Return for every output how far from the truth it may be.

    `arrays` are those of the call as they were before it, `truth` what should stand in the outputs.
    """
    held = (arrays[a.name] for a in kernel.arguments if a.dtype == "real")
    real = next(array.dtype for array in held if array is not None)
    wide = {n: None if a is None else np.asarray(a, np.float64) for n, a in arrays.items()}
    constant = CLASSES[kernel.tolerance]
    if kernel.tolerance == "exact":
        return {name: np.zeros(np.shape(value)) for name, value in truth.items()}
    sizes = _size_of(kernel.name)(**wide, **constants)
    bounds = {}
    for name, value in truth.items():
        n, size, *gain = sizes[name]
        info = np.finfo(np.float64 if name == "return" else real)  # what is returned stays wide
        if kernel.accumulator == "float64" and info.dtype == np.float32:
            n = min(n, ROUNDINGS)  # the sum itself rounds nothing that float32 would notice
        if constants.get("accumulate"):
            size = size + np.abs(wide[name])
        roundings = constant * float(info.eps) * n * np.broadcast_to(size, np.shape(value))
        lost = UNDERFLOW * n * float(info.smallest_subnormal)
        bounds[name] = roundings + lost * np.maximum(1.0, *gain) if gain else roundings + lost
    return bounds


def _size_of(name):
    """Return the function of a kernel's name: from arguments and constants, what `allowed` needs.

    It gives (n, size) by the name of the output, and where a value that may underflow is
    multiplied, the factor.
    """
    return next(getattr(m, name) for m in (layers, losses, updates) if hasattr(m, name))
