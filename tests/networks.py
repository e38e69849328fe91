"""Whole networks for tests: random lists of layers, compiled with drawn weights, and batches.

`forward` computes a network's scores from the layers alone, in the loops of `naive`, so that a
network that is laid out wrongly is found too.
"""

from dataclasses import dataclass

import naive
import numpy as np

from fastnn import layers as fn
from fastnn import losses
from fastnn.activations import FORMULAS, ActivationFunction
from fastnn.backends import Batch
from fastnn.program import lower

# -- lists of layers -----------------------------------------------------------------------------

SMOOTH = [name for name in FORMULAS if name != "heaviside"]


def hidden_layer(rng, kind, width, depth=1):
    """Return a layer of a kind for an input of some width, and the width behind it."""
    units = int(rng.integers(2, 6))
    penalty = {"l1": 0.02, "l2": 0.03} if rng.random() < 0.3 else {}
    penalty["penalty_per_row"] = units % 2 == 0
    if kind == "dense":
        bias = bool(rng.random() < 0.8)
        activation = str(rng.choice(SMOOTH))
        told = {"use_bias": bias, "regularize_bias": bool(rng.random() < 0.5), **penalty}
        return fn.Dense(units, activation, **told), units
    if kind in fn.GATES:
        return fn.Gated(units, kind, use_bias=bool(rng.random() < 0.8), **penalty), units
    if kind == "activation":
        return fn.Activation(str(rng.choice([*SMOOTH, "softmax"]))), width
    if kind == "dropout":
        return fn.Dropout(0.3), width
    if kind == "layer_norm":
        return fn.LayerNorm(0.1), width
    if kind == "batch_norm":
        return fn.BatchNorm(0.3, 0.1), width
    simple = KINDS[:-3] if depth > 2 else KINDS
    if kind == "columns":
        start = int(rng.integers(0, width))
        stop = int(rng.integers(start + 1, width + 1))
        inner, units = hidden_layer(rng, str(rng.choice(simple)), stop - start, depth + 1)
        return fn.Columns(start, stop, [inner]), width - stop + start + units
    inner, inner_width = hidden_layer(rng, str(rng.choice(simple)), width, depth + 1)
    if kind == "residual":
        return fn.Residual([inner, fn.Dense(width, "tanh")]), width
    return fn.Concat([inner]), width + inner_width


NORMS = ("layer_norm", "batch_norm")
KINDS = ("dense", *fn.GATES, "activation", "dropout", *NORMS, "residual", "concat", "columns")
LOSSES = (
    ("identity", losses.MeanSquaredError()),
    ("tanh", losses.Huber(0.7)),
    ("softmax", losses.CrossEntropy()),
    ("softmax", losses.CrossEntropy(0.1)),
    ("sigmoid", losses.BinaryCrossEntropy()),
    ("softplus", losses.MeanAbsoluteError()),
    ("exp", losses.Poisson()),
    ("identity", losses.Hinge()),
    ("sine", losses.Quantile(0.7)),
)


@dataclass
class Described:
    """A network in words."""

    layers: list
    inputs: int
    loss: losses.Loss


def random_network(seed):
    """Return a network of 1 to 6 layers; ten consecutive seeds have layers of every kind."""
    rng = np.random.default_rng(seed)
    inputs = width = int(rng.integers(2, 5))
    layers, depth = [], 1 + seed % 6
    for n in range(depth - 1):
        kind = KINDS[(seed + n) % len(KINDS)] if n < 3 else str(rng.choice(KINDS))
        layer, width = hidden_layer(rng, kind, width)
        layers.append(layer)
    head, loss = LOSSES[seed % len(LOSSES)]
    layers.append(fn.Dense(int(rng.integers(2, 4)), head))
    return Described(layers, inputs, loss)


# -- executables and batches ---------------------------------------------------------------------


def compile_network(network, backend, dtype="float64", threads=1, seed=0):
    """Return a network on a backend, with weights drawn the same for every backend and dtype."""
    program = lower(network.layers, network.inputs, network.loss)
    executable = backend.compile(program, np.dtype(dtype), threads)
    rng = np.random.default_rng(seed)
    for parameter in program.parameters:
        values = rng.normal(0, 1 / np.sqrt(parameter.fan[0]), parameter.shape)
        values += 0.1 * np.sign(values)  # away from 0, the kink of an l1 penalty
        if parameter.initializer == "ones":
            values = 1 + 0.3 * values
        executable.view(parameter)[...] = values
    for state in program.states:
        executable.state_view(state)[...] = state.initial + 0.3 * rng.uniform(-1, 1, state.length)
    return executable


def random_batch(program, rows, dtype="float64", seed=0, *, weighted=False, labels=True):
    """Return a batch for a network: labels or shares where its loss wants classes."""
    rng = np.random.default_rng([seed, 1])
    X = rng.normal(0, 1, (rows, program.inputs)).astype(dtype)
    shape = rows, program.outputs
    if program.loss.targets == "values":
        Y = rng.normal(0, 1, shape).astype(dtype)
    elif program.loss.targets == "counts":
        Y = rng.poisson(2.0, shape).astype(dtype)
    elif program.loss.targets == "signs":
        Y = rng.choice([-1, 1], shape).astype(dtype)
    elif program.loss.targets == "probabilities":
        Y = rng.uniform(0, 1, shape).astype(dtype)
    elif labels:
        Y = rng.integers(0, program.outputs, rows)
    else:
        Y = rng.dirichlet(np.ones(program.outputs), rows).astype(dtype)
    weight = None
    if weighted:
        weight = rng.uniform(0.2, 2, rows).astype(dtype)
        weight[1::3] = 0
    return Batch(X, Y, weight)


def weights_of(executable):
    """Return parameters and states as lists, by the names that users see."""
    program = executable.program
    views = {p.name: executable.view(p) for p in program.parameters}
    views |= {s.name: executable.state_view(s) for s in program.states}
    return {name: view.tolist() for name, view in views.items()}


def predict(executable, X):
    """Return the predictions for the rows of X."""
    out = np.full((len(X), executable.program.outputs), np.nan, executable.dtype)
    executable.predict(X, out)
    return out


def gradient_of(executable, batch, **told):
    """Return loss, gradient and input gradient of a batch."""
    gradient = np.full_like(executable.parameters, np.nan)
    input_gradient = np.full_like(batch.X, np.nan)
    return (
        executable.loss_and_gradient(batch, gradient, input_gradient, **told),
        gradient,
        input_gradient,
    )


def padding(program):
    """Return a mask of the flat vector: true where no parameter stands."""
    mask = np.ones(program.size, bool)
    for p in program.parameters:
        block = mask[p.offset : p.end].reshape(p.rows, p.stride)
        block[:, : p.columns] = False
    return mask


# -- the network from its layers -----------------------------------------------------------------


def _function(X, activation):
    activation = activation or ActivationFunction("identity")
    if activation.name == "softmax":
        return naive.softmax_forward(X)["Y"]
    return naive.activation_forward(X, activation.name, activation.constant)["Y"]


def _affine(X, weights, prefix, names):
    W, b = (weights.get(f"{prefix}.{name}") for name in names)
    return naive.dense_forward(X, W, b, "identity")["Y"]


def forward(layers, weights, X, prefix=""):
    """Return what a list of layers makes of rows X (lists), without dropout.

    `weights` are lists by the names that users see, running statistics among them.
    """
    for number, layer in enumerate(layers):
        name = f"{prefix}{number}"
        if isinstance(layer, fn.Dense):
            X = _function(_affine(X, weights, name, ("weight", "bias")), layer.activation)
        elif isinstance(layer, fn.Gated):
            U = _affine(X, weights, name, ("weight", "bias"))
            V = _affine(X, weights, name, ("gate_weight", "gate_bias"))
            beta = weights.get(f"{name}.beta", [0.0])[0]
            X = naive.gate_forward(U, V, fn.GATES[layer.kind], beta)["Y"]
        elif isinstance(layer, fn.Activation):
            X = _function(X, layer.function)
        elif isinstance(layer, fn.LayerNorm):
            scale, shift = weights[f"{name}.scale"], weights[f"{name}.shift"]
            X = naive.layer_norm_forward(X, scale, shift, layer.epsilon)["Y"]
        elif isinstance(layer, fn.BatchNorm):
            told = ("running_mean", "running_variance", "scale", "shift")
            statistics = (weights[f"{name}.{word}"] for word in told)
            X = naive.batch_norm_forward(X, *statistics, layer.epsilon)["Y"]
        elif isinstance(layer, (fn.Residual, fn.Concat)):
            inner = forward(layer.layers, weights, X, f"{name}.")
            pairs = zip(X, inner, strict=True)
            if isinstance(layer, fn.Concat):
                X = [x + y for x, y in pairs]
            else:
                X = [[a + b for a, b in zip(x, y, strict=True)] for x, y in pairs]
        elif isinstance(layer, fn.Columns):
            start, stop = layer.start, layer.stop
            inner = forward(layer.layers, weights, [x[start:stop] for x in X], f"{name}.")
            X = [x[:start] + y + x[stop:] for x, y in zip(X, inner, strict=True)]
        else:
            assert isinstance(layer, fn.Dropout)
    return X
