"""Model files built by hand from the description of the format.

`sealed` gives a file its right checksum: what is refused is then refused for what is wrong with it,
not for the checksum.
"""

import hashlib
import json
import struct
from typing import NamedTuple

import numpy as np

DESCRIPTION = '{"layers": []}'
DATA = np.arange(1, 7, dtype="<f4").tobytes()


class Case(NamedTuple):
    """A file, and a regular expression that the message must match."""

    name: str
    content: bytes
    because: str


def raw_file(header, data=b"", length=None):
    """Frame a header (bytes, str or plain data) and data, with a wrong length if one is given."""
    if not isinstance(header, (bytes, str)):
        header = json.dumps(header)
    if isinstance(header, str):
        header = header.encode()
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


ENTRIES = {"0.weight": entry([2, 2], 0, 16), "0.bias": entry([2], 16, 24)}


def checksum(entries, data, description=DESCRIPTION):
    """Return the checksum as the docstring of fastnn.formats.model_file tells it."""
    digest = hashlib.sha256(description.encode())
    for name in sorted(entries):
        dtype, shape, (begin, end) = (entries[name][k] for k in ("dtype", "shape", "data_offsets"))
        digest.update(json.dumps([name, dtype, shape]).encode() + data[begin:end])
    return digest.hexdigest()


def metadata(entries=None, data=DATA, description=DESCRIPTION, **changes):
    """Return the metadata; a change to None drops the key."""
    try:
        digest = checksum(ENTRIES if entries is None else entries, data, description)
    except (TypeError, ValueError, KeyError, AttributeError):  # no checksum exists
        digest = "0" * 64
    whole = {"format": "fastnn", "version": "1", "description": description, "sha256": digest}
    return {key: value for key, value in {**whole, **changes}.items() if value is not None}


def sealed(entries=None, data=DATA, description=DESCRIPTION, **changes):
    """Return a file with the right checksum, and one tensor entry or metadata key changed."""
    entries = ENTRIES if entries is None else entries
    return raw_file(
        {"__metadata__": metadata(entries, data, description, **changes), **entries}, data
    )


def one_tensor(data=b"", **fields):
    """Return a file whose only tensor has these fields; one that is None is left out."""
    fields = {**entry([], 0, len(data)), **fields}
    return sealed({"t": {key: value for key, value in fields.items() if value is not None}}, data)


def substituted(old, new, content=None):
    """Return a good file whose header text is changed once, its length put right."""
    content = sealed() if content is None else content
    length = struct.unpack("<Q", content[:8])[0]
    header, data = content[8 : 8 + length], content[8 + length :]
    assert header.count(old) == 1, (old, header)
    return raw_file(header.replace(old, new), data)
