"""What training can do here that scikit-learn's cannot: rates, warm starts, callbacks."""

import copy

import numpy as np
import pytest
import sklearn
from small_perceptrons import X, classifier, regressor, same_bits, values, y

import fastnn as fn

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
