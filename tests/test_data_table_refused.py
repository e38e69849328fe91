"""Tables that make no sense: refused in one sentence, by row and column."""

import math

import pytest
from tables import FLATS, frame_with_target

from fastnn.data import CategoryColumn, TableEncoder

pl = pytest.importorskip("polars")


LEARN_REFUSED = {
    "no such target": (
        {"area": [1], "city": [2]},
        "target 'aera' .did you mean 'area'.* area, city",
    ),
    "target alone": ({"aera": [1, 2]}, "has the column 'aera' alone"),
    "no rows": ({"aera": [], "b": []}, "it has no rows"),
    "no target value": (
        {"aera": [None, math.nan], "b": [1, 2]},
        "every value of the target 'aera'",
    ),
    "one class": ({"aera": ["x", "x"], "b": [1, 2]}, "holds the one class 'x'; two are needed"),
    "names as target": (
        {"aera": [f"n{i}" for i in range(30)], "b": range(30)},
        "'aera' holds 30 different texts in 30 rows, such as 'n0'.*task='classification'",
    ),
    "nothing differs": (
        {"aera": [1.5, 2], "b": [1, 1]},
        "no column beside the target 'aera' differs",
    ),
    "infinity": ({"aera": [1.5, 2], "b": [1, math.inf]}, "row 1 of column 'b' holds inf; leave"),
    "infinity below a gap": (
        {"aera": [None, 2.0, 3.0], "b": [1.0, None, -math.inf]},
        "row 2 of column 'b' holds -inf",
    ),
    "infinite target": ({"aera": [math.inf, 2], "b": [1, 2]}, "row 0 of column 'aera' holds inf"),
    "numbers too large": (
        {"aera": [1.5, 2], "b": [1e300, -1e300]},
        "'b' holds numbers up to 1e.300",
    ),
    "date": (
        {"aera": [1.5, 2], "b": pl.Series(["2020-01-01"] * 2).str.to_date("%Y-%m-%d")},
        "column 'b' is Date, which .* turn it into numbers, such as a year",
    ),
    "time span": ({"aera": [1.5, 2], "b": pl.Series([1, 2]).cast(pl.Duration)}, "'b' is Duration"),
    "list": ({"aera": [1.5, 2], "b": [[1], [2]]}, r"'b' is List.* spread it over columns"),
    "struct": ({"aera": [1.5, 2], "b": [{"x": 1}, {"x": 2}]}, "'b' is Struct"),
    "bytes": ({"aera": [1.5, 2], "b": [b"x", b"y"]}, "'b' is Binary.* into numbers or text"),
    "date as target": (
        {"aera": pl.Series(["2020-01-01"] * 2).str.to_date("%Y-%m-%d"), "b": [1, 2]},
        "column 'aera' is Date",
    ),
    "dates as text": (
        {"aera": [1.5, 2], "b": ["2020-01-01", "2021-12-31 10:00"]},
        "column 'b' holds dates or times as text such as '2020-01-01'",
    ),
    "days first": ({"aera": [1.5, 2], "b": ["1.2.2020", "31/12/2021"]}, "dates or times as text"),
    "times of day": ({"aera": [1.5, 2], "b": ["10:30", None]}, "dates or times as text"),
    "decimal commas": (
        {"aera": [1.5, 2], "b": ["1,5", "2"]},
        "'b' holds numbers with commas .* '1,5'",
    ),
    "thousands": (
        {"aera": [1.5, 2], "b": ["-1,000.5", "999"]},
        "numbers with commas .* '-1,000.5'",
    ),
    "decimal commas in the target": (
        {"aera": ["1,5", "2,5"], "b": [1, 2]},
        "'aera' holds numbers w",
    ),
}


@pytest.mark.parametrize("name", LEARN_REFUSED)
def test_a_table_that_cannot_be_learned_from_is_refused_in_one_sentence(name):
    columns, words = LEARN_REFUSED[name]
    with pytest.raises(ValueError, match=words) as caught:
        TableEncoder.learn(pl.DataFrame(columns, strict=False), "aera")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("values", [["1,2", "x"], ["v1.0", "v2.0"], ["10:30", "late"]])
def test_text_that_only_resembles_dates_and_numbers_is_a_category(values):
    frame = pl.DataFrame({"a": values, "t": [0.5, 1.5]})
    assert TableEncoder.learn(frame, "t").columns == (CategoryColumn("a", tuple(values), False),)


def test_anything_but_a_polars_frame_is_refused():
    encoder = TableEncoder.learn(FLATS, "price")
    for call in (
        lambda frame: TableEncoder.learn(frame, "price"),
        encoder.encode,
        encoder.encode_target,
        encoder.encode_with_target,
    ):
        with pytest.raises(TypeError, match=r"frame must be a polars\.DataFrame, not dict"):
            call({"price": [1]})
    with pytest.raises(TypeError, match="target must be the name of a column, not 3"):
        TableEncoder.learn(FLATS, 3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"area": None}, "has no column 'area'; its columns: city"),
        ({"area": ["30", "x", "y"]}, "row 1 of column 'area' holds 'x', but .* must hold numbers"),
        ({"area": [1, 2, math.inf]}, "row 2 of column 'area' holds inf"),
        ({"area": [1, 2, 1e300]}, "row 2 of column 'area' holds 1e.300, too far from the training"),
        ({"city": [[1], [2], [3]]}, "column 'city' is List"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_row_and_column(change, words):
    encoder = TableEncoder.learn(FLATS, "price")
    columns = {"city": ["Metz"] * 3, "lift": [True] * 3, "area": [1, 2, 3]} | change
    frame = pl.DataFrame({name: value for name, value in columns.items() if value}, strict=False)
    with pytest.raises(ValueError, match=words):
        encoder.encode(frame)


def test_a_class_that_training_never_had_is_refused_by_row():
    encoder = TableEncoder.learn(frame_with_target(["a", "b"]), "t")
    words = "row 2 of the target 't' holds 'c', which no training row had; known classes: a, b"
    with pytest.raises(ValueError, match=words):
        encoder.encode_with_target(frame_with_target(["a", None, "c"]))
    with pytest.raises(ValueError, match="every value of the target 't' is missing"):
        encoder.encode_with_target(frame_with_target([None, None], pl.String))
