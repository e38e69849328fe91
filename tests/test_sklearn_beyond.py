"""What the estimators can do that scikit-learn's cannot: networks, losses and stopping."""

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score, make_scorer, mean_pinball_loss, median_absolute_error
from sklearn.utils import compute_sample_weight
from small_perceptrons import X, X_val, classifier, regressor, same_bits, values, y, y_val

import fastnn as fn
from fastnn.sklearn import MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


# -- the network ----------------------------------------------------------------------------------


def test_layers_are_those_that_were_asked_for():
    model = classifier(
        hidden_layer_sizes=(64, 64, 8),
        activation=["gelu", fn.activations.leaky_relu(0.2), "logistic"],
        dropout=0.25,
        layer_norm=True,
        residual=True,
    ).fit(X, y)
    penalty = {"l2": 1e-4, "penalty_per_row": True}

    def block(units, activation):
        activated = fn.Activation(activation)
        return [fn.Dense(units, **penalty), fn.LayerNorm(), activated, fn.Dropout(0.25)]

    assert model.network_.layers == (
        fn.Residual(block(64, "gelu")),
        fn.Residual(block(64, fn.activations.leaky_relu(0.2))),
        *block(8, "sigmoid"),
        fn.Dense(10, "softmax", **penalty),
    )
    assert [w.shape for w in model.coefs_] == [(64, 64), (64, 64), (64, 8), (8, 10)]


def test_a_list_of_activations_has_one_for_each_hidden_layer():
    with pytest.raises(ValueError, match="lists 2 activations, hidden_layer_sizes 1 layers"):
        classifier(activation=["relu", "tanh"]).fit(X, y)


def test_dropout_is_on_in_training_only_and_follows_the_seed():
    model, twin, other = (
        classifier(dropout=0.5, random_state=seed).fit(X, y) for seed in (0, 0, 1)
    )
    assert same_bits(model, twin)
    assert not same_bits(model, other)
    assert not same_bits(model, classifier().fit(X, y))
    assert np.array_equal(model.predict_proba(X), model.predict_proba(X))


def test_threads_do_not_change_bits():
    models = [classifier(n_threads=n, hidden_layer_sizes=200).fit(X, y) for n in (1, 2, 3)]
    assert same_bits(models[0], models[1])
    assert same_bits(models[0], models[2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_can_be_said(dtype):
    model = classifier(dtype=dtype).fit(X, y)
    assert model.coefs_[0].dtype == model.predict_proba(X).dtype == dtype
    assert regressor(dtype=dtype).fit(X, values).predict(X).dtype == dtype


def test_the_reference_gives_what_the_core_gives():
    reference = classifier(backend="reference", max_iter=2).fit(X, y)
    assert reference.network_.backend == "reference"
    assert reference.loss_curve_ == pytest.approx(classifier(max_iter=2).fit(X, y).loss_curve_)


# -- losses and weights ---------------------------------------------------------------------------


def test_losses_lead_to_the_values_that_minimise_them():
    rng = np.random.default_rng(1)
    zeros, skewed = np.zeros((400, 1)), rng.exponential(size=400)
    long = {"max_iter": 400, "learning_rate_init": 0.02, "hidden_layer_sizes": 4, "tol": 0}

    def constant(**arguments):
        return regressor(**long, **arguments).fit(zeros, skewed).predict(zeros)[0]

    assert constant(loss="absolute_error") == pytest.approx(np.median(skewed), abs=0.03)
    assert constant(loss="mae") == constant(loss="absolute_error")
    assert constant(loss="quantile", quantile=0.9) == pytest.approx(
        np.quantile(skewed, 0.9), abs=0.15
    )
    assert constant(loss="huber", huber_delta=100.0) == pytest.approx(skewed.mean(), abs=0.03)
    assert constant(loss="squared_error") == pytest.approx(skewed.mean(), abs=0.03)


def huber_of_half(target, predicted):
    d = np.abs(target - predicted)
    return np.mean(np.where(d < 0.5, d * d / 2, (d - 0.25) / 2))


@pytest.mark.parametrize(
    ("loss", "measure"),
    [
        ("quantile", lambda t, p: mean_pinball_loss(t, p, alpha=0.3)),
        ("absolute_error", lambda t, p: np.abs(t - p).mean()),
        (
            "huber",
            huber_of_half,
        ),
    ],
)
def test_validation_losses_are_the_losses_of_the_rows(loss, measure):
    model = regressor(loss=loss, quantile=0.3, huber_delta=0.5)
    model.fit(X[:400], values[:400], X_val=X[400:], y_val=values[400:])
    assert len(model.validation_loss_curve_) == 5
    measured = measure(values[400:], model.predict(X[400:]))
    assert model.validation_loss_curve_[-1] == pytest.approx(measured, rel=1e-12)


def test_label_smoothing_is_that_of_the_formula():
    smooth = classifier(label_smoothing=0.1, alpha=0, max_iter=1, batch_size=500).fit(X, y)
    start = classifier(alpha=0, max_iter=1, batch_size=500, learning_rate_init=1e-300).fit(X, y)
    targets = 0.9 * np.eye(10)[y] + 0.01
    expected = -(targets * start.predict_log_proba(X)).sum(axis=1).mean()
    assert smooth.loss_ == pytest.approx(expected, rel=1e-12)

    binary = classifier(label_smoothing=0.1, alpha=0, max_iter=1, batch_size=500).fit(X, y > 4)
    start = classifier(alpha=0, max_iter=1, batch_size=500, learning_rate_init=1e-300).fit(X, y > 4)
    targets = 0.9 * np.eye(2)[(y > 4).astype(int)] + 0.05
    expected = -(targets * start.predict_log_proba(X)).sum(axis=1).mean()
    assert binary.loss_ == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("class_weight", ["balanced", {"a": 3.0}])
def test_class_weights_are_weights_of_rows(class_weight):
    names = np.array(list("abcdefghij"))[y]
    weighed = classifier(class_weight=class_weight).fit(X, names)
    by_row = classifier().fit(X, names, compute_sample_weight(class_weight, names))
    assert same_bits(weighed, by_row)
    assert not same_bits(weighed, classifier().fit(X, names))


def test_balanced_weights_need_all_rows():
    with pytest.raises(ValueError, match="class_weight='balanced' needs all rows"):
        classifier(class_weight="balanced").partial_fit(X, y, classes=np.arange(10))


def test_rows_of_weight_0_are_as_good_as_absent():
    weight = (np.arange(500) % 3).astype(float)
    kept = weight > 0
    assert same_bits(
        classifier().fit(X, y, weight), classifier().fit(X[kept], y[kept], weight[kept])
    )


# -- stopping -------------------------------------------------------------------------------------


def test_own_validation_rows_take_the_place_of_held_out_ones():
    model = classifier(
        early_stopping=True, max_iter=30, n_iter_no_change=3, learning_rate_init=0.02
    )
    model.fit(X, y, X_val=X_val, y_val=y_val)
    assert model.score(X_val, y_val) == max(model.validation_scores_)
    assert same_bits(
        classifier(max_iter=1, early_stopping=True).fit(X, y, X_val=X_val, y_val=y_val),
        classifier(max_iter=1).fit(X, y),  # no row was held out
    )


@pytest.mark.parametrize(
    "metric", ["f1_macro", "loss", make_scorer(f1_score, average="macro"), "neg_log_loss"], ids=str
)
def test_early_stopping_looks_at_the_metric_that_was_named(metric):
    model = classifier(early_stopping=True, early_stopping_metric=metric, max_iter=8)
    model.fit(X, y, X_val=X_val, y_val=y_val)
    best = int(np.argmax(model.validation_scores_))
    if metric in ("loss", "neg_log_loss"):
        assert model.validation_scores_ == pytest.approx([-v for v in model.validation_loss_curve_])
    else:
        predicted = model.predict(X_val)  # by the best weights, which were put back
        f1 = f1_score(y_val, predicted, average="macro")
        assert model.validation_scores_[best] == pytest.approx(f1)


def test_a_metric_of_a_regressor_may_be_a_function():
    def metric(estimator, X, y):
        return -median_absolute_error(y, estimator.predict(X))

    model = regressor(early_stopping=True, early_stopping_metric=metric).fit(X, values)
    assert len(model.validation_scores_) == 5
    assert max(model.validation_scores_) < 0


def test_validation_rows_come_as_pairs():
    with pytest.raises(ValueError, match="X_val and y_val are given together"):
        classifier().fit(X, y, X_val=X_val)
    with pytest.raises(ValueError, match=r"`y` has classes not in `self.classes_`"):
        classifier().fit(X, y, X_val=X_val, y_val=y_val + 100)


def test_weights_of_validation_rows_count():
    weight = np.zeros(len(y_val))
    weight[:10] = 1
    model = classifier().fit(X, y, X_val=X_val, y_val=y_val, sample_weight_val=weight)
    few = classifier().fit(X, y, X_val=X_val[:10], y_val=y_val[:10])
    assert model.validation_loss_curve_ == pytest.approx(few.validation_loss_curve_, rel=1e-12)


def test_partial_fit_stops_early_where_it_is_given_rows_to_validate_on():
    model = classifier(early_stopping=True, n_iter_no_change=2, tol=0.01)
    calls = 0
    while calls == 0 or model.stop_reason_ is None:
        calls += 1
        model.partial_fit(X, y, classes=np.arange(10), X_val=X_val, y_val=y_val)
        assert calls < 500
    assert "Validation score did not improve" in model.stop_reason_
    assert len(model.validation_scores_) == calls
    assert (
        model.score(X_val, y_val) == model.best_validation_score_ == max(model.validation_scores_)
    )


def test_time_may_be_over_before_the_first_epoch():
    model = classifier(max_time=1e-9, batch_size=1, max_iter=10**6).fit(X, y)
    assert model.stop_reason_ == "max_time=1e-09 seconds are over."
    assert model.n_iter_ == 1
    assert np.isfinite(model.loss_)
    lbfgs = classifier(max_time=1e-9, solver="lbfgs", max_iter=500).fit(X, y)
    assert lbfgs.stop_reason_ == model.stop_reason_
    assert lbfgs.n_iter_ == 1


def test_reasons_for_the_end_are_told():
    assert classifier().fit(X, y).stop_reason_ == "all 5 epochs done"
    stopped = classifier(tol=10.0, n_iter_no_change=2, max_iter=50).fit(X, y)
    assert stopped.stop_reason_.startswith("Training loss did not improve more than tol=10")


def test_divergence_with_early_stopping_keeps_the_best_weights():
    model = MLPRegressor(
        hidden_layer_sizes=100,
        activation="identity",
        solver="sgd",
        learning_rate_init=1.0,
        early_stopping=True,
        random_state=0,
    )
    with pytest.warns(ConvergenceWarning, match="diverged in epoch"):
        model.fit(X, values)
    assert model.stop_reason_.startswith("diverged")
    assert np.isnan(model.validation_scores_[-1])
    assert np.isfinite(model.predict(X)).all()
