"""JSON from strangers: strict, and with a bound on the memory and stack that it takes."""

from __future__ import annotations

import json
import math
import re
import reprlib
from typing import Any

from fastnn.errors import ModelFileError

__all__ = ["loads", "shown"]

MOST_TOKENS = 70_000  # 4,096 tensors have 65,556; a key of 3 bytes takes 200 bytes of memory
MOST_DEPTH = 64  # far below any recursion limit
MOST_DIGITS = 64  # the state of NumPy's PCG64 has 39

_repr = reprlib.Repr()
_repr.maxstring = _repr.maxlong = _repr.maxother = 60


def shown(value: object) -> str:
    """Return a short text for an error message, without control characters."""
    return _repr.repr(value)


def loads(text: bytes, what: str) -> dict[str, Any]:
    """Return the object that a JSON text holds.

    Beyond the grammar, these are refused: keys that occur twice, NaN and infinities (1e999 too),
    -0 as a whole number, lone surrogates, and more tokens, levels or digits than a model needs.

    Parameters
    ----------
    text : bytes
        UTF-8.
    what : str
        What the text is, for the messages.

    Raises
    ------
    ModelFileError
        When it is anything else.
    """
    _check_size(text, what)
    try:
        value = json.loads(
            text.decode(),
            object_pairs_hook=_object,
            parse_int=_whole,
            parse_float=_number,
            parse_constant=_number,
        )
        if re.search(rb"\\u[dD][89a-fA-F]", text):  # a pair is fine, half of one has no UTF-8
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ModelFileError(f"{what} is no valid JSON ({error.msg} at {error.pos})") from error
    except UnicodeDecodeError as error:
        raise ModelFileError(f"{what} is no valid UTF-8 (byte {error.start})") from error
    except UnicodeEncodeError as error:
        raise ModelFileError(f"{what} holds half of a surrogate pair") from error
    if not isinstance(value, dict):
        raise ModelFileError(f"{what} is no JSON object but {shown(value)}")
    return value


def _check_size(text: bytes, what: str) -> None:
    """Count tokens and levels before the parser takes memory and stack for them."""
    depth = 0
    unescaped = text.replace(rb"\\", b"").replace(rb"\"", b"")
    for number, token in enumerate(re.finditer(rb'[][{},]|"[^"]*"', unescaped)):
        depth += (token[0] in (b"[", b"{")) - (token[0] in (b"]", b"}"))
        if number == MOST_TOKENS:
            raise ModelFileError(f"{what} has more than {MOST_TOKENS} brackets, commas and texts")
        if depth > MOST_DEPTH:
            raise ModelFileError(f"{what} is nested more than {MOST_DEPTH} levels deep")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for key, item in pairs:
        if key in value:
            raise ModelFileError(f"the key {shown(key)} occurs twice")
        value[key] = item
    return value


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ModelFileError(f"a number has {len(digits)} digits, more than {MOST_DIGITS}")
    if digits == "-0":
        raise ModelFileError("-0 is no whole number")
    return int(digits)


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ModelFileError(f"{shown(text)} is no finite number")
    return value
