"""The plugin that runs scikit-learn's own tests with our classes fails when it tested others."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

SUITE = Path(__file__).parent / "sklearn_suite"

FIT = "def test():\n    MLPClassifier(max_iter=1, tol=1e9).fit([[0.0], [1.0]], [0, 1])\n"


def run(tmp_path, text):
    """Run a file of tests under the plugin; return the status and all that pytest said."""
    (tmp_path / "test_it.py").write_text(text)
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", SUITE / "pytest.ini", "--rootdir", tmp_path]
        + ["-W", "ignore", tmp_path / "test_it.py"],
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(SUITE), *sys.path])},
        capture_output=True,
        text=True,
        timeout=100,
    )
    return result.returncode, result.stdout + result.stderr


def test_our_classes_take_the_place_of_those_of_scikit_learn(tmp_path):
    text = f"from sklearn.neural_network import MLPClassifier\nimport fastnn.sklearn\n{FIT}"
    text += "    assert MLPClassifier is fastnn.sklearn.MLPClassifier\n"
    status, said = run(tmp_path, text)
    assert status == 0, said
    assert "1 passed" in said
    assert re.search(r"[1-9]\d* fits of the classes of fastnn", said)


def test_a_session_that_fits_none_of_our_classes_fails(tmp_path):
    status, said = run(tmp_path, "def test():\n    pass\n")
    assert "1 passed" in said
    assert "no class of fastnn was fitted" in said
    assert status == 1


def test_a_session_that_fits_a_class_of_scikit_learn_fails(tmp_path):
    theirs = "import sklearn.neural_network._multilayer_perceptron as theirs\n"
    text = theirs + FIT.replace("MLPClassifier", "theirs.MLPClassifier")
    status, said = run(tmp_path, text)
    assert "1 passed" in said
    assert "1 fits of scikit-learn's own classes" in said
    assert status == 1


def test_a_module_that_holds_another_class_is_refused(tmp_path):
    imported = "from sklearn.neural_network._multilayer_perceptron import MLPClassifier\n"
    status, said = run(tmp_path, imported + FIT)
    assert "test_it.MLPClassifier is not that of fastnn" in said
    assert status not in (0, 1)
