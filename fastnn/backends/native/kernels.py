"""The kernels of the table as plain functions on arrays, in C.

A function of this module takes the arrays and constants of its row in `fastnn.program.kernels` in
the table's order, or by name. Nothing reaches C before it is held against that row.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from fastnn.backends.native import _core
from fastnn.program.kernels import KERNELS, Kernel, check_arguments

__all__ = list(KERNELS)

# What Cython calls the dtypes of its functions.
SPECIALIZATIONS = {"float32": "float", "float64": "double"}


def _checked(kernel: Kernel) -> Callable[..., Any]:
    """Return the function in C, behind a check of its arguments."""
    function = getattr(_core, kernel.name)
    names = [argument.name for argument in kernel.arguments]
    real = [argument.name for argument in kernel.arguments if argument.dtype == "real"]
    signature = inspect.Signature(
        [
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
            for name in (*names, *kernel.constants)
        ]
    )

    def checked(*arguments: Any, **named: Any) -> Any:
        values = signature.bind(*arguments, **named).arguments
        arrays = {name: values[name] for name in names}
        check_arguments(kernel, arrays)
        for name, array in arrays.items():
            if array is not None and not array.flags.aligned:
                raise ValueError(f"{name} of {kernel.name} is not aligned to its elements")
        if kernel.functions and values["function"] not in kernel.functions:
            raise ValueError(f"{kernel.name} has no function {values['function']!r}")
        dtype = next(arrays[name].dtype for name in real if arrays[name] is not None)
        return function[SPECIALIZATIONS[dtype.name]](*values.values())

    checked.__name__ = checked.__qualname__ = kernel.name
    # The stubs of functions know nothing of this, but `inspect` reads it.
    checked.__signature__ = signature  # type: ignore[attr-defined]
    return checked


globals().update({name: _checked(kernel) for name, kernel in KERNELS.items()})
