"""The estimators work in what scikit-learn offers for estimators: searches, ensembles, copies."""

import copy
import io
import pickle
import threading

import numpy as np
import pytest

pytest.importorskip("sklearn")

import joblib
from perceptrons import FLOWERS, NUMBERS, of, small
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import make_classification, make_regression
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.exceptions import NotFittedError
from sklearn.feature_selection import SequentialFeatureSelector
from sklearn.inspection import partial_dependence, permutation_importance
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    StratifiedKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    learning_curve,
    validation_curve,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.semi_supervised import SelfTrainingClassifier

from fastnn.sklearn import MLPClassifier, MLPRegressor

# Most claims here do not need networks that have learned all that they can.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

PAIRS = make_classification(150, 4, random_state=0)


def scaled(kind=MLPClassifier, **chosen):
    """Return it behind a scaler."""
    return make_pipeline(StandardScaler(), small(kind, **chosen))


BOTH = pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])


# Searches and cross-validation.


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_grid_search_in_parallel_finds_what_one_alone_finds(backend):
    grid = {"mlpclassifier__alpha": [1e-4, 1.0], "mlpclassifier__solver": ["adam", "lbfgs"]}
    alone = GridSearchCV(scaled(), grid, cv=3).fit(*FLOWERS)
    with joblib.parallel_backend(backend, n_jobs=2):
        together = GridSearchCV(scaled(), grid, cv=3, n_jobs=2).fit(*FLOWERS)
    assert together.best_params_ == alone.best_params_
    scores = [search.cv_results_["mean_test_score"] for search in (alone, together)]
    np.testing.assert_array_equal(*scores)
    assert together.score(*FLOWERS) > 0.9


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_a_random_search_in_parallel_finds_what_one_alone_finds(backend):
    choices = {"hidden_layer_sizes": [(4,), (8,), (8, 4)], "activation": ["relu", "tanh"]}
    chosen = {"n_iter": 4, "cv": 3, "random_state": 0}
    alone = RandomizedSearchCV(small(MLPRegressor), choices, **chosen).fit(*NUMBERS)
    with joblib.parallel_backend(backend, n_jobs=2):
        together = RandomizedSearchCV(small(MLPRegressor), choices, n_jobs=2, **chosen)
        together.fit(*NUMBERS)
    np.testing.assert_array_equal(together.predict(NUMBERS[0]), alone.predict(NUMBERS[0]))


@BOTH
def test_cross_validation_is_a_fit_and_a_score_for_each_part(kind):
    X, y = of(kind)
    model = small(kind)
    parts = list(StratifiedKFold(3).split(X, y > np.median(y)))
    by_hand = [clone(model).fit(X[a], y[a]).score(X[b], y[b]) for a, b in parts]
    np.testing.assert_array_equal(cross_val_score(model, X, y, cv=parts), by_hand)


def test_several_metrics_are_measured_at_once():
    metrics = ["accuracy", "neg_log_loss", "roc_auc_ovr"]
    scores = cross_validate(scaled(), *FLOWERS, cv=3, scoring=metrics)
    assert np.isfinite([scores[f"test_{name}"] for name in metrics]).all()
    assert scores["test_accuracy"].min() > 0.8


def test_the_probabilities_of_held_out_rows_belong_to_the_classes():
    X, y = FLOWERS
    p = cross_val_predict(scaled(), X, y, cv=3, method="predict_proba")
    assert p.shape == (150, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert np.mean(p.argmax(axis=1) == y) > 0.8


def test_a_learning_curve_is_drawn_by_fits_or_by_steps():
    X, y = FLOWERS
    for steps in (False, True):
        sizes, train, test = learning_curve(
            *(scaled() if not steps else small(), X, y),
            **{"cv": 3, "shuffle": True, "random_state": 0},
            **{"train_sizes": [0.5, 1.0], "exploit_incremental_learning": steps},
        )
        np.testing.assert_array_equal(sizes, [50, 100])
        assert train.shape == test.shape == (2, 3)
        assert np.isfinite(test).all()


def test_a_validation_curve_moves_one_parameter():
    name, values = "mlpclassifier__alpha", [1e-4, 1e3]
    train, _ = validation_curve(scaled(), *FLOWERS, param_name=name, param_range=values, cv=3)
    assert train[0].mean() > train[1].mean()


# Ensembles, and estimators of estimators.


def test_a_vote_is_the_mean_of_the_voters():
    X, y = FLOWERS
    voters = [(f"mlp{seed}", small(random_state=seed)) for seed in range(3)]
    vote = VotingClassifier(voters, voting="soft", n_jobs=2).fit(X, y)
    members = [voter.predict_proba(X) for voter in vote.estimators_]
    np.testing.assert_allclose(vote.predict_proba(X), np.mean(members, axis=0))
    X, y = NUMBERS
    means = VotingRegressor([("mlp", small(MLPRegressor)), ("line", LinearRegression())]).fit(X, y)
    np.testing.assert_allclose(means.predict(X), means.transform(X).mean(axis=1))


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_probabilities_are_probabilities(method):
    model = CalibratedClassifierCV(scaled(), method=method, cv=3).fit(*FLOWERS)
    p = model.predict_proba(FLOWERS[0])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert model.score(*FLOWERS) > 0.9


def test_bagging_gives_each_network_its_own_rows():
    X, y = FLOWERS
    bag = BaggingClassifier(small(random_state=None), 3, n_jobs=2, random_state=0).fit(X, y)
    first, second, _ = (member.coefs_[0] for member in bag.estimators_)
    assert np.abs(first - second).max() > 0.01
    assert bag.score(X, y) > 0.8


def test_boosting_weighs_the_rows():
    X, y = FLOWERS
    boosted = AdaBoostClassifier(small(max_iter=60), n_estimators=3, random_state=0).fit(X, y)
    assert len(boosted.estimators_) >= 1
    assert boosted.score(X, y) > 0.9


def test_a_stack_learns_from_predictions_of_held_out_rows():
    members = [("mlp", small(MLPRegressor, solver="lbfgs")), ("line", LinearRegression())]
    stack = StackingRegressor(members, LinearRegression(), cv=3).fit(*NUMBERS)
    assert stack.score(*NUMBERS) > 0.95


@pytest.mark.parametrize("outer", [OneVsRestClassifier, OneVsOneClassifier])
def test_one_network_a_class_or_a_pair_of_classes(outer):
    model = make_pipeline(StandardScaler(), outer(small(max_iter=60), n_jobs=2)).fit(*FLOWERS)
    assert len(model[-1].estimators_) == 3
    assert model.score(*FLOWERS) > 0.9


def test_several_targets_by_a_network_each_or_by_a_chain():
    X, y = NUMBERS
    each = MultiOutputRegressor(small(MLPRegressor)).fit(X, np.column_stack([y, -y]))
    assert each.predict(X).shape == (120, 2)
    labels = np.column_stack([y > 0, y > 50]).astype(int)
    assert ClassifierChain(small()).fit(X, labels).predict(X).shape == (120, 2)


def test_rows_without_a_label_are_given_one():
    X, y = FLOWERS
    some = np.where(np.arange(150) % 3 == 0, y, -1)
    model = SelfTrainingClassifier(scaled(max_iter=100)).fit(X, some)
    assert np.mean(model.transduction_ == y) > 0.8


def test_a_target_is_transformed_and_back():
    X, y = NUMBERS
    inner = small(MLPRegressor, solver="lbfgs", max_iter=100)
    model = TransformedTargetRegressor(inner, transformer=StandardScaler()).fit(X, 1000 * y)
    assert model.score(X, 1000 * y) > 0.95


def test_a_threshold_is_tuned_on_probabilities():
    tuned = TunedThresholdClassifierCV(scaled(), scoring="balanced_accuracy", cv=3).fit(*PAIRS)
    assert 0 < tuned.best_threshold_ < 1


# Looking into an estimator.


def test_the_columns_that_matter_are_found():
    X, y = make_regression(200, 4, n_informative=1, random_state=1)
    (informative,) = np.flatnonzero(np.abs(LinearRegression().fit(X, y).coef_) > 1)
    model = scaled(MLPRegressor, solver="lbfgs", max_iter=100).fit(X, y)
    importance = permutation_importance(model, X, y, n_repeats=3, random_state=0, n_jobs=2)
    assert importance.importances_mean.argmax() == informative
    chosen = SequentialFeatureSelector(LogisticRegression(), n_features_to_select=2)
    assert make_pipeline(chosen, small()).fit(*FLOWERS)[-1].n_features_in_ == 2


@BOTH
def test_the_dependence_on_a_column_has_a_value_for_each_point(kind):
    X, y = of(kind)
    found = partial_dependence(small(kind).fit(X, y), X, [0], grid_resolution=5)
    assert found["average"].shape == (3 if kind is MLPClassifier else 1, 5)
    assert np.isfinite(found["average"]).all()


# An estimator as an object.


def by_joblib(model):
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    return joblib.load(file)


COPIES = {
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
    "pickle_2": lambda model: pickle.loads(pickle.dumps(model, protocol=2)),
    "joblib": by_joblib,
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
}


@BOTH
@pytest.mark.parametrize("road", COPIES)
def test_a_copy_predicts_the_same_and_trains_on_alike(kind, road):
    X, y = of(kind)
    model = small(kind).fit(X, y)
    twin = COPIES[road](model)
    np.testing.assert_array_equal(twin.predict(X), model.predict(X))
    assert twin.get_params() == model.get_params()
    assert twin.loss_curve_ == model.loss_curve_
    if road != "copy":  # a shallow copy shares its weights
        before = model.predict(X).copy()
        for _ in range(2):
            twin.partial_fit(X, y)
        np.testing.assert_array_equal(model.predict(X), before)
        for _ in range(2):
            model.partial_fit(X, y)
        np.testing.assert_array_equal(twin.coefs_[0], model.coefs_[0])


@BOTH
def test_a_clone_has_the_parameters_and_nothing_else(kind):
    X, y = of(kind)
    model = small(kind, alpha=0.5).fit(X, y)
    twin = clone(model)
    assert twin.get_params() == model.get_params()
    assert [name for name in vars(twin) if name.endswith("_")] == []
    with pytest.raises(NotFittedError, match="not fitted yet"):
        twin.predict(X)
    np.testing.assert_array_equal(twin.fit(X, y).predict(X), model.predict(X))


def test_the_kinds_are_known():
    assert is_classifier(MLPClassifier())
    assert is_regressor(MLPRegressor())
    assert not is_classifier(MLPRegressor())


@BOTH
def test_parameters_are_set_by_name_and_wrong_names_refused(kind):
    model = scaled(kind)
    name = kind.__name__.lower()
    model.set_params(**{f"{name}__alpha": 0.25})
    assert model[-1].alpha == 0.25
    with pytest.raises(ValueError, match="Invalid parameter 'learning'"):
        model[-1].set_params(learning=1)


@BOTH
def test_the_text_of_an_estimator_says_what_is_not_the_default(kind):
    assert repr(kind(alpha=0.5)) == f"{kind.__name__}(alpha=0.5)"
    X, y = of(kind)
    assert kind.__name__ in small(kind).fit(X, y)._repr_html_()


def test_threads_may_share_a_fitted_estimator():
    X, _ = FLOWERS
    model = small().fit(*FLOWERS)
    expected = model.predict_proba(X)
    wrong = []

    def ask():
        for _ in range(50):
            if not np.array_equal(model.predict_proba(X), expected):
                wrong.append(threading.get_ident())

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_pipeline_remembers_a_fitted_step_by_its_parameters(tmp_path):
    X, y = FLOWERS
    steps = make_pipeline(StandardScaler(), small(), memory=str(tmp_path))
    expected = scaled().fit(X, y).predict_proba(X)
    for _ in range(2):
        np.testing.assert_array_equal(steps.fit(X, y).predict_proba(X), expected)
    assert joblib.hash(small()) == joblib.hash(small()) != joblib.hash(small(alpha=0.3))
