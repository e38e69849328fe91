"""Files in the IDX format, in which MNIST and its relatives are published.

The format (http://yann.lecun.com/exdb/mnist/): two zero bytes, a type code, the number of
dimensions, each dimension as a big-endian uint32, then the values, big-endian, last index fastest.
"""

from __future__ import annotations

import gzip
import math
import os
import stat
import zlib
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastnn.data.dataset import Dataset

__all__ = ["load_mnist", "read_idx"]

DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
MOST_DIMENSIONS = 64  # as many as NumPy 2 holds
BLOCK = 1 << 20  # bytes read at a time from a compressed file
MOST_EXPANSION = 1032  # no byte of a deflate stream yields more (zlib.net/zlib_tech.html)


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one IDX file, plain or gzipped, into an array.

    The size that the header promises is compared with the size of the file before any memory is
    taken for it; of a compressed file, at most one byte more than promised is unpacked.

    Parameters
    ----------
    path : str or path-like
        The file. Compression is told by its first bytes, not by its name.

    Returns
    -------
    ndarray
        In the shape of the header; uint8, int8, int16, int32, float32 or float64 in the byte order
        of this machine. Writable, C-contiguous.

    Raises
    ------
    ValueError
        When the file is no IDX file, or is shorter or longer than its header promises.
    OSError
        When the file cannot be opened; FileNotFoundError when there is none.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from fastnn.data import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels-idx1-ubyte")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path)
    array([7, 2, 1], dtype=uint8)
    """
    if stat.S_ISFIFO(os.stat(path).st_mode):  # opening one would wait for a writer
        raise ValueError(f"{_name(path)} is a pipe; an IDX file must be a plain file")
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(2) != b"\x1f\x8b":
            file.seek(0)
            return _read_plain(file, size, path)
        file.seek(0)
        try:
            with gzip.GzipFile(fileobj=file) as unpacked:
                return _read_gzip(unpacked, size, path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{_name(path)} is broken as a gzip file: {error}") from error


def _read_plain(file: BufferedReader, size: int, path: str | os.PathLike[str]) -> NDArray[Any]:
    dtype, shape, promised = _read_header(file, path)
    came = size - file.tell()
    if came != promised:
        raise _wrong_length(path, shape, dtype, f"{came} bytes", promised)
    values = np.empty(promised, np.uint8)
    if file.readinto(values.data) != promised:
        raise ValueError(f"{_name(path)} became shorter while it was read; read it again")
    return values.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_gzip(file: gzip.GzipFile, size: int, path: str | os.PathLike[str]) -> NDArray[Any]:
    dtype, shape, promised = _read_header(file, path)
    if promised > size * MOST_EXPANSION:
        raise ValueError(
            f"{_name(path)} promises {promised} bytes in its header, more than its {size} "
            f"compressed bytes can hold; it is cut short or no IDX file"
        )
    values = bytearray()
    while len(values) <= promised:
        block = file.read(min(BLOCK, promised + 1 - len(values)))
        if not block:
            break
        values += block
    if len(values) != promised:
        came = f"more than {promised} bytes" if len(values) > promised else f"{len(values)} bytes"
        raise _wrong_length(path, shape, dtype, came, promised)
    array = np.frombuffer(values, dtype).reshape(shape)  # writable, as the bytearray is
    return array.astype(dtype.newbyteorder("="), copy=False)


def _read_header(
    file: BufferedReader | gzip.GzipFile, path: str | os.PathLike[str]
) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Return the dtype, the shape and the number of bytes that must follow."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0":
        raise ValueError(
            f"{_name(path)} begins with {magic.hex(' ') or 'nothing'}; an IDX file begins with "
            "00 00, a type code and the number of dimensions"
        )
    if magic[2] not in DTYPES:
        known = ", ".join(f"{code:02x}" for code in DTYPES)
        raise ValueError(f"{_name(path)} has type code {magic[2]:02x}; known codes are {known}")
    if not 1 <= magic[3] <= MOST_DIMENSIONS:
        raise ValueError(
            f"{_name(path)} has {magic[3]} dimensions; between 1 and {MOST_DIMENSIONS} can be read"
        )
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise ValueError(
            f"{_name(path)} ends inside its header: {len(sizes)} bytes for the sizes of "
            f"{magic[3]} dimensions, {4 * magic[3]} expected"
        )
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    dtype = np.dtype(DTYPES[magic[2]])
    # A dimension of 0 empties the array, yet NumPy still needs the others to fit.
    if math.prod(size or 1 for size in shape) * dtype.itemsize > np.iinfo(np.intp).max:
        raise ValueError(f"{_name(path)} has shape {shape} in its header: more than fits in memory")
    return dtype, shape, math.prod(shape) * dtype.itemsize


def _wrong_length(
    path: str | os.PathLike[str],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    came: str,
    promised: int,
) -> ValueError:
    return ValueError(
        f"{_name(path)} has {came} of values; its header promises {promised} "
        f"(shape {shape}, {dtype.itemsize} bytes each)"
    )


def _name(path: str | os.PathLike[str]) -> str:
    return repr(os.fspath(path))


def load_mnist(folder: str | os.PathLike[str]) -> Dataset:
    """Load MNIST, or a set published in the same four files, from a folder.

    Fashion-MNIST, KMNIST and EMNIST (under MNIST's names) load as well.

    Parameters
    ----------
    folder : str or path-like
        Holds ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte``
        and ``t10k-labels-idx1-ubyte``, each also with ``.gz`` at its end or with a dot before
        ``idx``. A plain file is preferred to a compressed one.

    Returns
    -------
    Dataset
        ``X_train`` and ``X_test`` (n, 784), float32 from 0 to 1, an image's rows after one another;
        ``y_train`` and ``y_test`` int64; ``class_names`` the numbers from 0 to the largest label.

    Raises
    ------
    FileNotFoundError
        When the folder or one of the files is missing; says which names were looked for.
    ValueError
        When a file is broken, or the files do not fit each other.

    Examples
    --------
    >>> from fastnn.data import load_mnist
    >>> load_mnist("no/such/folder")
    Traceback (most recent call last):
        ...
    FileNotFoundError: there is no folder 'no/such/folder'
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {_name(folder)}")
    X_train, y_train = _load_part(folder, "train")
    X_test, y_test = _load_part(folder, "t10k")
    if X_train.shape[1] != X_test.shape[1]:
        raise ValueError(
            f"{_name(folder)}: the training images have {X_train.shape[1]} pixels, "
            f"the test images {X_test.shape[1]}; both must come from one set"
        )
    classes = 1 + max(int(y_train.max()), int(y_test.max()))
    names = tuple(str(label) for label in range(classes))
    return Dataset(X_train, y_train, X_test, y_test, names)


def _load_part(folder: Path, part: str) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Read the images and labels of "train" or "t10k", and hold them against each other."""
    images_path = _find(folder, f"{part}-images", 3)
    labels_path = _find(folder, f"{part}-labels", 1)
    images, labels = read_idx(images_path), read_idx(labels_path)
    for path, array, dimensions in ((images_path, images, 3), (labels_path, labels, 1)):
        if array.ndim != dimensions or array.dtype != np.uint8 or not array.size:
            raise ValueError(
                f"{_name(path)} holds {array.dtype} of shape {array.shape}; "
                f"uint8 with {dimensions} dimension{'s' * (dimensions > 1)}, not empty, is expected"
            )
    if len(images) != len(labels):
        raise ValueError(
            f"{_name(images_path)} holds {len(images)} images, {_name(labels_path)} "
            f"{len(labels)} labels; there must be one label an image"
        )
    X = images.reshape(len(images), -1).astype(np.float32)
    X /= np.float32(255)
    return X, labels.astype(np.int64)


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    names = [
        f"{stem}{mark}idx{dimensions}-ubyte{ending}" for ending in ("", ".gz") for mark in "-."
    ]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"{_name(folder)} has none of the files {', '.join(names)}")
