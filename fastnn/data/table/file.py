"""Reading a table from a file, by polars, with the file checked first and types found by rule."""

from __future__ import annotations

import csv
import gzip
import itertools
import os
import re
import zlib
from collections import Counter
from collections.abc import Collection, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from fastnn.errors import MissingDependency

if TYPE_CHECKING:
    import polars as pl

__all__ = ["import_polars", "read_table"]

SEPARATORS = {".csv": ",", ".tsv": "\t"}
# What pandas takes as missing, less the spellings of one C library, and the UCI repository's "?".
MISSING_WORDS = (
    *("", "NA", "N/A", "n/a", "<NA>", "#N/A", "NaN", "nan", "-nan", "NULL", "null", "None", "?"),
)
LONGEST_LINE = 1 << 24  # characters; a million columns fit, a file without line ends does not


def import_polars() -> Any:
    """Return the module polars, or say how to get it.

    Raises
    ------
    MissingDependency
        When it is not installed.
    """
    try:
        import polars
    except ImportError as error:
        raise MissingDependency(
            'reading tables needs polars: pip install "fastnn-core[table]"'
        ) from error
    return polars


def read_table(path: str | os.PathLike[str], *, text: Collection[str] = ()) -> pl.DataFrame:
    r"""Read a table from a .csv, .tsv or .parquet file; the first two may be gzipped.

    A text file is UTF-8, its first line holds the names of the columns, and every line has as many
    fields as the first. Fields are separated by commas (.csv) or tabs (.tsv); a .csv whose first
    line has no comma may use semicolons or tabs instead. Blanks around a field are dropped.

    Missing are an empty field and NA, N/A, n/a, <NA>, #N/A, NaN, nan, -nan, NULL, null, None, "?".
    A column is Boolean if all its other fields are true or false in any case, Int64 or Float64 if
    they all read as such, else String. Lines with nothing in any field are left out. A column
    without a name is called ``column_N``, N from 0.

    Parameters
    ----------
    path : str or path-like
        The file; its kind is told by the end of its name.
    text : collection of str
        Columns of a text file to leave as String even where they hold numbers: what an encoder
        that was learned from another file names in ``TableEncoder.text_columns``.

    Returns
    -------
    polars.DataFrame
        The rows, in the order of the file.

    Raises
    ------
    ValueError
        When the file is of another kind, empty or malformed: one sentence with the line.
    FileNotFoundError
        When there is no such file.
    MissingDependency
        When polars is not installed.

    Notes
    -----
    Some damaged parquet files make polars end the process (found by flipping bits: a page that
    promises 2**61 values). Take parquet files from sources that you trust, text from anyone.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from fastnn.data import read_table
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "flats.csv")
    ...     _ = path.write_text("area,city\n71.5,Lyon\nNA,Metz\n")
    ...     read_table(path).rows()
    [(71.5, 'Lyon'), (None, 'Metz')]
    """
    polars = import_polars()
    path = Path(path).absolute()  # so that no name can pass for a URL
    if not path.exists():
        raise FileNotFoundError(f"there is no file {str(path)!r}")
    name = path.name.lower()
    kind = Path(name.removesuffix(".gz")).suffix
    if not path.is_file() or not (kind in SEPARATORS or name.endswith(".parquet")):
        raise ValueError(
            f"cannot read {str(path)!r} as a table; it must be a file whose name ends in "
            ".csv, .tsv, .csv.gz, .tsv.gz or .parquet"
        )
    try:
        if kind in SEPARATORS:
            return _read_text(path, SEPARATORS[kind], text)
        return _read_parquet(path)
    except (polars.exceptions.PolarsError, polars.exceptions.PanicException) as error:
        problem = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{str(path)!r} cannot be read: {problem}") from error


def _read_parquet(path: Path) -> pl.DataFrame:
    with open(path, "rb") as file:
        begin = file.read(4)
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4))
        end = file.read(4)
    if begin != b"PAR1" or end != b"PAR1":
        raise ValueError(f"{str(path)!r} is no parquet file, or is cut short")
    try:
        frame: pl.DataFrame = import_polars().read_parquet(
            path, glob=False, hive_partitioning=False
        )
    except OSError as error:  # it could be opened above: this is about its content
        raise ValueError(f"{str(path)!r} cannot be read: {error}") from error
    return frame


def _read_text(path: Path, separator: str, text: Collection[str]) -> pl.DataFrame:
    polars = import_polars()
    header, separator, rows = _walk(path, separator)
    frame: pl.DataFrame = polars.read_csv(
        path, has_header=False, infer_schema_length=0, separator=separator, glob=False
    )[1:]
    frame = frame.filter(~polars.all_horizontal(polars.all().fill_null("") == ""))
    if frame.shape != (rows, len(header)):
        raise ValueError(
            f"{str(path)!r} has {rows} rows and {len(header)} columns, yet polars finds "
            f"{frame.height} and {frame.width}; check its quotes and line ends"
        )
    names = [name.strip() or f"column_{number}" for number, name in enumerate(header)]
    name, times = Counter(names).most_common(1)[0]
    if times > 1:
        raise ValueError(f"{str(path)!r} has {times} columns named {name!r}; rename them")
    frame.columns = names
    columns = frame.get_columns()
    typed: pl.DataFrame = polars.DataFrame(
        [_find_type(column, column.name in text) for column in columns]
    )
    return typed


def _walk(path: Path, separator: str) -> tuple[list[str], str, int]:
    """Check the whole file; return the header, the separator, and how many rows are not blank.

    Polars leaves malformed files undefined: it fills short lines up, and an open quote can swallow
    rows. The standard library's reader counts for it, at about 100 MB a second.
    """
    place = repr(str(path))
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        binary = gzip.GzipFile(fileobj=file) if packed else file
        try:
            lines = TextIOWrapper(binary, encoding="utf-8-sig", newline="")
            return _walk_lines(_lines(lines, place), place, separator)
        except UnicodeDecodeError as error:
            byte = error.object[error.start]
            raise ValueError(f"{place} is not UTF-8 text (byte {byte:#04x}); save it so") from error
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{place} is broken as a gzip file: {error}") from error


def _walk_lines(lines: Iterator[str], place: str, separator: str) -> tuple[list[str], str, int]:
    first = next(lines, "")
    if not first.strip():
        what = "begins with a blank line" if first else "is empty"
        raise ValueError(f"{place} {what}; its first line must hold the names of the columns")
    unquoted = re.sub('"[^"]*"', "", first)
    if separator == "," and "," not in unquoted:
        separator = ";" if ";" in unquoted else "\t" if "\t" in unquoted else ","
    reader = csv.reader(itertools.chain([first], lines), delimiter=separator, strict=True)
    rows = 0
    try:
        header = next(reader)
        for row in reader:
            if row and len(row) != len(header):
                raise ValueError(
                    f"{place}, line {reader.line_num}: {len(row)} fields came, "
                    f"{len(header)} are expected, as many as in the header"
                )
            rows += any(row)
    except csv.Error as error:
        raise ValueError(
            f"{place}, line {reader.line_num}: {error}; look for a quote that is not closed"
        ) from error
    return header, separator, rows


def _lines(file: TextIO, place: str) -> Iterator[str]:
    number = 0
    while line := file.readline(LONGEST_LINE):
        number += 1
        if "\0" in line:
            raise ValueError(f"{place}, line {number}: a NUL byte; save the file as UTF-8 text")
        if len(line) == LONGEST_LINE and line[-1] != "\n":
            raise ValueError(f"{place}, line {number}: more than {LONGEST_LINE} characters")
        if line[-1] == "\r":
            raise ValueError(
                f"{place}, line {number}: a carriage return without a line feed; "
                "save the file with LF or CRLF at the ends of lines"
            )
        yield line


def _find_type(column: pl.Series, as_text: bool) -> pl.Series:
    """Turn a column of text into the first of Boolean, Int64 and Float64 that holds all of it."""
    polars = import_polars()
    column = column.str.strip_chars()
    column = column.set(column.is_in(MISSING_WORDS), None)
    present = column.drop_nulls()
    if as_text or not len(present):
        return column
    if present.str.to_lowercase().is_in(["true", "false"]).all():
        truth: pl.Series = column.str.to_lowercase() == "true"
        return truth
    for dtype in (polars.Int64, polars.Float64):
        numbers: pl.Series = column.cast(dtype, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers
    return column
