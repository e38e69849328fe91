"""Tables as inputs and targets of a network: those worked out by hand."""

import math

import numpy as np
import pytest
from tables import FLATS, frame_with_target

from fastnn.data import CategoryColumn, NumericColumn, TableEncoder, read_table

pl = pytest.importorskip("polars")


# --- inputs ---


def test_inputs_are_those_worked_out_by_hand():
    encoder = TableEncoder.learn(FLATS, "price")
    assert encoder.feature_names == (
        *("area", "area (missing)", "city=Lyon", "city=Metz", "lift=false", "lift=true"),
    )
    X = encoder.encode(FLATS)
    # mean 50, variance (400 + 0 + 400) / 3
    step = np.float32(20 / math.sqrt(800 / 3))
    expected = [
        [-step, 0, 0, 1, 0, 1],
        [0, 0, 1, 0, 1, 0],
        [0, 1, 0, 0, 0, 1],
        [step, 0, 1, 0, 0, 0],
    ]
    np.testing.assert_array_equal(X, np.array(expected, np.float32))
    assert X.dtype == np.float32


def test_constant_and_empty_columns_are_ignored_and_may_be_absent_later():
    encoder = TableEncoder.learn(FLATS, "price")
    assert encoder.ignored == ("year", "note")
    np.testing.assert_array_equal(
        encoder.encode(FLATS.drop("year", "note", "price")), encoder.encode(FLATS)
    )


def test_a_constant_column_with_gaps_tells_by_its_gaps():
    frame = pl.DataFrame({"a": [0.1, None, 0.1], "b": ["x", "x", None], "t": [1.0, 2.0, 4.0]})
    encoder = TableEncoder.learn(frame, "t")
    assert encoder.columns[0] == NumericColumn("a", 0.1, 1.0, True)
    assert encoder.encode(frame).tolist() == [[0, 0, 1], [0, 1, 1], [0, 0, 0]]


def test_the_scale_comes_from_the_training_rows():
    encoder = TableEncoder.learn(pl.DataFrame({"a": [1.0, 3.0], "t": [0.0, 1.0]}), "t")
    assert encoder.encode(pl.DataFrame({"a": [2.0, 5.0, None]})).ravel().tolist() == [0, 3, 0]


def test_a_gap_that_training_never_had_counts_as_the_mean():
    encoder = TableEncoder.learn(pl.DataFrame({"a": [1.0, 3.0], "t": [0.0, 1.0]}), "t")
    assert encoder.feature_names == ("a",)
    for nothing in (None, math.nan):
        frame = pl.DataFrame({"a": [nothing]}, schema={"a": pl.Float64})
        assert encoder.encode(frame).tolist() == [[0]]


def test_unseen_and_missing_categories_have_no_input_set():
    encoder = TableEncoder.learn(pl.DataFrame({"a": ["x", "y"], "t": [0.0, 1.0]}), "t")
    assert encoder.encode(pl.DataFrame({"a": ["y", "z", None]})).tolist() == [
        [0, 1],
        [0, 0],
        [0, 0],
    ]


def test_beyond_64_categories_the_rarer_share_an_input():
    names = [f"c{number:02}" for number in range(70)]
    values = names[3:] * 2 + names[:3]  # c00, c01, c02 once, all others twice
    frame = pl.DataFrame({"a": values, "t": np.arange(len(values)) / 2})
    encoder = TableEncoder.learn(frame, "t")
    (column,) = encoder.columns
    assert column == CategoryColumn("a", tuple(names[3:67]), True)
    assert encoder.feature_names[-1] == "a=(other)"
    X = encoder.encode(pl.DataFrame({"a": ["c03", "c66", "c67", "c00", "never", None]}))
    assert X.argmax(axis=1).tolist() == [0, 63, 64, 64, 64, 0]
    assert X.sum(axis=1).tolist() == [1, 1, 1, 1, 1, 0]


def test_exactly_64_categories_all_have_an_input():
    values = [f"c{number:02}" for number in range(64)] * 2
    encoder = TableEncoder.learn(pl.DataFrame({"a": values, "t": np.arange(128) / 2}), "t")
    assert len(encoder.feature_names) == 64


@pytest.mark.parametrize(
    "dtype",
    [pl.Int8, pl.UInt8, pl.Int64, pl.UInt64, pl.Float32, pl.Float64, pl.Decimal(10, 2), pl.Boolean],
)
def test_every_type_of_number_gives_the_same_inputs(dtype):
    encoder = TableEncoder.learn(pl.DataFrame({"a": [0, 1, 5], "t": [0.0, 1.0, 2.0]}), "t")
    expected = encoder.encode(pl.DataFrame({"a": [0, 1, None]}))
    values = [False, True, None] if dtype == pl.Boolean else [0, 1, None]
    series = pl.Series("a", values).cast(dtype)
    np.testing.assert_array_equal(encoder.encode(series.to_frame()), expected)


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(["z", "x", "y"])])
def test_every_type_of_text_gives_the_same_inputs(dtype):
    series = pl.Series("a", ["x", "y", None, "x"]).cast(dtype)
    frame = pl.DataFrame([series, pl.Series("t", [0.0, 1.0, 2.0, 3.0])])
    encoder = TableEncoder.learn(frame, "t")
    assert encoder.columns == (CategoryColumn("a", ("x", "y"), False),)
    assert encoder.encode(frame).tolist() == [[1, 0], [0, 1], [0, 0], [1, 0]]


def test_categories_that_look_like_numbers_in_another_file_are_found(table):
    train = read_table(table("code,t\n01,1\nx,2\n02,4\n"))
    encoder = TableEncoder.learn(train, "t")
    assert encoder.text_columns == ("code",)
    rows = read_table(table("code\n02\n01\n", "new.csv"), text=encoder.text_columns)
    assert encoder.encode(rows).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_booleans_are_found_in_another_file_whatever_their_case(table):
    encoder = TableEncoder.learn(read_table(table("a,t\nTrue,1\nFalse,2\n")), "t")
    assert encoder.text_columns == ()
    for words in ("true\nfalse", "TRUE\nFALSE"):
        rows = read_table(table(f"a\n{words}\n", "new.csv"), text=encoder.text_columns)
        assert encoder.encode(rows).tolist() == [[0, 1], [1, 0]]


def test_order_of_columns_and_columns_more_do_not_matter():
    encoder = TableEncoder.learn(FLATS, "price")
    shuffled = FLATS.select(reversed(FLATS.columns)).with_columns(more=pl.lit("x"))
    np.testing.assert_array_equal(encoder.encode(shuffled), encoder.encode(FLATS))


def test_no_rows_give_no_inputs(table):
    encoder = TableEncoder.learn(FLATS, "price")
    assert encoder.encode(FLATS[:0]).shape == (0, 6)
    assert encoder.encode(read_table(table("area,city,lift\n"))).shape == (0, 6)


def test_the_frame_is_left_as_it_was():
    before = FLATS.clone()
    TableEncoder.learn(FLATS, "price").encode_with_target(FLATS)
    assert FLATS.equals(before)


# --- target ---


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["b", "a"], "classification"),
        ([True, False], "classification"),
        ([0, 1] * 5, "classification"),
        (list(range(20)) * 5, "classification"),
        (list(range(21)) * 5, "regression"),  # more than 20 different numbers
        ([0, 1] * 4, "regression"),  # fewer than five rows to a class
        ([0.0, 1.0] * 50, "regression"),
        ([0, 1, None] * 5, "classification"),
    ],
)
def test_the_task_follows_from_the_target(values, task):
    assert TableEncoder.learn(frame_with_target(values), "t").task == task


def test_the_task_can_be_told():
    frame = frame_with_target([2, 10, 2])
    assert TableEncoder.learn(frame, "t", "classification").class_names == ("2", "10")
    assert TableEncoder.learn(frame, "t", task="regression").class_names == ()
    with pytest.raises(
        ValueError, match="task must be auto, classification or regression, got 'x'"
    ):
        TableEncoder.learn(frame, "t", task="x")
    with pytest.raises(ValueError, match="row 0 of column 't' holds 'x', but .* must hold numbers"):
        TableEncoder.learn(frame_with_target(["x", "y"]), "t", task="regression")


def test_classes_are_numbered_in_order():
    encoder = TableEncoder.learn(frame_with_target(["b", "c", "a", "b"]), "t")
    assert encoder.class_names == ("a", "b", "c")
    y = encoder.encode_target(frame_with_target(["c", "b", "a"]))
    assert y.tolist() == [2, 1, 0]
    assert y.dtype == np.int64


def test_numbered_classes_keep_the_order_of_numbers():
    encoder = TableEncoder.learn(frame_with_target([10, 9, -1] * 5), "t")
    assert encoder.class_names == ("-1", "9", "10")
    for dtype in (pl.Int8, pl.Float64, pl.String):  # as another file may hold them
        y = encoder.encode_target(frame_with_target([9, 10], pl.Int64).cast({"t": dtype}))
        assert y.tolist() == [1, 2] or dtype == pl.String


def test_the_target_of_a_regression_is_standardised_and_comes_back():
    frame = frame_with_target([1.0, 3.0, 5.0])
    encoder = TableEncoder.learn(frame, "t")
    assert encoder.target_mean == 3
    assert encoder.target_std == pytest.approx(math.sqrt(8 / 3), rel=1e-15)
    y = encoder.encode_target(frame)
    assert y.dtype == np.float32
    np.testing.assert_allclose(y, [-math.sqrt(1.5), 0, math.sqrt(1.5)], rtol=1e-7)
    np.testing.assert_allclose(encoder.decode(y), [1, 3, 5], rtol=1e-6)
    assert encoder.decode(y[:, None]).tolist() == encoder.decode(y).tolist()


def test_a_constant_target_is_a_regression_to_its_value():
    encoder = TableEncoder.learn(frame_with_target([0.1, 0.1, 0.1]), "t")
    assert encoder.decode([0.0]).tolist() == [0.1]


def test_the_largest_output_names_the_class():
    encoder = TableEncoder.learn(frame_with_target(["b", "c", "a"]), "t")
    assert encoder.decode([[0.1, 0.2, 0.7], [3, -1, 2]]).tolist() == ["c", "a"]
    assert encoder.decode(np.empty((0, 3))).tolist() == []


def test_one_output_of_two_classes_is_the_probability_of_the_second():
    encoder = TableEncoder.learn(frame_with_target([True, False]), "t")
    assert encoder.decode([[0.2], [0.9]]).tolist() == ["false", "true"]
    assert encoder.decode([0.2, 0.9]).tolist() == ["false", "true"]
    assert encoder.decode([[0.8, 0.2]]).tolist() == ["false"]


@pytest.mark.parametrize(
    ("values", "shape", "expected"),
    [
        (["a", "b"], (4, 3), "2"),
        (["a", "b", "c"], (4,), "3"),
        (["a", "b", "c"], (4, 1), "3"),
        (["a", "b"], (), "2"),
        (["a", "b"], (1, 2, 2), "2"),
        ([1.0, 2.0], (4, 2), "1"),
        ([1.0, 2.0], (4, 0), "1"),
    ],
)
def test_outputs_of_another_shape_are_refused(values, shape, expected):
    encoder = TableEncoder.learn(frame_with_target(values), "t")
    with pytest.raises(ValueError, match=rf"must have shape \(B, {expected}\), got \("):
        encoder.decode(np.zeros(shape))


def test_outputs_with_nan_are_refused():
    encoder = TableEncoder.learn(frame_with_target(["a", "b"]), "t")
    with pytest.raises(ValueError, match="outputs hold NaN, first in row 1"):
        encoder.decode([[0, 1], [math.nan, 1]])


def test_rows_without_target_are_dropped_and_counted():
    frame = frame_with_target([1.0, None, math.nan, 5.0])
    encoder = TableEncoder.learn(frame, "t")
    assert encoder.target_mean == 3
    X, y, dropped = encoder.encode_with_target(frame)
    np.testing.assert_array_equal(X, encoder.encode(frame)[[0, 3]])
    assert y.tolist() == [-1, 1]
    assert dropped == 2
    with pytest.raises(ValueError, match="row 1 has no value of the target 't'; leave the row out"):
        encoder.encode_target(frame)
