"""Encoders of tables as JSON: nothing is lost, and what a stranger wrote is refused by field."""

import itertools
import json
import math

import pytest
from tables import FLATS

from fastnn.data import TableEncoder

pl = pytest.importorskip("polars")


def encoders():
    classes = FLATS.with_columns(price=pl.Series(["low", "hïgh", "low", "mid"]))
    return {
        "regression": TableEncoder.learn(FLATS, "price"),
        "classification": TableEncoder.learn(classes, "price"),
    }


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_an_encoder_survives_json_exactly(task):
    encoder = encoders()[task]
    assert TableEncoder.from_json(json.loads(json.dumps(encoder.to_json()))) == encoder


def test_json_is_plain():
    def kinds(value):
        if isinstance(value, dict | list):
            items = value.values() if isinstance(value, dict) else value
            return {type(value)}.union(*map(kinds, items))
        return {type(value)}

    for encoder in encoders().values():
        assert kinds(encoder.to_json()) <= {dict, list, str, int, float, bool}


HOSTILE = [None, True, -1, 10**400, math.nan, math.inf, "x", "\ud800", [], [1], {}, {"a": 1}, [[]]]


def places(value, path=()):
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from places(item, (*path, key))


def replaced(data, path, value):
    data = json.loads(json.dumps(data))
    if not path:
        return value
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return data


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_a_hostile_value_anywhere_is_refused_or_makes_a_sound_encoder(task):
    data = encoders()[task].to_json()
    sentences = []
    for path, value in itertools.product(list(places(data)), HOSTILE):
        try:
            encoder = TableEncoder.from_json(replaced(data, path, value))
        except ValueError as error:
            sentences.append(str(error))
            continue
        assert TableEncoder.from_json(encoder.to_json()) == encoder
    assert len(sentences) > 200
    assert max(map(len, sentences)) < 300


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ((), [], r"encoder must be an object, got \[\]"),
        (("version",), 2, r"encoder.version must be 1, got 2"),
        (("version",), True, r"encoder.version must be 1, got True"),
        (("more",), 1, "encoder must be an object of class_names, columns, ignored"),
        (("task",), "x", "task must be classification or regression, got 'x'"),
        (("task",), "classification", "class_names must be at least two different names"),
        (("class_names",), ["a", "b"], "a regression has no class_names, got 2"),
        (("columns",), [], "must have columns, each once and none of them the target"),
        (("target",), "area", "each once and none of them the target"),
        (("ignored",), ["city"], "each once"),
        (("columns", 0, "kind"), "date", r"columns\[0\].kind must be numeric or category"),
        (("columns", 0, "kind"), "category", r"columns\[0\] must be an object of categories, kind"),
        (("columns", 0, "std"), 0.0, "column 'area' has mean .* and deviation 0.0"),
        (("columns", 0, "std"), -1, "deviation -1.0"),
        (("columns", 0, "std"), math.nan, r"columns\[0\].std must be a finite number, got nan"),
        (("columns", 0, "mean"), "1", r"columns\[0\].mean must be a finite number, got '1'"),
        (("columns", 0, "mean"), True, r"columns\[0\].mean must be a finite number, got True"),
        (("columns", 0, "missing"), 1, r"columns\[0\].missing must be true or false, got 1"),
        (("columns", 1, "categories"), [], "column 'city' has 0 categories; 1 to 64"),
        (("columns", 1, "categories"), [str(i) for i in range(65)], "has 65 categories; 1 to 64"),
        (("columns", 1, "categories"), ["a", "a"], "column 'city' has a category twice"),
        (("columns", 1, "categories"), ["a", 1], r"categories\[1\] must be text, got 1"),
        (("columns", 1, "name"), "\ud800", r"columns\[1\].name must be text"),
        (("target_std",), 0, "the target has mean 4.0 and deviation 0.0"),
    ],
)
def test_a_wrong_field_of_json_is_named(path, value, words):
    data = replaced(encoders()["regression"].to_json(), path, value)
    with pytest.raises(ValueError, match=words):
        TableEncoder.from_json(data)


def test_a_missing_field_of_json_is_refused():
    data = encoders()["regression"].to_json()
    for name in data:
        with pytest.raises(ValueError, match="encoder"):
            TableEncoder.from_json({key: value for key, value in data.items() if key != name})


def test_a_hostile_scale_gives_an_error_and_no_infinity():
    data = replaced(encoders()["regression"].to_json(), ("columns", 0, "std"), 5e-324)
    with pytest.raises(ValueError, match="too far from the training rows"):
        TableEncoder.from_json(data).encode(FLATS)
