"""Claims about what becomes of the columns of a table."""

import datetime

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn.sklearn.tabular import TabularEncoder
from fastnn.sklearn.tabular.columns import NumericColumn, smooth_clip


def objects(*columns):
    """Return columns as an array of Python objects."""
    table = np.empty((len(columns[0]), len(columns)), object)
    for j, column in enumerate(columns):
        table[:, j] = column
    return table


def encoded(*columns, **told):
    table = objects(*columns)
    return TabularEncoder(**told).fit_transform(table)


# The columns of every table: numbers with one missing, yes or no, text, a type for categories.
NUMBERS = [1.0, 2.0, None, 4.0, 5.0]
FLAGS = [True, False, True, True, False]
TOWNS = ["Lyon", "Metz", None, "Lyon", "Nice"]
SIZES = ["s", "m", "s", "l", "m"]


def numpy_table():
    return objects(NUMBERS, FLAGS, TOWNS, SIZES)


def polars_table():
    pl = pytest.importorskip("polars")
    sizes = pl.Series(SIZES, dtype=pl.Categorical)
    return pl.DataFrame({"n": NUMBERS, "f": FLAGS, "t": TOWNS, "s": sizes})


def polars_enum_table():
    pl = pytest.importorskip("polars")
    sizes = pl.Series(SIZES, dtype=pl.Enum(["s", "m", "l"]))
    numbers = pl.Series([1, 2, None, 4, 5], dtype=pl.Int16)
    return pl.DataFrame({"n": numbers, "f": FLAGS, "t": TOWNS, "s": sizes})


def pandas_table():
    pd = pytest.importorskip("pandas")
    sizes = pd.Series(SIZES, dtype="category")
    return pd.DataFrame({"n": NUMBERS, "f": FLAGS, "t": TOWNS, "s": sizes})


def pandas_nullable_table():
    pd = pytest.importorskip("pandas")
    frame = pandas_table()
    numbers = pd.Series([1, 2, pd.NA, 4, 5], dtype="Int64")
    types = {"f": "boolean", "t": "string"}
    return frame.assign(n=numbers).astype(types)


def arrow_table():
    return pytest.importorskip("pyarrow").table({"n": NUMBERS, "f": FLAGS, "t": TOWNS, "s": SIZES})


TABLES = [
    numpy_table,
    polars_table,
    polars_enum_table,
    pandas_table,
    pandas_nullable_table,
    arrow_table,
]


@pytest.mark.parametrize("table", TABLES, ids=lambda f: f.__name__)
def test_every_library_gives_the_same_inputs(table):
    inputs = TabularEncoder().fit_transform(table())
    assert inputs.dtype == np.float32
    # Median 3 and quartiles 1.5 and 4.5 of the four numbers that are there.
    scaled = np.array([-2 / 3, -1 / 3, 0, 1 / 3, 2 / 3])
    np.testing.assert_allclose(inputs[:, 0], scaled / np.sqrt(1 + scaled**2 / 9), rtol=1e-6)
    towns = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(inputs[:, 1], [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(inputs[:, 2], [1, -1, 1, 1, -1])
    np.testing.assert_array_equal(inputs[:, 3:7], towns)
    assert inputs[:, 7:].sum(axis=1).tolist() == [1] * 5


def test_the_names_of_the_inputs_tell_what_they_are():
    encoder = TabularEncoder().fit(numpy_table())
    names = ["x0", "x0_missing", "x1", "x2_Lyon", "x2_Metz", "x2_Nice", "x2_missing"]
    assert encoder.get_feature_names_out().tolist() == [*names, "x3_m", "x3_s", "x3_l"]
    assert encoder.is_categorical_.tolist() == [False, False, True, True]
    assert encoder.n_features_in_ == 4


def test_smooth_clipping_is_the_identity_near_0_and_stays_within_3():
    x = np.array([-1e300, -1e3, -0.01, 0.0, 0.01, 3.0, 1e3, 1e300])
    y = smooth_clip(x)
    assert np.all(np.abs(y) <= 3)
    assert np.all(np.diff(y) >= 0)
    np.testing.assert_allclose(y[2:5], x[2:5], rtol=1e-5)
    np.testing.assert_allclose(y[5], 3 / 2**0.5)


@pytest.mark.parametrize(
    ("values", "median", "scale"),
    [
        ([0.0, 1.0, 2.0, 3.0, 4.0], 2.0, 0.5),  # 1 / (3 - 1)
        ([7.0] * 9 + [9.0], 7.0, 1.0),  # the quartiles coincide: 2 / (9 - 7)
        ([7.0] * 5, 7.0, 0.0),
        ([np.nan] * 5, 0.0, 0.0),
        ([-1e308, 1e308], 0.0, 0.0),  # half of it is the largest range that a float64 has
    ],
)
def test_numbers_are_scaled_by_quartiles_or_by_their_range(values, median, scale):
    column = NumericColumn.learn(0, "x", np.array(values), None)
    assert column.median == median
    np.testing.assert_allclose(column.scale, scale, atol=1e-300)


def test_extreme_numbers_give_finite_inputs():
    values = [-1.7e308, -1.0, 0.0, 1.0, 1.7e308, 5e-324]
    assert np.isfinite(encoded(values)).all()
    assert np.isfinite(encoded([5e-324, 0.0, 1e-320, 0.0])).all()


def test_a_weight_counts_as_that_many_equal_rows():
    rng = np.random.default_rng(0)
    table = objects(rng.normal(size=30).tolist(), [f"c{v}" for v in rng.integers(0, 12, 30)])
    table[3, 0] = None
    weight = rng.integers(0, 4, 30)
    told = {"max_categories": 6}
    weighted = TabularEncoder(**told).fit(table, sample_weight=weight)
    repeated = TabularEncoder(**told).fit(table.repeat(weight, axis=0))
    assert weighted.columns_ == repeated.columns_
    np.testing.assert_array_equal(weighted.transform(table), repeated.transform(table))


def test_unknown_categories_are_zeros_or_count_as_rare():
    few = TabularEncoder().fit(objects(["a", "b", "a"]))
    assert few.transform(objects(["z", None])).tolist() == [[0, 0], [0, 0]]
    many = TabularEncoder(max_categories=2).fit(objects(["a", "b", "a", "c"]))
    assert many.get_feature_names_out().tolist() == ["x0_a", "x0_rare"]
    assert many.transform(objects(["z", "c", "a"])).tolist() == [[0, 1], [0, 1], [1, 0]]


def test_columns_of_many_categories_come_last_and_are_told():
    letters = list("abcdefghijkl")
    encoder = TabularEncoder(max_one_hot_categories=3)
    inputs = encoder.fit_transform(objects(letters, range(12), ["u", "v"] * 6))
    assert encoder.embedded_ == [(3, 15)]
    np.testing.assert_array_equal(inputs[:, 3:].argmax(axis=1), range(12))
    assert TabularEncoder().fit(objects(range(12))).embedded_ == []


@pytest.mark.parametrize("told", [[1], ["x1"], [False, True], [-1], np.array([1])])
def test_columns_of_numbers_are_categories_where_somebody_says_so(told):
    table = np.array([[1.0, 30], [2, 40], [3, np.nan], [4, 30]])
    encoder = TabularEncoder(told).fit(table)
    names = ["x0", "x1_30.0", "x1_40.0", "x1_missing"]
    assert encoder.get_feature_names_out().tolist() == names
    whole = np.array([[1, 30], [2, 40]])
    np.testing.assert_array_equal(encoder.transform(whole), encoder.transform(table[:2]))
    assert TabularEncoder([]).fit(table).get_feature_names_out().tolist() == [
        *("x0", "x1", "x1_missing")
    ]


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ([7], r"names 7; the columns are x0, x1, by number 0 to 1"),
        (["area"], "names 'area'"),
        ([True], "a mask of shape"),
    ],
)
def test_categorical_features_that_do_not_exist_are_refused(told, match):
    with pytest.raises(ValueError, match=match):
        TabularEncoder(told).fit(np.zeros((3, 2)))


def nested_frame():
    return pytest.importorskip("polars").DataFrame({"n": [[1], [2]]})


def dated_frame():
    pl = pytest.importorskip("polars")
    return pl.DataFrame({"day": [datetime.date(2024, 5, 1), datetime.date(2024, 5, 2)]})


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (lambda: [[1.0], [np.inf]], "column 'x0' holds infinity in row 1"),
        (lambda: objects([1.0, -np.inf]), "column 'x0' holds infinity in row 1"),
        (lambda: objects([[1], [2]]), "column 'x0' holds nested values"),
        (nested_frame, "column 'n' is of type list"),
        (dated_frame, "column 'day' is of type date"),
        (lambda: np.array([["2024-01-01"]], "M8[D]"), "column 'x0' is of type datetime64"),
        (lambda: np.array([[1j]]), "Complex"),
        (lambda: pytest.importorskip("polars").DataFrame({"a": []}), r"shape \(0, 1\)"),
    ],
)
def test_what_is_no_column_is_refused_by_name(table, match):
    with pytest.raises(ValueError, match=match):
        TabularEncoder().fit(table())


def test_a_column_that_changed_its_kind_is_refused_by_row():
    encoder = TabularEncoder().fit(objects([1.0, 2.0, None]))
    with pytest.raises(ValueError, match="column 'x0' must hold numbers, got 'many' in row 1"):
        encoder.transform(objects([1.0, "many"]))
    with pytest.raises(ValueError, match="must hold numbers"):
        encoder.transform(np.array([["1"], ["2"]]))


def test_the_input_is_not_touched():
    table = numpy_table()
    before = table.copy()
    TabularEncoder().fit_transform(table)
    assert all(a is b for a, b in zip(table.flat, before.flat, strict=True))


@parametrize_with_checks([TabularEncoder()])
def test_the_encoder_is_a_transformer_of_scikit_learn(estimator, check):
    check(estimator)
