"""Max-norm: no column of weights is longer than its limit, and no other is touched."""

import numpy as np
import pytest
from small_network import X, Y, fit, network

import fastnn as fn
from fastnn import backends
from fastnn.backends import get

pytestmark = pytest.mark.parametrize("backend", backends.available())


def norms(net, name):
    return np.linalg.norm(net.parameters[name], axis=0)


def test_no_column_is_longer_than_its_max_norm_after_a_step(backend):
    layers = [fn.Dense(8, "relu", max_norm=0.7), fn.Gated(5, max_norm=0.5), fn.Dense(2)]
    net = network(backend, layers, optimizer=fn.SGD(0.003))
    net.parameters["0.bias"][...] = 5
    assert (norms(net, "0.weight") > 0.7).any()
    fit(net)
    for name, limit in (("0.weight", 0.7), ("1.weight", 0.5), ("1.gate_weight", 0.5)):
        assert (norms(net, name) <= limit * (1 + 1e-12)).all()
        assert (norms(net, name) > limit * (1 - 1e-12)).any()
    assert (norms(net, "2.weight") > 0.7).any()
    assert (net.parameters["0.bias"] > 1).any()


def test_a_max_norm_only_scales_what_is_too_long(backend):
    free, held = (network(backend, [fn.Dense(2, max_norm=m)]) for m in (None, 0.9))
    for net in (free, held):
        net.parameters["0.weight"][...] = [[3, 0.1], [4, 0.1], [0, 0.1], [0, 0.1]]
        net.train_batch(X, Y)
    long, short = free.parameters["0.weight"].T
    np.testing.assert_allclose(
        held.parameters["0.weight"][:, 0], 0.9 * long / np.linalg.norm(long), rtol=1e-13
    )
    assert (held.parameters["0.weight"][:, 1] == short).all()


def test_weights_that_have_diverged_are_not_hidden_by_a_max_norm(backend):
    for value in (np.inf, np.nan, 1e200):
        W = np.array([[value, 3.0], [1.0, 4.0]])
        with np.errstate(over="ignore"):
            get(backend).kernels.max_norm(W, 1.0)
        np.testing.assert_array_equal(W[:, 0], [value, 1.0])
        np.testing.assert_allclose(W[:, 1], [0.6, 0.8], rtol=1e-15)


def test_a_max_norm_must_be_above_0(backend):
    with pytest.raises(ValueError, match="max_norm of Dense must be above 0, got 0"):
        fn.Dense(3, max_norm=0)
