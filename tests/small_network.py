"""Small networks for tests of single features: rows and targets, and how to fit on them."""

import numpy as np

import fastnn as fn

RNG = np.random.default_rng(0)
X = RNG.normal(1.5, 2.0, (50, 4))
Y = RNG.normal(size=(50, 2))
SIGNS = np.where(X[:, 0] + 0.3 * RNG.normal(size=50) > 1.5, 1, -1)


def network(backend, layers, **options):
    options = {"input_size": 4, "dtype": "float64", "seed": 1, **options}
    return fn.Network(layers, backend=backend, **options)


def bits(net):
    return net.parameters_vector.tobytes() + net.states_vector.tobytes()


def fit(net, y=Y, **options):
    return net.fit(X, y, **{"batch_size": 16, "progress": False, **options})
