"""What the tests of tables share: frames small enough to be worked out by hand."""

import pytest

pl = pytest.importorskip("polars")

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


def frame_with_target(values, dtype=None):
    series = pl.Series("t", values, dtype=dtype)
    return pl.DataFrame([pl.Series("a", range(len(values)), dtype=pl.Int64), series])
