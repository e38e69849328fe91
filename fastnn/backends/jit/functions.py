"""Custom activations and losses as machine code: loops over a tile, with the function inside.

The function of a user, which is written for one number, is copied (see `translate`), compiled, and
put into a loop, of which LLVM makes vectors where the function has no branch that calls for more.
What comes out is the address of a function of C, which needs neither Python nor the GIL. An
exception cannot be raised inside: what is not finite is found like any divergence.
"""

from __future__ import annotations

import linecache
import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numba
import numpy as np
from numba import types
from numba.core.errors import NumbaWarning

from fastnn.backends.jit.instructions import FASTMATH, INLINE, inlined
from fastnn.backends.jit.library import library
from fastnn.backends.jit.memory import VECTORS, attempted, get, held, local, loop, put, there
from fastnn.backends.jit.tiles import LINE, clear, gather, scatter, up_to
from fastnn.backends.jit.translate import Refused, Translator
from fastnn.errors import CompilationError

__all__ = [
    "CompiledActivation",
    "CompiledLoss",
    "compile_activation",
    "compile_loss",
    "scalar_functions",
]

OPTIONS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": FASTMATH,
    "boundscheck": False,
    "_nrt": False,
}

# What a user writes may ask for an element that is not there: where a score is NaN, say.
CHECKED = {**INLINE, "boundscheck": True}

# Elements that are computed on the stack, before they are moved or summed.
BLOCK = 256


class Custom(Protocol):
    """What is compiled: a name, and two functions of a score, or of a score and a target."""

    @property
    def name(self) -> str: ...
    @property
    def function(self) -> Callable[..., Any]: ...
    @property
    def derivative(self) -> Callable[..., Any]: ...


@dataclass(frozen=True)
class CompiledActivation:
    """The addresses of an activation in C.

    Attributes
    ----------
    forward : int
        ``void (real *Y, int64 ldY, const real *X, int64 ldX, int64 B, int64 O)``: Y = f(X), where Y
        may be X.
    backward : int
        ``void (real *dX, int64 lddX, const real *dY, int64 lddY, const real *X, int64 ldX,
        int64 accumulate, int64 B, int64 O)``: dX = dY * f'(X), or += it, where dX may be dY.
    code : tuple
        What keeps the code alive.
    """

    forward: int
    backward: int
    code: tuple[Any, ...]


@dataclass(frozen=True)
class CompiledLoss:
    """The address of a loss in C.

    Attributes
    ----------
    rows : int
        ``void (double *row_loss, real *dZ, int64 lddZ, const real *Z, int64 ldZ, const real *T,
        int64 ldT, const real *weight, double factor, int64 B, int64 O)``: the mean over the outputs
        of each row, and dZ = factor * weight[r] * f'(z, t) / O. dZ and weight may be NULL.
    code : tuple
        What keeps the code alive.
    """

    rows: int
    code: tuple[Any, ...]


class Scalars(NamedTuple):
    """A function and its derivative as functions of numbers, for compiled code to call."""

    value: Any
    derivative: Any


_compiling = threading.RLock()
_compiled: dict[tuple[Any, ...], Any] = {}


def compile_activation(custom: Custom, dtype: Any) -> CompiledActivation:
    """Compile an activation for all elements of a matrix.

    Parameters
    ----------
    custom : Custom
        With functions of one score.
    dtype : data type
        float32 or float64.

    Returns
    -------
    CompiledActivation
        The same for the same functions: what they refer to is looked up once.

    Raises
    ------
    CompilationError
        Where one of the functions cannot be compiled.
    """
    return _once("activation", custom, dtype, _compile_activation)


def compile_loss(custom: Custom, dtype: Any) -> CompiledLoss:
    """Compile a loss, of a score and a target, for all rows of a matrix; see compile_activation."""
    return _once("loss", custom, dtype, _compile_loss)


def scalar_functions(custom: Custom, dtype: Any, arguments: int = 1) -> Scalars:
    """Compile a function and its derivative for other compiled code to call, one number at a time.

    Parameters
    ----------
    custom : Custom
    dtype : data type
        float32 or float64.
    arguments : int
        1 for an activation, 2 for a loss.

    Raises
    ------
    CompilationError
        Where one of the functions cannot be compiled.
    """
    return _once(f"scalars of {arguments}", custom, dtype, _compile_scalars, arguments)


def _once(kind: str, custom: Custom, dtype: Any, make: Callable[..., Any], *more: Any) -> Any:
    name = np.dtype(dtype).name
    key = kind, custom.function, custom.derivative, name
    with _compiling:
        if key not in _compiled:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NumbaWarning)
                _compiled[key] = make(custom, name, *more)
        return _compiled[key]


def _compile_scalars(custom: Custom, dtype: str, arguments: int) -> Scalars:
    real = getattr(types, dtype)
    value = _scalar(custom.name, "function", custom.function, real, arguments)
    return Scalars(value, _scalar(custom.name, "derivative", custom.derivative, real, arguments))


def _scalar(name: str, role: str, function: Any, real: Any, arguments: int) -> Any:
    """Compile one of the two, and find out at once whether that works."""
    checked = numba.njit(**CHECKED)
    translator = Translator(library(real.name), real.name, checked)
    try:
        if isinstance(function, type(_scalar)) or hasattr(function, "py_func"):
            function = getattr(function, "py_func", function)
            compiled = checked(translator.copy(function))
            if function.__defaults__ or function.__kwdefaults__:
                compiled = _with_defaults(compiled, arguments)
        else:
            compiled = translator.callee(function)
        if not hasattr(compiled, "py_func"):
            raise Refused("it is no function written in Python", "", 0)
        compiled.compile((real,) * arguments)
        result = compiled.overloads[(real,) * arguments].signature.return_type
    except Exception as error:
        raise _explained(name, role, function, translator.files, error) from error
    if not isinstance(result, (types.Integer, types.Float, types.Boolean, types.Literal)):
        refused = Refused(f"it returns {result}, no number", *_first_line(function))
        raise _explained(name, role, function, translator.files, refused)
    return compiled


def _with_defaults(function: Any, arguments: int) -> Any:
    """Return a function of so many arguments, which leaves the others at their defaults."""
    if arguments == 1:
        return inlined(lambda z: function(z))
    return inlined(lambda z, t: function(z, t))


def _compile_activation(custom: Custom, dtype: str) -> CompiledActivation:
    f, slope = _compile_scalars(custom, dtype, 1)

    together = VECTORS * LINE // np.dtype(dtype).itemsize  # elements that a loop takes at a time

    @inlined
    def set_value(o: Any, at: Any) -> None:
        Y, y, X, x = at
        put(Y, y + o, attempted(f, (get(X, x + o),)))

    @inlined
    def set_slope(o: Any, at: Any) -> None:
        dX, dx, dY, dy, X, x = at
        put(dX, dx + o, get(dY, dy + o) * attempted(slope, (get(X, x + o),)))

    # First what of each row fills vectors, as it stands; then what is left over of all rows, behind
    # one another in a block: one by one they would take as long as all the rest.
    def forward(Y: Any, ldY: Any, X: Any, ldX: Any, B: Any, O: Any) -> None:
        main = O - O % together
        rows, left = (B if main else 0), B * (O - main)
        block = local(X, BLOCK)
        for step in range(rows + (left + BLOCK - 1) // BLOCK):
            if step < rows:
                at, n = (Y, step * ldY, X, step * ldX), main
            else:
                first = (step - rows) * BLOCK
                at, n = (block, 0, block, 0), min(BLOCK, left - first)
                gather(block, n, first, X, ldX, main, O)
                clear(block, n, up_to(n, together))
            loop(n if step < rows else up_to(n, together), set_value, at)
            if step >= rows:
                scatter(block, n, first, Y, ldY, main, O, False)

    def backward(
        dX: Any, lddX: Any, dY: Any, lddY: Any, X: Any, ldX: Any, accumulate: Any, B: Any, O: Any
    ) -> None:
        main = 0 if accumulate else O - O % together
        rows, left = (B if main else 0), B * (O - main)
        block, scores = local(X, BLOCK), local(X, BLOCK)
        for step in range(rows + (left + BLOCK - 1) // BLOCK):
            if step < rows:
                at, n = (dX, step * lddX, dY, step * lddY, X, step * ldX), main
            else:
                first = (step - rows) * BLOCK
                at, n = (block, 0, block, 0, scores, 0), min(BLOCK, left - first)
                gather(block, n, first, dY, lddY, main, O)
                gather(scores, n, first, X, ldX, main, O)
                clear(block, n, up_to(n, together))
                clear(scores, n, up_to(n, together))
            loop(n if step < rows else up_to(n, together), set_slope, at)
            if step >= rows:
                scatter(block, n, first, dX, lddX, main, O, accumulate)

    reals, n = types.CPointer(getattr(types, dtype)), types.int64
    codes = (
        numba.cfunc(types.void(reals, n, reals, n, n, n), **OPTIONS)(forward),
        numba.cfunc(types.void(reals, n, reals, n, reals, n, n, n, n), **OPTIONS)(backward),
    )
    return CompiledActivation(codes[0].address, codes[1].address, codes)


def _compile_loss(custom: Custom, dtype: str) -> CompiledLoss:
    f, slope = _compile_scalars(custom, dtype, 2)
    real = getattr(types, dtype)

    def rows(
        row_loss: Any,
        dZ: Any,
        lddZ: Any,
        Z: Any,
        ldZ: Any,
        T: Any,
        ldT: Any,
        weight: Any,
        factor: Any,
        B: Any,
        O: Any,
    ) -> None:
        block = local(Z, BLOCK)
        for r in range(B):
            total = 0.0
            for first in range(0, O, BLOCK):
                n = min(BLOCK, O - first)
                z, t = r * ldZ + first, r * ldT + first
                for o in range(n):
                    put(block, o, attempted(f, (get(Z, z + o), get(T, t + o))))
                for o in range(n):
                    total += held(block, o)
            put(row_loss, r, total / O)
            if there(dZ):
                share = real((factor * get(weight, r) if there(weight) else factor) / O)
                for o in range(O):
                    at = get(Z, r * ldZ + o), get(T, r * ldT + o)
                    put(dZ, r * lddZ + o, share * attempted(slope, at))

    reals, doubles, n = types.CPointer(real), types.CPointer(types.float64), types.int64
    arguments = doubles, reals, n, reals, n, reals, n, reals, types.float64, n, n
    code = numba.cfunc(types.void(*arguments), **OPTIONS)(rows)
    return CompiledLoss(code.address, (code,))


def _explained(
    name: str, role: str, function: Any, files: set[str], error: Exception
) -> CompilationError:
    """Return what is raised for a function that cannot be compiled: where and why."""
    file, line = _place(error, files) or _first_line(function)
    text = linecache.getline(file, line).strip()
    where = f"line {line} of {file}" + (f", {text!r}" if text else "") if line else repr(function)
    return CompilationError(
        f"the {role} of {name!r} cannot be compiled: {where}: {_reason(error)}; "
        f'backend="reference" runs it as it is'
    )


def _first_line(function: Any) -> tuple[str, int]:
    code = getattr(function, "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code else ("", 0)


def _place(error: Exception, files: set[str]) -> tuple[str, int] | None:
    """Return the file and the line of which an error tells, the innermost call first."""
    if isinstance(error, Refused):
        return (error.file, error.line) if error.line else None
    for file, line in re.findall(r"(?:at|from) (\S.*?) \((\d+)\)", str(error)):
        if file in files:
            return file, int(line)
    told = getattr(error, "loc", None)
    return (told.filename, told.line) if told is not None and told.filename in files else None


def _reason(error: Exception) -> str:
    """Return the first sentence of an error that says something, without its frame."""
    lines = [line.strip() for line in str(error).splitlines()]
    lines = [line for line in lines if line and not line.startswith("Failed in nopython mode")]
    if not lines:
        return type(error).__name__
    signature = next((line[4:] for line in lines[1:3] if line.startswith(">>> ")), "")
    if signature:
        return f"Numba has no {signature}"
    return re.sub(r"\s*Raised from .*", "", lines[0]).lstrip("- ").rstrip(".")
