"""Model files that must be refused, each for one reason, and odd ones that must be taken.

Everything here is built by hand from the description of the format, so that it judges the writer
and the reader of fastnn instead of using them.
"""

import json

import numpy as np

from hostile import descriptions, headers, other_formats, tensors
from hostile.crafted import DATA, ENTRIES, entry, metadata, raw_file, sealed, substituted


def cases():
    """Return all files that must be refused."""
    return [
        *headers.length_field(), *headers.header_text(), *headers.keys(),
        *tensors.dtypes(), *tensors.shapes(), *tensors.offsets(), *tensors.data(),
        *tensors.values(), *descriptions.metadata_cases(), *descriptions.descriptions(),
        *tensors.names(), *other_formats.files(),
    ]  # fmt: skip


def controls():
    """Return odd files that must be taken, by name."""
    good = sealed()
    text = good[8 : -len(DATA)]
    unordered = {"b": entry([2], 16, 24), "a": entry([2, 2], 0, 16)}
    empties = {
        "z": entry([0], 0, 0),
        "a": entry([2], 0, 8),
        "m": entry([0, 2**31 - 1], 8, 8, "F64"),
        "b": entry([1, 4], 8, 24),
        "e": entry([3, 0], 24, 24, "U8"),
    }
    types = {
        "f8": entry([1], 0, 8, "F64"),
        "i8": entry([], 8, 16, "I64"),
        "f4": entry([1, 1], 16, 20),
        "u1": entry([2, 2], 20, 24, "U8"),
    }
    extremes = np.array([np.finfo("f4").max, np.finfo("f4").tiny, 1e-45, -0.0], "<f4").tobytes()
    nested = '{"a": ' + "[" * 63 + "]" * 63 + "}"
    rich = '{"text": "gr\\u00fc\\ud83d\\ude00 \\"[{,", "pi": 3.14, "big": ' + "9" * 64 + "}"
    return {
        "a plain file": good,
        "a header padded with spaces": raw_file(text + b" " * 999, DATA),
        "a header with white space inside": raw_file(
            json.dumps({"__metadata__": metadata(), **ENTRIES}, indent=4).replace("\n", "\r\n\t"),
            DATA,
        ),
        "metadata behind the tensors": raw_file({**ENTRIES, "__metadata__": metadata()}, DATA),
        "an escaped name": substituted(b'"0.bias"', rb'"0\u002ebias"'),
        "tensors in another order than their bytes": sealed(unordered),
        "no tensors": sealed({}, b""),
        "empty tensors between others": sealed(empties),
        "every dtype and rank": sealed(types),
        "largest, smallest and negative zero": sealed({"t": entry([4], 0, 16)}, extremes),
        "names beyond ASCII": sealed({"größe.重み": entry([6], 0, 24)}),
        "a name of 255 characters": sealed({"x" * 255: entry([6], 0, 24)}),
        "4096 tensors": sealed({f"t{n}": entry([0], 0, 0) for n in range(4096)}, b""),
        "an empty description": sealed(description="{}"),
        "a nested description": sealed(description=nested),
        "a rich description": sealed(description=rich),
        "a long description": sealed(description='{"a": "' + "x" * 500_000 + '"}'),
        "many values": sealed(description='{"a": [' + "1," * 69_000 + "1]}"),
    }
