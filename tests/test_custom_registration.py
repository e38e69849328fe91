"""What registering a function of one's own looks at, and what the reference makes of it."""

import math
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import tolerance
from own_functions import forget, register

import fastnn as fn
from fastnn import activations, backends, losses
from fastnn.errors import ModelFileError
from fastnn.initializers import resolve

RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(40, 3)), RNG.normal(size=(40, 1))


@pytest.fixture(autouse=True)
def _forget():
    """Let every test begin without any function of its own."""
    forget()
    yield
    forget()


def network(activation, loss="mse", **told):
    layers = [fn.Dense(6, activation), fn.Dense(1)]
    return fn.Network(layers, input_size=3, loss=loss, backend="reference", **told)


# Kinks and jumps at round places, and at others.
@pytest.mark.parametrize("kink", [0.0, 0.5, -3.0, 1 / 3, math.sqrt(2), math.e, 0.0073, 0.0074])
@pytest.mark.parametrize("left", [0.0, 0.01, -1.0])
def test_a_kink_is_no_error_and_a_wrong_side_is_one(kink, left):
    def bent(z):
        return z - kink if z > kink else left * (z - kink)

    fn.activation(derivative=lambda z: 1.0 if z > kink else left)(bent)
    for wrong in (
        lambda z: 1.0 if z > kink else left + 0.001,
        lambda z: 1.001 if z > kink else left,
        lambda z: 1.0 if z > kink + 0.05 else left,
    ):
        with pytest.raises(ValueError, match="the derivative of bent is wrong"):
            fn.activation(derivative=wrong)(bent)


def test_a_step_may_jump():
    @fn.activation(derivative=lambda z: 0.0 * z)
    def stairs(z):
        return np.floor(z)

    assert stairs([1.5, -0.5]).tolist() == [1.0, -1.0]


def test_what_is_refused_leaves_the_one_before():
    (own,) = register("squareplus")
    before = activations.CUSTOM["squareplus"]

    def squareplus(z):
        return z * z

    with pytest.raises(ValueError, match="is wrong"):
        fn.activation(derivative=lambda z: z)(squareplus)
    assert activations.CUSTOM["squareplus"] is before
    assert float(own(0.0)) == 1.0


def test_a_function_that_changes_its_argument_changes_no_score():
    @fn.activation(derivative=lambda z: 2.0)
    def twice(z):
        z *= 2.0
        return z

    z = np.array([[1.0, 2.0]])
    assert twice(z).tolist() == [[2.0, 4.0]]
    assert z.tolist() == [[1.0, 2.0]]
    (other,) = register("squareplus")  # held against the same grid
    assert float(other(0.0)) == 1.0


def test_what_sums_over_an_array_is_called_on_numbers():
    @fn.activation(derivative=lambda z: np.ones_like(z).sum())
    def total(z):
        return np.sum(z)

    assert total(np.ones((2, 3))).tolist() == [[1.0] * 3] * 2


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["squareplus", "my_relu", "my_gelu"])
def test_the_type_and_the_shape_stay(name, dtype):
    (own,) = register(name)
    for shape in [(), (0,), (3,), (2, 3), (0, 4)]:
        values = own(np.ones(shape, dtype))
        assert np.shape(values) == shape
        assert values.dtype == dtype


def test_an_exception_at_registration_tells_where():
    with pytest.raises(TypeError, match=r"one: ValueError at -40\.0073: \w+"):

        @fn.activation(derivative=lambda z: 0.5 / math.sqrt(z))
        def root(z):
            return math.sqrt(z)


# What Python raises is what compiled code computes as infinite or NaN.
def test_an_exception_while_it_runs_is_no_number():
    @fn.activation(derivative=lambda z: math.exp(z))
    def grows(z):
        return math.exp(z)

    assert np.isnan(grows([1000.0, 0.0])).tolist() == [True, False]
    net = network("grows")
    with pytest.raises(fn.errors.DivergenceError):
        net.fit(1e5 * X, Y, progress=False)


def test_other_exceptions_are_seen():
    broken = []

    @fn.activation(derivative=lambda z: 1.0)
    def fragile(z):
        if broken:
            raise KeyError("gone")
        return 1.0 * z

    net = network("fragile")
    broken.append(True)
    with pytest.raises(KeyError, match="gone"):
        net.predict(X)


@pytest.mark.parametrize(
    ("name", "scheme"),
    [
        ("my_relu", "he_uniform"),
        ("my_gelu", "he_uniform"),
        ("squareplus", "he_uniform"),
        ("my_tanh", "glorot_uniform"),
    ],
)
def test_weights_before_what_rectifies_begin_as_before_relu(name, scheme):
    register(name)
    assert resolve("auto", name) == scheme
    assert network(name).program.parameters[0].initializer == scheme
    assert resolve("zeros", name) == "zeros"


def test_a_copy_begins_with_the_weights_of_the_original():
    register("my_relu")
    assert (network("my_relu").parameters_vector == network("relu").parameters_vector).all()


def test_a_loss_of_probabilities_acts_on_raw_scores():
    with pytest.raises(ValueError, match=r"raw scores.*heads=\('sigmoid', 'identity'\)"):
        fn.loss(derivative=lambda z, t: z, targets="probabilities")


def test_a_loss_of_counts_on_the_outputs_may_take_their_logarithm():
    @fn.loss(derivative=lambda z, t: 1 - t / z, targets="counts")
    def rates(z, t):
        return z - t * math.log(z)

    net = network("softplus", "rates")
    with pytest.raises(ValueError, match=r"y must be at least 0 for rates, got -1\.0"):
        net.fit(X, -np.ones(40), progress=False)


def test_a_loss_of_signs_says_its_name():
    register("my_hinge")
    net = network("tanh", "my_hinge")
    with pytest.raises(ValueError, match="y must hold -1 and 1, or 0 and 1, for my_hinge, got 3"):
        net.fit(X, np.full(40, 3.0), progress=False)


def test_a_file_says_what_to_register(tmp_path):
    register("squareplus", "log_cosh")
    network("squareplus", "log_cosh").save(tmp_path / "net.fnn")
    text = (tmp_path / "net.fnn").read_bytes()[:4000].decode("latin1")
    assert "squareplus" in text
    assert "sqrt" not in text
    del activations.CUSTOM["squareplus"]
    sentence = (
        "net.fnn' uses the activation 'squareplus', which is not known here: register it by "
        "@fastnn.activation as where the network was made, then load again"
    )
    with pytest.raises(ModelFileError, match=re.escape(sentence)):
        fn.Network.load(tmp_path / "net.fnn")
    register("squareplus")
    del losses.CUSTOM["log_cosh"]
    with pytest.raises(ModelFileError, match="uses the loss 'log_cosh', which is not known here"):
        fn.Network.load(tmp_path / "net.fnn")


def test_a_pickle_says_what_to_register():
    register("squareplus", "log_cosh")
    pickled = pickle.dumps(network("squareplus")), pickle.dumps(network("relu", "log_cosh"))
    activations.CUSTOM.clear()
    losses.CUSTOM.clear()
    for data, word in zip(pickled, ("activation", "loss"), strict=True):
        with pytest.raises(ValueError, match=rf"register .* by @fastnn\.{word}"):
            pickle.loads(data)


# In places where the gradient of its input is set, and where it is added to; beside batch norms;
# in callbacks that save, load and take back.
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_own_functions_go_where_the_others_go(backend, dtype, tmp_path):
    register("squareplus", "my_gelu", "my_relu", "log_cosh")
    layers = [
        fn.Concat([fn.Dense(4, "squareplus"), fn.Activation("my_gelu")]),
        fn.BatchNorm(),
        fn.Residual([fn.Activation("my_relu")]),
        fn.Dense(1),
    ]
    told = {}
    for name in dict.fromkeys(("reference", backend.name)):
        net = fn.Network(
            layers, input_size=3, loss="log_cosh", backend=name, dtype=dtype, optimizer=fn.SGD(0.1)
        )
        path = tmp_path / f"{name}.fnn"
        callbacks = [
            fn.EarlyStopping(patience=1, restore_best=True),
            fn.ModelCheckpoint(path, best=True),
        ]
        net.fit(
            X, Y, epochs=4, batch_size=16, validation_data=0.25, callbacks=callbacks, progress=False
        )
        kept = fn.Network.load(path, backend=name)
        assert (kept.predict(X) == net.predict(X)).all()
        told[name] = net.predict(X), net.input_gradients(X, Y)
    for got, want in zip(told[backend.name], told["reference"], strict=True):
        bound = 5 * tolerance.PASS[dtype] * np.abs(want).max()
        np.testing.assert_allclose(got, want, rtol=0, atol=bound)


@pytest.mark.skipif("native" not in backends.available(), reason="there is no native backend")
def test_nothing_of_numba_is_imported_before_it_compiles():
    text = """
import sys
import fastnn as fn
@fn.activation(derivative=lambda z: 2.0)
def twice(z):
    return 2.0 * z
for activation in ("relu", "twice"):
    print("numba" in sys.modules)
    fn.Network([fn.Dense(2, activation), fn.Dense(1)], input_size=1, backend="native")
"""
    told = subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, check=True, timeout=120
    )
    assert told.stdout.split() == ["False", "False"]
