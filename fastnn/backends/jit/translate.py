"""A user's function as it can be compiled: a copy that stays in one dtype and uses our functions.

The copy has globals and closures of its own, in which what NumPy, math and scipy.special offer is
replaced by a library, plain Python functions by their own copies, and floats by numbers of the
dtype, as are the floats in its code: else Numba would compute in float64. NumPy and math themselves
are not touched.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fastnn import activations

__all__ = ["Refused", "Translator"]

# Whole numbers up to here stay whole: beside a float32, Numba keeps float32 for those of 16 bits.
SMALL = 2**15

# Of whole numbers of 16 bits alone NumPy's functions make float32, which is too little in float64.
EXACT = 2**53

LOAD_CONST = dis.opmap["LOAD_CONST"]
LOAD_SMALL_INT = dis.opmap.get("LOAD_SMALL_INT", -1)  # from Python 3.14 on


class Refused(Exception):
    """What a function does that cannot be compiled, and in which line of its file."""

    def __init__(self, reason: str, file: str, line: int) -> None:
        super().__init__(reason)
        self.reason, self.file, self.line = reason, file, line


class Translator:
    """Makes copies of functions; each function once.

    Parameters
    ----------
    library : mapping
        What takes the place of functions of NumPy, math and scipy.special, by their names.
    dtype : str
        ``"float32"`` or ``"float64"``.
    wrap : callable
        What is done to the copy of a function that another one calls, as ``numba.njit``.

    Attributes
    ----------
    files : set of str
        The files in which the functions stand.
    """

    def __init__(self, library: Mapping[str, Any], dtype: str, wrap: Callable[[Any], Any]) -> None:
        self.library, self.real, self.wrap = library, np.dtype(dtype).type, wrap
        self.files: set[str] = set()
        self._called: dict[types.FunctionType, Any] = {}

    def copy(self, function: types.FunctionType) -> types.FunctionType:
        """Return the copy of a function.

        Raises
        ------
        Refused
            Where it raises an exception, is a generator, or calls itself.
        """
        code = function.__code__
        self.files.add(code.co_filename)
        _refuse(code)
        chains = _loads(code)
        space: dict[str, Any] = {"__builtins__": builtins, "__name__": function.__module__}
        for name in {chain[0] for chain in chains}.difference(code.co_freevars):
            for place in (function.__globals__, vars(builtins)):
                if name in place:
                    space[name] = self._found(name, place[name], chains)
                    break
        cells = tuple(
            types.CellType(self._found(name, cell.cell_contents, chains))
            for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True)
        )
        copied_code = self._code(code)
        defaults = (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values())
        if code.co_kwonlyargcount:  # Numba has none, but they stand behind the others
            every = code.co_argcount + code.co_kwonlyargcount
            copied_code = copied_code.replace(co_argcount=every, co_kwonlyargcount=0)
        return types.FunctionType(
            copied_code,
            space,
            function.__name__,
            tuple(self._value(value) for value in defaults),
            cells or None,
        )

    def callee(self, function: Any) -> Any:
        """Return what stands in the copy for a function that is called."""
        name = _library_name(function)
        if name in self.library:
            return self.library[name]
        function = getattr(function, "py_func", function)  # of what Numba has compiled
        if not isinstance(function, types.FunctionType):
            return function
        if function not in self._called:
            code = function.__code__
            self._called[function] = Refused(
                f"{function.__name__} calls itself", code.co_filename, code.co_firstlineno
            )
            self._called[function] = self.wrap(self.copy(function))
        found = self._called[function]
        if isinstance(found, Refused):
            raise found
        return found

    def _found(self, name: str, value: Any, chains: set[tuple[str, ...]]) -> Any:
        """Return what stands in the copy for what has a name; of a module, what is used of it."""
        if not isinstance(value, types.ModuleType):
            return self._value(value)
        copied = types.ModuleType(value.__name__)
        rests = {chain[1:] for chain in chains if chain[0] == name and len(chain) > 1}
        for attribute in {rest[0] for rest in rests}:
            if hasattr(value, attribute):
                setattr(copied, attribute, self._found(attribute, getattr(value, attribute), rests))
        return copied

    def _value(self, value: Any) -> Any:
        """Return what stands in the copy for a constant, or for what a function refers to."""
        if isinstance(value, types.CodeType):
            return self._code(value)
        if isinstance(value, (tuple, list)):
            # One float makes floats of all: Numba takes an element by its number from equal ones.
            if any(isinstance(item, float) for item in value):
                value = [float(item) if isinstance(item, int) else item for item in value]
            return tuple(self._value(item) for item in value)
        if isinstance(value, (float, np.floating)):
            return self.real(value)
        if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
            if self.real is np.float64:  # beside it, every whole number up to 2**53 may stay whole
                return np.int64(value) if -EXACT <= value <= EXACT else self.real(value)
            return np.int16(value) if -SMALL <= value < SMALL else self.real(value)
        if isinstance(value, np.ndarray) and value.ndim == 0:
            return self._value(value[()])  # a number, of which Numba would make an array
        if isinstance(value, np.ndarray) and value.dtype.kind == "f":
            return value.astype(self.real)
        if isinstance(value, activations.ActivationFunction) and value.name in activations.CUSTOM:
            return self.callee(activations.CUSTOM[value.name].function)
        return self.callee(value)

    def _code(self, code: types.CodeType) -> types.CodeType:
        """Return the code with constants of the dtype."""
        constants = [self._value(value) for value in code.co_consts]
        text = bytearray(code.co_code)
        for at in range(0, len(text), 2):
            if text[at] == LOAD_SMALL_INT:
                text[at], text[at + 1] = LOAD_CONST, len(constants)
                constants.append(self._value(code.co_code[at + 1]))
        return code.replace(co_code=bytes(text), co_consts=tuple(constants))


def _refuse(code: types.CodeType) -> None:
    """Raise Refused for what Numba would compile and nobody could handle."""
    if code.co_flags & inspect.CO_GENERATOR:
        raise Refused("it is a generator", code.co_filename, code.co_firstlineno)
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        line = _line(instruction) or line
        if instruction.opname == "RAISE_VARARGS":
            raise Refused("exceptions cannot be raised inside", code.co_filename, line)
    for inner in _inner(code):
        _refuse(inner)


def _line(instruction: dis.Instruction) -> int | None:
    """Return the line in which an instruction begins, where one does."""
    if sys.version_info >= (3, 13):
        return instruction.line_number
    return instruction.starts_line


def _inner(code: types.CodeType) -> list[types.CodeType]:
    return [value for value in code.co_consts if isinstance(value, types.CodeType)]


def _loads(code: types.CodeType) -> set[tuple[str, ...]]:
    """Return what names from outside a function are loaded, with the attributes asked of them."""
    chains: list[tuple[str, ...]] = []
    follows = False
    for instruction in dis.get_instructions(code):
        if instruction.opname in {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_DEREF", "LOAD_CLASSDEREF"}:
            chains.append((instruction.argval,))
            follows = True
        elif instruction.opname in {"LOAD_ATTR", "LOAD_METHOD"} and follows:
            chains[-1] = (*chains[-1], instruction.argval)
        elif instruction.opname not in {"EXTENDED_ARG", "CACHE", "PUSH_NULL", "NOP"}:
            follows = False
    return set(chains).union(*(_loads(inner) for inner in _inner(code)))


def _library_name(value: Any) -> str:
    """Return the name of a function of NumPy, math, scipy.special or Python, else nothing."""
    if isinstance(value, np.ufunc):
        return value.__name__
    module = getattr(value, "__module__", "") or ""
    ours = module.split(".")[0] in {"numpy", "math", "builtins"} and callable(value)
    return value.__name__ if ours and not isinstance(value, type) else ""
