"""Claims about the estimators for tables."""

import pickle
import time

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastnn as fn
from fastnn.sklearn import TabularMLPClassifier, TabularMLPRegressor

SMALL = {"hidden_layer_sizes": (32, 32), "max_iter": 30, "random_state": 0}


@parametrize_with_checks([TabularMLPClassifier(**SMALL), TabularMLPRegressor(**SMALL)])
def test_the_estimators_are_those_of_scikit_learn(estimator, check):
    check(estimator)


def flats(rows=300, seed=0):
    """Return a table of objects with everything in it, and prices that depend on all of it."""
    rng = np.random.default_rng(seed)
    area, noise = rng.uniform(20, 120, rows), rng.normal(size=rows)
    lift = rng.random(rows) < 0.5
    town, street = rng.integers(0, 3, rows), rng.integers(0, 20, rows)
    price = area * (1 + 0.5 * town) + 30 * lift + 20 * np.sin(street) + 5 * noise
    table = np.empty((rows, 4), object)
    table[:, 0] = np.where(rng.random(rows) < 0.1, np.nan, area)
    table[:, 1] = lift
    table[:, 2] = [("Lyon", "Metz", None)[number] for number in town]
    table[:, 3] = [f"street {number}" for number in street]
    return table, price


def test_a_mixed_table_is_learned():
    X, y = flats(900)
    train, test, y_train, y_test = train_test_split(X, y, random_state=0)
    model = TabularMLPRegressor((64, 64), max_iter=100, random_state=0).fit(train, y_train)
    assert r2_score(y_test, model.predict(test)) > 0.75
    assert model.is_categorical_.tolist() == [False, False, True, True]
    dear = np.where(y > np.median(y), "dear", "cheap")
    labels = dear[:675], dear[675:]
    model = TabularMLPClassifier((64, 64), max_iter=100, random_state=0).fit(X[:675], labels[0])
    assert accuracy_score(labels[1], model.predict(X[675:])) > 0.85
    assert set(model.predict(X)) == {"cheap", "dear"}


@pytest.mark.parametrize("library", ["polars", "pandas"])
def test_a_data_frame_gives_what_its_array_gives(library):
    frames = pytest.importorskip(library)
    X, y = flats(120)
    names = ["area", "lift", "town", "street"]
    frame = frames.DataFrame({name: X[:, j].tolist() for j, name in enumerate(names)})
    by_name = TabularMLPRegressor(**SMALL).fit(frame, y)
    by_place = TabularMLPRegressor(**SMALL).fit(X, y)
    np.testing.assert_array_equal(by_name.predict(frame), by_place.predict(X))
    if library == "pandas":  # scikit-learn 1.6 does not see the names of the newest polars
        assert by_name.feature_names_in_.tolist() == names
    with pytest.raises(ValueError, match="feature names should match"):
        by_name.predict(frame[names[::-1]])


def test_unknown_and_missing_values_are_fine_when_predicting():
    X, y = flats(120)
    model = TabularMLPRegressor(**SMALL).fit(X, y)
    odd = np.array([[None, None, "Nancy", "no street"], [50.0, True, None, None]], object)
    assert np.isfinite(model.predict(odd)).all()


def test_predictions_stay_in_the_range_of_the_training_targets():
    x = np.linspace(0, 1, 80).reshape(-1, 1)
    model = TabularMLPRegressor(**SMALL).fit(x, 1000 + 3 * x[:, 0])
    far = model.predict([[-1e9], [1e9]])
    assert far.min() >= 1000
    assert far.max() <= 1003


@pytest.mark.parametrize(("scale", "shift"), [(1e-6, 0.0), (1e6, 1e7)])
def test_the_unit_of_the_target_does_not_matter(scale, shift):
    X, y = load_diabetes(return_X_y=True)
    plain = TabularMLPRegressor(**SMALL).fit(X, y)
    other = TabularMLPRegressor(**SMALL).fit(X, scale * y + shift)
    np.testing.assert_allclose(other.predict(X), scale * plain.predict(X) + shift, rtol=1e-3)


def test_the_units_of_the_columns_do_not_matter():
    X, y = load_iris(return_X_y=True)
    plain = TabularMLPClassifier(**SMALL).fit(X, y)
    other = TabularMLPClassifier(**SMALL).fit(1024 * X, y)
    np.testing.assert_array_equal(plain.predict_proba(X), other.predict_proba(1024 * X))


def test_the_bits_depend_on_the_seed_and_not_on_the_threads():
    X, y = load_breast_cancer(return_X_y=True)
    fits = [
        TabularMLPClassifier(**{**SMALL, "max_iter": 5, **told}).fit(X, y).predict_proba(X)
        for told in ({"n_threads": 1}, {"n_threads": 2}, {"random_state": 1})
    ]
    assert (fits[0] == fits[1]).all()
    assert (fits[0] != fits[2]).any()


def test_equal_rows_of_a_small_table_count_like_weights_in_any_order():
    X, y = flats(60)
    labels = np.where(y > np.median(y), "dear", "cheap")
    rng = np.random.default_rng(0)
    weight = rng.integers(0, 4, 60)
    weighted = TabularMLPClassifier(**SMALL).fit(X, labels, sample_weight=weight)
    order = rng.permutation(np.arange(60).repeat(weight))
    repeated = TabularMLPClassifier(**SMALL).fit(X[order], labels[order])
    assert (weighted.predict_proba(X) == repeated.predict_proba(X)).all()


def test_class_weights_move_the_line_between_the_classes():
    rng = np.random.default_rng(0)
    y = (rng.random(400) < 0.1).astype(int)
    X = (y + rng.normal(size=400)).reshape(-1, 1)
    shares = [
        TabularMLPClassifier(**SMALL, class_weight=told).fit(X, y).predict(X).mean()
        for told in (None, "balanced", {0: 1, 1: 9}, {0: 0.0})
    ]
    assert shares[0] < 0.1 < 0.2 < shares[1] < 0.6
    assert abs(shares[1] - shares[2]) < 0.1
    assert shares[3] > 0.6


def test_the_best_epoch_is_kept():
    X, y = load_diabetes(return_X_y=True)
    model = TabularMLPRegressor((128, 128), max_iter=60, dropout=0.0, random_state=0)
    model.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    scores = model.validation_scores_
    assert len(scores) == len(model.validation_loss_curve_) == len(model.loss_curve_) == 60
    assert model.best_iteration_ == 1 + int(np.argmax(scores)) < 60
    np.testing.assert_allclose(model.score(X[300:], y[300:]), max(scores), rtol=1e-3)


def test_the_last_of_equally_good_epochs_is_kept():
    X, y = load_iris(return_X_y=True)
    model = TabularMLPClassifier(**SMALL).fit(X, y, X_val=X, y_val=y)
    scores = model.validation_scores_
    assert model.best_iteration_ == len(scores) - int(np.argmax(scores[::-1]))
    assert model.score(X, y) == pytest.approx(max(scores))


@pytest.mark.parametrize(("rows", "held"), [(999, False), (1000, True)])
def test_a_part_is_set_aside_where_there_are_many_rows(rows, held):
    y = np.arange(rows) % 2
    X = y.reshape(-1, 1).astype(float)
    told = {**SMALL, "max_iter": 2}
    model = TabularMLPClassifier(**told).fit(X, y)
    assert (model.validation_scores_ is not None) is held
    assert TabularMLPClassifier(**told, early_stopping=True).fit(X, y).validation_scores_
    assert TabularMLPClassifier(**told, early_stopping=False).fit(X, y).validation_scores_ is None


@pytest.mark.parametrize(("batch_size", "epochs"), [(32, 256), (5, 100), (1, 20), (2, 40)])
def test_there_are_fewer_epochs_where_they_have_many_steps(batch_size, epochs):
    X = np.arange(1000.0).reshape(-1, 1)
    model = TabularMLPRegressor((2,), batch_size=batch_size, early_stopping=False)
    assert model.fit(X, X[:, 0]).n_iter_ == epochs


@pytest.mark.parametrize(("batch_size", "decay"), [(1000, 2.0), (100, 1.0), (10, 0.1)])
def test_weights_decay_less_in_a_step_where_there_are_many(batch_size, decay):
    X = np.arange(1000.0).reshape(-1, 1)
    told = {"batch_size": batch_size, "max_iter": 1, "early_stopping": False}
    model = TabularMLPRegressor((2,), **told).fit(X, X[:, 0])
    assert model.network_.optimizer.weight_decay == pytest.approx(decay)
    model = TabularMLPRegressor((2,), **told, weight_decay=0.5).fit(X, X[:, 0])
    assert model.network_.optimizer.weight_decay == 0.5


def test_a_class_of_one_row_is_trained_on():
    y = np.array(["a"] * 60 + ["b"] * 40 + ["c"])
    X = np.arange(101.0).reshape(-1, 1)
    model = TabularMLPClassifier(**SMALL, early_stopping=True).fit(X, y)
    assert model.classes_.tolist() == ["a", "b", "c"]
    assert model.predict_proba(X).shape == (101, 3)


def test_one_class_is_all_that_is_predicted():
    model = TabularMLPClassifier(**SMALL).fit([[1.0], [2.0]], ["only", "only"])
    assert model.predict([[5.0]]).tolist() == ["only"]
    assert model.predict_proba([[5.0]]).tolist() == [[1.0]]


def test_time_and_patience_end_a_fit():
    X, y = load_breast_cancer(return_X_y=True)
    endless = {"max_iter": 10**6, "random_state": 0}
    start = time.monotonic()
    model = TabularMLPClassifier(**endless, max_time=0.5).fit(X, y)
    assert time.monotonic() - start < 20
    assert "max_time=0.5" in model.stop_reason_
    assert 1 <= model.n_iter_ < 10**6
    model = TabularMLPClassifier((16,), **endless, early_stopping=True, n_iter_no_change=20)
    model.fit(X, y)
    assert "has not improved for 20 epochs" in model.stop_reason_
    assert model.best_iteration_ <= model.n_iter_


def test_copies_predict_the_same():
    X, y = flats(80)
    model = TabularMLPRegressor(**SMALL).fit(X, y)
    expected = model.predict(X)
    assert (pickle.loads(pickle.dumps(model)).predict(X) == expected).all()
    assert (clone(model).fit(X, y).predict(X) == expected).all()
    assert isinstance(model.network_, fn.Network)


def test_it_works_in_a_search_over_a_pipeline():
    X, y = load_iris(return_X_y=True)
    told = {"hidden_layer_sizes": (16,), "max_iter": 20, "random_state": 0}
    pipeline = make_pipeline(FunctionTransformer(), TabularMLPClassifier(**told))
    grid = {"tabularmlpclassifier__learning_rate_init": [1e-6, 0.01]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
    assert search.best_params_ == {"tabularmlpclassifier__learning_rate_init": 0.01}
    assert search.score(X, y) > 0.8
    weights = {"sample_weight": np.ones(len(y))}
    scores = cross_val_score(search.best_estimator_[-1], X, y, cv=3, params=weights)
    assert scores.mean() > 0.8


def test_verbose_tells_every_epoch(capsys):
    X, y = load_iris(return_X_y=True)
    TabularMLPClassifier((8,), max_iter=3, verbose=True).fit(X, y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == ["Epoch 1", "Epoch 2", "Epoch 3"]


class Counter(fn.Callback):
    def __init__(self):
        self.epochs = 0

    def on_epoch_end(self, run):
        self.epochs += 1


def test_callbacks_watch():
    counter = Counter()
    TabularMLPRegressor((8,), max_iter=3, callbacks=[counter]).fit([[0.0], [1.0]], [0.0, 1.0])
    assert counter.epochs == 3


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"max_iter": 0}, "max_iter"),
        ({"max_iter": "atuo"}, "auto"),
        ({"weight_decay": "atuo"}, "auto"),
        ({"batch_size": 0}, "batch_size"),
        ({"dropout": 1.0}, "Dropout"),
        ({"activation": "rleu"}, "relu"),
        ({"early_stopping": "atuo"}, "auto"),
        ({"early_stopping": True, "validation_fraction": 0.0}, "validation_fraction"),
        ({"early_stopping": True, "validation_fraction": 1e-9}, "leaves none"),
        ({"n_iter_no_change": 0, "early_stopping": True}, "n_iter_no_change"),
        ({"max_time": 0}, "max_time"),
        ({"label_smoothing": 1.0}, "label_smoothing"),
        ({"max_one_hot_categories": -1}, "max_one_hot_categories"),
        ({"max_categories": 1}, "max_categories"),
        ({"backend": "abacus"}, "abacus"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(told, match):
    with pytest.raises(ValueError, match=match):
        TabularMLPClassifier(**{**SMALL, **told}).fit([[0.0], [1.0]] * 5, [0, 1] * 5)


def test_labels_for_validation_must_be_known():
    X, y = [[0.0], [1.0]], ["a", "b"]
    with pytest.raises(ValueError, match="y_val holds the label 'c', which y does not"):
        TabularMLPClassifier(**SMALL).fit(X, y, X_val=X, y_val=["a", "c"])
    with pytest.raises(ValueError, match="2 rows, y has 1"):
        TabularMLPClassifier(**SMALL).fit(X, y, X_val=X, y_val=["a"])
