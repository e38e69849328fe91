"""Layers: small descriptions, without data; `fastnn.program` turns a list into a Program."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastnn import activations, checks, initializers
from fastnn.activations import ActivationFunction
from fastnn.errors import unknown_name

__all__ = [
    "GATES",
    "Activation",
    "BatchNorm",
    "Columns",
    "Concat",
    "Dense",
    "Dropout",
    "Gated",
    "Layer",
    "LayerNorm",
    "Residual",
    "check_layers",
]

# The function f of the gate (xW + b) * f(xV + c) of each kind (Dauphin et al. 2017; Shazeer 2020).
GATES = {"glu": "sigmoid", "reglu": "relu", "geglu": "gelu", "swiglu": "silu"}


@dataclass(frozen=True)
class Layer:
    """Base of the descriptions of layers."""


@dataclass(frozen=True)
class _Affine(Layer):
    """What Dense and Gated share: the affine map, its penalties and its limit."""

    units: int

    def _check_affine(self) -> None:
        kind = type(self).__name__
        _set(self, "units", checks.whole_number(f"units of {kind}", self.units, 1))
        for name in ("use_bias", "regularize_bias", "penalty_per_row"):
            checks.flag(name, getattr(self, name))
        for name in ("weight_initializer", "bias_initializer"):
            initializers.check(getattr(self, name))
        for name in ("l1", "l2", "max_norm"):
            value, limit = getattr(self, name), name == "max_norm"
            if not (limit and value is None):
                _set(self, name, checks.real_number(f"{name} of {kind}", value, 0, above=limit))


@dataclass(frozen=True)
class Dense(_Affine):
    """A fully connected layer: ``f(x @ W + b)``.

    Parameters
    ----------
    units : int
        Number of outputs O. ``weight`` has shape (I, O), ``bias`` (O,).
    activation : str or ActivationFunction, optional
        The function f; identity where omitted.
    use_bias : bool
        Whether there is a bias.
    weight_initializer, bias_initializer : str
        One of `fastnn.initializers.INITIALIZERS`; ``"auto"`` chooses by the activation.
    l1, l2 : float
        Penalties on the weights, added to the loss: ``l1 Σ|w| + l2/2 Σw²``.
    regularize_bias : bool
        Whether penalties and weight decay touch the bias too.
    max_norm : float, optional
        After every update, the weights into each unit (a column of ``weight``) are scaled down to
        at most this Euclidean norm (Srivastava et al. 2014, section 5.1).
    penalty_per_row : bool
        Whether the penalties are divided by the number of rows of the batch, or the sum of their
        weights, as scikit-learn divides its alpha.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind, out of its range, or with an unknown name.

    Examples
    --------
    >>> Dense(10, activation="softmax").units
    10
    """

    activation: str | ActivationFunction | None = None
    use_bias: bool = True
    weight_initializer: str = "auto"
    bias_initializer: str = "zeros"
    l1: float = 0.0
    l2: float = 0.0
    regularize_bias: bool = False
    max_norm: float | None = None
    penalty_per_row: bool = False

    def __post_init__(self) -> None:
        self._check_affine()
        _set(self, "activation", activations.get(self.activation))


@dataclass(frozen=True)
class Gated(_Affine):
    """A gated linear unit: ``(x @ W + b) * f(x @ V + c)`` (Shazeer 2020).

    Parameters
    ----------
    units : int
        Number of outputs O. ``weight`` and ``gate_weight`` have shape (I, O), ``bias`` and
        ``gate_bias`` (O,). A swiglu has ``beta`` (1,) too, which starts at 1 and is learned.
    kind : {"glu", "reglu", "geglu", "swiglu"}
        f is sigmoid, relu, gelu, or ``swish(z) = z * sigmoid(beta * z)``.
    use_bias : bool
        Whether there are biases.
    weight_initializer, bias_initializer : str
        One of `fastnn.initializers.INITIALIZERS`; ``"auto"`` chooses Glorot's.
    l1, l2 : float
        Penalties on both weights, added to the loss: ``l1 Σ|w| + l2/2 Σw²``.
    regularize_bias : bool
        Whether penalties and weight decay touch the biases too.
    max_norm : float, optional
        After every update, each column of both weights is scaled down to at most this Euclidean
        norm (Srivastava et al. 2014, section 5.1).
    penalty_per_row : bool
        Whether the penalties are divided by the number of rows of the batch, or the sum of their
        weights, as scikit-learn divides its alpha.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind, out of its range, or with an unknown name.
    """

    kind: str = "swiglu"
    use_bias: bool = True
    weight_initializer: str = "auto"
    bias_initializer: str = "zeros"
    l1: float = 0.0
    l2: float = 0.0
    regularize_bias: bool = False
    max_norm: float | None = None
    penalty_per_row: bool = False

    def __post_init__(self) -> None:
        self._check_affine()
        if not isinstance(self.kind, str) or self.kind not in GATES:
            raise unknown_name("kind of gate", self.kind, GATES)


@dataclass(frozen=True)
class Activation(Layer):
    """An activation as a layer of its own.

    Parameters
    ----------
    function : str or ActivationFunction
        The function, by name or with its constant.
    """

    function: str | ActivationFunction

    def __post_init__(self) -> None:
        _set(self, "function", activations.get(self.function))


@dataclass(frozen=True)
class Dropout(Layer):
    """In training, sets a share of the values to 0 and scales the rest by ``1 / (1 - rate)``.

    Parameters
    ----------
    rate : float
        Share of zeros, from 0 to below 1 (Srivastava et al. 2014, in the inverted form).
    """

    rate: float

    def __post_init__(self) -> None:
        _set(self, "rate", checks.real_number("rate of Dropout", self.rate, 0, 1, below=True))


@dataclass(frozen=True)
class LayerNorm(Layer):
    """Every row to mean 0 and variance 1, then ``scale`` and ``shift``, both learned, shape (I,).

    Parameters
    ----------
    epsilon : float
        Added to the variance, above 0 (Ba, Kiros & Hinton 2016).
    """

    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        epsilon = checks.real_number("epsilon of LayerNorm", self.epsilon, 0, above=True)
        _set(self, "epsilon", epsilon)


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Every column to mean 0 and variance 1, then ``scale`` and ``shift``, both learned, (I,).

    ``y = (x - mean) / sqrt(variance + epsilon) * scale + shift`` (Ioffe & Szegedy 2015). Mean and
    variance are those of the batch in training, else the running ones, which are states of the
    network and no parameters: every step moves them, as in PyTorch, by
    ``running = (1 - momentum) running + momentum batch``, with the unbiased variance of the batch.

    All rows of a batch count alike, whatever their weights. A batch of one row gives ``shift``, no
    gradient in its input, and moves the running mean only: one row has no variance to tell of.

    Parameters
    ----------
    momentum : float
        Share of a batch in the running statistics, from 0 to 1.
    epsilon : float
        Added to the variance, above 0.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind or out of its range.

    Examples
    --------
    >>> import fastnn as fn
    >>> net = fn.Network([fn.BatchNorm(), fn.Dense(1)], input_size=2, dtype="float64")
    >>> loss = net.train_batch([[0.0, 10.0], [2.0, 30.0]], [0.0, 1.0])
    >>> net.states["0.running_mean"].tolist()
    [0.1, 2.0]
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    def __post_init__(self) -> None:
        momentum = checks.real_number("momentum of BatchNorm", self.momentum, 0, 1)
        epsilon = checks.real_number("epsilon of BatchNorm", self.epsilon, 0, above=True)
        _set(self, "momentum", momentum)
        _set(self, "epsilon", epsilon)


@dataclass(frozen=True)
class _Branch(Layer):
    """What Residual and Concat share: a list of layers f."""

    layers: Sequence[Layer]

    def __post_init__(self) -> None:
        _set(self, "layers", check_layers(self.layers, type(self).__name__))


@dataclass(frozen=True)
class Residual(_Branch):
    """``x + f(x)`` for a list of layers f that keeps the width (He et al. 2016).

    Parameters
    ----------
    layers : list of Layer
        The layers of f.
    """


@dataclass(frozen=True)
class Concat(_Branch):
    """The columns of x, then those of f(x) (Huang et al. 2017).

    Parameters
    ----------
    layers : list of Layer
        The layers of f.
    """


@dataclass(frozen=True)
class Columns(Layer):
    """x with f(x[:, start:stop]) in the place of those columns, for a list of layers f.

    Of columns that hold one category as zeros and a one, ``Dense(8, use_bias=False)`` makes learned
    embeddings (Guo & Berkhahn 2016).

    Parameters
    ----------
    start, stop : int
        The first of the columns, counted from 0, and that behind the last one.
    layers : list of Layer
        The layers of f, which may give any number of columns.

    Raises
    ------
    TypeError, ValueError
        For bounds that are no whole numbers, or without a column between them.

    Examples
    --------
    >>> Columns(10, 60, [Dense(8, use_bias=False)]).stop
    60
    """

    start: int
    stop: int
    layers: Sequence[Layer]

    def __post_init__(self) -> None:
        _set(self, "start", checks.whole_number("start of Columns", self.start, 0))
        _set(self, "stop", checks.whole_number("stop of Columns", self.stop, self.start + 1))
        _set(self, "layers", check_layers(self.layers, type(self).__name__))


def check_layers(layers: object, owner: str) -> tuple[Layer, ...]:
    """Return a list of layers as a tuple.

    Raises
    ------
    TypeError
        When it is no list, or an entry is no layer; the message names the first such entry.
    ValueError
        When the list is empty.
    """
    if isinstance(layers, (str, bytes)) or not isinstance(layers, Sequence):
        raise TypeError(f"{owner} takes a list of layers, not {layers!r}")
    if not layers:
        raise ValueError(f"{owner} needs at least one layer, got an empty list")
    for number, layer in enumerate(layers):
        own = type(layer).__module__ != __name__ or type(layer) in (Layer, _Affine, _Branch)
        if not isinstance(layer, Layer) or own:
            raise TypeError(
                f"layer {number} of {owner} is {layer!r}, not a layer such as Dense(10) or "
                "Activation('relu')"
            )
    return tuple(layers)


def _set(layer: Layer, name: str, value: object) -> None:
    object.__setattr__(layer, name, value)  # the dataclasses are frozen for everybody else
