"""The encoder of a table as plain JSON, and back, with nothing believed on the way back."""

from __future__ import annotations

import contextlib
import math
import reprlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastnn.data.table.columns import CategoryColumn, NumericColumn

__all__ = ["encoder_from_json", "encoder_to_json"]

VERSION = 1
COLUMN_FIELDS = {
    "numeric": {"kind", "name", "mean", "std", "missing"},
    "category": {"kind", "name", "categories", "other"},
}
FIELDS = {
    *("version", "target", "task", "columns", "ignored", "class_names"),
    *("target_mean", "target_std"),
}


def encoder_to_json(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Turn the fields of a TableEncoder into a dict of plain JSON values."""
    columns = [
        {"kind": "numeric" if isinstance(column, NumericColumn) else "category"} | asdict(column)
        for column in fields["columns"]
    ]
    data = {"version": VERSION, **fields, "columns": columns}
    return {name: _plain(value) for name, value in data.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def encoder_from_json(data: object) -> dict[str, Any]:
    """Return the fields of a TableEncoder; raise ValueError naming the first that is wrong."""
    fields = _object(data, "encoder")
    if fields.get("version") != VERSION or isinstance(fields["version"], bool):
        raise _wrong("encoder.version", f"{VERSION}", fields.get("version"))
    _check_names(fields, FIELDS, "encoder")
    columns = [
        _column(column, f"columns[{number}]")
        for number, column in enumerate(_list(fields["columns"], "columns"))
    ]
    return {
        "target": _text(fields["target"], "target"),
        "task": _text(fields["task"], "task"),
        "columns": tuple(columns),
        "ignored": _texts(fields["ignored"], "ignored"),
        "class_names": _texts(fields["class_names"], "class_names"),
        "target_mean": _number(fields["target_mean"], "target_mean"),
        "target_std": _number(fields["target_std"], "target_std"),
    }


def _column(data: object, place: str) -> NumericColumn | CategoryColumn:
    fields = _object(data, place)
    kind = fields.get("kind")
    if not isinstance(kind, str) or kind not in COLUMN_FIELDS:
        raise _wrong(f"{place}.kind", "numeric or category", kind)
    _check_names(fields, COLUMN_FIELDS[kind], place)
    name = _text(fields["name"], f"{place}.name")
    if kind == "numeric":
        mean, std = (_number(fields[field], f"{place}.{field}") for field in ("mean", "std"))
        return NumericColumn(name, mean, std, _flag(fields["missing"], f"{place}.missing"))
    categories = _texts(fields["categories"], f"{place}.categories")
    return CategoryColumn(name, categories, _flag(fields["other"], f"{place}.other"))


def _wrong(place: str, expected: str, came: object) -> ValueError:
    return ValueError(f"{place} must be {expected}, got {reprlib.repr(came)}")


def _check_names(fields: dict[str, Any], expected: set[str], place: str) -> None:
    if fields.keys() != expected:
        came = sorted(map(str, fields))[:20]
        raise _wrong(place, f"an object of {', '.join(sorted(expected))}", came)


def _object(value: object, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _wrong(place, "an object", value)
    return value


def _list(value: object, place: str) -> list[Any]:
    if not isinstance(value, list):
        raise _wrong(place, "a list", value)
    return value


def _text(value: object, place: str) -> str:
    # JSON can spell half a surrogate pair, which is no text and which polars cannot hold.
    if not isinstance(value, str) or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _wrong(place, "text", value)
    return value


def _texts(value: object, place: str) -> tuple[str, ...]:
    items = enumerate(_list(value, place))
    return tuple(_text(item, f"{place}[{number}]") for number, item in items)


def _number(value: object, place: str) -> float:
    number = math.nan
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            number = float(value)
    if not math.isfinite(number):
        raise _wrong(place, "a finite number", value)
    return number


def _flag(value: object, place: str) -> bool:
    if not isinstance(value, bool):
        raise _wrong(place, "true or false", value)
    return value
