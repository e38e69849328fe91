"""A function of a user that cannot be compiled is refused, with the line and the reason."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("numba")

from fastnn.backends.jit import functions
from fastnn.errors import CompilationError, FastnnError


def one(z):
    return 1.0


def custom(function, derivative=one):
    """Return what the registry of activations would hold."""
    return SimpleNamespace(name="mine", function=function, derivative=derivative)


def raising(z):
    if z > 3:
        raise ValueError("too much")
    return z


def asserting(z):
    assert z < 3
    return z


def recursive(z):
    return recursive(z - 1) if z > 0 else z


def unknown(z):
    y = z * 2
    return y + "text"


def helper(z):
    return unknown(z)


def of_two(z, t):
    return z - t


def generator(z):
    yield z


SETTINGS = {"slope": 0.1}

REFUSED = {
    raising: (2, "exceptions cannot be raised inside"),
    asserting: (1, "exceptions cannot be raised inside"),
    recursive: (0, "recursive calls itself"),
    unknown: (2, "Numba has no add"),
    of_two: (0, "1 argument types given, but function takes 2"),
    generator: (0, "it is a generator"),
    lambda z: undefined * z: (0, "name 'undefined' is not defined"),  # noqa: F821
    lambda z: z * SETTINGS["slope"]: (0, "Untyped global name 'SETTINGS'"),
    lambda z: z.mean(): (0, "Unknown attribute 'mean'"),
    lambda z: np.no_such_function(z): (0, "no_such_function"),
    lambda z: None: (0, "it returns none, no number"),
    lambda z: (z, z): (0, "no number"),
    lambda z: 1j * z: (0, "no number"),
}


@pytest.mark.parametrize("function", REFUSED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("role", ["function", "derivative"])
def test_a_function_that_cannot_be_compiled_is_told_where_and_why(function, role):
    below, reason = REFUSED[function]
    line = function.__code__.co_firstlineno + below
    pair = (function, one) if role == "function" else (one, function)
    with pytest.raises(CompilationError, match=re.escape(reason)) as caught:
        functions.compile_activation(custom(*pair), np.float32)
    message = str(caught.value)
    assert f"the {role} of 'mine'" in message
    assert f"line {line} of {__file__}" in message
    assert 'backend="reference" runs it' in message
    assert "\n" not in message
    assert isinstance(caught.value, FastnnError)
    assert isinstance(caught.value, TypeError)


def test_the_line_is_that_of_the_helper_which_cannot_be_compiled():
    line = unknown.__code__.co_firstlineno + 2
    with pytest.raises(CompilationError, match=rf"line {line} of .*'return y \+ \"text\"'"):
        functions.compile_activation(custom(helper), np.float32)


def test_what_is_no_function_is_refused():
    with pytest.raises(CompilationError, match="no function written in Python"):
        functions.compile_activation(custom(3), np.float32)
