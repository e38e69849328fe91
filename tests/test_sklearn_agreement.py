"""With the same arguments the estimators do what scikit-learn's own do, step by step.

The same random numbers start and shuffle both, so what they differ by is rounding. scikit-learn's
own products of matrices round in another order.
"""

import itertools

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn.neural_network
import threadpoolctl
from perceptrons import TARGETS, WEIGHTS, WEIGHTS_AND_POISSON, X, pair
from scipy.sparse import csr_matrix

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    # SciPy's word about what scikit-learn of another year asks of it.
    pytest.mark.filterwarnings("ignore:scipy.optimize.*:DeprecationWarning"),
]

NEWER = pytest.mark.skipif(
    not WEIGHTS_AND_POISSON, reason="this scikit-learn has no weights of rows to compare with"
)
TASKS = [pytest.param(task, marks=NEWER if task == "counts" else ()) for task in TARGETS]

ROADS = {
    "sgd": {"solver": "sgd"},
    "sgd without momentum": {"solver": "sgd", "momentum": 0.0},
    "sgd with all momentum": {"solver": "sgd", "momentum": 1.0, "learning_rate_init": 1e-4},
    "sgd without a look ahead": {"solver": "sgd", "nesterovs_momentum": False},
    "sgd in inverse scaling": {"solver": "sgd", "learning_rate": "invscaling", "power_t": 0.3},
    "sgd that adapts": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1}
    | {"n_iter_no_change": 1, "max_iter": 40},
    "adam": {"solver": "adam"},
    "adam with a large epsilon": {"solver": "adam", "epsilon": 0.1, "beta_1": 0.8, "beta_2": 0.9},
    "lbfgs": {"solver": "lbfgs", "alpha": 3.0},
}


@pytest.fixture(autouse=True)
def _one_thread():
    """Keep the threads of BLAS from waiting for each other over products this small."""
    with threadpoolctl.threadpool_limits(1):
        yield


def arrays(value):
    return value if isinstance(value, list) else [value]


def agree(theirs, ours, rtol=1e-7, atol=1e-9):
    """Hold two fitted estimators to each other: every attribute, then what they predict.

    For several values a row, the penalty in a loss that is printed is that of the weights half-way
    through the epoch, where scikit-learn's is that of every step's.
    """
    several = theirs.out_activation_ == "identity" and theirs.n_outputs_ > 1
    of_loss = {"rtol": 1e-3 if several else rtol}
    names = {name for name in vars(theirs) if name.endswith("_") and not name.startswith("_")}
    assert {"coefs_", "intercepts_", "loss_", "n_iter_", "t_", "out_activation_"} <= names
    for name in sorted(names):
        their, our = getattr(theirs, name), getattr(ours, name)
        # A list may be one that writes through, and a Python number do for one of NumPy's.
        assert isinstance(our, type(their)) or isinstance(their, type(our)), name
        assert len(arrays(our)) == len(arrays(their)), name
        for a, b in zip(arrays(our), arrays(their), strict=True):
            assert (np.shape(a), np.asarray(a).dtype) == (np.shape(b), np.asarray(b).dtype), name
            if isinstance(b, np.ndarray) and b.dtype.kind == "f" or isinstance(b, float):
                bound = {"rtol": rtol} | (of_loss if "loss" in name else {})
                np.testing.assert_allclose(a, b, atol=atol, err_msg=name, **bound)
            else:
                np.testing.assert_array_equal(a, b, err_msg=name)
    for method in ("predict", "predict_proba", "predict_log_proba"):
        if hasattr(theirs, method):
            with np.errstate(divide="ignore"):  # the logarithm of 0, in both
                their, our = getattr(theirs, method)(X), getattr(ours, method)(X)
            assert (our.dtype, our.shape) == (their.dtype, their.shape), method
            if our.dtype.kind == "f":
                np.testing.assert_allclose(our, their, rtol=rtol, atol=atol, err_msg=method)
            else:
                np.testing.assert_array_equal(our, their, err_msg=method)


def fitted(task, weights=None, **chosen):
    """Return scikit-learn's estimator and ours, fitted alike."""
    given = {} if weights is None else {"sample_weight": weights}
    return [model.fit(X, TARGETS[task], **given) for model in pair(task, **chosen)]


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("task", TASKS)
def test_every_solver_goes_the_same_way(task, road):
    agree(*fitted(task, **ROADS[road]))


@pytest.mark.parametrize("activation", ["identity", "logistic", "tanh", "relu"])
@pytest.mark.parametrize(("task", "solver"), [("classes", "adam"), ("numbers", "sgd")])
def test_every_activation_goes_the_same_way(task, solver, activation):
    agree(*fitted(task, solver=solver, activation=activation, learning_rate_init=0.01))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 10.0])
@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("task", ["classes", "labels", "numbers"])
def test_the_penalty_is_divided_by_the_rows_of_a_batch(task, solver, alpha):
    agree(*fitted(task, solver=solver, alpha=alpha))


@pytest.mark.parametrize(
    "chosen",
    [{"batch_size": 1}, {"batch_size": 7}, {"batch_size": "auto"}, {"shuffle": False}]
    + [{"hidden_layer_sizes": sizes} for sizes in (3, (1,), [9, 5, 3], np.array([4, 2]))],
    ids=str,
)
@pytest.mark.parametrize("task", ["classes", "number"])
def test_any_batch_and_any_layers_go_the_same_way(task, chosen):
    agree(*fitted(task, **chosen))


@NEWER
@pytest.mark.parametrize("road", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("task", TARGETS)
def test_weights_of_rows_count_the_same(task, road):
    agree(*fitted(task, WEIGHTS, **ROADS[road]))


@NEWER
@pytest.mark.parametrize("task", TARGETS)
def test_rows_of_weight_0_are_as_good_as_absent(task):
    y, counted = TARGETS[task], WEIGHTS > 1
    theirs, ours = pair(task)
    theirs.fit(X[counted], y[counted], WEIGHTS[counted])
    agree(theirs, ours.fit(X, y, np.where(counted, WEIGHTS, 0.0)))


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("task", TASKS)
def test_early_stopping_holds_out_the_same_rows_and_keeps_the_same_weights(task, solver):
    chosen = {"early_stopping": True, "validation_fraction": 0.25, "n_iter_no_change": 3}
    theirs, ours = fitted(task, solver=solver, learning_rate_init=0.02, max_iter=40, **chosen)
    agree(theirs, ours)
    assert len(ours.validation_scores_) == ours.n_iter_


@NEWER
@pytest.mark.parametrize("task", ["classes", "number"])
def test_early_stopping_splits_the_weights_too(task):
    agree(*fitted(task, WEIGHTS, early_stopping=True, learning_rate_init=0.02))


@pytest.mark.parametrize("tol", [1e-3, 0.05])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("task", ["classes", "number"])
def test_training_stops_at_the_same_epoch(task, solver, tol):
    chosen = {"learning_rate_init": 0.02, "max_iter": 500, "n_iter_no_change": 4, "tol": tol}
    theirs, ours = fitted(task, solver=solver, **chosen)
    assert theirs.n_iter_ < 500
    assert ours.n_iter_ == theirs.n_iter_
    # Some hundred epochs of rounding.
    agree(theirs, ours, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
@pytest.mark.parametrize("task", ["two classes", "classes", "labels", "number"])
def test_a_warm_start_goes_on_the_same_way(task, solver):
    models = pair(task, solver=solver, warm_start=True, alpha=1.0)
    for _ in range(3):
        for model in models:
            model.fit(X, TARGETS[task])
        agree(*models, rtol=1e-5 if solver == "lbfgs" else 1e-7)


def test_a_warm_start_keeps_the_best_weights_of_all_its_fits():
    y, chosen = TARGETS["classes"], {"early_stopping": True, "warm_start": True, "solver": "sgd"}
    models = [model.fit(X, y) for model in pair("classes", learning_rate_init=0.5, **chosen)]
    best = [(model.best_validation_score_, model.coefs_[0].copy()) for model in models]
    for model in models:
        model.set_params(learning_rate_init=1.0, max_iter=3).fit(X, y)
    theirs, ours = models
    np.testing.assert_array_equal(ours.validation_scores_, theirs.validation_scores_)
    assert ours.best_validation_score_ == best[1][0]  # so the second fit was no better
    np.testing.assert_array_equal(ours.coefs_[0], best[1][1])
    # scikit-learn trains the arrays in which it keeps those of the fit before.
    assert np.abs(theirs.coefs_[0] - best[0][1]).max() > 0.01


@pytest.mark.parametrize("solver", ["sgd", "adam"])
@pytest.mark.parametrize("task", TASKS)
def test_partial_fit_takes_the_same_steps(task, solver):
    models = pair(task, solver=solver, learning_rate="invscaling", batch_size=15)
    y = TARGETS[task]
    labels = {} if y.dtype.kind == "f" else {"classes": np.unique(y) if y.ndim == 1 else [0, 1, 2]}
    for first in (0, 20, 40, 0):
        rows = slice(first, first + 20)
        for model in models:
            model.partial_fit(X[rows], y[rows], **labels)
        agree(*models)


@NEWER
@pytest.mark.parametrize("task", ["two classes", "number"])
def test_partial_fit_takes_weights(task):
    models = pair(task)
    for model in models:
        labels = {"classes": [-2, 7]} if task == "two classes" else {}
        model.partial_fit(X, TARGETS[task], sample_weight=WEIGHTS, **labels)
        model.partial_fit(X, TARGETS[task], WEIGHTS)
    agree(*models)


def test_steps_after_a_fit_go_the_same_way():
    models = fitted("classes")
    for model in models:
        model.partial_fit(X, TARGETS["classes"]).partial_fit(X[:30], TARGETS["classes"][:30])
    agree(*models)


def test_one_generator_of_random_numbers_is_used_up_alike():
    generators = [np.random.RandomState(5), np.random.RandomState(5)]
    for task, stop in itertools.product(["classes", "number"], [False, True]):
        theirs, ours = pair(task, early_stopping=stop)
        models = []
        for model, generator in zip((theirs, ours), generators, strict=True):
            models.append(model.set_params(random_state=generator).fit(X, TARGETS[task]))
        agree(*models)
    assert generators[0].randint(2**31) == generators[1].randint(2**31)


@pytest.mark.parametrize("task", ["classes", "labels", "numbers"])
def test_float32_rows_go_nearly_the_same_way(task):
    theirs, ours = (model.fit(X.astype("f4"), TARGETS[task]) for model in pair(task))
    assert ours.coefs_[0].dtype == theirs.coefs_[0].dtype == np.float32
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-5)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("task", ["two classes", "number"])
def test_sparse_rows_go_the_same_way(task):
    rows = np.where(np.abs(X) > 0.5, X, 0)
    theirs, ours = (m.fit(csr_matrix(rows), TARGETS[task]) for m in pair(task))
    agree(theirs, ours)


@pytest.mark.parametrize("task", ["two classes", "classes", "labels", "number", "numbers"])
def test_a_score_is_the_same(task):
    theirs, ours = fitted(task, learning_rate_init=0.02)
    y = TARGETS[task]
    np.testing.assert_allclose(ours.score(X, y), theirs.score(X, y), rtol=1e-7)
    scores = [model.score(X, y, sample_weight=WEIGHTS) for model in (theirs, ours)]
    np.testing.assert_allclose(*scores, rtol=1e-7)


def test_the_peer_is_the_one_of_scikit_learn():
    theirs, ours = pair("classes")
    assert type(theirs) is sklearn.neural_network.MLPClassifier
    assert type(theirs).__module__.startswith("sklearn.")
    assert type(ours).__module__.startswith("fastnn.")
