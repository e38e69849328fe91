"""Kernels as plain functions on arrays, behind a check of their arguments.

For backends whose kernels take memory as it is: nothing reaches them before it is held against the
kernel table, `fastnn.program.kernels`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from fastnn.program.kernels import KERNELS, Kernel, check_arguments

__all__ = ["checked_kernels"]

Run = Callable[[Kernel, str, Mapping[str, Any]], Any]


def checked_kernels(run: Run) -> dict[str, Callable[..., Any]]:
    """Return a function for every row of the table, by name.

    A function takes the arrays and constants of its row in the table's order, or by name.

    Parameters
    ----------
    run : callable
        Runs a kernel: from its row, the name of its dtype, and its arguments by name, in order.
        What it gets is of the right rank, size and dtype, aligned, with contiguous rows.
    """
    return {name: _checked(kernel, run) for name, kernel in KERNELS.items()}


def _checked(kernel: Kernel, run: Run) -> Callable[..., Any]:
    """Return the function of a kernel."""
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
        return run(kernel, dtype.name, values)

    checked.__name__ = checked.__qualname__ = kernel.name
    # The stubs of functions know nothing of this, but `inspect` reads it.
    checked.__signature__ = signature  # type: ignore[attr-defined]
    return checked
