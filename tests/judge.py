"""Judges one call of a kernel: its outputs against the truth, all else untouched.

Everything takes the kernels as an argument, any object with a function for every row of the table,
so that kernels with planted faults can be judged too. Whatever is wrong is an AssertionError.
"""

import adversarial
import naive
import numpy as np
import tolerance

from fastnn.backends import get

REFERENCE = get("reference").kernels


def truth_by_reference(call, dtype="float64"):
    """Return what should stand in the outputs, as the reference computes it in `dtype`."""
    arrays = call.copy(dtype)
    returned = call.run(REFERENCE, arrays)
    truth = {name: arrays[name] for name in call.outputs()}
    return {**truth, "return": returned} if call.kernel.returns else truth


def truth_by_loops(call):
    """Return what should stand in the outputs, as the loops over Python floats compute it."""
    adds = call.constants.get("accumulate", False)
    constants = {n: c for n, c in call.constants.items() if n != "accumulate"}
    read = {
        a.name: None if call.arrays[a.name] is None else call.arrays[a.name].tolist()
        for a in call.kernel.arguments
        if a.role != "out"
    }
    computed = getattr(naive, call.kernel.name)(**read, **constants)
    truth = {name: call.arrays[name].astype(np.float64) for name in call.outputs()}
    for name, value in computed.items():
        if name == "return":
            truth[name] = value
        elif name in truth:
            new = np.array(value, dtype=np.float64)  # None, an element that is left alone, is NaN
            told = ~np.isnan(new)
            if adds:
                new = truth[name] * _slope_of_sum(call) + new
            truth[name][told] = new[told]
    return truth


def _slope_of_sum(call):
    """Return the factor of what an output held before: a slope is that of the whole sum."""
    if call.kernel.name != "dense_backward_data" or call.arrays["X"] is None:
        return 1.0
    return np.vectorize(naive.SLOPE["relu"], otypes=[float])(call.arrays["X"], 0.0)


def compare(call, name, got, truth, bound):
    """Hold one output against the truth."""
    got = np.asarray(got)
    with np.errstate(all="ignore"):
        want = np.asarray(truth).astype(got.dtype)  # what overflows is infinite
        near = np.abs(np.float64(got) - np.float64(truth)) <= bound
    if call.kernel.tolerance == "exact":
        near = (got == want) & (np.signbit(got) == np.signbit(want))
    same_nan = np.isnan(got) & np.isnan(want)
    same_infinity = np.isinf(want) & (got == want)
    unjudged = np.isfinite(got) & np.isfinite(want) & ~np.isfinite(bound)
    finite = np.isfinite(got) & np.isfinite(want) & near
    right = same_nan | same_infinity | finite | unjudged
    if not right.all():
        where = tuple(int(i) for i in np.argwhere(~right)[0])
        raise AssertionError(
            f"{name}{list(where)} is {got[where]!r}, the truth {np.asarray(truth)[where]!r}, "
            f"allowed {np.broadcast_to(bound, got.shape)[where]:.3g}, wrong {(~right).sum()} of "
            f"{got.size}: {call}"
        )


def check_outputs(call, arrays, returned, truth, bounds):
    """Hold all outputs of a call, and what it returned, against the truth."""
    for name, value in truth.items():
        got = np.float64(returned) if name == "return" else arrays[name]
        compare(call, name, got, value, bounds[name])


def check_call(kernels, call, layout, truth, bounds):
    """Make a call in a layout; judge its outputs, its inputs, and what lies around them."""
    placed = {
        n: None if a is None else adversarial.place(a, layout) for n, a in call.arrays.items()
    }
    windows = {n: p and p.window for n, p in placed.items()}
    outputs = set(call.outputs())
    before = {}
    for name, p in placed.items():
        if p and name not in outputs:
            p.window.flags.writeable = False
            before[name] = p.bits.tobytes()
    returned = call.run(kernels, windows)
    for name, p in placed.items():
        if p is None:
            continue
        if name in before:
            assert p.bits.tobytes() == before[name], f"the input {name} changed: {call}, {layout}"
        assert p.canaries_live(), f"a canary beside {name} changed: {call}, {layout}"
    try:
        check_outputs(call, windows, returned, truth, bounds)
    except AssertionError as error:
        raise AssertionError(f"{error}, {layout}") from None


def bounds_of(call, truth):
    """Return the tolerance of every output."""
    with np.errstate(all="ignore"):
        return tolerance.allowed(call.kernel, call.arrays, call.constants, truth)


def same_bits(a, b):
    """Tell whether two arrays of floats have the same bits, NaN counted as one number."""
    return np.array_equal(a, b, equal_nan=True) and (np.signbit(a) == np.signbit(b)).all()


# -- claims about a kernel, each over every way to call it ---------------------------------------


def check_numbers(kernels, kernel, dtype, kind="ordinary", rounds=1):
    """Hold a kernel against the reference in float64: all variants, sizes and layouts."""
    for variant in adversarial.variants(kernel):
        sizes = adversarial.shapes(kernel, rounds)
        if kind == "ordinary":
            sizes += adversarial.long_shapes(kernel)
        for number, size in enumerate(sizes):
            call = adversarial.make(kernel, variant, size, dtype, kind)
            truth = truth_by_reference(call)
            layout = adversarial.LAYOUTS[number % len(adversarial.LAYOUTS)]
            check_call(kernels, call, layout, truth, bounds_of(call, truth))


SMALL = ({"B": 3, "I": 5, "O": 7, "N": 9}, {"B": 17, "I": 4, "O": 33, "N": 37})


def check_layouts(kernels, kernel, dtype):
    """Hold a kernel against the reference: all variants in all layouts."""
    for variant in adversarial.variants(kernel):
        for size in SMALL:
            call = adversarial.make(kernel, variant, size, dtype)
            truth = truth_by_reference(call)
            bounds = bounds_of(call, truth)
            for layout in adversarial.LAYOUTS:
                check_call(kernels, call, layout, truth, bounds)


def check_nonfinite(kernels, kernel, dtype):
    """Plant NaN and infinities: they reach exactly the outputs where the reference has them."""
    for constants, absent in adversarial.variants(kernel):
        for size in SMALL:
            for plant in adversarial.plants(kernel, absent):
                call = adversarial.make(kernel, (constants, absent), size, dtype, plant=plant)
                truth = truth_by_reference(call, dtype)
                bounds = bounds_of(call, truth)
                if "hits" in truth and call.arrays["hits"] is not None:
                    sick = ~np.isfinite(call.arrays["Z"]).all(axis=1)
                    bounds["hits"] = np.where(sick, np.nan, bounds["hits"])  # no right or wrong
                layout = adversarial.LAYOUTS[1]
                # Twice: the truth is rounded to the same dtype here.
                twice = {name: 2 * bound for name, bound in bounds.items()}
                check_call(kernels, call, layout, truth, twice)


def check_aliases(kernels, kernel, dtype):
    """Let an output be an input, where the table allows it: the same bits as apart."""
    for variant in adversarial.variants(kernel):
        for size in SMALL:
            for output, source in kernel.alias:
                call = adversarial.make(kernel, variant, size, dtype)
                call.arrays[output] = call.arrays[source].copy()
                apart, together = call.copy(), call.copy()
                together[output] = together[source]
                call.run(kernels, apart)
                call.run(kernels, together)
                same = apart[output].tobytes() == together[output].tobytes()
                assert same, f"{output} as {source} has other bits: {call}"


CHECKS = (check_numbers, check_layouts, check_nonfinite, check_aliases)


def check_kernel(kernels, kernel, dtype):
    """Make every claim about a kernel."""
    for check in CHECKS:
        check(kernels, kernel, dtype)
