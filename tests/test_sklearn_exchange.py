"""Fitted estimators: their weights, files, pictures, and the way to scikit-learn and back."""

import pickle
import warnings

import numpy as np
import pytest
import sklearn
import sklearn.neural_network as theirs
from sklearn.datasets import make_multilabel_classification
from small_perceptrons import X, classifier, same_bits, values, y

from fastnn.sklearn import from_sklearn, to_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_weights_are_live():
    model = classifier().fit(X, y)
    model.coefs_[1][...] = 0
    model.intercepts_[1] = np.arange(10.0)
    assert (model.predict(X) == 9).all()
    model.coefs_ = [np.zeros_like(w) for w in model.coefs_]
    assert all((w == 0).all() for w in model.coefs_)
    with pytest.raises(ValueError, match="broadcast"):
        model.coefs_[0] = np.zeros(3)


def test_a_pickle_predicts_and_trains_on_alike():
    model = classifier(dropout=0.1, solver="sgd").fit(X, y)
    twin = pickle.loads(pickle.dumps(model))
    for estimator in (model, twin):
        estimator.partial_fit(X, y)
    assert same_bits(model, twin)


@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("task", ["classes", "two classes", "labels", "value", "values", "counts"])
def test_fitted_models_go_there_and_back(task, activation):
    data, targets = X, {"classes": y, "two classes": y > 4, "value": values}.get(task)
    kind = theirs.MLPClassifier
    if task == "labels":
        data, targets = make_multilabel_classification(random_state=0)
    arguments = {"max_iter": 5, "random_state": 0, "activation": activation}
    if task in ("value", "values", "counts"):
        kind = theirs.MLPRegressor
        targets = values if task == "value" else np.column_stack([values, -values])
        if task == "counts":
            if "loss" not in kind().get_params():
                pytest.skip("this version of scikit-learn has no loss of counts")
            arguments["loss"], targets = "poisson", y
    other = kind(**arguments).fit(data, targets)
    ours = from_sklearn(other)
    back = to_sklearn(ours)
    for a, b, c in zip(other.coefs_, ours.coefs_, back.coefs_, strict=True):
        assert np.array_equal(a, b)
        assert np.array_equal(a, c)
    assert ours.get_params().items() >= other.get_params().items()
    assert back.get_params() == other.get_params()
    predict = "predict" if kind is theirs.MLPRegressor else "predict_proba"
    expected = getattr(other, predict)(data)
    assert np.array_equal(getattr(back, predict)(data), expected)
    assert getattr(ours, predict)(data) == pytest.approx(expected, rel=1e-9, abs=1e-13)
    if kind is theirs.MLPClassifier:
        assert np.array_equal(ours.predict(data), other.predict(data))
    assert (ours.loss_, ours.n_iter_, ours.t_) == (other.loss_, other.n_iter_, other.t_)
    ours.partial_fit(data, targets)
    back.partial_fit(data, targets)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer_norm": True}, "layer_norm=True"),
        ({"residual": True}, "residual=True"),
        ({"activation": "gelu"}, "one activation for all hidden layers"),
    ],
)
def test_networks_that_scikit_learn_does_not_have_stay_here(arguments, message):
    with pytest.raises(ValueError, match=message):
        to_sklearn(classifier(**arguments).fit(X, y))


def test_only_their_counterparts_are_exchanged():
    with pytest.raises(TypeError, match="from_sklearn takes"):
        from_sklearn(classifier())
    with pytest.raises(TypeError, match="to_sklearn takes"):
        to_sklearn(theirs.MLPClassifier())
    with pytest.raises(sklearn.exceptions.NotFittedError):
        from_sklearn(theirs.MLPClassifier())
    with pytest.raises(sklearn.exceptions.NotFittedError):
        to_sklearn(classifier())


def test_a_notebook_shows_the_layers():
    model = classifier()
    assert "<details><summary>Layers" not in model._repr_html_()
    shown = model.fit(X, y)._repr_html_()
    assert "Dense(20" in shown
    assert "1,510 parameters" in shown


def test_nothing_that_is_fitted_is_there_before():
    for name in ("coefs_", "intercepts_", "network_", "classes_", "stop_reason_"):
        assert not hasattr(classifier(), name)
    with pytest.raises(sklearn.exceptions.NotFittedError):
        classifier().predict(X)


def test_fast_and_careful_predictions_are_the_same():
    model = classifier(dtype="float32").fit(X, y)
    fast = model.predict_proba(X.astype(np.float32))
    assert np.array_equal(fast, model.predict_proba(X))
    assert np.array_equal(fast, model.predict_proba(X.tolist()))
    spoilt = X.astype(np.float32)
    spoilt[3, 4] = np.nan
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict_proba(spoilt)
    with pytest.raises(ValueError, match="expecting 64 features"):
        model.predict_proba(spoilt[:, :3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(X)
