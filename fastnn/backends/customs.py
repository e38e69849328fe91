"""Functions of one's own for the backends that call machine code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastnn.backends.base import Executable
from fastnn.errors import BackendUnavailable

if TYPE_CHECKING:
    from fastnn.backends.jit.functions import CompiledActivation, CompiledLoss

__all__ = ["compile_customs"]


def compile_customs(
    executable: Executable,
) -> tuple[dict[str, CompiledActivation], CompiledLoss | None]:
    """Return the activations and the loss of one's own in a Program as functions of C, by Numba.

    Raises
    ------
    BackendUnavailable
        Where there are such functions, and Numba is not installed.
    CompilationError
        Where one of them cannot be compiled.
    """
    activations, loss = executable.custom_activations, executable.custom_loss
    if not activations and loss is None:
        return {}, None  # without a look at Numba, whose import takes a while
    try:
        from fastnn.backends.jit import functions
    except ImportError as error:
        names = [*activations, *([loss.name] if loss else [])]
        raise BackendUnavailable(
            f"the functions of your own ({', '.join(names)}) are compiled by Numba, which is not "
            f"available ({error}); pip install 'fastnn-core[numba]', or take backend='reference', "
            "which needs no compiler"
        ) from error
    dtype = executable.dtype
    return (
        {name: functions.compile_activation(own, dtype) for name, own in activations.items()},
        functions.compile_loss(loss, dtype) if loss else None,
    )
