"""Activations and losses of one's own on the device: what the reference makes of the same ones."""

import math

import networks
import numpy as np
import pytest
import tolerance
from cuda_walks import REFERENCE, Walk, close
from networks import Described, fn

from fastnn import activations, losses
from fastnn import custom as register
from fastnn.errors import CompilationError
from fastnn.optimizers import Adam

FACTOR = 4.0


def half(x):
    return x / 2


@pytest.fixture(autouse=True)
def _forget():
    """Forget what a test registers."""
    before = [dict(table) for table in (activations.CUSTOM, losses.CUSTOM)]
    yield
    for table, kept in zip((activations.CUSTOM, losses.CUSTOM), before, strict=True):
        table.clear()
        table.update(kept)


def squareplus():
    root = np.sqrt

    @register.activation(derivative=lambda z: half(1 + z / root(z * z + FACTOR)))
    def squareplus(z):
        return half(z + np.sqrt(z * z + FACTOR))

    return squareplus


def branched():
    @register.activation(derivative=lambda z: 1.0 if z > 0 else math.exp(z))
    def branched(z):
        if z > 0:
            return z
        return math.exp(z) - 1

    return branched


def clipped():
    @register.activation(derivative=lambda z: np.where(abs(z) < 1.505, 1, 0))
    def clipped(z):
        return np.clip(z, -1.505, 1.505)

    return clipped


def rectified_sine():
    def slope(z):
        return 0.5 * np.cos(z) + np.maximum(z, 0) / np.absolute(z)

    @register.activation(derivative=slope)
    def rectified_sine(z):
        return 0.5 * np.sin(z) + np.maximum(z, 0.0)

    return rectified_sine


def log_cosh():
    @register.loss(derivative=lambda z, t: np.tanh(z - t))
    def log_cosh(z, t):
        return np.log(np.cosh(z - t))

    return log_cosh


def focal():
    @register.loss(
        derivative=lambda z, t: 2 * (t - 1 / (1 + np.exp(-z))) * -1.0,
        heads=("sigmoid",),
        targets="probabilities",
    )
    def focal(z, t):
        return 2 * (np.logaddexp(0.0, z) - t * z)

    return focal


@pytest.mark.parametrize("make", [squareplus, branched, clipped, rectified_sine])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_activation_is_that_of_the_reference(cuda, make, dtype):
    described = Described([fn.Dense(3, make()), fn.Dense(2)], 2, losses.MeanSquaredError())
    ours, theirs = (networks.compile_network(described, b, dtype) for b in (cuda, REFERENCE))
    batch = networks.random_batch(ours.program, 4, dtype)
    for got, want in zip(
        networks.gradient_of(ours, batch), networks.gradient_of(theirs, batch), strict=True
    ):
        close(got, want, tolerance.PASS[dtype])


@pytest.mark.parametrize("make", [log_cosh, focal])
def test_a_loss_is_that_of_the_reference(cuda, make):
    head = "sigmoid" if make is focal else "tanh"
    described = Described([fn.Dense(2, squareplus()), fn.Dense(2, head)], 2, make())
    ours, theirs = (Walk(described, b, Adam(0.01), "float64") for b in (cuda, REFERENCE))
    for walk in (ours, theirs):
        assert walk.steps(2, np.array([4, 0, 2])) == 2
    for got, want in zip(ours.all(), theirs.all(), strict=True):
        close(got, want, tolerance.TRAJECTORY["float64"])
    assert np.isnan(ours.hits[0]) == (make is log_cosh)


def test_what_is_defined_later_is_for_networks_that_are_made_later(cuda):
    described = Described([fn.Dense(2, squareplus()), fn.Dense(1)], 2, losses.Huber())
    first = networks.compile_network(described, cuda)
    X = networks.random_batch(first.program, 3).X
    before = networks.predict(first, X)

    @register.activation(derivative=lambda z: 2.0 * z)
    def squareplus_(z):
        return z * z

    activations.CUSTOM["squareplus"] = activations.CUSTOM["squareplus_"]
    second = networks.compile_network(described, cuda)
    assert (networks.predict(first, X) == before).all()
    assert (networks.predict(second, X) != before).any()


def test_what_cannot_be_compiled_is_named_with_its_line(cuda):
    @register.activation(derivative=lambda z: 1 + 0 * z)
    def listed(z):
        return z + len({"a": [1]}) - 1

    with pytest.raises(CompilationError, match="listed") as told:
        networks.compile_network(
            Described([fn.Dense(2, listed), fn.Dense(1)], 2, losses.Huber()), cuda
        )
    assert "reference" in str(told.value)


def test_infinity_out_of_a_custom_function_is_a_divergence(cuda):
    @register.activation(derivative=lambda z: np.where(z > 100, np.inf, 1.0))
    def explodes(z):
        return np.where(z > 100, np.inf, z)

    described = Described([fn.Dense(2, explodes), fn.Dense(1)], 2, losses.Huber())
    walk = Walk(described, cuda, Adam(0.01), "float32", weighted=False)
    before = walk.executable.parameters.copy()
    walk.batch.X[...] = 1e6
    assert walk.steps(1, None, 5) == 0
    assert walk.executable.parameters.tobytes() == before.tobytes()
