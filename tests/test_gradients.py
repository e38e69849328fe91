"""Gradients of whole networks against central differences of their loss, in float64.

Every element of the parameters and of the inputs, for every layer, activation and loss, and for
random networks. The differences are of fourth order, and know by themselves when they straddle a
kink: then those of two widths disagree, and both get narrower.
"""

import networks
import numpy as np
import pytest
import tolerance
from networks import Described, fn, losses

from fastnn.activations import FORMULAS, ActivationFunction
from fastnn.backends import get
from fastnn.program.kernels import KERNELS

WIDTHS = (2e-3, 2e-4, 2e-5)
AGREED = tolerance.GRADIENT / 4
MSE = losses.MeanSquaredError()


def difference(loss, vector, n, h):
    """Return two central differences of fourth order in one element, over 4 h and over 2 h."""
    middle, slopes = vector[n], []
    for step in (2 * h, h, h / 2):
        vector[n] = middle + step
        above = loss()
        vector[n] = middle - step
        slopes.append((above - loss()) / (2 * step))
    vector[n] = middle
    return (4 * slopes[1] - slopes[0]) / 3, (4 * slopes[2] - slopes[1]) / 3


def differences(loss, vector, elements, scale):
    """Return the gradient of a loss in some elements of a vector."""
    gradient = np.zeros(len(vector))
    for n in elements:
        for h in WIDTHS:
            wide, gradient[n] = difference(loss, vector, n, h)
            if abs(wide - gradient[n]) <= AGREED * max(scale, abs(gradient[n])):
                break
        else:
            raise AssertionError(f"element {n} sits on a kink: choose another point")
    return gradient


def check(executable, batch, **told):
    """Hold the gradients of a batch against differences of its loss."""
    _, gradient, input_gradient = networks.gradient_of(executable, batch, **told)
    beside = networks.padding(executable.program)
    assert not gradient[beside].any(), "the gradient of padding is not 0"

    def loss():
        return executable.loss_and_gradient(batch, None, **told)

    X = batch.X.reshape(-1)
    for name, got, vector, elements in (
        ("parameters", gradient, executable.parameters, np.flatnonzero(~beside)),
        ("inputs", input_gradient.reshape(-1), X, range(X.size)),
    ):
        scale = tolerance.GRADIENT_SHARE * max(np.abs(got).max(initial=0), 1e-3)
        want = differences(loss, vector, elements, scale)
        error = np.abs(got - want) / np.maximum(np.abs(want), scale)
        worst = int(np.argmax(error))
        assert error[worst] <= tolerance.GRADIENT, (
            f"d loss / d {name}[{worst}] is {got[worst]!r}, the difference {want[worst]!r}"
        )


def check_network(backend, described, rows=4, seed=0, training=False, **batch):
    executable = networks.compile_network(described, backend, seed=seed)
    check(
        executable,
        networks.random_batch(executable.program, rows, seed=seed, **batch),
        training=training,
        seed=3,
        step=4,
    )


def after(layer, width=3):
    """Return a network with a layer between two that are sound."""
    return Described([fn.Dense(width, "tanh"), layer, fn.Dense(2)], 3, MSE)


# -- activations ---------------------------------------------------------------------------------

CONSTANTS = {"leaky_relu": 0.2, "elu": 0.7, "silu": 1.7}
ACTIVATIONS = [
    *map(ActivationFunction, (*FORMULAS, "softmax")),
    *(ActivationFunction(name, constant) for name, constant in CONSTANTS.items()),
]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_the_gradient_of_every_activation(backend, activation):
    check_network(backend, after(fn.Dense(4, activation)))
    check_network(backend, after(fn.Activation(activation)))


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=str)
def test_the_gradient_of_every_activation_as_the_head_of_a_loss_on_outputs(backend, activation):
    check_network(backend, Described([fn.Dense(3, activation)], 3, MSE))


# -- layers --------------------------------------------------------------------------------------

SOUND = fn.Dense(3, "sine")
LAYERS = {
    "dense": fn.Dense(4),
    "dense without bias": fn.Dense(4, use_bias=False),
    **{kind: fn.Gated(4, kind) for kind in fn.GATES},
    "gate without bias": fn.Gated(4, "swiglu", use_bias=False),
    "layer norm": fn.LayerNorm(),
    "batch norm": fn.BatchNorm(),
    "residual": fn.Residual([SOUND]),
    "residual of two": fn.Residual([fn.Dense(5, "gelu"), SOUND]),
    "residual in residual": fn.Residual([fn.Residual([SOUND]), fn.LayerNorm()]),
    "residual of nothing": fn.Residual([fn.Activation("identity")]),  # x + x
    "concat": fn.Concat([SOUND]),
    "concat of nothing": fn.Concat([fn.Activation("identity")]),
    "concat in concat": fn.Concat([fn.Concat([SOUND]), fn.Dense(2, "mish")]),
    "gate in residual": fn.Residual([fn.Gated(3, "swiglu")]),
    "concat in residual": fn.Residual([fn.Concat([SOUND]), fn.Dense(3)]),
    "gate behind concat": fn.Concat([fn.Gated(2, "geglu"), fn.LayerNorm()]),
    "columns at the left": fn.Columns(0, 2, [SOUND]),
    "columns in the middle": fn.Columns(1, 2, [fn.Dense(4, use_bias=False)]),
    "columns at the right": fn.Columns(1, 3, [SOUND, fn.Activation("tanh")]),
    "all columns": fn.Columns(0, 3, [SOUND]),
    "columns of nothing": fn.Columns(1, 3, [fn.Activation("identity")]),
    "columns in columns": fn.Columns(0, 2, [fn.Columns(1, 2, [SOUND]), fn.LayerNorm()]),
    "columns in residual": fn.Residual([fn.Columns(1, 3, [fn.Dense(2, "mish")])]),
    "columns in concat": fn.Concat([fn.Columns(0, 1, [fn.Gated(2, "glu")])]),
    "residual in columns": fn.Columns(1, 2, [fn.Residual([fn.Dense(1, "sine")]), fn.BatchNorm()]),
    "batch norm in residual": fn.Residual([fn.BatchNorm(), SOUND, fn.BatchNorm()]),
}
MODES = pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])


@MODES
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_gradient_of_every_layer(backend, layer, training):
    check_network(backend, after(layer), rows=5, training=training)


@MODES
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_the_gradient_of_every_layer_at_the_input(backend, layer, training):
    check_network(backend, Described([layer, fn.Dense(2)], 3, MSE), rows=5, training=training)


@pytest.mark.parametrize("rate", [0.0, 0.3, 0.8])
def test_the_gradient_through_dropout_uses_the_mask_of_the_forward_pass(backend, rate):
    layers = [fn.Dropout(rate), fn.Residual([fn.Dropout(rate), fn.Dense(6, "tanh")]), fn.Dense(2)]
    check_network(backend, Described(layers, 6, MSE), rows=7, training=True)


@pytest.mark.parametrize(
    "penalty",
    [{"l1": 0.3}, {"l2": 0.3}, {"l1": 0.1, "l2": 0.2, "regularize_bias": True}],
    ids=lambda penalty: " ".join(penalty),
)
@pytest.mark.parametrize("kind", [fn.Dense, fn.Gated], ids=["dense", "gated"])
@pytest.mark.parametrize("per_row", [False, True], ids=["", "per row"])
@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
def test_the_gradient_of_a_penalty(backend, kind, penalty, per_row, weighted):
    layer = kind(4, **penalty, penalty_per_row=per_row)
    check_network(backend, after(layer), weighted=weighted)


def test_input_gradients_do_not_feel_penalties(backend):
    with_penalty, without = (
        networks.compile_network(Described([fn.Dense(4, l2=l2)], 3, MSE), backend)
        for l2 in (0.5, 0.0)
    )
    batch = networks.random_batch(without.program, 5)
    got, want = (networks.gradient_of(e, batch)[2] for e in (with_penalty, without))
    assert (got == want).all()


# -- losses --------------------------------------------------------------------------------------

ON_OUTPUTS = [MSE, losses.MeanAbsoluteError(), losses.Huber(), losses.Huber(0.3)]
ON_OUTPUTS += [losses.Quantile(), losses.Quantile(0.9)]
ON_SCORES = [
    ("softmax", losses.CrossEntropy()),
    ("softmax", losses.CrossEntropy(0.2)),
    ("identity", losses.CrossEntropy()),
    ("sigmoid", losses.BinaryCrossEntropy()),
    ("identity", losses.BinaryCrossEntropy()),
    ("exp", losses.Poisson()),
    ("identity", losses.Poisson()),
    ("identity", losses.Hinge()),
]
PAIRS = [*(("identity", loss) for loss in ON_OUTPUTS), *(("tanh", loss) for loss in ON_OUTPUTS)]


@pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
@pytest.mark.parametrize(("head", "loss"), [*PAIRS, *ON_SCORES], ids=str)
def test_the_gradient_of_every_loss(backend, head, loss, weighted):
    described = Described([fn.Dense(4, "tanh"), fn.Dense(3, head)], 3, loss)
    for labels in {True, loss.targets != "classes"}:
        check_network(backend, described, rows=6, weighted=weighted, labels=labels)


def test_rows_of_weight_0_have_no_gradient(backend):
    executable = networks.compile_network(after(SOUND), backend)
    batch = networks.random_batch(executable.program, 7, weighted=True)
    input_gradient = networks.gradient_of(executable, batch)[2]
    assert (input_gradient.any(axis=1) == (batch.weight > 0)).all()


# -- whole networks ------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_the_gradient_of_a_random_network(backend, seed):
    check_network(
        backend,
        networks.random_network(seed),
        rows=3,
        seed=seed,
        training=True,
        weighted=seed % 2 == 0,
        labels=seed % 4 < 2,
    )


def test_what_is_not_wanted_is_not_needed(backend):
    executable = networks.compile_network(networks.random_network(5), backend)
    batch = networks.random_batch(executable.program, 4)
    loss, gradient, input_gradient = networks.gradient_of(executable, batch)
    alone, alone_input = np.full_like(gradient, np.nan), np.full_like(input_gradient, np.nan)
    assert executable.loss_and_gradient(batch, alone) == loss
    assert executable.loss_and_gradient(batch, None, alone_input) == loss
    assert (alone == gradient).all()
    assert (alone_input == input_gradient).all()


# -- the check itself ----------------------------------------------------------------------------

BACKWARD = [name for name in KERNELS if "backward" in name]
EVERYTHING = Described(
    [
        fn.Dense(3, "tanh"),
        fn.LayerNorm(),
        fn.Gated(3, "swiglu"),
        fn.BatchNorm(),
        fn.Activation("softmax"),
        fn.Dropout(0.3),
        fn.Dense(2, l2=0.1),
    ],
    3,
    losses.CrossEntropy(),
)


@pytest.mark.parametrize("name", [*BACKWARD, "penalty", "loss_labels"])
def test_a_slightly_wrong_backward_pass_is_found(monkeypatch, name):
    backend = get("reference")
    check_network(backend, EVERYTHING, training=True)
    sound = getattr(backend.kernels, name)
    position = [a.name for a in KERNELS[name].arguments if a.role != "in"]
    told = "dZ" if "dZ" in position else position[0]
    place = [a.name for a in KERNELS[name].arguments].index(told)

    def wrong(*arguments):
        returned = sound(*arguments)
        if arguments[place] is not None:
            arguments[place].flat[0] *= 1 + 1e-6
        return returned

    monkeypatch.setattr(backend.kernels, name, wrong)
    with pytest.raises(AssertionError):
        check_network(backend, EVERYTHING, training=True)
