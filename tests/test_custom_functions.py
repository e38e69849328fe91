"""Activations and losses of one's own: registered, checked, and run by every backend."""

import copy
import pickle
import sys

import numpy as np
import pytest
import tolerance
from own_functions import forget, register

import fastnn as fn
from fastnn import activations, backends
from fastnn.errors import BackendUnavailable, CompilationError, DivergenceError, ModelFileError

DTYPES = pytest.mark.parametrize("dtype", ["float32", "float64"])
RNG = np.random.default_rng(0)
X = RNG.normal(size=(70, 5))
VALUES = np.sin(X[:, :1]) + X[:, 1:2]
# By the name of a loss: what is trained on, and the output activation.
LOSSES = {
    "log_cosh": (VALUES, None),
    "my_squares": (VALUES, "tanh"),
    "my_binary": ((VALUES > 0).astype(float), "sigmoid"),
    "my_hinge": (np.sign(VALUES), None),
}
ORIGINALS = {
    "my_tanh": "tanh",
    "my_relu": "relu",
    "my_gelu": "gelu",
    "my_squares": "mse",
    "my_binary": "binary_cross_entropy",
    "my_hinge": "hinge",
}


@pytest.fixture(autouse=True)
def _forget():
    """Let every test begin without any function of its own."""
    forget()
    yield
    forget()


def network(activation, loss="mse", output=None, backend="auto", **told):
    told = {"seed": 1, "threads": 1, **told}
    layers = [
        fn.Dense(9, activation),
        fn.Dropout(0.2),
        fn.Residual([fn.Activation(activation), fn.Dense(9)]),
        fn.Dense(1, output),
    ]
    return fn.Network(layers, input_size=5, loss=loss, backend=backend, **told)


def train(net, y=VALUES, **told):
    weight = np.linspace(0.5, 2, len(X))
    told = {"epochs": 2, "batch_size": 16, "sample_weight": weight, "progress": False, **told}
    return net.fit(X, y, **told)


# -- what runs -----------------------------------------------------------------------------------


@DTYPES
@pytest.mark.parametrize("name", ["my_tanh", "my_relu", "my_gelu"])
def test_a_copy_of_an_activation_trains_as_the_original_does(backend, name, dtype):
    (own,) = register(name)
    described = (ORIGINALS[name], own, name)
    nets = [network(one, backend=backend.name, dtype=dtype) for one in described]
    for net in nets:  # the first weights go by the activation; these are to begin with the same
        net.parameters["0.weight"][...] = nets[0].parameters["0.weight"]
    for net in nets:
        train(net)
    original, *copies = (net.predict(X) for net in nets)
    assert (copies[0] == copies[1]).all()
    np.testing.assert_allclose(copies[0], original, rtol=0, atol=5 * tolerance.PASS[dtype])


@DTYPES
@pytest.mark.parametrize("name", ["my_squares", "my_binary", "my_hinge"])
def test_a_copy_of_a_loss_trains_as_the_original_does(backend, name, dtype):
    (own,) = register(name)
    y, output = LOSSES[name]
    nets, told = [], []
    for loss in (ORIGINALS[name], own, name):
        nets.append(network("tanh", loss, output, backend.name, dtype=dtype))
        told.append((train(nets[-1], y), nets[-1].evaluate(X, y)))
    assert told[0][1].keys() == told[1][1].keys()
    for history, evaluated in told[1:]:
        for key, values in told[0][0].items():
            np.testing.assert_allclose(history[key], values, rtol=tolerance.TRAJECTORY[dtype])
        for key, value in told[0][1].items():
            np.testing.assert_allclose(evaluated[key], value, rtol=tolerance.TRAJECTORY[dtype])
    want = nets[0].predict(X)
    np.testing.assert_allclose(nets[1].predict(X), want, rtol=0, atol=5 * tolerance.PASS[dtype])


@DTYPES
@pytest.mark.parametrize("loss", LOSSES)
def test_every_backend_agrees_with_the_reference(backend, loss, dtype):
    register("squareplus", loss)
    y, output = LOSSES[loss]
    nets = [
        network("squareplus", loss, output, name, dtype=dtype)
        for name in ("reference", backend.name)
    ]
    (want, gradients), (got, own) = (net.loss_and_gradients(X, y, training=True) for net in nets)
    assert got == pytest.approx(want, rel=tolerance.PASS[dtype])
    for name, gradient in gradients.items():
        bound = tolerance.PASS[dtype] * np.abs(gradient).max()
        np.testing.assert_allclose(own[name], gradient, rtol=0, atol=bound)
    for net in nets:
        train(net, y)
    want = nets[0].predict(X)
    np.testing.assert_allclose(nets[1].predict(X), want, rtol=0, atol=5 * tolerance.PASS[dtype])


@pytest.mark.parametrize("loss", ["log_cosh", "my_binary"])
def test_gradients_are_those_of_differences(backend, loss):
    register("squareplus", "my_gelu", loss)
    y, output = LOSSES[loss]
    layers = [fn.Dense(4, "squareplus"), fn.Dense(3, "my_gelu"), fn.Dense(1, output)]
    net = fn.Network(layers, input_size=5, loss=loss, backend=backend.name, dtype="float64", seed=3)
    _, gradients = net.loss_and_gradients(X, y)
    rng, h = np.random.default_rng(5), 1e-5
    for name, gradient in gradients.items():
        direction, weight = rng.normal(size=gradient.shape), net.parameters[name]
        before, values = weight.copy(), []
        for step in (h, -h):
            weight[...] = before + step * direction
            values.append(net.loss_and_gradients(X, y)[0])
        weight[...] = before
        slope = (values[0] - values[1]) / (2 * h)
        assert slope == pytest.approx((gradient * direction).sum(), rel=1e-6, abs=1e-9), name


def test_the_bits_are_the_same_for_any_number_of_threads(compiled):
    register("squareplus", "log_cosh")
    told = {}
    for threads in (1, 2, 3, 5):
        net = network("squareplus", "log_cosh", backend=compiled.name, threads=threads)
        history = train(net, batch_size=64)
        told[threads] = history["loss"], net.predict(X).tobytes()
    assert all(other == told[1] for other in told.values())


@DTYPES
def test_it_may_be_the_output_activation(backend, dtype):
    register("squareplus")
    net = fn.Network([fn.Dense(1, "squareplus")], input_size=5, backend=backend.name, dtype=dtype)
    linear = X.astype(dtype) @ net.parameters["0.weight"] + net.parameters["0.bias"]
    want = (linear + np.sqrt(linear**2 + 4)) / 2
    np.testing.assert_allclose(net.predict(X), want, rtol=1e-5)


def test_what_is_not_finite_ends_training_as_a_divergence(backend):
    @fn.activation(derivative=lambda z: 2.0 if z < 50 else 0.0)
    def breaks(z):
        return 2.0 * z if z < 50 else np.inf

    net = fn.Network([fn.Dense(3, "breaks"), fn.Dense(1)], input_size=5, backend=backend.name)
    kept = net.parameters_vector.copy()
    with pytest.raises(DivergenceError):
        net.fit(1e4 * X, VALUES, progress=False)
    assert (net.parameters_vector == kept).all()


def test_a_network_keeps_the_function_that_it_was_made_with(backend):
    register("squareplus")
    net = network("squareplus", backend=backend.name)
    before = net.predict(X)

    @fn.activation(derivative=lambda z: np.cos(z))
    def squareplus(z):
        return np.sin(z)

    assert (net.predict(X) == before).all()
    assert (network("squareplus", backend=backend.name).predict(X) != before).any()


def test_an_activation_can_be_called():
    (own,) = register("squareplus")
    z = np.array([[-1.0, 0.0, 3.0]])
    assert (own(z) == (z + np.sqrt(z * z + 4)) / 2).all()
    assert own(np.float32(2)).dtype == np.float32
    assert float(activations.get("softmax")([1.0, 1.0])[0]) == 0.5


# -- files and copies ----------------------------------------------------------------------------


def test_a_file_holds_the_names(tmp_path):
    register("squareplus", "log_cosh")
    net = network("squareplus", "log_cosh")
    train(net)
    net.save(tmp_path / "net.fnn")
    assert (fn.Network.load(tmp_path / "net.fnn").predict(X) == net.predict(X)).all()
    forget()
    with pytest.raises(ModelFileError, match=r"'squareplus'.*register .* by @fastnn\.activation"):
        fn.Network.load(tmp_path / "net.fnn")
    register("squareplus")
    with pytest.raises(ModelFileError, match=r"loss 'log_cosh'.*register .* by @fastnn\.loss"):
        fn.Network.load(tmp_path / "net.fnn")


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))])
def test_copies_predict_alike(backend, again):
    register("squareplus", "log_cosh")
    net = network("squareplus", "log_cosh", backend=backend.name)
    train(net)
    other = again(net)
    assert (other.predict(X) == net.predict(X)).all()
    assert train(other)["loss"] == train(net)["loss"]


def test_a_summary_shows_the_names():
    register("squareplus", "log_cosh")
    text = str(network("squareplus", "log_cosh"))
    assert "squareplus" in text
    assert "log_cosh" in text


# -- what is refused -----------------------------------------------------------------------------


def cube(z):
    return z**3


@pytest.mark.parametrize(
    ("derivative", "error", "sentence"),
    [
        (lambda z: 3 * z, ValueError, r"derivative of cube is wrong: at z = \S+ it gives .* rises"),
        # Right on one side of a kink alone.
        (lambda z: 3 * z * z if z > 0 else 0.0, ValueError, "derivative of cube is wrong"),
        (lambda z: np.log(z), ValueError, "the derivative of cube is nan at z = -40.0073"),
        (lambda z, t: z, TypeError, "cannot be called on 1 number"),
        (lambda z: "x", TypeError, "cannot be called on 1 number and return one"),
        (lambda z: 1 / 0, TypeError, "ZeroDivisionError"),
        (None, TypeError, r"derivative must be a function of \(z\), not None"),
    ],
)
def test_a_derivative_that_is_none_is_refused(derivative, error, sentence):
    with pytest.raises(error, match=sentence):
        fn.activation(derivative=derivative)(cube)
    assert not activations.CUSTOM


@pytest.mark.parametrize("decorator", ["activation", "loss"])
def test_a_decorator_without_a_derivative_says_what_to_write(decorator):
    with pytest.raises(TypeError, match=rf"write @fn\.{decorator}\(derivative=\.\.\.\)"):
        getattr(fn, decorator)(cube)
    with pytest.raises(TypeError, match="derivative must be a function of"):
        getattr(fn, decorator)()


def test_the_worst_point_is_named():
    with pytest.raises(ValueError, match=r"at z = (2\.9|3\.0)\d* it gives 1\.5"):

        @fn.activation(derivative=lambda z: 1.0 if abs(z - 3) > 0.1 else 1.5)
        def line(z):
            return 1.0 * z


def named(name):
    def function(z):
        return 1.0 * z

    function.__name__ = name
    return function


@pytest.mark.parametrize("name", ["relu", "swish", "softmax"])
def test_the_name_of_another_activation_is_refused(name):
    with pytest.raises(ValueError, match=f"there is an activation called '{name}' already"):
        fn.activation(derivative=lambda z: 1.0)(named(name))


@pytest.mark.parametrize("function", [lambda z: z, 3, np.tanh, None])
def test_what_has_no_name_is_refused(function):
    with pytest.raises(TypeError, match="is a function made with def"):
        fn.activation(derivative=lambda z: 1.0)(function)


@pytest.mark.parametrize(
    ("told", "error", "sentence"),
    [
        ({"heads": "sigmoid"}, TypeError, "heads must be a tuple of names"),
        ({"heads": ("tanh",)}, ValueError, "heads must be of softmax, sigmoid"),
        ({"targets": "classes"}, ValueError, "targets must be one of values"),
        ({"derivative": lambda z, t: z}, ValueError, r"wrong: at z = \S+, t = \S+ it gives"),
        ({"derivative": lambda z: z}, TypeError, "cannot be called on 2 numbers"),
    ],
)
def test_a_loss_that_makes_no_sense_is_refused(told, error, sentence):
    with pytest.raises(error, match=sentence):

        @fn.loss(**{"derivative": lambda z, t: 2 * (z - t), **told})
        def squares(z, t):
            return (z - t) ** 2


def test_the_name_of_another_loss_is_refused():
    def mse(z, t):
        return (z - t) ** 2

    with pytest.raises(ValueError, match="there is a loss called 'mse' already"):
        fn.loss(derivative=lambda z, t: 2 * (z - t))(mse)


def test_a_loss_is_held_to_its_heads(backend):
    register("my_binary")
    with pytest.raises(ValueError, match="goes with the output activations sigmoid, identity"):
        network("tanh", "my_binary", "tanh", backend.name)


def test_an_unknown_name_is_answered_with_those_of_ones_own():
    register("squareplus", "log_cosh")
    with pytest.raises(ValueError, match=r"did you mean 'squareplus'.*fastnn\.activation"):
        fn.Dense(3, "squarepluss")
    with pytest.raises(ValueError, match=r"did you mean 'log_cosh'.*fastnn\.loss"):
        network("tanh", "log_cosch")


# -- without a compiler --------------------------------------------------------------------------


@pytest.mark.skipif("native" not in backends.available(), reason="there is no native backend")
def test_without_numba_the_reference_runs_and_native_says_what_is_missing(monkeypatch):
    register("squareplus")
    for name in [name for name in sys.modules if name.startswith("fastnn.backends.jit")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delattr("fastnn.backends.jit", raising=False)
    monkeypatch.setitem(sys.modules, "numba", None)
    with pytest.raises(
        BackendUnavailable, match=r"\(squareplus\).*fastnn-core\[numba\].*reference"
    ):
        network("squareplus", backend="native")
    train(network("squareplus", backend="reference"))


def test_what_cannot_be_compiled_runs_on_the_reference(backend):
    numbers = {"two": 2.0}

    @fn.activation(derivative=lambda z: numbers.get("two"))
    def double(z):
        return numbers.get("two") * z

    if backend.name == "reference":
        train(network("double", backend="reference"))
        return
    with pytest.raises(CompilationError, match=r"double.*numbers.*reference"):
        network("double", backend=backend.name)
