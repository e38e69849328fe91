"""Small estimators and a few digits to train them on."""

import numpy as np
from sklearn.datasets import load_digits

from fastnn.sklearn import MLPClassifier, MLPRegressor

X, y = load_digits(return_X_y=True)
X, y = X[:600] / 16, y[:600]
X_val, y_val = X[500:], y[500:]
X, y = X[:500], y[:500]
values = X @ np.random.default_rng(0).normal(size=64)

SMALL = {"hidden_layer_sizes": 20, "max_iter": 5, "random_state": 0}


def classifier(**arguments):
    return MLPClassifier(**{**SMALL, **arguments})


def regressor(**arguments):
    return MLPRegressor(**{**SMALL, **arguments})


def same_bits(a, b):
    return np.array_equal(a.network_.parameters_vector, b.network_.parameters_vector)
