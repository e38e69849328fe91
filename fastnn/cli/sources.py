"""What a command line names: data sets, tables, images, model files, and files to write."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.cli import terminal
from fastnn.cli.parser import TABLE_ENDINGS, TABLES, UsageError
from fastnn.data import Dataset, TableEncoder, load_digits, load_mnist, read_idx
from fastnn.errors import ModelFileError, unknown_name
from fastnn.formats import model_file
from fastnn.network import Network

__all__ = [
    "SavedModel",
    "check_options",
    "check_output",
    "check_replaced",
    "count_rows",
    "kind_of",
    "load_images",
    "load_set",
    "table_stem",
]

SETS = ("digits", "mnist")


def kind_of(data: str, *, images: bool = False) -> str:
    """Return what a name on the command line stands for.

    Parameters
    ----------
    data : str
        ``digits``, ``mnist``, or the name of a file.
    images : bool
        Whether a file of images would do.

    Returns
    -------
    str
        ``"digits"``, ``"mnist"``, ``"table"`` or ``"images"``.

    Raises
    ------
    UsageError
        When it stands for nothing, or there is no such file.
    """
    if data in SETS:
        return data
    if data.lower().endswith(TABLE_ENDINGS):
        kind = "table"
    elif images and (os.path.exists(data) or os.sep in data):
        kind = "images"
    elif os.path.exists(data):
        raise UsageError(f"{data!r} is no data set; a table must end in {TABLES}")
    else:
        what = ", an IDX file" if images else ""
        hint = str(unknown_name("data set", data, SETS))
        raise UsageError(f"{hint}{what}, or a table that ends in {TABLES}")
    if not os.path.exists(data):
        raise UsageError(f"there is no file {data!r}")
    if os.path.isdir(data):
        raise UsageError(f"{data!r} is a folder, a file is needed")
    return kind


def check_options(kind: str, folder: str | None, **table_only: object) -> None:
    """Refuse options that go with another kind of data.

    Raises
    ------
    UsageError
        When ``--data`` is missing for mnist, or an option is given that has no meaning.
    """
    if kind == "mnist" and folder is None:
        raise UsageError("mnist needs --data FOLDER, the folder with its four files")
    if kind != "mnist" and folder is not None:
        raise UsageError("--data FOLDER goes with mnist only")
    for name, value in table_only.items():
        if kind != "table" and value is not None:
            raise UsageError(f"--{name} goes with tables only")


def load_set(kind: str, folder: str | None) -> Dataset:
    """Load digits or mnist."""
    if kind == "digits":
        return load_digits()
    assert folder is not None
    return load_mnist(folder)


def load_images(path: str) -> npt.NDArray[np.float32]:
    """Read the images of an IDX file as rows, bytes divided by 255 as those of mnist are."""
    images = read_idx(path)
    if images.ndim < 2:
        raise UsageError(
            f"{path!r} holds {images.ndim} dimension, as labels do; images have 2 or 3"
        )
    if not images.size:
        raise UsageError(f"{path!r} holds no pixels: shape {images.shape}")
    rows = images.reshape(len(images), -1).astype(np.float32)
    if images.dtype == np.uint8:
        rows /= np.float32(255)
    return rows


def count_rows(rows: int, dropped: int) -> str:
    """Return the number of rows of a table in words, and how many had no target."""
    return terminal.counted(rows, "row") + (
        f", {dropped} left out without a target" if dropped else ""
    )


def table_stem(path: str) -> str:
    """Return the name of a table without folder and endings.

    Examples
    --------
    >>> table_stem("data/flats.csv.gz")
    'flats'
    """
    name = os.path.basename(path)
    ending = max((e for e in TABLE_ENDINGS if name.lower().endswith(e)), key=len, default="")
    return name[: len(name) - len(ending)] or "table"


def check_output(path: str, inputs: Sequence[str], *, model: bool) -> None:
    """Refuse a file that cannot be written or must not be overwritten, before any work is done.

    Parameters
    ----------
    path : str
        The file to be written.
    inputs : sequence of str
        The files that the command reads.
    model : bool
        Whether a model will be written, which may replace a model; nothing else replaces a file.

    Raises
    ------
    UsageError
    """
    place = Path(path)
    folder = place.parent
    if not folder.is_dir():
        raise UsageError(f"there is no folder {str(folder)!r} to write {place.name!r} to")
    if place.exists() and not place.is_file():
        raise UsageError(f"{path!r} is no plain file; name another one to write to")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"{path!r} cannot be written: no permission")
    for given in inputs:
        if place.exists() and os.path.exists(given) and os.path.samefile(given, place):
            raise UsageError(f"{path!r} is read by this command; write to another file")
    if not model and place.exists():
        raise UsageError(f"{path!r} exists; name another file to write to, or delete it")
    if model and place.exists() and place.stat().st_size:
        try:
            model_file.read(path)
        except ModelFileError:
            raise UsageError(
                f"{path!r} exists and is no model file; delete it, or name another --output"
            ) from None


def check_replaced(path: str, metadata: dict[str, Any]) -> None:
    """Refuse to replace a model of other data by one that nobody named a file for.

    Parameters
    ----------
    path : str
        Where the model will be written; `check_output` has looked at it.
    metadata : dict
        Those of the new model.

    Raises
    ------
    UsageError
        When the file holds a model of another data set, another target, or other columns.
    """
    if not os.path.exists(path) or not os.path.getsize(path):
        return
    held, held_columns = _source(model_file.read(path)[0].get("metadata"))
    source, columns = _source(metadata)
    if (held, held_columns) != (source, columns):
        other = " and other columns" if held == source else ""
        raise UsageError(
            f"{path!r} holds a model {held}{other}; name another file with --output, or delete it"
        )


def _source(metadata: Any) -> tuple[str, frozenset[str]]:
    """Return in words what a model was trained on, and the columns of a table."""
    known = metadata if isinstance(metadata, dict) else {}
    if known.get("data") == "table":
        try:
            encoder = TableEncoder.from_json(known.get("encoder"))
        except ValueError:
            return "of an unknown table", frozenset()
        columns = (*encoder.ignored, *(column.name for column in encoder.columns))
        return f"of a table with the target {encoder.target!r}", frozenset(columns)
    if known.get("data") in SETS:
        return f"of {known['data']}", frozenset()
    return "that `fastnn train` did not make", frozenset()


@dataclass(frozen=True)
class SavedModel:
    """A network from a file, with what its metadata say of its data.

    Attributes
    ----------
    path : str
    network : Network
    data : str
        ``"digits"``, ``"mnist"`` or ``"table"``; empty when `fastnn train` did not make it.
    class_names : tuple of str
        Empty where the network has no classes.
    encoder : TableEncoder or None
    """

    path: str
    network: Network
    data: str
    class_names: tuple[str, ...]
    encoder: TableEncoder | None

    @classmethod
    def load(cls, path: str, backend: str = "auto", threads: int | None = None) -> SavedModel:
        """Load a model file, and check the metadata that a stranger may have written.

        Raises
        ------
        ModelFileError, UsageError
            When it is no model file, or one without an input size, or its metadata are wrong.
        """
        if not os.path.exists(path):
            raise UsageError(f"there is no file {path!r}")
        network = Network.load(path, backend=backend, threads=threads)
        if network.input_size is None:
            raise UsageError(f"the network in {path!r} has never been trained")
        metadata: dict[str, Any] = network.metadata
        try:
            encoder = None
            if metadata.get("data") == "table":
                if "encoder" not in metadata:
                    raise ValueError(f"there is no encoder; {_recipe(metadata)}")
                encoder = TableEncoder.from_json(metadata["encoder"])
                _check_encoder(encoder, network)
            data = metadata.get("data", "")
            if data not in ("", *SETS, "table"):
                raise ValueError(f"data is {reprlib.repr(data)}")
            names = _class_names(metadata.get("class_names"), network)
        except ValueError as error:
            raise ModelFileError(f"the metadata of {path!r} are wrong: {error}") from None
        return cls(path, network, data, names, encoder)

    def check_suits(self, kind: str, columns: int | None = None) -> None:
        """Refuse data of another kind, or of another width, than the network was trained on.

        Raises
        ------
        UsageError
        """
        takes = self.network.input_size
        if self.encoder is not None and kind != "table":
            raise UsageError(
                f"{self.path!r} was trained on a table with the target {self.encoder.target!r}; "
                "give it such a table"
            )
        if self.encoder is None and kind == "table":
            if self.data:
                raise UsageError(
                    f"{self.path!r} was trained on {self.data}; a table needs a model of "
                    "`fastnn train TABLE --target COLUMN`"
                )
            raise UsageError(
                f"{self.path!r} does not say how a table becomes its inputs; "
                f"{_recipe(self.network.metadata)}"
            )
        if self.data in SETS and kind in SETS and self.data != kind:
            raise UsageError(f"{self.path!r} was trained on {self.data}, not on {kind}")
        if columns is not None and columns != takes:
            raise UsageError(
                f"{self.path!r} takes rows of {takes} numbers, those of the data have {columns}"
            )


def _recipe(metadata: dict[str, Any]) -> str:
    """Return what a program must add to the metadata of a network for tables."""
    needed = {"data": '"table"', "encoder": "encoder.to_json()"}
    lines = [f'net.metadata["{k}"] = {v}' for k, v in needed.items() if k not in metadata]
    return f"before net.save, set {' and '.join(lines)} (docs/data.md shows it)"


def _class_names(names: Any, network: Network) -> tuple[str, ...]:
    """Return the names of the classes: those of the metadata, else the numbers of the classes."""
    outputs = network.program.outputs
    if network.program.loss.head != "softmax":
        return ()
    if names is None:
        return tuple(str(number) for number in range(outputs))
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("class_names must be a list of text")
    if len(names) != outputs:
        raise ValueError(f"{len(names)} class_names for {outputs} outputs")
    return tuple(names)


def _check_encoder(encoder: TableEncoder, network: Network) -> None:
    fits = (network.program.outputs, network.program.loss.head == "softmax")
    if fits != (len(encoder.class_names) or 1, bool(encoder.class_names)):
        raise ValueError(f"the encoder is for a {encoder.task}, the network is not")
    if len(encoder.feature_names) != network.input_size:
        raise ValueError(
            f"the encoder makes {len(encoder.feature_names)} inputs, the network takes "
            f"{network.input_size}"
        )
