"""Estimators that are quick to fit, and data for them, which tests of fastnn.sklearn share."""

import numpy as np
import sklearn
import sklearn.neural_network
from sklearn.datasets import load_iris, make_regression
from sklearn.utils.fixes import parse_version

import fastnn.sklearn
from fastnn.sklearn import MLPClassifier

FLOWERS = load_iris(return_X_y=True)
NUMBERS = make_regression(120, 4, noise=1.0, random_state=0)

# Before, scikit-learn's own perceptrons had neither weights of rows nor the loss "poisson".
WEIGHTS_AND_POISSON = parse_version(sklearn.__version__) >= parse_version("1.7")


def of(kind):
    """Return rows and targets for a kind of estimator."""
    return FLOWERS if kind is MLPClassifier else NUMBERS


def small(kind=MLPClassifier, **chosen):
    """Return an estimator that is quick to fit."""
    always = {"hidden_layer_sizes": (8,), "max_iter": 30, "learning_rate_init": 0.02}
    return kind(**(always | {"random_state": 0} | chosen))


# What scikit-learn's perceptrons are asked for, and ours.

rng = np.random.default_rng(0)
X = rng.normal(size=(60, 5))
scores = X @ rng.normal(size=(5, 3)) + 0.1 * rng.normal(size=(60, 3))
# Classes that overlap: scikit-learn clips the losses of probabilities near 0, and a line search
# goes other ways then.
noisy = scores + rng.normal(size=(60, 3))
TARGETS = {
    "two classes": np.where(noisy[:, 0] > 0, 7, -2),
    "classes": np.array([3, 5, 9])[noisy.argmax(axis=1)],
    "labels": (noisy > 0).astype(int),
    "number": scores[:, 0],
    "numbers": scores,
    "counts": rng.poisson(np.exp(scores[:, 0] / 2)).astype(float),
}
WEIGHTS = rng.uniform(0.2, 3, 60)


def pair(task, **chosen):
    """Return scikit-learn's estimator for a task, and ours, alike."""
    name = "MLPClassifier" if task in ("two classes", "classes", "labels") else "MLPRegressor"
    if task == "counts":
        chosen |= {"loss": "poisson"}
    always = {"hidden_layer_sizes": (7, 4), "max_iter": 12, "batch_size": 25, "random_state": 3}
    libraries = sklearn.neural_network, fastnn.sklearn
    return [getattr(library, name)(**(always | chosen)) for library in libraries]
