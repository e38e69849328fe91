"""What a network must be able to learn, on every backend."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

import fastnn as fn
from fastnn import backends

pytestmark = pytest.mark.parametrize("backend", backends.available())


def test_one_dense_layer_reaches_the_least_squares_solution(backend):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 5))
    y = X @ rng.normal(size=5) + 0.7 + rng.normal(0, 0.1, 200)
    net = fn.Network([fn.Dense(1)], optimizer=fn.SGD(0.1), dtype="float64", backend=backend)
    net.fit(X, y, epochs=400, batch_size=200, progress=False)
    exact = np.linalg.lstsq(np.column_stack([X, np.ones(200)]), y, rcond=None)[0]
    found = np.concatenate([net.parameters["0.weight"][:, 0], net.parameters["0.bias"]])
    np.testing.assert_allclose(found, exact, atol=1e-6)


def test_one_sigmoid_neuron_reaches_unpenalised_logistic_regression(backend):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 3))
    y = (X @ [1.0, -2.0, 0.5] + 0.3 + rng.logistic(size=300) > 0).astype(int)
    judge = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10000).fit(X, y)
    net = fn.Network(
        [fn.Dense(1, "sigmoid")], optimizer=fn.SGD(2.0), dtype="float64", backend=backend
    )
    net.fit(X, y, epochs=1500, batch_size=300, progress=False)
    np.testing.assert_allclose(net.parameters["0.weight"][:, 0], judge.coef_[0], atol=1e-4)
    np.testing.assert_allclose(net.parameters["0.bias"], judge.intercept_, atol=1e-4)


@pytest.mark.parametrize(
    ("optimizer", "dtype"),
    [
        (fn.Adam(0.05), "float32"),
        (fn.Adam(0.05), "float64"),
        (fn.Adagrad(0.3), "float64"),
        (fn.NAdam(0.02), "float64"),
        (fn.Lion(0.003), "float64"),
    ],
    ids=str,
)
def test_xor_is_learned(backend, optimizer, dtype):
    X, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    layers = [fn.Dense(8, "tanh"), fn.Dense(2, "softmax")]
    net = fn.Network(layers, optimizer=optimizer, dtype=dtype, seed=1, backend=backend)
    net.fit(X, y, epochs=400, batch_size=4, progress=False)
    assert net.predict(X).argmax(axis=1).tolist() == y
    assert net.evaluate(X, y)["accuracy"] == 1.0


def test_a_hidden_layer_of_64_fits_a_sine_to_a_hundredth(backend):
    x = np.linspace(-np.pi, np.pi, 256)[:, None]
    # Biases spread over the interval let the bends of the units lie everywhere from the start.
    wide = {"weight_initializer": "he_uniform", "bias_initializer": "he_uniform"}
    rate = fn.schedules.Cosine(0.02, length=300)
    net = fn.Network(
        [fn.Dense(64, "tanh", **wide), fn.Dense(1)],
        optimizer=fn.Adam(rate),
        dtype="float64",
        backend=backend,
    )
    net.fit(x, np.sin(x), epochs=300, batch_size=32, progress=False)
    between = np.linspace(-np.pi, np.pi, 1001)[:, None]
    assert np.abs(net.predict(between) - np.sin(between)).max() < 0.01


def test_digits_are_learned_with_every_kind_of_layer(backend):
    data = fn.data.load_digits()
    layers = [
        fn.Dense(32, "gelu_tanh"),
        fn.Residual([fn.LayerNorm(), fn.Gated(32), fn.Dropout(0.1)]),
        fn.Concat([fn.Dense(16), fn.Activation("mish")]),
        fn.Dense(10, "softmax"),
    ]
    net = fn.Network(layers, optimizer=fn.AdamW(3e-3), backend=backend)
    history = net.fit(
        data.X_train, data.y_train, epochs=12, batch_size=64, progress=False,
        validation_data=(data.X_test, data.y_test),
    )  # fmt: skip
    assert history["val_accuracy"][-1] > 0.95
    assert history["loss"][-1] < history["loss"][0] / 4


def test_digits_are_learned_through_batch_norm(backend):
    data = fn.data.load_digits()
    layers = [fn.Dense(48, max_norm=3.0), fn.BatchNorm(), fn.Activation("relu")]
    layers += [fn.Dropout(0.1), fn.Dense(10, "softmax")]
    rate = fn.schedules.OneCycle(0.01, length=8)
    net = fn.Network(layers, optimizer=fn.NAdam(rate), backend=backend)
    history = net.fit(
        data.X_train, data.y_train, epochs=8, batch_size=64, progress=False,
        validation_data=(data.X_test, data.y_test),
    )  # fmt: skip
    assert history["val_accuracy"][-1] > 0.96
