"""The estimators take the arguments of scikit-learn's own, and say what those say.

What is refused is refused by the same exception, in the same words; so it is with warnings, and
with what `verbose` prints.
"""

import inspect
import re
import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

import sklearn.neural_network
from perceptrons import TARGETS, WEIGHTS, WEIGHTS_AND_POISSON, X, pair
from scipy.sparse import csr_matrix

import fastnn.sklearn

LIBRARIES = sklearn.neural_network, fastnn.sklearn
CLASSES, NUMBER = TARGETS["classes"], TARGETS["number"]
NEWER = pytest.mark.skipif(
    not WEIGHTS_AND_POISSON, reason="this scikit-learn says less, or something else"
)


def outcome(model, act):
    """Return what somebody hears of it: the warnings, and the exception or what was returned."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        # What scikit-learn of one year does with NumPy and SciPy of another.
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        try:
            result = act(model)
        except Exception as error:
            # The order of a set in a text is that of the hashes of its strings.
            words = re.sub(r"\{.*?\}", lambda found: str(sorted(found[0])), str(error))
            result = type(error), words
        else:
            result = "nothing refused" if result is model else type(result)
    return [(one.category, str(one.message)) for one in heard], result


def same_outcome(models, act):
    """Return what both say, after a look that they say the same."""
    theirs, ours = (outcome(model, act) for model in models)
    assert ours == theirs
    return theirs


# Arguments of the constructor.


@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_every_parameter_is_there_with_its_default(name):
    theirs, ours = (getattr(library, name)().get_params() for library in LIBRARIES)
    assert {key: ours.get(key, "absent") for key in theirs} == theirs


@NEWER
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_arguments_without_a_name_come_in_the_same_order(name):
    theirs, ours = (
        [
            each.name
            for each in inspect.signature(getattr(library, name)).parameters.values()
            if each.kind is each.POSITIONAL_OR_KEYWORD
        ]
        for library in LIBRARIES
    )
    assert ours == theirs


@pytest.mark.parametrize("method", ["fit", "partial_fit", "predict", "score"])
@pytest.mark.parametrize("name", ["MLPClassifier", "MLPRegressor"])
def test_the_methods_take_the_same_arguments(name, method):
    theirs, ours = (
        list(inspect.signature(getattr(getattr(library, name)(), method)).parameters)
        for library in LIBRARIES
    )
    assert [argument for argument in ours if argument in theirs] == theirs
    if WEIGHTS_AND_POISSON:
        assert ours[: len(theirs)] == theirs


WRONG = {
    "hidden_layer_sizes": [-1, 0, (10, 0), [3, -1], "many", 2.5],
    "activation": ["ghost", 1],
    "solver": ["newton", None],
    "alpha": [-1, "small", None],
    "batch_size": [0, -3, "all", 2.5],
    "learning_rate": ["falling", 0.1],
    "learning_rate_init": [0, -1, "fast"],
    "power_t": [-1, "half"],
    "max_iter": [0, -1, 2.5, "long"],
    "shuffle": ["yes", 2],
    "random_state": ["seed", -1],
    "tol": [-1, None],
    "verbose": ["loud", -1],
    "warm_start": ["yes", 2],
    "momentum": [2, -0.1],
    "nesterovs_momentum": ["yes", 2],
    "early_stopping": ["yes", 2],
    "validation_fraction": [1.0, -0.1, "tenth"],
    "beta_1": [1, -0.5],
    "beta_2": [1.0, "most"],
    "epsilon": [0, -0.5],
    "n_iter_no_change": [0, -1, 2.5],
    "max_fun": [0, 1.5],
    "loss": ["loud", None],
}
# Where ours take more than scikit-learn's, and say so.
MORE = {"activation", "loss"}


@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name in WRONG for value in WRONG[name]], ids=str
)
def test_a_wrong_parameter_is_refused_in_the_same_words(name, value, task):
    theirs, ours = (
        outcome(model, lambda model: model.set_params(**{name: value}).fit(X, TARGETS[task]))
        for model in pair(task)
    )
    if name == "loss" and "loss" not in pair(task)[0].get_params():
        assert f"'{name}' parameter of {type(pair(task)[1]).__name__} must be" in ours[1][1]
    elif name in MORE:
        assert ours[1][0] == theirs[1][0]
        start, _, end = theirs[1][1].partition("among")
        assert ours[1][1].startswith(start.partition("a str")[0])
        assert ours[1][1].endswith(end.partition("Got")[2])
    else:
        assert ours == theirs
    assert ours[1] != "nothing refused"


# Rows, targets and weights.


def with_value(value, at=(3, 1)):
    rows = X.copy()
    rows[at] = value
    return rows


BAD_FITS = {
    "a NaN": lambda m, y: m.fit(with_value(np.nan), y),
    "an infinity": lambda m, y: m.fit(with_value(-np.inf), y),
    "one dimension": lambda m, y: m.fit(X[:, 0], y),
    "three dimensions": lambda m, y: m.fit(X[:, :, None], y),
    "no rows": lambda m, y: m.fit(X[:0], y[:0]),
    "no columns": lambda m, y: m.fit(X[:, :0], y),
    "text": lambda m, y: m.fit(np.full(X.shape, "a"), y),
    "complex numbers": lambda m, y: m.fit(X * 1j, y),
    "too few targets": lambda m, y: m.fit(X, y[:-1]),
    "no targets": lambda m, y: m.fit(X, None),
    "a NaN as a target": lambda m, y: m.fit(X, np.where(np.arange(60) == 5, np.nan, y)),
    "sparse rows with a NaN": lambda m, y: m.fit(csr_matrix(with_value(np.nan)), y),
    "targets in a column": lambda m, y: m.fit(X, y[:, None]),
    "a batch larger than the rows": lambda m, y: m.set_params(batch_size=100).fit(X, y),
    "too few iterations": lambda m, y: m.set_params(max_iter=2).fit(X, y),
    "too few iterations of lbfgs": lambda m, y: m.set_params(max_iter=2, solver="lbfgs").fit(X, y),
    "too few calls in lbfgs": lambda m, y: m.set_params(max_fun=2, solver="lbfgs").fit(X, y),
    "prediction before fit": lambda m, y: m.predict(X),
    "a score before fit": lambda m, y: m.score(X, y),
    "too few columns to predict": lambda m, y: m.fit(X, y).predict(X[:, :3]),
    "a NaN to predict": lambda m, y: m.fit(X, y).predict(with_value(np.nan)),
    "no rows to predict": lambda m, y: m.fit(X, y).predict(X[:0]),
    "one row as a vector": lambda m, y: m.fit(X, y).predict(X[0]),
    "other columns later": lambda m, y: m.fit(X, y).partial_fit(X[:, :3], y),
    "other columns in a warm start": lambda m, y: (
        m.set_params(warm_start=True).fit(X, y).fit(X[:, :3], y)
    ),
}


@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize("name", BAD_FITS)
def test_what_does_not_fit_is_refused_or_warned_of_in_the_same_words(name, task):
    y = TARGETS[task]
    heard, result = same_outcome(pair(task), lambda model: BAD_FITS[name](model, y))
    assert heard or result != "nothing refused"


BAD_LABELS = {
    "numbers for classes": lambda m: m.fit(X, NUMBER),
    "several columns of classes": lambda m: m.fit(X, np.column_stack([CLASSES, CLASSES])),
    "no classes at first": lambda m: m.partial_fit(X, CLASSES),
    "a class that was not named": lambda m: m.partial_fit(X, CLASSES, classes=[3, 5]),
    "a class that came later": lambda m: m.partial_fit(
        X[:9], CLASSES[:9], classes=[3, 5, 9]
    ).partial_fit(X[:9], np.full(9, 4)),
    "other classes named later": lambda m: m.partial_fit(X, CLASSES, classes=[3, 5, 9]).partial_fit(
        X, CLASSES, classes=[3, 5]
    ),
    "other classes in a warm start": lambda m: (
        m.set_params(warm_start=True).fit(X, CLASSES).fit(X, CLASSES + 1)
    ),
    "fewer classes in a warm start": lambda m: (
        m.set_params(warm_start=True).fit(X, CLASSES).fit(X, np.where(CLASSES == 3, 5, CLASSES))
    ),
    "a class of one row that is held out": lambda m: m.set_params(early_stopping=True).fit(
        X, np.arange(60) == 0
    ),
}


@pytest.mark.parametrize("name", BAD_LABELS)
def test_wrong_classes_are_refused_in_the_same_words(name):
    _, result = same_outcome(pair("classes"), BAD_LABELS[name])
    assert issubclass(result[0], ValueError)


BAD_WEIGHTS = {
    "too few": WEIGHTS[:-1],
    "two columns": np.column_stack([WEIGHTS, WEIGHTS]),
    "a NaN": np.where(np.arange(60) == 5, np.nan, WEIGHTS),
    "text": np.full(60, "a"),
}


@NEWER
@pytest.mark.parametrize("task", ["classes", "number"])
@pytest.mark.parametrize("name", BAD_WEIGHTS)
def test_wrong_weights_are_refused_in_the_same_words(name, task):
    fit = lambda model: model.fit(X, TARGETS[task], BAD_WEIGHTS[name])  # noqa: E731
    _, result = same_outcome(pair(task), fit)
    assert issubclass(result[0], ValueError)


@NEWER
def test_counts_below_0_are_refused_by_the_name_of_the_loss():
    _, (kind, words) = outcome(pair("counts")[1], lambda model: model.fit(X, NUMBER))
    assert issubclass(kind, ValueError)
    assert "poisson" in words.lower()


@NEWER
@pytest.mark.parametrize("task", ["classes", "number"])
def test_too_few_rows_to_hold_out_are_refused_in_the_same_words(task):
    rows = slice(0, 4)
    fit = lambda model: model.fit(X[rows], np.arange(4) % 2)  # noqa: E731
    _, result = same_outcome(pair(task, early_stopping=True, batch_size=2), fit)
    assert issubclass(result[0], ValueError)


@pytest.mark.parametrize("task", ["classes", "number"])
def test_lbfgs_has_no_partial_fit(task):
    theirs, ours = pair(task, solver="lbfgs")
    assert not hasattr(ours, "partial_fit")
    # scikit-learn's regressor has one all the same, which fits anew.
    assert hasattr(theirs, "partial_fit") == (task == "number")


def test_steps_and_early_stopping_are_refused_but_for_rows_to_validate_on():
    models = pair("number", early_stopping=True)
    theirs, ours = (outcome(model, lambda m: m.partial_fit(X, NUMBER)) for model in models)
    assert ours[1][0] == theirs[1][0]
    assert ours[1][1].startswith(theirs[1][1])
    models[1].partial_fit(X, NUMBER, X_val=X[:9], y_val=NUMBER[:9])
    assert len(models[1].validation_scores_) == 1


@pytest.mark.parametrize("task", ["classes", "number"])
def test_weights_that_do_not_stay_finite_are_refused_in_the_same_words(task):
    chosen = {"solver": "sgd", "learning_rate_init": 1e6, "activation": "identity"}
    act = lambda m: m.fit(1e30 * X, TARGETS[task])  # noqa: E731
    with np.errstate(all="ignore"):
        theirs, ours = (outcome(model, act)[1] for model in pair(task, **chosen))
    assert ours == theirs
    assert "Solver produced non-finite parameter weights" in ours[1]


# What is printed.


@pytest.mark.parametrize(
    "chosen",
    [
        {},
        {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1}
        | {"max_iter": 60},
        {"early_stopping": True, "n_iter_no_change": 2, "max_iter": 60},
        {"tol": 0.5, "n_iter_no_change": 2},
    ],
    ids=["all epochs", "a rate that adapts", "early stopping", "a loss that stays"],
)
@pytest.mark.parametrize("task", ["classes", "number"])
def test_verbose_prints_the_same_text(task, chosen, capsys):
    said = []
    for model in pair(task, verbose=True, learning_rate_init=0.01, **chosen):
        outcome(model, lambda model: model.fit(X, TARGETS[task]))
        said.append(capsys.readouterr().out)
    theirs, ours = ([re.split(r"(\d+\.\d+)", line) for line in text.splitlines()] for text in said)
    assert len(theirs) > 2
    assert [line[::2] for line in ours] == [line[::2] for line in theirs]
    numbers = [[float(x) for line in lines for x in line[1::2]] for lines in (theirs, ours)]
    np.testing.assert_allclose(*numbers, atol=2e-8)
