"""The one generator of nasty calls: sizes, values and layouts for any row of the kernel table.

A `Call` holds plain arrays; `place` puts each into a buffer of its own, in a layout, with canaries.
Everything is drawn from a seed that is made of the names, so every run makes the same calls.
"""

import itertools
import zlib
from dataclasses import dataclass, field

import numpy as np
from adversarial_values import CHECKED, DERIVED, POSITIVE, derive, real

from fastnn.activations import FORMULAS
from fastnn.program.kernels import Kernel, check_arguments

DTYPES = ("float32", "float64")

# -- sizes ---------------------------------------------------------------------------------------

TILES = (4, 8, 14, 16, 32)
PRIMES = (2, 5, 37, 61)
SIZES = sorted({0, 1, *PRIMES, *(tile + d for tile in TILES for d in (-1, 0, 1))})
# Beyond the blocks in which a long sum is taken.
LONG = 1031


def letters(kernel):
    """Return the letters of a kernel's sizes, in the order in which they come."""
    shapes = (argument.shape.split(",") for argument in kernel.arguments)
    return tuple(dict.fromkeys(c for c in itertools.chain(*shapes) if c.isalpha()))


def least(kernel, letter):
    """Return the least size that makes sense: no mean of nothing, no row taken from no rows."""
    averages = kernel.tolerance in ("reduction", "loss") and letter == "O"
    averages |= kernel.name.startswith("batch_norm_") and letter == "B"
    return int(averages or (kernel.name == "gather_rows" and letter == "N"))


def shapes(kernel, rounds=1):
    """Return sizes by letter, so that every letter takes every size in each round."""
    strides = (1, 7, 11)  # no divisors of the number of sizes, so each is a permutation
    return [
        {
            c: max(SIZES[(strides[k] * n + (k + 2) * turn) % len(SIZES)], least(kernel, c))
            for k, c in enumerate(letters(kernel))
        }
        for turn in range(rounds)
        for n in range(len(SIZES))
    ]


def long_shapes(kernel):
    """Return sizes with one long letter each, the others small."""
    names = letters(kernel)
    small = {c: size for c, size in zip(names, (5, 3, 7), strict=False)}
    return [{**small, c: LONG} for c in names]


# Rows and columns at the edges of the tiles of a product that SIZES do not reach: the highest ones,
# and the widest, which few rows have.
TILE_ROWS = (1, 2, 3, 6, 14, 15, 28, 29)
TILE_COLUMNS = (63, 64, 65, 127, 128, 129)


def tile_shapes(kernel):
    """Return sizes by letter for a product: any two at the edges of tiles, the third small."""
    if kernel.tolerance != "product":
        return []
    return [
        {rows: R, columns: C, **{c: 3 for c in letters(kernel) if c not in (rows, columns)}}
        for rows, columns in itertools.permutations(letters(kernel), 2)
        for R, C in itertools.product(TILE_ROWS, TILE_COLUMNS)
    ]


# -- variants: the constants, and which optional arrays are there --------------------------------


def product(**choices):
    """Return every combination of the choices, as dictionaries."""
    return [dict(zip(choices, v, strict=True)) for v in itertools.product(*choices.values())]


# Beside the default of the field, for functions that have a constant.
CONSTANT = {"leaky_relu": 0.2, "elu": 0.7, "silu": 1.7, "huber": 0.5, "cross_entropy": 0.1}
CONSTANT["quantile"] = 0.9
LOSS_DEFAULT = {"huber": 1.0, "quantile": 0.5}


def _functions(kernel):
    for function in kernel.functions:
        formula = FORMULAS.get(function)
        default = formula.default if formula else LOSS_DEFAULT.get(function, 0.0)
        for constant in {default, CONSTANT.get(function, default)}:
            yield {"function": function, "constant": constant}


DROPOUT = (
    {"rate": 0.5, "seed": 0, "step": 0, "layer": 0, "first_row": 0},
    {"rate": 0.1, "seed": 2**40 + 7, "step": 2**33 + 5, "layer": 3, "first_row": 1000},
    {"rate": 0.0, "seed": 2**64 - 1, "step": 1, "layer": 65535, "first_row": 2**31},
)

CONSTANTS = {
    "dropout": DROPOUT,
    "layer_norm_forward": product(epsilon=[1e-5, 0.3]),
    "batch_norm_forward": product(epsilon=[1e-5, 0.3]),
    "batch_norm_backward_data": product(epsilon=[1e-5, 0.3], batch_statistics=[False, True]),
    "batch_norm_backward_parameters": product(epsilon=[1e-5, 0.3]),
    "batch_norm_update": product(momentum=[0.1, 1.0], rows=[1, 2, 37]),
    "gate_backward_beta": product(beta=[1.0, -0.6]),
    "loss_labels": product(constant=[0.0, 0.1], factor=[0.25]),
    "penalty": product(l1=[0.0, 0.3], l2=[0.0, 0.2]),
    "clip": product(limit=[0.37]),
    "scale": product(factor=[-0.37]),
    "sgd_update": [
        {"rate": 0.1, "momentum": momentum, "nesterov": nesterov, "weight_decay": decay}
        for momentum, nesterov in ((0.0, False), (0.9, False), (0.9, True), (1.0, False))
        for decay in (0.0, 0.03)
    ],
    "adam_update": product(
        rate=[0.1],
        beta1=[0.9],
        beta2=[0.999],
        epsilon=[1e-8, 0.01],
        epsilon_hat=[False, True],
        weight_decay=[0.0, 0.03],
        decoupled=[False, True],
        step=[1, 2**33],
    ),
    "rmsprop_update": product(
        rate=[0.1],
        decay=[0.99],
        momentum=[0.0, 0.9],
        epsilon=[1e-8, 0.01],
        weight_decay=[0.0, 0.03],
    ),
    "adagrad_update": product(rate=[0.1], epsilon=[1e-10, 0.01], weight_decay=[0.0, 0.03]),
    "nadam_update": product(
        rate=[0.1],
        beta1=[0.9],
        beta2=[0.999],
        epsilon=[1e-8, 0.01],
        momentum_decay=[0.004, 3.0],
        weight_decay=[0.0, 0.03],
        product=[0.45],
        step=[1, 2**33],
    ),
    "lion_update": product(rate=[0.1], beta1=[0.9], beta2=[0.99], weight_decay=[0.0, 0.03]),
    "max_norm": product(limit=[0.37, 3.0]),
}

# Optional arrays that go with a constant: the velocity is there where there is momentum.
WITH_MOMENTUM = {("sgd_update", "velocity"), ("rmsprop_update", "buffer")}


def _absences(kernel, constants):
    """Return sets of optional arguments to leave out: none of them, all, each alone."""
    optional = [a.name for a in kernel.arguments if a.optional]
    bound = {name for name in optional if (kernel.name, name) in WITH_MOMENTUM}
    if bound:
        return [set() if constants["momentum"] else bound]
    return [
        set(names) for n in {0, 1, len(optional)} for names in itertools.combinations(optional, n)
    ]


def variants(kernel):
    """Return (constants, absent arguments) for every way in which a kernel can be called."""
    found = []
    for constants in CONSTANTS.get(kernel.name) or list(_functions(kernel)) or [{}]:
        if "factor" in kernel.constants:
            constants = {"factor": 0.25, **constants}
        flags = [False, True] if "accumulate" in kernel.constants else [None]
        for flag, absent in itertools.product(flags, _absences(kernel, constants)):
            told = constants if flag is None else {**constants, "accumulate": flag}
            found.append(({name: told[name] for name in kernel.constants}, absent))
    return found


# -- calls ---------------------------------------------------------------------------------------


@dataclass
class Call:
    """The arguments of one call, as plain arrays."""

    kernel: Kernel
    constants: dict
    arrays: dict
    kind: str

    def __str__(self):
        sizes = {n: "None" if a is None else a.shape for n, a in self.arrays.items()}
        return f"{self.kernel.name} of {self.kind} {sizes} with {self.constants}"

    def run(self, kernels, arrays=None):
        """Call the kernel of a backend; overflow and NaN are its business, so no warnings."""
        arrays = self.arrays if arrays is None else arrays
        with np.errstate(all="ignore"):
            return getattr(kernels, self.kernel.name)(*arrays.values(), *self.constants.values())

    def outputs(self):
        """Return the names of the arrays that the kernel writes."""
        told = (a.name for a in self.kernel.arguments if a.role != "in")
        return [name for name in told if self.arrays[name] is not None]

    def copy(self, dtype=None):
        """Return the arrays again, real ones in another dtype."""
        real = {a.name for a in self.kernel.arguments if a.dtype == "real"}
        return {
            n: None if a is None else a.astype(dtype if dtype and n in real else a.dtype)
            for n, a in self.arrays.items()
        }


def make(kernel, variant, sizes, dtype, kind="ordinary", plant=None):
    """Return a call. `plant` is a (name of an argument, value) for some of the places."""
    constants, absent = variant
    told = f"{kernel.name} {constants} {sorted(absent)} {sizes} {kind} {plant}"
    rng = np.random.default_rng(zlib.crc32(told.encode()))
    arrays = {}
    for argument in kernel.arguments:
        shape = tuple(sizes[c] if c.isalpha() else int(c) for c in argument.shape.split(","))
        if argument.name in absent:
            arrays[argument.name] = None
        elif argument.dtype == "int64":
            limit = sizes["N"] if argument.name == "index" else sizes["O"]
            arrays[argument.name] = rng.integers(0, limit, shape, dtype=np.int64)
        else:
            held = dtype if argument.dtype == "real" else argument.dtype
            drawn = real(rng, kernel, argument, shape, dtype, kind, constants)
            arrays[argument.name] = drawn.astype(held)
    if plant and arrays[plant[0]].size:
        flat = arrays[plant[0]].reshape(-1)
        # Enough to meet some row that is gathered, too few to meet every row; the first one alone
        # where it is its place that is asked for.
        places = 1 if kernel.returns == "index" else min(6, -(-flat.size // 8))
        flat[rng.choice(flat.size, places, replace=False)] = plant[1]
    derive(kernel, arrays, dtype, constants)
    check_arguments(kernel, arrays)
    return Call(kernel, constants, arrays, f"{kind} {plant or ''}")


def plants(kernel, absent):
    """Return what can be planted into a kernel's arguments: (name, NaN or infinity)."""
    for argument in kernel.arguments:
        told = argument.role != "out" and argument.dtype == "real" and argument.name not in absent
        if not told or (kernel.name, argument.name) in DERIVED or argument.name in CHECKED:
            continue
        for value in (np.nan, np.inf, -np.inf):
            if argument.name not in POSITIVE or not value < 0:
                yield argument.name, value


# -- layouts -------------------------------------------------------------------------------------

CANARY = {
    "float32": np.array(0x7FC0BEEF, np.uint32),  # a NaN, so that who reads it shows it
    "float64": np.array(0x7FF800000000BEEF, np.uint64),
    "int64": np.array(0x7FFFBEEF00000000, np.uint64),
}


@dataclass(frozen=True)
class Layout:
    """How an array lies in its buffer: elements before and behind it, and between its rows."""

    name: str
    lead: int = 16
    gap: int = 0
    reversed: bool = False
    trail: int = 16


LAYOUTS = (
    Layout("plain"),
    Layout("wide", gap=3),
    Layout("one element off alignment", lead=17, gap=1),
    Layout("rows reversed", gap=2, reversed=True),
)


def aligned(size):
    """Return `size` bytes that begin on a cache line."""
    raw = np.empty(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


@dataclass
class Placed:
    """An array in its buffer. Bits outside of the window must stay those of the canary."""

    window: np.ndarray
    bits: np.ndarray
    outside: np.ndarray = field(repr=False)

    def canaries_live(self):
        """Tell whether nobody wrote beside the window."""
        canary = CANARY[self.window.dtype.name]
        return bool((self.bits[self.outside] == canary).all())


def place(array, layout, allocate=aligned):
    """Put an array into a buffer of its own."""
    item = array.itemsize
    rows, columns = array.shape if array.ndim == 2 else (1, len(array))
    stride = columns + (layout.gap if array.ndim == 2 else 0)
    body = (rows - 1) * stride + columns if rows and columns else 0
    length = layout.lead + body + layout.trail
    flat = allocate(length * item).view(array.dtype)
    bits = flat.view(CANARY[array.dtype.name].dtype)
    bits[...] = CANARY[array.dtype.name]
    outside = np.ones(length, bool)
    window, inside = (
        np.lib.stride_tricks.as_strided(
            whole[layout.lead :],
            array.shape,
            (stride * whole.itemsize, whole.itemsize)[-array.ndim :],
        )
        for whole in (flat, outside)
    )
    if array.size:
        inside[...] = False
    if layout.reversed and array.ndim == 2:
        window = window[::-1]
    window[...] = array
    return Placed(window, bits, outside)
