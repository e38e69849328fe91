"""Activations and losses of one's own as device functions, compiled into the kernels of others.

A function is copied as for the processor: its floats become those of the network, and what it calls
of NumPy, math and scipy.special becomes what the GPU has for it. Before that it is compiled for the
processor, so that what cannot be compiled is named by function and line, before anything runs.
"""

from __future__ import annotations

import types
from typing import Any

import numpy as np

from fastnn.backends.cuda.device import library
from fastnn.backends.cuda.target import device_function
from fastnn.backends.jit.functions import scalar_functions
from fastnn.backends.jit.translate import Translator

__all__ = ["Activation", "ElementLoss"]

# Which outputs are right, by what the targets are: those above it on both sides, or below on both.
YES = {"probabilities": 0.5, "signs": 0.0}


class Activation:
    """An activation of the user's on the device; it stands where the name of another one would.

    Parameters
    ----------
    definition : CustomActivation
    dtype : numpy.dtype

    Attributes
    ----------
    value : device function
        Of the score and a constant that it does not use.
    slope : device function
        Of the score, the output and a constant.

    Raises
    ------
    CompilationError
        Where one of the functions cannot be compiled.
    """

    def __init__(self, definition: Any, dtype: np.dtype[Any]) -> None:
        scalar_functions(definition, dtype)  # for its errors
        self.name = definition.name
        self.value, self.slope = library.activation(*_functions(definition, dtype), dtype.type)


class ElementLoss:
    """A loss of the user's on the device; it stands where the name of another one would.

    Parameters
    ----------
    definition : LossDefinition
    dtype : numpy.dtype

    Attributes
    ----------
    element : device function
        Of the score, the target and a constant: the loss of an output, and its derivative.
    yes : float or None
        A target above it means yes; None where nothing is right or wrong.

    Raises
    ------
    CompilationError
        Where one of the functions cannot be compiled.
    """

    def __init__(self, definition: Any, dtype: np.dtype[Any]) -> None:
        scalar_functions(definition, dtype, 2)
        self.name, self.yes = definition.name, YES.get(definition.targets)
        self.element = library.element(*_functions(definition, dtype), dtype.type)


def _functions(definition: Any, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """Return function and derivative as device functions."""
    translator = Translator(library.library(dtype.name), dtype.name, device_function)
    pair = []
    for function in (definition.function, definition.derivative):
        plain = getattr(function, "py_func", function)
        if isinstance(plain, types.FunctionType):
            pair.append(device_function(translator.copy(plain)))
        else:  # a function of NumPy or math itself
            pair.append(translator.callee(function))
    return pair[0], pair[1]
