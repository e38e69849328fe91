"""Odd uses of the estimators that have failed once: each test tells how."""

import numpy as np
import pytest
import sklearn.neural_network as theirs
from scipy import sparse
from sklearn.base import clone

import fastnn as fn
from fastnn.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

rng = np.random.default_rng(0)
X = rng.normal(size=(120, 5))
values = X @ rng.normal(size=5)
several_values = np.stack([values, -(values**2)], axis=1)
two_classes = (values > 0).astype(int)
four_classes = np.digitize(values, [-1, 0, 1])
labels = np.stack([values > 0, values > 0.5, values < -0.3], axis=1).astype(int)

SMALL = {"hidden_layer_sizes": 4, "max_iter": 4, "random_state": 0}


def same_weights(ours, reference):
    pairs = zip(
        [*ours.coefs_, *ours.intercepts_],
        [*reference.coefs_, *reference.intercepts_],
        strict=True,
    )
    return all(np.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in pairs)


# -- targets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_labels_may_be_sparse(kind, solver):
    # Sparse labels, which scikit-learn takes, reached the network as they were, and it refused.
    model = MLPClassifier(**SMALL, solver=solver).fit(X, kind(labels))
    twin = MLPClassifier(**SMALL, solver=solver).fit(X, labels)
    assert same_weights(model, twin)
    assert sparse.issparse(model.predict(X))
    assert np.array_equal(model.predict(X).toarray(), twin.predict(X))


def test_early_stopping_scores_sparse_labels():
    arguments = {**SMALL, "early_stopping": True, "class_weight": "balanced"}
    model = MLPClassifier(**arguments).fit(X, sparse.csr_matrix(labels))
    twin = MLPClassifier(**arguments).fit(X, labels)
    assert model.validation_scores_ == twin.validation_scores_


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_classes_do_not_turn_into_labels(method):
    # A table of labels with a single 1 a row passed for rows of probabilities of four classes.
    model = MLPClassifier(**SMALL, warm_start=True).fit(X, four_classes)
    with pytest.raises(ValueError, match="not fitted with multilabel input"):
        getattr(model, method)(X, np.eye(4, dtype=int)[four_classes])


def test_labels_may_come_as_classes():
    # scikit-learn turns classes into rows of labels after a fit on such rows; this was refused.
    models = [each(**SMALL) for each in (MLPClassifier, theirs.MLPClassifier)]
    for model in models:
        model.partial_fit(X, labels, classes=[0, 1, 2]).partial_fit(X, four_classes % 3)
    assert same_weights(*models)


def test_the_score_of_a_single_class_is_1():
    # It was the share of the outputs above one half, which predict does not look at.
    model = MLPClassifier(**SMALL, early_stopping=True, activation="tanh")
    model.fit(X, np.full(len(X), 7), X_val=X, y_val=np.full(len(X), 7))
    assert model.validation_scores_ == [1.0] * len(model.validation_scores_)
    assert model.predict_proba(X)[:, 1].max() > 0.5


# -- first weights --------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["sgd", "lbfgs"])
def test_without_hidden_layers_first_weights_still_follow_the_activation(solver):
    # scikit-learn draws them by `activation` even where no layer has it; ours were larger by √3.
    arguments = {"hidden_layer_sizes": (), "activation": "logistic", "solver": solver}
    models = [
        each(**arguments, max_iter=3, random_state=0).fit(X, four_classes)
        for each in (MLPClassifier, theirs.MLPClassifier)
    ]
    assert same_weights(*models)


GIVEN = {"coefs_": [np.ones((5, 4)), np.ones((4, 1))], "intercepts_": [np.ones(4), np.ones(1)]}


@pytest.mark.parametrize("names", [["coefs_"], ["intercepts_"], ["coefs_", "intercepts_"]])
def test_training_may_begin_with_weights_of_ones_own(names):
    # What early stopping and the losses are written on was missing; one list alone was a TypeError.
    model = MLPRegressor(**SMALL, learning_rate_init=1e-9)
    for name in names:
        setattr(model, name, GIVEN[name])
    model.partial_fit(X, values)
    assert len(model.loss_curve_) == model.n_iter_ == 1
    for name in names:
        assert all(
            np.allclose(a, b) for a, b in zip(getattr(model, name), GIVEN[name], strict=True)
        )


def test_fit_forgets_weights_set_before():
    # A fit without warm start began with them.
    model = MLPRegressor(**SMALL)
    for name, arrays in GIVEN.items():
        setattr(model, name, arrays)
    assert same_weights(model.fit(X, values), MLPRegressor(**SMALL).fit(X, values))


@pytest.mark.parametrize(
    "wrong",
    [[1.0, 2.0], [np.ones((1, 4)), np.ones((4, 1))], [np.ones((5, 4))], [np.ones((5, 3)), 1]],
)
def test_weights_of_other_shapes_are_refused(wrong):
    # Scalars and rows were spread over the whole matrix.
    fitted, fresh = MLPRegressor(**SMALL).fit(X, values), MLPRegressor(**SMALL)
    before = fitted.network_.parameters_vector
    with pytest.raises(ValueError, match="arrays of shapes"):
        fitted.coefs_ = wrong
    assert np.array_equal(fitted.network_.parameters_vector, before)
    fresh.coefs_ = wrong
    with pytest.raises(ValueError, match="arrays of shapes"):
        fresh.partial_fit(X, values)


# -- arguments ------------------------------------------------------------------------------------


def test_sizes_of_layers_are_whole_numbers():
    # 2.7 units were 2.
    with pytest.raises(TypeError, match="'float' object"):
        MLPClassifier(**{**SMALL, "hidden_layer_sizes": (2.7,)}).fit(X, two_classes)


@pytest.mark.parametrize(
    "changed", [{"alpha": 1.0}, {"activation": "tanh"}, {"alpha": 0.1, "activation": "logistic"}]
)
@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_moments_outlive_a_change_of_layers(changed, solver):
    # Another penalty or activation between two calls made a network without the moments.
    models = [each(**SMALL, solver=solver) for each in (MLPClassifier, theirs.MLPClassifier)]
    for model in models:
        for _ in range(3):
            model.partial_fit(X, four_classes, classes=range(4))
        model.set_params(**changed)
        for _ in range(3):
            model.partial_fit(X, four_classes)
    assert same_weights(*models)


def test_layers_of_other_shapes_are_refused_whatever_their_number_of_parameters():
    # Only the number was compared, which is the same here.
    wide = MLPRegressor(**{**SMALL, "hidden_layer_sizes": (1, 6)}, warm_start=True).fit(X, values)
    deep = MLPRegressor(**{**SMALL, "hidden_layer_sizes": (2, 3)}).fit(X, values)
    assert wide.network_.parameter_count == deep.network_.parameter_count
    with pytest.raises(ValueError, match="layers are no longer"):
        wide.set_params(hidden_layer_sizes=(2, 3)).fit(X, values)


@pytest.mark.parametrize("several", [False, True])
def test_every_rate_of_a_schedule_goes_by_the_multiple_of_the_loss(several):
    # sgd follows a multiple of our gradient, so rates are multiplied: the last one of Cosine was
    # not, and OneCycle could not be made.
    y = several_values if several else values
    rate = 0.003
    arguments = {**SMALL, "solver": "sgd", "max_iter": 6}
    plain = MLPRegressor(**arguments, learning_rate_init=rate).fit(X, y)
    for schedule in (
        fn.schedules.Cosine(rate, length=3, final=rate),
        fn.schedules.OneCycle(rate, length=100, divisor=1.0, rise=0.99),
        fn.schedules.ReduceOnPlateau(
            rate, patience=1, min_delta=1e9, min_rate=rate, monitor="loss"
        ),
    ):
        model = MLPRegressor(**arguments, schedule=schedule).fit(X, y)
        assert model.loss_curve_ == pytest.approx(plain.loss_curve_, rel=1e-9)


def test_a_subclass_may_have_arguments_of_its_own():
    # Arguments were looked up by the names that the subclass has: a KeyError.
    class Narrow(MLPClassifier):
        def __init__(self, units=3, *, random_state=None):
            super().__init__((units,), max_iter=2, random_state=random_state)
            self.units = units

    model = clone(Narrow(7, random_state=0)).fit(X, two_classes)
    assert model.get_params() == {"units": 7, "random_state": 0}
    assert (model.max_iter, model.alpha, model.coefs_[0].shape) == (2, 1e-4, (5, 7))


@pytest.mark.parametrize(("base", "y"), [(MLPRegressor, values), (MLPClassifier, labels)])
def test_early_stopping_does_not_call_a_predict_that_somebody_has_overridden(base, y):
    # A subclass that turns predictions back into other units was scored in those units.
    class Turned(base):
        def predict(self, X):
            return 1 - super().predict(X)

    arguments = {**SMALL, "early_stopping": True}
    scores = [each(**arguments).fit(X, y).validation_scores_ for each in (Turned, base)]
    assert scores[0] == scores[1]


class Interrupted(fn.Callback):
    every_steps = 1

    def on_steps_end(self, run):
        raise KeyboardInterrupt


@pytest.mark.filterwarnings("ignore:Training interrupted")
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_call_takes_all_its_rows_after_one_that_was_interrupted(method):
    # It took the rows that the interrupted one had left, by their places: 11 steps of 12.
    model = MLPRegressor(**{**SMALL, "max_iter": 1}, batch_size=10, warm_start=True)
    getattr(model.set_params(callbacks=[Interrupted()]), method)(X, values)
    # Steps are counted over the life of an optimizer, and fit begins with a new one.
    before = model.network_.steps if method == "partial_fit" else 0
    getattr(model.set_params(callbacks=None), method)(X, values)
    assert model.network_.steps - before == 12


# -- losses ---------------------------------------------------------------------------------------


def test_the_loss_of_an_epoch_of_one_step_has_the_penalty_before_the_step():
    # Of several outputs it had the penalty after the step, so it was not scikit-learn's.
    arguments = {**SMALL, "alpha": 5.0, "batch_size": 120, "learning_rate_init": 0.05}
    models = [each(**arguments) for each in (MLPRegressor, theirs.MLPRegressor)]
    ours, reference = (model.fit(X, several_values) for model in models)
    assert ours.loss_curve_ == pytest.approx(reference.loss_curve_, rel=1e-10)


def test_losses_are_floats_whatever_alpha_is():
    model = MLPRegressor(**SMALL, alpha=np.float32(0.01)).fit(X, several_values)
    assert {type(loss) for loss in model.loss_curve_} == {float}
