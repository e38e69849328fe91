"""Claims about the comparison on tables: what is measured, and what is written of it."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("polars")
pytest.importorskip("sklearn")
pytest.importorskip("threadpoolctl")

# Behind everything else, so that it hides nothing.
sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

import documents
import tabular
import tabular_sets

IRIS = next(table for table in tabular_sets.TABLES if table.name == "iris")


@pytest.mark.parametrize(
    ("maker", "missing", "kinds"),
    [(tabular_sets.customers, 0.05, [4, 12, 150]), (tabular_sets.prices, 0.0, [6, 80])],
)
def test_the_generated_tables_are_what_the_page_says(maker, missing, kinds):
    X, y = maker(4000)
    numbers = [name for name in X.columns if name.startswith("number")]
    gaps = [X[name].null_count() / len(X) for name in numbers]
    np.testing.assert_allclose(gaps, missing, atol=0.02)
    others = [X[name] for name in X.columns if name not in numbers and name != "flag"]
    assert [column.n_unique() for column in others] == kinds
    assert len(set(y.tolist())) == 3 if maker is tabular_sets.customers else np.isfinite(y).all()


def test_all_contestants_are_measured_on_the_same_folds():
    names = ["HistGradientBoosting", "fastnn MLP"]
    told = tabular.measure(IRIS, names, quick=True)
    assert list(told) == names
    for result in told.values():
        assert len(result["scores"]) == len(result["seconds"]) == tabular.FOLDS
        assert min(result["scores"]) > 0.7
        assert min(result["seconds"]) > 0


def test_the_best_mean_of_a_row_is_bold():
    worse = {"scores": [0.9, 0.8], "seconds": [3.0, 1.0]}
    better = {"scores": [0.9, 0.9], "seconds": [1.0, 2.0]}
    text = tabular.markdown([IRIS], {"iris": {"a": worse, "b": better}})
    row = "| iris, accuracy | 85.0 % ± 5.0, 2 s | **90.0 %** ± 0.0, 1.5 s |"
    assert text.splitlines() == ["| table | a | b |", "| --- | ---: | ---: |", row]


def test_the_page_has_the_place_for_the_table():
    page = tabular.DOCUMENT.read_text(encoding="utf-8")
    assert "new text" in documents.insert(page, "tabular", "new text")
