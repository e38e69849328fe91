"""What the estimators can do that scikit-learn's cannot."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import sklearn
import sklearn.neural_network as theirs
from sklearn.datasets import load_digits, make_multilabel_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import f1_score, make_scorer, mean_pinball_loss, median_absolute_error
from sklearn.utils import compute_sample_weight

import fastnn as fn
from fastnn.sklearn import MLPClassifier, MLPRegressor, from_sklearn, to_sklearn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, y = load_digits(return_X_y=True)
X, y = X[:600] / 16, y[:600]
X_val, y_val = X[500:], y[500:]
X, y = X[:500], y[:500]
values = X @ np.random.default_rng(0).normal(size=64)


SMALL = {"hidden_layer_sizes": 20, "max_iter": 5, "random_state": 0}


def classifier(**arguments):
    return MLPClassifier(
        **{"hidden_layer_sizes": 20, "max_iter": 5, "random_state": 0, **arguments}
    )


def regressor(**arguments):
    return MLPRegressor(**{**SMALL, **arguments})


def same_bits(a, b):
    return np.array_equal(a.network_.parameters_vector, b.network_.parameters_vector)


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


# -- optimizers, warm starts, callbacks ------------------------------------------------------------


def test_schedules_rule_the_rate():
    steady = fn.schedules.Constant(0.003)
    for solver in ("sgd", "adam"):
        by_schedule = classifier(solver=solver, schedule=steady).fit(X, y)
        by_number = classifier(solver=solver, learning_rate_init=0.003).fit(X, y)
        assert same_bits(by_schedule, by_number)
    falling = classifier(schedule=fn.schedules.Cosine(0.003, length=5)).fit(X, y)
    assert not same_bits(falling, by_number)


@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_gradients_are_clipped_to_a_norm_in_scikit_learns_units(solver):
    # Of two outputs, the gradient of the squared error is twice that of fastnn's halved loss.
    targets = np.column_stack([values, values])
    arguments = {"solver": solver, "max_iter": 1, "batch_size": 500, "momentum": 0, "alpha": 0.0}
    start = regressor(**arguments, learning_rate_init=1e-300).fit(X, targets)
    _, gradients = start.network_.loss_and_gradients(X, targets)
    norm = 2 * sum((g * g).sum() for g in gradients.values()) ** 0.5 / 2
    free = regressor(**arguments).fit(X, targets)
    assert same_bits(regressor(**arguments, gradient_clip=norm * 1.01).fit(X, targets), free)
    if solver == "sgd":  # Adam does not look at the length of its first gradient
        half = regressor(**arguments, gradient_clip=norm / 2).fit(X, targets)
        moved = [w - w0 for w, w0 in zip(free.coefs_, start.coefs_, strict=True)]
        less = [w - w0 for w, w0 in zip(half.coefs_, start.coefs_, strict=True)]
        assert less[0] == pytest.approx(moved[0] / 2, rel=1e-6, abs=1e-12)


def test_weight_decay_pulls_weights_to_0():
    size = [
        np.abs(classifier(weight_decay=decay, max_iter=20).fit(X, y).coefs_[0]).sum()
        for decay in (0.0, 3.0)
    ]
    assert size[1] < 0.95 * size[0]


def test_warm_starts_can_keep_the_optimizer():
    def fitted(*epochs, **arguments):
        model = classifier(warm_start=True, shuffle=False, tol=0, **arguments)
        for count in epochs:
            model.set_params(max_iter=count).fit(X, y)
        return model

    whole = fitted(5, keep_optimizer=True)
    assert same_bits(fitted(3, 2, keep_optimizer=True), whole)
    assert not same_bits(fitted(3, 2), whole)


def test_a_warm_start_takes_a_new_penalty():
    model = classifier(warm_start=True, alpha=0.0).fit(X, y)
    before = copy.deepcopy(model)
    model.set_params(alpha=100.0).fit(X, y)
    before.fit(X, y)
    assert np.abs(model.coefs_[0]).sum() < np.abs(before.coefs_[0]).sum()


def test_a_warm_start_refuses_other_layers():
    model = classifier(warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="layers are no longer those"):
        model.set_params(hidden_layer_sizes=30).fit(X, y)


def test_callbacks_of_fastnn_watch_and_stop():
    class Stop(fn.Callback):
        def on_epoch_end(self, run):
            if run.epoch == 3:
                run.stop("enough")

    model = classifier(callbacks=[Stop()]).fit(X, y)
    assert (model.n_iter_, model.stop_reason_) == (3, "enough")
    with pytest.raises(TypeError, match="Callback"):
        classifier(callbacks=["no callback"]).fit(X, y)


@pytest.mark.skipif(not hasattr(sklearn, "callback") and sklearn.__version__ < "1.9", reason="1.9")
@pytest.mark.parametrize(("solver", "tasks"), [("adam", 6), ("sgd", 6), ("lbfgs", 7)])
def test_callbacks_of_scikit_learn_see_every_epoch(solver, tasks):
    callback = pytest.importorskip("sklearn.callback")
    monitor = callback.ScoringMonitor(scoring="accuracy")
    model = classifier(solver=solver).set_callbacks(monitor).fit(X, y)
    log = monitor.get_logs().data
    assert len(log) == tasks  # the epochs, and the fit; lbfgs also begins one that it does not do
    scores = [entry["accuracy"] for entry in log if entry["task_name"] == "epoch"]
    assert scores[4] == log[0]["accuracy"] == model.score(X, y)
    assert scores[0] < scores[4]


def test_a_callback_of_scikit_learn_may_end_training():
    pytest.importorskip("sklearn.callback")

    class Stop:
        def setup(self, estimator, context):
            pass

        def teardown(self, estimator, context):
            pass

        def on_fit_task_begin(self, estimator, context):
            pass

        def on_fit_task_end(self, estimator, context):
            return context.task_name == "epoch" and context.task_id == 1

    model = classifier().set_callbacks(Stop()).fit(X, y)
    assert (model.n_iter_, model.stop_reason_) == (2, "a callback ended it")


# -- weights, files, exchange ----------------------------------------------------------------------


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
