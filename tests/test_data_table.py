"""Tables: files are read or refused by line, columns become the inputs worked out by hand."""

import gzip
import itertools
import json
import math
import sys

import numpy as np
import pytest

from fastnn.data import (
    CategoryColumn,
    NumericColumn,
    TableEncoder,
    load_table,
    read_table,
)
from fastnn.data.table import file as table_file
from fastnn.errors import FastnnError, MissingDependency

pl = pytest.importorskip("polars")


@pytest.fixture
def table(tmp_path):
    """Write a file and give its path."""

    def write(content, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


# --- read_table: what is read ---

READ = {
    "plain": ("a,b\n1,x\n2,y\n", {"a": [1, 2], "b": ["x", "y"]}),
    "byte order mark": ("\ufeffa,b\n1,x\n", {"a": [1], "b": ["x"]}),
    "CRLF": ("a,b\r\n1,x\r\n2,y\r\n", {"a": [1, 2], "b": ["x", "y"]}),
    "no last line end": ("a,b\n1,x", {"a": [1], "b": ["x"]}),
    "CRLF, no last line end": ("a,b\r\n1,x", {"a": [1], "b": ["x"]}),
    "comma in quotes": ('a,b\n1,"x,y"\n', {"a": [1], "b": ["x,y"]}),
    "quote in quotes": ('a,b\n1,"x ""y"""\n', {"a": [1], "b": ['x "y"']}),
    "line end in quotes": ('a,b\n1,"x\ny"\n2,z\n', {"a": [1, 2], "b": ["x\ny", "z"]}),
    "quoted numbers": ('"a","b"\n"1","2.5"\n', {"a": [1], "b": [2.5]}),
    "blanks around": ("a , b\n 1, x\n2 ,y \n", {"a": [1, 2], "b": ["x", "y"]}),
    "blank lines": ("a,b\n\n1,x\n\n\n2,y\n\n", {"a": [1, 2], "b": ["x", "y"]}),
    "blank lines of one column": ("a\n1\n\n2\n", {"a": [1, 2]}),
    "semicolons": ("a;b\n1;x\n", {"a": [1], "b": ["x"]}),
    "tabs in a .csv": ("a\tb\n1\tx\n", {"a": [1], "b": ["x"]}),
    "comma in a quoted name": ('"a,c";b\n1;x\n', {"a,c": [1], "b": ["x"]}),
    "unicode": (
        "größe,城市\n1,東京\n2,København 🙂\n",
        {"größe": [1, 2], "城市": ["東京", "København 🙂"]},
    ),
    "name missing": (",a\n0,x\n1,y\n", {"column_0": [0, 1], "a": ["x", "y"]}),
    "comma at each end": ("a,b,\n1,x,\n", {"a": [1], "b": ["x"], "column_2": [None]}),
    "one column": ("a\n1\n2\n", {"a": [1, 2]}),
    "header only": ("a,b\n", {"a": [], "b": []}),
    "every missing word": (
        "a,b\n,x\nNA,x\nN/A,x\nn/a,x\n<NA>,x\n#N/A,x\nNaN,x\nnan,x\n-nan,x\nNULL,x\nnull,x\nNone,x\n?,x\n"
        '" ",x\n"",x\n3,x\n',
        {"a": [None] * 15 + [3], "b": ["x"] * 16},
    ),
    "all missing": ("a,b\nNA,1\n,2\n", {"a": [None, None], "b": [1, 2]}),
    "a row of missing words stays": ("a,b\nNA,NA\n1,2\n", {"a": [None, 1], "b": [None, 2]}),
    "Booleans": ("a,b\ntrue,1\nFALSE,2\n,3\n", {"a": [True, False, None], "b": [1, 2, 3]}),
    "floats": ("a\n1\n.5\n-2.\n+3e2\n1E-3\n", {"a": [1.0, 0.5, -2.0, 300.0, 0.001]}),
    "float after a thousand integers": (
        "a\n" + "1\n" * 1000 + "1.5\n",
        {"a": [1.0] * 1000 + [1.5]},
    ),
    "text after a thousand integers": ("a\n" + "1\n" * 1000 + "x\n", {"a": ["1"] * 1000 + ["x"]}),
    "integers beyond 64 bits": ("a\n99999999999999999999\n", {"a": [1e20]}),
    "infinity, refused later": ("a\n1e999\n-inf\n1\n", {"a": [math.inf, -math.inf, 1.0]}),
    "leading zeros": ("a\n007\n012\n", {"a": [7, 12]}),
    "numbers with units": ("a\n1 kg\n2 kg\n", {"a": ["1 kg", "2 kg"]}),
    "hash sign": ("a,b\n#1,x\n", {"a": ["#1"], "b": ["x"]}),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", READ)
def test_a_text_table_is_read_by_the_documented_rules(table, name, packed):
    content, expected = READ[name]
    path = table(gzip.compress(content.encode()), "table.csv.gz") if packed else table(content)
    frame = read_table(path)
    assert frame.to_dict(as_series=False) == expected


def test_types_follow_from_the_values(table):
    frame = read_table(table("a,b,c,d\n1,1.5,true,x\n2,2,false,y\n"))
    assert frame.dtypes == [pl.Int64, pl.Float64, pl.Boolean, pl.String]


def test_columns_named_as_text_stay_text(table):
    frame = read_table(table("zip,n\n01234,1\nNA,2\n"), text=["zip"])
    assert frame.to_dict(as_series=False) == {"zip": ["01234", None], "n": [1, 2]}


def test_tsv_separates_by_tabs_only(table):
    frame = read_table(table("a,b\tc\n1\t2\n", "t.tsv"))
    assert frame.to_dict(as_series=False) == {"a,b": [1], "c": [2]}


def test_the_end_of_the_name_may_be_in_capitals(table):
    assert read_table(table("a\n1\n", "T.CSV")).rows() == [(1,)]


def test_parquet_keeps_its_types(tmp_path):
    frame = pl.DataFrame({"a": [1, None], "b": ["NA", "x"], "c": [1.5, math.nan]})
    frame.write_parquet(tmp_path / "t.parquet")
    read = read_table(tmp_path / "t.parquet")
    assert read.schema == frame.schema
    assert read["b"].to_list() == ["NA", "x"]


def test_a_name_with_wildcards_is_that_file_only(table):
    table("a\n1\n", "t1.csv")
    assert read_table(table("a\n2\n", "t*.csv")).rows() == [(2,)]
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_table(table("", "x.csv").with_name("t?.csv"))


# --- read_table: what is refused ---

REFUSED = {
    "empty": ("", "is empty; its first line must hold the names"),
    "byte order mark only": ("\ufeff", "is empty"),
    "blank": ("\n\n", "begins with a blank line"),
    "blank first line": ("\na,b\n1,2\n", "begins with a blank line"),
    "long line": ("a,b\n1,2\n1,2,3\n", "line 3: 3 fields came, 2 are expected"),
    "short line": ("a,b\n1,2\n1\n3,4\n", "line 3: 1 fields came, 2 are expected"),
    "short last line": ("a,b\n1,2\n3", "line 3: 1 fields came, 2 are expected"),
    "ragged far down": ("a,b\n" + "1,2\n" * 5000 + "1\n", "line 5002: 1 fields came"),
    "quote left open": ('a,b\n1,"x\n2,y\n', "line 3: unexpected end of data; look for a quote"),
    "quote open in the last field": ('a,b\n1,2\n3,"4', "line 3: unexpected end of data"),
    "text after a quote": ('a,b\n"x"y,2\n', "line 2: .* look for a quote"),
    "same name twice": ("a,b,a\n1,2,3\n", "has 2 columns named 'a'"),
    "same name but for blanks": ("a, a\n1,2\n", "has 2 columns named 'a'"),
    "NUL": (b"a,b\n1\0,2\n", "line 2: a NUL byte"),
    "UTF-16": ("a,b\n1,2\n".encode("utf-16"), "is not UTF-8 text .byte 0xff"),
    "UTF-16 without mark": ("a,b\n1,2\n".encode("utf-16-le"), "line 1: a NUL byte"),
    "Latin-1": ("a,b\nKøln,2\n".encode("latin-1"), "is not UTF-8 text .byte 0xf8"),
    "Latin-1 name": ("größe\n1\n".encode("latin-1"), "is not UTF-8 text"),
    "CR alone": ("a,b\r1,2\r", "line 1: a carriage return without a line feed"),
    "CR alone inside": ("a,b\n1,2\r3,4\n", "line 2: a carriage return without a line feed"),
    "one huge field": ("a\n" + "x" * 140_000 + "\n", "line 2: field larger than field limit"),
    "binary": (bytes(range(256)), "is not UTF-8 text"),
    "gzip cut short": (gzip.compress(b"a,b\n" + b"1,2\n" * 999)[:-12], "broken as a gzip file"),
    "gzip of the wrong sum": (gzip.compress(b"a\n1\n")[:-8] + bytes(8), "broken as a gzip file"),
    "gzip with a tail": (gzip.compress(b"a\n1\n") + b"tail", "broken as a gzip file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_text_table_is_refused_in_one_sentence_with_its_name(table, name):
    content, words = REFUSED[name]
    path = table(content)
    with pytest.raises(ValueError, match=words) as caught:
        read_table(path)
    assert repr(str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_endless_line_is_refused_before_it_is_read_whole(table, monkeypatch):
    monkeypatch.setattr(table_file, "LONGEST_LINE", 1000)
    with pytest.raises(ValueError, match="line 2: more than 1000 characters"):
        read_table(table("a\n" + "1," * 5000 + "\n"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is no parquet file, or is cut short"),
        (b"PAR1", "cannot be read"),
        (b"PAR1PAR1", "cannot be read"),
        (b"PAR1" + b"\xff" * 100 + b"PAR1", "cannot be read"),
        (b"a,b\n1,2\n", "is no parquet file"),
    ],
)
def test_a_broken_parquet_file_is_refused(table, content, words):
    with pytest.raises(ValueError, match=words):
        read_table(table(content, "t.parquet"))


def test_a_parquet_file_cut_anywhere_is_refused(tmp_path):
    pl.DataFrame({"a": range(50), "b": ["x", "y"] * 25}).write_parquet(tmp_path / "t.parquet")
    content = (tmp_path / "t.parquet").read_bytes()
    for end in range(0, len(content), 7):
        (tmp_path / "t.parquet").write_bytes(content[:end])
        with pytest.raises(ValueError, match=r"t\.parquet"):
            read_table(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["t.xlsx", "t.json", "csv", "t.gz", "t.parquet.gz", "t.csv.zip"])
def test_another_kind_of_file_is_refused_with_the_known_endings(table, name):
    with pytest.raises(ValueError, match=r"ends in \.csv, \.tsv, \.csv\.gz, \.tsv\.gz or \.parq"):
        read_table(table("a\n1\n", name))


def test_a_folder_and_a_missing_file_are_refused(tmp_path):
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(ValueError, match="it must be a file"):
        read_table(tmp_path / "d.csv")
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*nothing\.csv'"):
        read_table(tmp_path / "nothing.csv")


def test_without_polars_the_pip_command_is_told(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(MissingDependency, match=r'pip install "fastnn-core\[table\]"') as caught:
        read_table(table("a\n1\n"))
    assert isinstance(caught.value, FastnnError | ImportError)


# --- TableEncoder: inputs ---

FLATS = pl.DataFrame(
    {
        "area": [30, 50, None, 70],
        "city": ["Metz", "Lyon", None, "Lyon"],
        "lift": [True, False, True, None],
        "year": [2020, 2020, 2020, 2020],
        "note": pl.Series([None] * 4, dtype=pl.String),
        "price": [1.0, 3.0, 5.0, 7.0],
    }
)


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


# --- TableEncoder: target ---


def frame_with_target(values, dtype=None):
    series = pl.Series("t", values, dtype=dtype)
    return pl.DataFrame([pl.Series("a", range(len(values)), dtype=pl.Int64), series])


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


# --- TableEncoder: what is refused ---

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


# --- TableEncoder: JSON ---


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


# --- load_table ---


def test_a_table_of_classes_is_split_evenly_and_encoded(table):
    lines = ["a,b,t"] + [f"{i},{'xyz'[i % 3]},{'no' if i % 4 else 'yes'}" for i in range(100)]
    dataset, encoder = load_table(table("\n".join([*lines, "7,x,"]) + "\n"), "t")
    assert dataset.X_train.shape == (80, 4)
    assert dataset.X_test.shape == (20, 4)
    assert dataset.X_train.dtype == np.float32
    assert dataset.class_names == encoder.class_names == ("no", "yes")
    assert np.bincount(dataset.y_test).tolist() == [15, 5]
    assert dataset.dropped_rows == 1
    np.testing.assert_allclose(dataset.X_train[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(dataset.X_train[:, 0].std(), 1, atol=1e-6)


def test_test_rows_have_no_part_in_what_is_learned(table):
    path = table("a,t\n" + "".join(f"{i},{i / 2}\n" for i in range(10)))
    dataset, encoder = load_table(path, "t", test_fraction=0.3, seed=1)
    train = sorted(2 * value for value in encoder.decode(dataset.y_train))
    assert len(train) == 7
    assert encoder.columns[0].mean == pytest.approx(np.mean(train), rel=1e-6)
    assert encoder.target_mean == pytest.approx(np.mean(train) / 2, rel=1e-6)
    both = np.concatenate([encoder.decode(dataset.y_train), encoder.decode(dataset.y_test)])
    np.testing.assert_allclose(sorted(both), np.arange(10) / 2, atol=1e-6)


def test_a_class_of_one_row_is_trained_on(table):
    path = table("a,t\n" + "".join(f"{i},x\n{i},y\n" for i in range(10)) + "5,z\n")
    dataset, _ = load_table(path, "t")
    assert dataset.class_names == ("x", "y", "z")
    assert (dataset.y_train == 2).sum() == 1


def test_everything_can_be_training(table):
    dataset, _ = load_table(table("a,t\n1,1.5\n2,3\n4,5\n"), "t", test_fraction=0)
    assert dataset.X_train.shape == (3, 1)
    assert dataset.X_test.shape == (0, 1)
    assert dataset.y_test.shape == (0,)


def test_the_same_file_gives_the_same_bits(table):
    path = table("a,t\n" + "".join(f"{i * 0.1},{i % 3}\n" for i in range(60)))
    first, second = load_table(path, "t")[0], load_table(path, "t")[0]
    assert first.X_train.tobytes() == second.X_train.tobytes()
    assert load_table(path, "t", seed=1)[0].X_train.tobytes() != first.X_train.tobytes()


def test_errors_count_the_rows_of_the_file(table):
    path = table("a,t\n" + "1,\n" * 5 + "1,2.5\n" * 5 + "1e999,3.5\n")
    with pytest.raises(ValueError, match="row 10 of column 'a' holds inf"):
        load_table(path, "t")


def test_a_misspelt_target_is_answered_with_the_nearest(table):
    with pytest.raises(ValueError, match=r"no target 'Price' .did you mean 'price'.*: area, price"):
        load_table(table("area,price\n1,2\n"), "Price")


def test_a_header_alone_is_refused(table):
    with pytest.raises(ValueError, match="it has no rows"):
        load_table(table("a,t\n"), "t")
