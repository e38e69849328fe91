"""The kernels as functions of C, compiled when they are asked for, one by one, and kept on disk.

A kernel is a plain Python function of this package. Its annotations are its signature: Reals,
Doubles and Integers are addresses of numbers of the dtype, of float64 and of int64 (0 where an
optional array is absent), a matrix is an address and its leading dimension, and all else is int64
or float64. So the functions have the arguments of FNN_KERNELS in `src_c/fastnn.h`, in that order,
but for one thing: where a kernel has an activation function, a loss or an optimizer to choose, each
choice is compiled by itself, and the choice is no argument.

What was compiled is kept in the folder that NUMBA_CACHE_DIR names, else beside this package, else
among the user's caches, whichever can be written; where none can, every process compiles anew. The
names of the files hold a digest of all sources, so that no code of other sources is ever loaded.
"""

from __future__ import annotations

import hashlib
import inspect
import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import binding
from numba import types

from fastnn.backends.numba_cpu import (
    blocks,
    columns,
    dense,
    dropout,
    elementwise,
    entry,
    flat,
    losses,
    products,
    rows,
    updates,
)
from fastnn.backends.numba_cpu.kept import kept_on_disk
from fastnn.backends.numba_cpu.memory import OPTIONS

__all__ = ["CHOICES", "KERNELS", "address", "parameters"]

Kernel = Callable[..., Any]

KERNELS: dict[str, Kernel] = {
    kernel.__name__: kernel
    for kernel in (
        rows.softmax_forward,
        rows.softmax_backward,
        dropout.dropout,
        rows.layer_norm_forward,
        rows.layer_norm_backward_data,
        rows.layer_norm_backward_parameters,
        columns.batch_norm_statistics,
        columns.batch_norm_forward,
        columns.batch_norm_backward_data,
        columns.batch_norm_backward_parameters,
        columns.batch_norm_update,
        rows.gate_backward_beta,
        elementwise.copy,
        elementwise.gather_rows,
        dropout.round_bfloat16,
        elementwise.first_nonfinite,
        flat.penalty,
        flat.sum_of_squares,
        flat.clip,
        flat.scale,
        columns.max_norm,
    )
}

# The kernels of dense layers: their choice is the vector, and is made here.
DENSE = ("dense_forward", "dense_backward_data", "dense_backward_weights")

# Of the kernels with a choice: what makes the kernel of a choice.
CHOICES: dict[str, Callable[[str], Kernel]] = {
    maker.__name__: maker
    for maker in (
        elementwise.activation_forward,
        elementwise.activation_backward,
        elementwise.gate_forward,
        elementwise.gate_backward,
        losses.loss,
        updates.update,
        dense.dense_forward,
        dense.dense_backward_data,
        dense.dense_backward_weights,
    )
}

# Where the sources of compiled code stand.
SOURCES = (Path(__file__).parent, Path(__file__).parent.parent / "jit")

_compiling = threading.Lock()
_compiled: dict[tuple[str, str, str], Compiled] = {}


def address(kernel: str, dtype: Any, choice: str = "") -> int:
    """Return the address of a kernel, which is compiled or loaded where this is its first use.

    Parameters
    ----------
    kernel : str
        A name in KERNELS or CHOICES.
    dtype : data type
        float32 or float64.
    choice : str
        For the kernels in CHOICES, the name of the activation function, loss or optimizer. For
        those of dense layers, the bytes of a vector, or nothing: what suits the processor.

    Returns
    -------
    int
        Valid as long as the process lives.
    """
    key = kernel, np.dtype(dtype).name, _choice(kernel, choice)
    if key not in _compiled:
        with _compiling:
            _share(*key)
            if key not in _compiled:
                _compiled[key] = _compile(_function(kernel, key[2]), *key)
    return _compiled[key].address


def parameters(kernel: str, choice: str = "") -> dict[str, str]:
    """Return the annotations of a kernel: of its parameters in order, and of its ``return``."""
    return inspect.get_annotations(_function(kernel, _choice(kernel, choice)))


def _choice(kernel: str, choice: str) -> str:
    """Return the choice; of vectors, those that suit the processor unless others are asked for."""
    return choice or (products.VECTOR if kernel in DENSE else "")


def _function(kernel: str, choice: str) -> Kernel:
    return CHOICES[kernel](choice) if kernel in CHOICES else KERNELS[kernel]


def _share(kernel: str, dtype: str, choice: str) -> None:
    """Compile or load what a kernel calls by its symbol."""
    needed = {function.__name__: function for function in blocks.SYMBOLS}
    if kernel in DENSE:
        needed = products.shared(choice)
    for name, function in needed.items():
        key = name, dtype, ""
        if key not in _compiled:
            shared = _compiled[key] = _compile(function, *key)
            binding.add_symbol(blocks.symbol(name, dtype), shared.address)


class Compiled:
    """A kernel in memory: `address` says where, and it stays there while this object lives."""

    def __init__(self, maker: Any) -> None:
        self._maker = maker
        self.address = int(maker.ctypes())

    @property
    def cache_hits(self) -> int:
        """Return whether it came from the disk."""
        return int(self._maker.cache_hits)


def _compile(function: Kernel, kernel: str, dtype: str, choice: str) -> Compiled:
    """Compile a kernel, or load it from the cache."""
    kinds = {
        "Reals": types.CPointer(getattr(types, dtype)),
        "Doubles": types.CPointer(types.float64),
        "Integers": types.CPointer(types.int64),
        "int": types.int64,
        "float": types.float64,
        "None": types.void,
    }
    *arguments, returned = (kinds[kind] for kind in inspect.get_annotations(function).values())
    # Numba names its files after this. With a file for each there is no race between processes that
    # save several kernels at once.
    name = "_".join(part for part in (kernel, choice, dtype, _digest()) if part)
    maker = entry.maker(function, returned(*arguments), name)

    def make(**more: Any) -> Any:
        return numba.cfunc(types.int64(), **OPTIONS, **more)

    return Compiled(kept_on_disk(make, maker))


@cache
def _digest() -> str:
    """Return a digest of all sources of compiled code."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted(folder.glob("*.py")):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
