"""What users of the estimators get wrong, and the memory that they count on."""

import tracemalloc

import numpy as np
import pytest

pytest.importorskip("sklearn")

import polars as pl
from scipy import sparse
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import make_pipeline

import fastnn as fn
from fastnn.sklearn import (
    MLPClassifier,
    TabularMLPClassifier,
    TabularMLPRegressor,
    from_sklearn,
    to_sklearn,
)

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load_digits(return_X_y=True)
X, y = X[:300] / 16, y[:300]
TABLE = pl.DataFrame({"area": [30.0, 45.0, None, 80.0], "city": ["Metz", "Lyon"] * 2})


def classifier(**arguments):
    return MLPClassifier(hidden_layer_sizes=8, max_iter=3, random_state=0, **arguments)


def test_sparse_rows_are_made_dense_a_few_at_a_time_to_predict():
    # All of them would take 800 MB: the rows once were made dense one part after the other, and
    # every part was kept.
    rows, words = 2_000, 50_000
    places = np.random.default_rng(0).integers(0, words, rows)
    counts = sparse.csr_matrix((np.ones(rows), (np.arange(rows), places)), shape=(rows, words))
    model = classifier().fit(counts[:20], np.arange(20) % 2)
    tracemalloc.start()
    try:
        predicted = model.predict_proba(counts)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 200e6
    assert np.array_equal(predicted[-5:], model.predict_proba(counts[-5:].toarray()))


def test_a_metric_in_the_place_of_a_scorer_is_told_from_one():
    model = classifier(early_stopping=True, early_stopping_metric=balanced_accuracy_score)
    with pytest.raises(ValueError, match="make_scorer"):
        model.fit(X, y)


@pytest.mark.parametrize("dtype", [np.float32, np.dtype("float32")])
def test_the_dtype_may_be_one_of_numpy(dtype):
    assert classifier(dtype=dtype).fit(X, y).coefs_[0].dtype == np.float32


@pytest.mark.parametrize("dtype", ["float16", np.float16, np.dtype("int64"), float])
def test_other_types_are_refused(dtype):
    with pytest.raises(ValueError, match="'dtype' parameter"):
        classifier(dtype=dtype).fit(X, y)


def test_a_callback_that_needs_validation_rows_says_how_they_are_given():
    with pytest.raises(ValueError, match="X_val and y_val"):
        classifier(callbacks=[fn.EarlyStopping()]).fit(X, y)


def test_what_cannot_be_exchanged_is_told_with_its_library():
    with pytest.raises(TypeError, match=r"not fastnn\.sklearn\.classifier\.MLPClassifier"):
        from_sklearn(classifier())
    with pytest.raises(TypeError, match=r"not sklearn\.pipeline\.Pipeline"):
        to_sklearn(make_pipeline(classifier()))


def test_tables_that_are_not_there_yet_are_refused():
    with pytest.raises(TypeError, match=r"LazyFrame.*give X\.collect\(\)"):
        TabularMLPClassifier().fit(TABLE.lazy(), [0, 0, 1, 1])


@pytest.mark.parametrize("kind", [TabularMLPClassifier, TabularMLPRegressor])
def test_missing_targets_are_told_by_row(kind):
    with pytest.raises(ValueError, match="y is missing in row 2"):
        kind().fit(TABLE, [1, 2, None, 1])


def test_a_notebook_shows_the_layers_of_a_network_for_tables():
    model = TabularMLPClassifier(hidden_layer_sizes=(8,), max_iter=2, random_state=0)
    assert "<details><summary>Layers" not in model._repr_html_()
    assert "Dense(8" in model.fit(TABLE, [0, 0, 1, 1])._repr_html_()
