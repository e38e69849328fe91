"""The losses of quantiles, counts and margins: what they find, and what targets they take."""

import copy

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor
from small_network import SIGNS, X, Y, bits, fit, network

import fastnn as fn
from fastnn import backends

pytestmark = pytest.mark.parametrize("backend", backends.available())


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_the_quantile_loss_finds_the_quantile(backend, q):
    y = np.random.default_rng(3).exponential(size=301)
    net = network(
        backend,
        [fn.Dense(1)],
        input_size=1,
        loss=fn.Quantile(q),
        optimizer=fn.SGD(fn.schedules.Cosine(0.5, length=400)),
    )
    net.fit(np.zeros((301, 1)), y, epochs=400, batch_size=301, progress=False)
    assert net.predict([[0.0]])[0, 0] == pytest.approx(np.quantile(y, q), abs=0.02)


def test_half_the_absolute_error_is_the_quantile_loss_of_a_half(backend):
    absolute = network(backend, [fn.Dense(2, "tanh")], loss="mae")
    pinball = network(backend, [fn.Dense(2, "tanh")], loss="quantile")
    for one, two in zip(
        (absolute.evaluate(X, Y)["loss"], *absolute.loss_and_gradients(X, Y)[1].values()),
        (pinball.evaluate(X, Y)["loss"], *pinball.loss_and_gradients(X, Y)[1].values()),
        strict=True,
    ):
        np.testing.assert_allclose(one, 2 * two, rtol=1e-13)


def test_one_exp_neuron_reaches_unpenalised_poisson_regression(backend):
    rng = np.random.default_rng(4)
    rows = rng.normal(size=(400, 3))
    counts = rng.poisson(np.exp(rows @ [0.5, -0.3, 0.2] + 0.4))
    judge = PoissonRegressor(alpha=0, tol=1e-10, max_iter=1000).fit(rows, counts)
    net = network(
        backend, [fn.Dense(1, "exp")], input_size=3, loss="poisson", optimizer=fn.SGD(0.3)
    )
    net.fit(rows, counts, epochs=500, batch_size=400, progress=False)
    np.testing.assert_allclose(net.parameters["0.weight"][:, 0], judge.coef_, atol=1e-6)
    np.testing.assert_allclose(net.parameters["0.bias"], judge.intercept_, atol=1e-6)
    np.testing.assert_allclose(net.predict(rows)[:, 0], judge.predict(rows), rtol=1e-5)


def test_without_a_head_the_poisson_loss_has_log_rates(backend):
    counts = np.abs(np.round(Y))
    rates = network(backend, [fn.Dense(2, "exp")], loss="poisson")
    logs = network(backend, [fn.Dense(2)], loss="poisson")
    logs.parameters_vector = 0.1 * rates.parameters_vector
    rates.parameters_vector = logs.parameters_vector
    np.testing.assert_allclose(np.exp(logs.predict(X)), rates.predict(X), rtol=1e-12)
    assert logs.evaluate(X, counts)["loss"] == rates.evaluate(X, counts)["loss"]
    assert list(rates.evaluate(X, counts)) == ["loss", "r2"]
    assert list(logs.evaluate(X, counts)) == ["loss"]  # log rates are no estimates of counts


def test_an_exp_head_alone_does_not_mean_counts(backend):
    net = network(backend, [fn.Dense(2, "exp")])
    assert net.loss == fn.MeanSquaredError()
    net.train_batch(X, Y)  # negative targets are fine


def test_the_hinge_loss_separates_with_a_margin(backend):
    y = np.where(X[:, 0] + X[:, 1] > 3.0, 1, -1)
    gap = np.abs(X[:, 0] + X[:, 1] - 3.0) > 0.3
    net = network(backend, [fn.Dense(1)], loss="hinge", optimizer=fn.Adam(0.2))
    history = net.fit(X[gap], y[gap], epochs=300, batch_size=50, progress=False)
    assert history["accuracy"][-1] == net.evaluate(X[gap], y[gap])["accuracy"] == 1.0
    margins = net.predict(X[gap])[:, 0] * y[gap]
    assert margins.min() > 0.9
    assert history["loss"][-1] < 0.02


def test_labels_0_and_1_are_taken_as_signs(backend):
    whole, zeros = (network(backend, [fn.Dense(1)], loss="hinge") for _ in range(2))
    fit(whole, SIGNS, class_weight={-1: 3.0})
    for labels in (SIGNS > 0, (SIGNS > 0).astype(np.uint8), (SIGNS[:, None] + 1) / 2):
        other = copy.deepcopy(zeros)
        fit(other, labels, class_weight={0: 3.0})
        assert bits(other) == bits(whole)
        assert other.evaluate(X, labels) == whole.evaluate(X, SIGNS)
    balanced = network(backend, [fn.Dense(1)], loss="hinge")
    fit(balanced, SIGNS, class_weight="balanced")
    assert bits(balanced) != bits(whole)


def test_the_accuracy_of_the_hinge_loss_is_the_share_of_right_signs(backend):
    y = np.where(Y > 0, 1, -1)
    net = network(backend, [fn.Dense(3, "tanh"), fn.Dense(2)], loss="hinge")
    scores = net.predict(X)
    told = net.evaluate(X, y)
    assert told["accuracy"] == pytest.approx(np.mean((scores > 0) == (y > 0)), rel=1e-12)
    assert told["loss"] == pytest.approx(np.maximum(0, 1 - y * scores).mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("loss", "y", "message"),
    [
        ("poisson", [[0, 1], [2, -3]], "y must be at least 0 for poisson, got -3.0 in row 1"),
        ("hinge", [[1, -1], [2, 1]], "y must hold -1 and 1, or 0 and 1, for hinge, got 2.0 in row"),
        ("hinge", [[1, -1], [0, 1]], "y holds -1, and 0 in row 1, column 0"),
    ],
)
def test_targets_that_do_not_fit_are_named(backend, loss, y, message):
    net = network(backend, [fn.Dense(2)], loss=loss)
    before = bits(net)
    with pytest.raises(ValueError, match=message):
        net.fit(X[:2], y, progress=False)
    assert bits(net) == before


@pytest.mark.parametrize(("loss", "head"), [("hinge", "sigmoid"), ("poisson", "relu")])
def test_a_loss_that_does_not_go_with_the_head_is_refused(backend, loss, head):
    with pytest.raises(ValueError, match=f"{loss} goes with .* not with {head}"):
        network(backend, [fn.Dense(1, head)], loss=loss)


@pytest.mark.parametrize("quantile", [0, 1, -0.5, 2.0])
def test_a_quantile_lies_between_0_and_1(backend, quantile):
    with pytest.raises(ValueError, match="quantile must be above 0 and below 1"):
        fn.Quantile(quantile)
