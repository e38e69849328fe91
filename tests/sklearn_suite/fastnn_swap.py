"""A pytest plugin: scikit-learn's own tests of its perceptrons, run with the classes of fastnn.

The tests say `from sklearn.neural_network import MLPClassifier, MLPRegressor`, so it is enough to
put other classes under these names before the tests are imported:

    python -m pytest -p fastnn_swap --pyargs sklearn.neural_network.tests.test_mlp

A session in which our classes were not trained says nothing about them. So it fails where a module
of tests holds other classes than ours, where none of ours was fitted, and where one of
scikit-learn's was.
"""

import functools
from collections import Counter

import pytest
import sklearn.neural_network

import fastnn.sklearn

NAMES = ("MLPClassifier", "MLPRegressor")
OURS = {name: getattr(fastnn.sklearn, name) for name in NAMES}
FITS = Counter()  # the calls of fit, by the package of the class


def _count(kind):
    """Make a class count the fits of its objects."""
    fit = kind.fit

    @functools.wraps(fit)
    def counted(self, *args, **kwargs):
        FITS[type(self).__module__.partition(".")[0]] += 1
        return fit(self, *args, **kwargs)

    kind.fit = counted


for name, ours in OURS.items():
    _count(getattr(sklearn.neural_network, name))
    _count(ours)
    setattr(sklearn.neural_network, name, ours)


def pytest_collection_finish(session):
    """Refuse modules that got hold of other classes."""
    for module in {getattr(item, "module", None) for item in session.items}:
        for name, ours in OURS.items():
            if getattr(module, name, ours) is not ours:
                raise pytest.UsageError(f"{module.__name__}.{name} is not that of fastnn")


def _wrong():
    if FITS["sklearn"]:
        return f"{FITS['sklearn']} fits of scikit-learn's own classes"
    return None if FITS["fastnn"] else "no class of fastnn was fitted"


def pytest_sessionfinish(session):
    """Fail a session that tested something else."""
    if _wrong() and not session.config.option.collectonly:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    """Say how much was trained."""
    version = sklearn.__version__
    said = _wrong() or f"{FITS['fastnn']} fits of the classes of fastnn"
    terminalreporter.write_line(f"scikit-learn {version}: {said}")
