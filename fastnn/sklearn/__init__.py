"""Estimators for scikit-learn: change one import, and the rest of a script goes on working.

>>> from sklearn.datasets import load_iris
>>> from fastnn.sklearn import MLPClassifier
>>> X, y = load_iris(return_X_y=True)
>>> MLPClassifier(max_iter=1000, random_state=0).fit(X, y).score(X, y) > 0.9
True
"""

try:
    import sklearn  # noqa: F401  # only whether it is there
except ModuleNotFoundError as error:
    from fastnn.errors import MissingDependency

    raise MissingDependency(
        "fastnn.sklearn needs scikit-learn: pip install 'fastnn-core[sklearn]'"
    ) from error

from fastnn.sklearn.classifier import MLPClassifier
from fastnn.sklearn.exchange import from_sklearn, to_sklearn
from fastnn.sklearn.regressor import MLPRegressor
from fastnn.sklearn.tabular import TabularMLPClassifier, TabularMLPRegressor

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "TabularMLPClassifier",
    "TabularMLPRegressor",
    "from_sklearn",
    "to_sklearn",
]
