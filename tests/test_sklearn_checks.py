"""The estimators pass scikit-learn's checks of estimators: with the defaults, all of them."""

from unittest import SkipTest

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn.schedules import Cosine
from fastnn.sklearn import MLPClassifier, MLPRegressor

# The checks train on little and for a few epochs.
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

# scikit-learn's own perceptrons are not checked for this either: they have probabilities instead.
NOT_FOR_US = {"check_classifiers_multilabel_output_format_decision_function"}

PARAMETERS = [
    {"solver": "sgd", "learning_rate_init": 0.01},
    {"solver": "lbfgs", "alpha": 1.0},
    {"layer_norm": True, "residual": True, "learning_rate_init": 0.01}
    | {"activation": ["tanh", "relu"], "hidden_layer_sizes": (10, 10)},
    {"weight_decay": 0.01, "gradient_clip": 1.0, "schedule": Cosine(0.01, length=200)},
]

# What training with these parameters cannot be held to. Other rows are held out, other units
# dropped, where rows repeat; and partial_fit holds no rows out: it must be given some.
EARLY = {"early_stopping": True, "validation_fraction": 0.3, "learning_rate_init": 0.01}
ROUGH = {"dropout": 0.1, "dtype": "float32"}
SAME_AS_REPEATED = {
    "check_sample_weight_equivalence_on_dense_data",
    "check_sample_weight_equivalence_on_sparse_data",
}
STEPS = {
    "check_fit_score_takes_y",
    "check_n_features_in_after_fitting",
    "check_estimators_partial_fit_n_features",
}


def name_of(check):
    return check.func.__name__


def run(estimator, check, monkeypatch):
    # scikit-learn skips a check unless this is set.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    try:
        check(estimator)
    except SkipTest as skipped:
        if name_of(check) not in NOT_FOR_US:
            pytest.fail(f"skipped: {skipped}")


@parametrize_with_checks([MLPClassifier(), MLPRegressor()])
def test_the_defaults_pass_every_check(estimator, check, monkeypatch):
    run(estimator, check, monkeypatch)


@parametrize_with_checks(
    [kind(**chosen) for chosen in PARAMETERS for kind in (MLPClassifier, MLPRegressor)]
)
def test_other_parameters_pass_every_check(estimator, check, monkeypatch):
    run(estimator, check, monkeypatch)


@parametrize_with_checks([kind(**ROUGH) for kind in (MLPClassifier, MLPRegressor)])
def test_dropout_and_float32_pass_every_check_but_that_of_repeated_rows(
    estimator, check, monkeypatch
):
    if name_of(check) in SAME_AS_REPEATED:
        with pytest.raises(AssertionError, match="not equivalent"):
            run(estimator, check, monkeypatch)
    else:
        run(estimator, check, monkeypatch)


@parametrize_with_checks([kind(**EARLY) for kind in (MLPClassifier, MLPRegressor)])
def test_early_stopping_passes_every_check_but_where_rows_are_held_out(
    estimator, check, monkeypatch
):
    if name_of(check) in SAME_AS_REPEATED:
        with pytest.raises(AssertionError, match="not equivalent"):
            run(estimator, check, monkeypatch)
    elif name_of(check) in STEPS:
        with pytest.raises((AssertionError, ValueError), match="give X_val and y_val"):
            run(estimator, check, monkeypatch)
    else:
        run(estimator, check, monkeypatch)
