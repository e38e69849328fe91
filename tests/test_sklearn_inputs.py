"""The estimators take what people have: data frames, labels of any kind, sparse rows, weights."""

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn
from perceptrons import FLOWERS, NUMBERS, of, small
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_multilabel_classification, make_regression
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.fixes import CSC_CONTAINERS, CSR_CONTAINERS

from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

COLUMNS = ["sepal length", "sepal width", "petal length", "petal width"]
SPECIES = np.array(["setosa", "versicolor", "virginica"])

BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
FRAMES = pytest.mark.parametrize("library", ["pandas", "polars"])


def frame(library, X):
    """Return a data frame of pandas or polars."""
    columns = {name: X[:, n] for n, name in enumerate(COLUMNS)}
    return pytest.importorskip(library).DataFrame(columns)


# Data frames.


@FRAMES
@BOTH
def test_a_data_frame_trains_as_its_numbers_do(kind, library):
    X, y = of(kind)
    table = frame(library, X)
    model = small(kind).fit(table, y)
    assert list(model.feature_names_in_) == COLUMNS
    np.testing.assert_array_equal(model.predict(table), small(kind).fit(X, y).predict(X))


@FRAMES
@BOTH
def test_columns_in_another_order_are_refused(kind, library):
    X, y = of(kind)
    table = frame(library, X)
    model = small(kind).fit(table, y)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(table[COLUMNS[::-1]])
    with pytest.raises(ValueError, match="feature names should match"):
        model.partial_fit(table[COLUMNS[::-1]], y)


@BOTH
def test_names_on_one_side_only_are_warned_of(kind):
    X, y = of(kind)
    table = frame("pandas", X)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        small(kind).fit(table, y).predict(X)
    with pytest.warns(UserWarning, match="X has feature names, but .* was fitted without"):
        small(kind).fit(X, y).predict(table)


@FRAMES
def test_a_transformer_that_gives_frames_hands_on_the_names(library):
    pytest.importorskip(library)
    X, y = FLOWERS
    model = make_pipeline(StandardScaler(), small()).set_output(transform=library)
    model.fit(frame(library, X), y)
    assert list(model[-1].feature_names_in_) == COLUMNS
    arrays = make_pipeline(StandardScaler(), small()).fit(X, y)
    np.testing.assert_allclose(model.predict_proba(frame(library, X)), arrays.predict_proba(X))


def test_columns_of_text_are_encoded_on_the_way():
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    table = pandas.DataFrame({"colour": rng.choice(["red", "green"], 80), "size": rng.random(80)})
    y = np.where(table["colour"] == "red", "yes", "no")
    encode = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
    model = make_pipeline(encode, small(max_iter=60)).fit(table, y)
    assert model.score(table, y) == 1


def test_a_column_of_a_frame_may_be_the_target():
    pandas = pytest.importorskip("pandas")
    X, y = FLOWERS
    labels = pandas.Series(SPECIES[y], dtype="category")
    np.testing.assert_array_equal(
        small().fit(X, labels).predict(X), small().fit(X, SPECIES[y]).predict(X)
    )
    X, y = NUMBERS
    targets = pandas.DataFrame({"a": y, "b": -y})
    assert small(MLPRegressor).fit(X, targets).predict(X).shape == (120, 2)


# Labels and targets.


@pytest.mark.parametrize(
    "labels",
    [SPECIES, SPECIES.astype(object), np.array([-5, 7, 1000]), np.array([0.0, 1.0, 2.0])],
    ids=["text", "objects", "integers", "floats"],
)
def test_labels_come_back_as_they_were_given(labels):
    X, y = FLOWERS
    model = small(early_stopping=True).fit(X, labels[y])
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    assert model.predict(X).dtype == model.classes_.dtype
    plain = small(early_stopping=True).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), labels[plain.predict(X)])


def test_two_classes_may_be_false_and_true():
    X, y = FLOWERS
    model = small().fit(X, y == 0)
    assert model.predict(X).dtype == bool
    assert model.out_activation_ == "logistic"
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1)


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_row_may_have_several_labels(solver):
    X, y = make_multilabel_classification(100, 6, n_classes=3, random_state=0)
    model = small(solver=solver, max_iter=200).fit(X, y)
    p, predicted = model.predict_proba(X), model.predict(X)
    assert p.shape == predicted.shape == (100, 3)
    np.testing.assert_array_equal(predicted, p > 0.5)
    assert np.mean(predicted == y) > 0.75


@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
def test_a_row_may_have_several_targets(solver):
    X, y = make_regression(100, 4, n_targets=3, random_state=0)
    y /= y.std()
    rate = 0.002 if solver == "sgd" else 0.02
    model = small(MLPRegressor, solver=solver, learning_rate_init=rate, max_iter=200).fit(X, y)
    assert model.predict(X).shape == (100, 3)
    assert model.score(X, y) > 0.8


# Sparse rows, dtypes and orders.


@pytest.mark.parametrize("container", [*CSR_CONTAINERS, *CSC_CONTAINERS], ids=lambda c: c.__name__)
@pytest.mark.parametrize("solver", ["adam", "sgd", "lbfgs"])
@BOTH
def test_sparse_rows_train_as_dense_rows_do(kind, solver, container):
    X, y = of(kind)
    X = np.maximum(X, np.median(X)) - np.median(X)
    y = y if kind is MLPClassifier else y / y.std()
    rows = container(X)
    before = rows.copy()
    chosen = {"solver": solver, "max_iter": 5, "learning_rate_init": 0.01}
    sparse, dense = (small(kind, **chosen).fit(rows_of, y) for rows_of in (rows, X))
    np.testing.assert_allclose(sparse.predict(rows), dense.predict(X), rtol=1e-6)
    np.testing.assert_allclose(sparse.coefs_[0], dense.coefs_[0], rtol=1e-5, atol=1e-9)
    assert abs(rows - before).max() == 0
    if solver != "lbfgs":
        for model, given in ((sparse, rows), (dense, X)):
            model.partial_fit(given, y)
        np.testing.assert_allclose(sparse.coefs_[0], dense.coefs_[0], rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int64, bool])
@BOTH
def test_weights_have_the_dtype_of_rows_that_are_floats(kind, dtype):
    X, y = of(kind)
    model = small(kind).fit(X.astype(dtype), y)
    expected = np.float32 if dtype == np.float32 else np.float64
    assert {array.dtype for array in (*model.coefs_, *model.intercepts_)} == {np.dtype(expected)}
    if kind is MLPClassifier:
        assert model.predict_proba(X.astype(dtype)).dtype == expected


@BOTH
def test_rows_in_any_order_of_memory_give_the_same(kind):
    X, y = of(kind)
    wide = np.repeat(X, 2, axis=1)
    expected = small(kind).fit(X, y).predict(X)
    for rows in (np.asfortranarray(X), wide[:, ::2], X[::-1].copy()[::-1], X.tolist()):
        np.testing.assert_array_equal(small(kind).fit(rows, y).predict(rows), expected)


# Weights of rows, and the routing of metadata.


@pytest.fixture
def routing():
    """Turn the routing of metadata on."""
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def weights(n):
    return np.random.default_rng(0).uniform(0.1, 2, n)


@BOTH
def test_weights_are_routed_through_a_pipeline(kind, routing):
    X, y = of(kind)
    w = weights(len(X))
    model = small(kind).set_fit_request(sample_weight=True)
    scaler = StandardScaler().set_fit_request(sample_weight=False)
    routed = make_pipeline(scaler, model).fit(X, y, sample_weight=w)
    rows = StandardScaler().fit_transform(X)
    by_hand = small(kind).fit(rows, y, sample_weight=w)
    np.testing.assert_array_equal(routed[-1].coefs_[0], by_hand.coefs_[0])
    unweighted = small(kind).fit(rows, y)
    assert np.abs(unweighted.coefs_[0] - by_hand.coefs_[0]).max() > 1e-4


@BOTH
def test_weights_are_routed_through_a_search_and_a_score(kind, routing):
    X, y = of(kind)
    w = weights(len(X))
    model = small(kind).set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
    search = GridSearchCV(model, {"alpha": [1e-4, 1.0]}, cv=3).fit(X, y, sample_weight=w)
    best = small(kind, **search.best_params_).fit(X, y, sample_weight=w)
    np.testing.assert_array_equal(search.predict(X), best.predict(X))
    results = cross_validate(model, X, y, cv=3, params={"sample_weight": w}, return_indices=True)
    train, test = results["indices"]["train"][0], results["indices"]["test"][0]
    first = small(kind).fit(X[train], y[train], sample_weight=w[train])
    assert results["test_score"][0] == first.score(X[test], y[test], sample_weight=w[test])


@BOTH
def test_weights_that_nobody_asked_for_are_refused(kind, routing):
    X, y = of(kind)
    with pytest.raises(ValueError, match=r"sample_weight.* are passed but are not explicitly set"):
        make_pipeline(small(kind)).fit(X, y, sample_weight=weights(len(X)))


@BOTH
def test_rows_for_validation_are_routed_and_scaled_with_the_others(kind, routing):
    X, y = of(kind)
    given = {"X_val": X[::5], "y_val": y[::5], "sample_weight_val": weights(len(X))[::5]}
    chosen = {"early_stopping": True}
    model = small(kind, **chosen).set_fit_request(**dict.fromkeys(given, True))
    steps = [("scale", StandardScaler()), ("mlp", model)]
    routed = Pipeline(steps, transform_input=["X_val"]).fit(X, y, **given)[-1]
    scaler = StandardScaler().fit(X)
    given["X_val"] = scaler.transform(given["X_val"])
    by_hand = small(kind, **chosen).fit(scaler.transform(X), y, **given)
    np.testing.assert_array_equal(routed.coefs_[0], by_hand.coefs_[0])
    assert routed.validation_scores_ == by_hand.validation_scores_
    assert by_hand.n_iter_ > 1


@BOTH
def test_a_weight_is_a_number_of_rows(kind):
    X, y = of(kind)
    counts = np.random.default_rng(1).integers(0, 3, len(X))
    chosen = {"batch_size": 10_000, "shuffle": False}
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger"):
        weighted = small(kind, **chosen).fit(X, y, sample_weight=counts)
    with pytest.warns(UserWarning, match="Got `batch_size` less than 1 or larger"):
        repeated = small(kind, **chosen).fit(np.repeat(X, counts, 0), np.repeat(y, counts))
    np.testing.assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=1e-6, atol=1e-9)
