"""Model files: a description and named tensors, in one file that can be taken from strangers.

The file is a safetensors file (see `fastnn.formats.header`), so safetensors reads its tensors. Its
``__metadata__`` has four texts: ``format`` ("fastnn"), ``version`` ("1"), ``description`` (JSON)
and ``sha256``, the hex digest of the description's UTF-8 followed, for every tensor in the order of
names, by ``json.dumps([name, dtype, shape])`` and its bytes. It tells damage, not forgery.

Reading parses data and nothing else: no pickle, no import, no name that is looked up. The file is
read into memory that fastnn owns, since a mapped file that changes kills the process.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.errors import ModelFileError
from fastnn.formats import strict_json
from fastnn.formats.atomic import open_plain, replace_file
from fastnn.formats.header import DTYPES, MOST_HEADER, Entry, Header, compose, parse
from fastnn.formats.strict_json import shown

__all__ = ["read", "write"]

BLOCK = 1 << 16  # values whose finiteness is looked at in one go
OTHER_FORMATS = {
    b"PK\x03\x04": "a zip archive, as NumPy (.npz), Keras and PyTorch write",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUM": "a NumPy array (.npy)",
    b"\x80\x02": "a pickle",
    b"\x80\x03": "a pickle",
    b"\x80\x04": "a pickle",
    b"\x80\x05": "a pickle",
}


def write(
    path: str | os.PathLike[str],
    description: Mapping[str, Any],
    tensors: Mapping[str, NDArray[Any]],
) -> None:
    """Write a model file, durably: a kill or a power cut leaves the old file or the new one.

    The same content gives the same bytes. The tensors are copied first, so a thread that trains
    meanwhile cannot make the file damaged.

    Parameters
    ----------
    path : str or path-like
        The file. One that exists is replaced and keeps its permissions; of a symbolic link, the
        file that it points to.
    description : mapping
        Plain JSON: str keys; dict, list, str, int, float, bool and None as values.
    tensors : mapping of str to ndarray
        float32, float64, int64 or uint8, in any byte order and layout, with at most 2 dimensions.

    Raises
    ------
    TypeError
        When the description is no plain JSON, or a tensor no array of these types.
    ValueError
        When a value is not finite, or a limit of the format is passed: what `read` would refuse is
        not written.
    ModelFileError
        When the path names a folder, a pipe or a device.
    OSError
        When the file cannot be written, such as on a full disk. An old file is as it was.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import numpy as np
    >>> from fastnn.formats import model_file
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.fnn")
    ...     model_file.write(path, {"layers": []}, {"0.bias": np.array([1.0, 2.0])})
    ...     model_file.read(path)
    ({'layers': []}, {'0.bias': array([1., 2.])})
    """
    name = os.fsdecode(path)
    text = _description_text(description)
    entries, raw = _lay_out(tensors)
    content = compose(Header(text, _checksum(text, entries, raw), entries))
    try:
        parse(content[8:], sum(map(len, raw.values())))
        if len(content) - 8 > MOST_HEADER:
            raise ModelFileError(f"its header has more than {MOST_HEADER} bytes")
    except ModelFileError as error:
        raise ValueError(f"the model does not fit into a model file: {error}") from None
    try:
        replace_file(name, [content, *(raw[entry.name].data for entry in entries)])
    except ModelFileError as error:
        raise ModelFileError(f"the model file {name!r} cannot be written: {error}") from None


def read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a model file, from whomever it may come.

    Parameters
    ----------
    path : str or path-like
        The file.

    Returns
    -------
    description : dict
        Plain JSON, whose meaning is not checked here.
    tensors : dict of str to ndarray
        In the order of the file; native byte order, aligned, C-contiguous, writable, finite. All
        are views of one buffer of their own, which holds no more than the file does.

    Raises
    ------
    ModelFileError
        When the file is damaged, hostile, no model file, of a newer format, no plain file, or
        changes while it is read.
    OSError
        When the file cannot be opened; FileNotFoundError when there is none.
    """
    name = os.fsdecode(path)
    try:
        with open_plain(name) as file:
            header, data = _read_parts(file)
        tensors = _tensors(header, data)
        description = strict_json.loads(header.description.encode(), "its description")
    except ModelFileError as error:
        raise ModelFileError(f"the model file {name!r} cannot be read: {error}") from None
    return description, tensors


def _description_text(description: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(description, sort_keys=True, allow_nan=False)
        if strict_json.loads(text.encode(), "the description") == description:
            return text
    except ModelFileError as error:
        raise ValueError(f"the description does not fit into a model file: {error}") from None
    raise TypeError(
        "the description must be plain JSON (dict with str keys, list, str, int, float, bool, "
        "None), so that it reads back equal; a tuple or a number as a key does not"
    )


def _lay_out(
    tensors: Mapping[str, NDArray[Any]],
) -> tuple[list[Entry], dict[str, NDArray[np.uint8]]]:
    """Return the entries in the order of the file, and a copy of every tensor's bytes."""
    arrays = {name: _little_endian(name, value) for name, value in tensors.items()}
    types = {dtype: name for name, dtype in DTYPES.items()}
    entries, position = [], 0
    for name in sorted(arrays, key=lambda name: (-arrays[name].itemsize, name)):  # keeps alignment
        array = arrays[name]
        end = position + array.nbytes
        entries.append(Entry(name, types[array.dtype], array.shape, position, end))
        position = end
    return entries, {name: array.reshape(-1).view(np.uint8) for name, array in arrays.items()}


def _little_endian(name: str, value: NDArray[Any]) -> NDArray[Any]:
    if not isinstance(name, str):
        raise TypeError(f"the name of a tensor must be a str, not {shown(name)}")
    kind: Any = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
    little = value.dtype.newbyteorder("<") if isinstance(value, np.ndarray) else None
    if little is None or little not in DTYPES.values():  # NumPy takes None for float64
        raise TypeError(
            f"tensor {shown(name)} must be an array of float32, float64, int64 or uint8, not {kind}"
        )
    array: NDArray[Any] = np.array(value, little, order="C")
    if not _is_finite(array):
        raise ValueError(f"tensor {shown(name)} holds NaN or infinity")
    return array


def _read_parts(file: FileIO) -> tuple[Header, NDArray[np.uint8]]:
    """Read the header, prove it against the file's size, and only then take memory for the rest."""
    size = os.fstat(file.fileno()).st_size
    start = bytes(_read_exactly(file, min(size, 8)))
    for magic, format in OTHER_FORMATS.items():
        if start.startswith(magic):
            raise ModelFileError(f"it is {format}; only files that fastnn saved can be loaded")
    if size < 8:
        raise ModelFileError(f"it has only {size} bytes")
    length = int.from_bytes(start, "little")
    if length > MOST_HEADER:
        raise ModelFileError(
            f"its first 8 bytes promise a header of {length} bytes, more than {MOST_HEADER}; it is "
            "damaged or no model file"
        )
    if length > size - 8:
        raise ModelFileError(f"it is cut short: its header has {length} bytes, the file {size}")
    header = parse(bytes(_read_exactly(file, length)), size - 8 - length)
    data = _read_exactly(file, size - 8 - length)
    if os.fstat(file.fileno()).st_size != size:
        raise ModelFileError("it grew while it was read; read it again")
    return header, data


def _read_exactly(file: FileIO, size: int) -> NDArray[np.uint8]:
    try:
        data = np.empty(size, np.uint8)
    except MemoryError:
        raise ModelFileError(f"its {size} bytes are more than the memory at hand") from None
    view = data.data
    while view:
        count = file.readinto(view)
        if not count:
            raise ModelFileError("it became shorter while it was read; read it again")
        view = view[count:]
    return data


def _tensors(header: Header, data: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    raw = {entry.name: data[entry.begin : entry.end] for entry in header.entries}
    if _checksum(header.description, header.entries, raw) != header.sha256:
        raise ModelFileError("it is damaged: its content does not match its checksum")
    tensors = {}
    for name, dtype, shape, _, _ in header.entries:
        array = raw[name].view(DTYPES[dtype]).reshape(shape)
        tensors[name] = array.astype(DTYPES[dtype].newbyteorder("="), copy=False)
        if not _is_finite(array):
            raise ModelFileError(f"tensor {shown(name)} holds NaN or infinity")
    return tensors


def _checksum(
    description: str, entries: Iterable[Entry], raw: Mapping[str, NDArray[np.uint8]]
) -> str:
    digest = hashlib.sha256(description.encode())
    for entry in sorted(entries):
        digest.update(json.dumps([entry.name, entry.dtype, entry.shape]).encode())
        digest.update(raw[entry.name].data)
    return digest.hexdigest()


def _is_finite(array: NDArray[Any]) -> bool:
    """Whether all values are finite; by blocks, so as to take no memory as large as the array."""
    flat = array.reshape(-1)
    return all(
        bool(np.isfinite(flat[begin : begin + BLOCK]).all()) for begin in range(0, flat.size, BLOCK)
    )
