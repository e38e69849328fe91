"""Table files: read by the documented rules, or refused by line in one sentence."""

import gzip
import math
import sys

import pytest

from fastnn.data import read_table
from fastnn.data.table import file as table_file
from fastnn.errors import FastnnError, MissingDependency

pl = pytest.importorskip("polars")


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
