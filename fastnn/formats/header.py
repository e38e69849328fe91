"""The header of a model file: what it says is proved against the file's length, before any use.

The container is that of safetensors (https://github.com/huggingface/safetensors): 8 bytes with the
length of the header, little-endian; the header, a JSON object; the tensors, little-endian, in C
order. Whatever is taken here, safetensors takes too; the reverse does not hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from fastnn.errors import ModelFileError
from fastnn.formats import strict_json
from fastnn.formats.strict_json import shown

__all__ = ["DTYPES", "VERSION", "Entry", "Header", "compose", "parse"]

VERSION = "1"
METADATA = ("format", "version", "description", "sha256")
DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}
MOST_HEADER = 1 << 20  # bytes; a network of ten layers needs 5,000
MOST_DESCRIPTION = 1 << 19  # bytes
MOST_TENSORS = 4096
MOST_RANK = 2
MOST_LENGTH = 2**31 - 1  # of one dimension
MOST_NAME = 255  # characters


class Entry(NamedTuple):
    """One tensor: what it is, and which bytes behind the header it takes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """A header that has passed every check."""

    description: str
    sha256: str
    entries: Sequence[Entry]  # in the order of their bytes


def compose(header: Header) -> bytes:
    """Return the 8 bytes of length and the header, as one text for one content.

    safetensors' own writer puts the metadata into a random order, so that two files of one network
    would differ.
    """
    content: dict[str, Any] = {
        "__metadata__": {
            "description": header.description,
            "format": "fastnn",
            "sha256": header.sha256,
            "version": VERSION,
        }
    }
    for name, dtype, shape, begin, end in header.entries:
        content[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    encoded = text.encode("utf-8", "surrogatepass")  # `parse` refuses such a surrogate
    encoded += b" " * (-len(encoded) % 8)  # the tensors begin at a multiple of 8
    return len(encoded).to_bytes(8, "little") + encoded


def parse(text: bytes, size: int) -> Header:
    """Check a header against the number of bytes that follow it.

    Parameters
    ----------
    text : bytes
        The header, without the 8 bytes of its length.
    size : int
        How many bytes follow.

    Returns
    -------
    Header
        Its entries fill the bytes from 0 to `size` without a hole.

    Raises
    ------
    ModelFileError
        When anything is not as a fastnn of this version writes it.
    """
    if text[:1] != b"{":
        raise ModelFileError(f"its header begins with {shown(text[:1])}, not with '{{'")
    if not text.rstrip(b" ").endswith(b"}"):
        raise ModelFileError("its header does not end with '}' and spaces")
    content = strict_json.loads(text, "its header")
    metadata = _check_metadata(content.pop("__metadata__", None))
    if len(content) > MOST_TENSORS:
        raise ModelFileError(f"it holds {len(content)} tensors, more than {MOST_TENSORS}")
    entries = [_entry(name, fields) for name, fields in content.items()]
    entries.sort(key=lambda entry: (entry.begin, entry.end))
    position = 0
    for entry in entries:
        if entry.begin != position:
            raise ModelFileError(
                f"tensor {shown(entry.name)} begins at byte {entry.begin}, but {position} is the "
                "end of the one before"
            )
        position = entry.end
    if position != size:
        raise ModelFileError(f"its tensors take {position} bytes, but {size} follow the header")
    return Header(metadata["description"], metadata["sha256"], entries)


def _check_metadata(metadata: Any) -> dict[str, str]:
    if not isinstance(metadata, dict) or metadata.get("format") != "fastnn":
        raise ModelFileError("it is a safetensors file, but fastnn did not write it")
    version = metadata.get("version")
    if version != VERSION:
        if isinstance(version, str) and version.isdecimal() and int(version[:20]) > int(VERSION):
            raise ModelFileError(
                f"it was made by a newer fastnn: format version {version[:20]}, this one reads "
                f"{VERSION}"
            )
        raise ModelFileError(f"its format version is {shown(version)}, not {VERSION!r}")
    if sorted(metadata) != sorted(METADATA):
        raise ModelFileError(f"its metadata has not exactly the keys {', '.join(METADATA)}")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise ModelFileError(f"its metadata {key!r} is no text but {shown(value)}")
    if len(metadata["description"]) > MOST_DESCRIPTION:
        raise ModelFileError(
            f"its description has {len(metadata['description'])} characters, more than "
            f"{MOST_DESCRIPTION}"
        )
    return metadata


def _entry(name: str, fields: Any) -> Entry:
    """Check one tensor's entry by itself; no number in it is trusted before."""
    if not (name.isprintable() and 0 < len(name) <= MOST_NAME):
        raise ModelFileError(
            f"tensor name {shown(name)} is not 1 to {MOST_NAME} printable characters"
        )
    tensor = f"tensor {shown(name)}"
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape", "data_offsets"}:
        raise ModelFileError(f"{tensor} has not exactly the fields dtype, shape, data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ModelFileError(f"{tensor} has dtype {shown(dtype)}; known are {', '.join(DTYPES)}")
    if not _are_whole(shape, MOST_LENGTH) or len(shape) > MOST_RANK:
        raise ModelFileError(
            f"{tensor} has shape {shown(shape)}; at most {MOST_RANK} whole numbers from 0 to "
            f"{MOST_LENGTH} are allowed"
        )
    if not _are_whole(offsets, 2**63 - 1) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise ModelFileError(f"{tensor} has data_offsets {shown(offsets)}, not a begin and an end")
    begin, end = offsets
    itemsize = DTYPES[dtype].itemsize
    needed = math.prod(shape) * itemsize  # whole numbers of Python: they do not overflow
    if end - begin != needed:
        raise ModelFileError(
            f"{tensor} has {end - begin} bytes, but shape {shown(shape)} of {dtype} needs {needed}"
        )
    if begin % itemsize:
        raise ModelFileError(f"{tensor} begins at byte {begin}, no multiple of {itemsize}")
    return Entry(name, dtype, tuple(shape), begin, end)


def _are_whole(numbers: Any, most: int) -> bool:
    """Whether it is a list of whole numbers from 0 to `most`; True and False are none."""
    return isinstance(numbers, list) and all(
        type(number) is int and 0 <= number <= most for number in numbers
    )
