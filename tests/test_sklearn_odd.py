"""Odd uses of the estimators that have failed once: each test tells how."""

import numpy as np
import pytest
import sklearn.neural_network as theirs
from scipy import sparse

from fastnn.sklearn import MLPClassifier

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
