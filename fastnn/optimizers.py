"""Optimizers: the constants of each, and its update in NumPy, to rounding that of PyTorch 2.

An update changes the weights ``w`` and the moments in place. ``g`` is the gradient after clipping,
``t`` the number of this step counted from 1, ``decay`` the weight decay of these very weights (0
for biases). All arrays are of one shape and dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fastnn import checks, schedules
from fastnn.errors import unknown_name

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Lion",
    "NAdam",
    "Optimizer",
    "RMSprop",
    "get",
]

Array = npt.NDArray[Any]

# What a constant may be, by its name: the same in every optimizer that has it.
NOT_NEGATIVE = ("weight_decay", "momentum_decay")
POSITIVE = ("epsilon",)
SHARES = ("momentum", "beta1", "beta2", "decay")  # from 0 to below 1, to 1 if in `up_to_1`


@dataclass(frozen=True)
class Optimizer:
    """Base of the descriptions of optimizers.

    Attributes
    ----------
    moment_count : int
        Number of vectors, as long as the parameters, that the optimizer keeps between steps: its
        `averages`, and one more where it has momentum.
    """

    name: ClassVar[str]
    averages: ClassVar[int] = 0
    up_to_1: ClassVar[tuple[str, ...]] = ()
    learning_rate: float | schedules.Schedule = 0.01
    _: KW_ONLY
    weight_decay: float = 0.0
    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.learning_rate, schedules.Schedule):
            self._check("learning_rate", 0)
        for limit in ("clip_norm", "clip_value"):
            if getattr(self, limit) is not None:
                self._check(limit, 0, above=True)
        for name in (constant.name for constant in fields(self)):
            if name in NOT_NEGATIVE:
                self._check(name, 0)
            elif name in POSITIVE:
                self._check(name, 0, above=True)
            elif name in SHARES:
                self._check(name, 0, 1, below=name not in self.up_to_1)

    def _check(self, name: str, low: float, high: float = np.inf, **strict: bool) -> None:
        value = checks.real_number(name, getattr(self, name), low, high, **strict)
        object.__setattr__(self, name, value)

    @property
    def schedule(self) -> schedules.Schedule:
        """The learning rate as a schedule."""
        # No cached_property: before Python 3.12 its lock may be taken for ever in a forked child.
        if "_schedule" not in self.__dict__:
            object.__setattr__(self, "_schedule", schedules.get(self.learning_rate))
        return self.__dict__["_schedule"]

    @property
    def moment_count(self) -> int:
        """Number of moment vectors kept between steps."""
        return self.averages + (getattr(self, "momentum", 0.0) > 0)

    def update(
        self, w: Array, g: Array, moments: Sequence[Array], rate: float, t: int, decay: float
    ) -> None:
        """Take one step on the weights `w`, in place."""
        raise TypeError(f"{type(self).__name__} is no optimizer by itself")


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum or Nesterov's momentum.

    ``g += decay w;  v = momentum v + g;  w -= rate v``, and with Nesterov
    ``w -= rate (g + momentum v)`` (Sutskever et al. 2013, in PyTorch's form).

    Parameters
    ----------
    learning_rate : float or Schedule
    momentum : float
        From 0 to 1. With 1 the velocity forgets nothing.
    nesterov : bool
        Needs a momentum above 0.
    weight_decay, clip_norm, clip_value : float
        Decay of the weights, and the limits of the gradient: of its global norm, of its elements.
    """

    learning_rate: float | schedules.Schedule = 0.01
    momentum: float = 0.0
    nesterov: bool = False
    name: ClassVar[str] = "sgd"
    up_to_1: ClassVar[tuple[str, ...]] = ("momentum",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if checks.flag("nesterov", self.nesterov) and self.momentum == 0:
            raise ValueError("nesterov=True needs a momentum above 0, got momentum=0")

    def update(
        self, w: Array, g: Array, moments: Sequence[Array], rate: float, t: int, decay: float
    ) -> None:
        """Take one step on the weights `w`, in place."""
        g = g + decay * w
        if self.momentum > 0:
            v = moments[0]
            v[...] = self.momentum * v + g
            g = g + self.momentum * v if self.nesterov else v
        w -= rate * g


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015), with the weight decay added to the gradient.

    ``m = β1 m + (1-β1) g;  v = β2 v + (1-β2) g²;
    w -= rate/(1-β1ᵗ) · m / (sqrt(v / (1-β2ᵗ)) + ε)``, and with epsilon_hat
    ``w -= rate sqrt(1-β2ᵗ)/(1-β1ᵗ) · m / (sqrt(v) + ε)``

    Parameters
    ----------
    learning_rate : float or Schedule
    beta1, beta2 : float
        Decay of the two moments, from 0 to below 1.
    epsilon : float
        Added to the root, above 0.
    epsilon_hat : bool
        Whether epsilon is added to the root before its correction: it is the ε̂ at the end of
        section 2 of the paper then, as in scikit-learn.
    weight_decay, clip_norm, clip_value : float
        Decay of the weights, and the limits of the gradient: of its global norm, of its elements.
    """

    learning_rate: float | schedules.Schedule = 0.001
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_hat: bool = False
    name: ClassVar[str] = "adam"
    averages: ClassVar[int] = 2
    decoupled: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.flag("epsilon_hat", self.epsilon_hat)

    def update(
        self, w: Array, g: Array, moments: Sequence[Array], rate: float, t: int, decay: float
    ) -> None:
        """Take one step on the weights `w`, in place."""
        m, v = moments
        if self.decoupled:
            w *= 1 - rate * decay
        else:
            g = g + decay * w
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * (g * g)
        step_size = rate / (1 - self.beta1**t)
        root_correction = (1 - self.beta2**t) ** 0.5
        epsilon = self.epsilon / root_correction if self.epsilon_hat else self.epsilon
        w -= step_size * (m / (np.sqrt(v) / root_correction + epsilon))


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, ``w *= 1 - rate decay`` (Loshchilov & Hutter 2019).

    Parameters
    ----------
    learning_rate : float or Schedule
    beta1, beta2 : float
        Decay of the two moments, from 0 to below 1.
    epsilon : float
        Added to the root, above 0.
    epsilon_hat : bool
        Whether epsilon is added to the root before its correction, as for Adam.
    weight_decay, clip_norm, clip_value : float
        Decay of the weights, and the limits of the gradient: of its global norm, of its elements.
    """

    weight_decay: float = field(default=0.01, kw_only=True)
    name: ClassVar[str] = "adamw"
    decoupled: ClassVar[bool] = True


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop (Hinton 2012, lecture 6e): the gradient over the root of its mean square.

    ``v = ρ v + (1-ρ) g²;  s = g / (sqrt(v) + ε);  w -= rate s``, or with momentum
    ``b = momentum b + s;  w -= rate b``.

    Parameters
    ----------
    learning_rate : float or Schedule
    decay : float
        ρ, from 0 to below 1.
    momentum : float
        From 0 to below 1.
    epsilon : float
        Added to the root, above 0.
    weight_decay, clip_norm, clip_value : float
        Decay of the weights, and the limits of the gradient: of its global norm, of its elements.
    """

    learning_rate: float | schedules.Schedule = 0.01
    decay: float = 0.99
    momentum: float = 0.0
    epsilon: float = 1e-8
    name: ClassVar[str] = "rmsprop"
    averages: ClassVar[int] = 1

    def update(
        self, w: Array, g: Array, moments: Sequence[Array], rate: float, t: int, decay: float
    ) -> None:
        """Take one step on the weights `w`, in place."""
        g = g + decay * w
        v = moments[0]
        v[...] = self.decay * v + (1 - self.decay) * (g * g)
        s = g / (np.sqrt(v) + self.epsilon)
        if self.momentum > 0:
            b = moments[1]
            b[...] = self.momentum * b + s
            s = b
        w -= rate * s


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Adagrad (Duchi, Hazan & Singer 2011): the gradient over the root of the sum of its squares.

    ``v += g²;  w -= rate g / (sqrt(v) + ε)``

    Parameters
    ----------
    learning_rate : float or Schedule
    epsilon : float
        Added to the root, above 0.
    weight_decay, clip_norm, clip_value : float
        Decay of the weights, and the limits of the gradient: of its global norm, of its elements.
    """

    learning_rate: float | schedules.Schedule = 0.01
    epsilon: float = 1e-10
    name: ClassVar[str] = "adagrad"
    averages: ClassVar[int] = 1

    def update(
        self, w: Array, g: Array, moments: Sequence[Array], rate: float, t: int, decay: float
    ) -> None:
        """Take one step on the weights `w`, in place."""
        g = g + decay * w
        v = moments[0]
        v += g * g
        w -= rate * (g / (np.sqrt(v) + self.epsilon))


@dataclass(frozen=True)
class NAdam(Optimizer):
    """Adam with Nesterov's momentum, which warms up (Dozat 2016).

    With ``μₜ = β1 (1 - 0.96^(t ψ) / 2)`` and Πₜ the product of μ₁ to μₜ,
    ``m = β1 m + (1-β1) g;  v = β2 v + (1-β2) g²;
    w -= rate ((1-μₜ)/(1-Πₜ) g + μₜ₊₁/(1-Πₜ₊₁) m) / (sqrt(v / (1-β2ᵗ)) + ε)``

    Parameters
    ----------
    learning_rate : float or Schedule
    beta1, beta2 : float
        Decay of the two moments, from 0 to below 1.
    epsilon : float
        Added to the root, above 0.
    momentum_decay : float
        ψ, how soon the momentum has warmed up, at least 0.
    weight_decay, clip_norm, clip_value : float
        Decay of the weights, and the limits of the gradient: of its global norm, of its elements.
    """

    learning_rate: float | schedules.Schedule = 0.002
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 0.004
    name: ClassVar[str] = "nadam"
    averages: ClassVar[int] = 2

    def mu(self, t: int) -> float:
        """Return the momentum μ of step t."""
        return self.beta1 * (1 - 0.5 * 0.96 ** (t * self.momentum_decay))

    def update(
        self,
        w: Array,
        g: Array,
        moments: Sequence[Array],
        rate: float,
        t: int,
        decay: float,
        product: float = 0.0,
    ) -> None:
        """Take one step on the weights `w`, in place; `product` is Πₜ, which soon vanishes."""
        g = g + decay * w
        m, v = moments
        m[...] = self.beta1 * m + (1 - self.beta1) * g
        v[...] = self.beta2 * v + (1 - self.beta2) * (g * g)
        d = np.sqrt(v) / (1 - self.beta2**t) ** 0.5 + self.epsilon
        ahead = self.mu(t + 1)
        w -= rate * (1 - self.mu(t)) / (1 - product) * (g / d)
        w -= rate * ahead / (1 - product * ahead) * (m / d)


@dataclass(frozen=True)
class Lion(Optimizer):
    """Lion (Chen et al. 2023, algorithm 2): the sign of a moving mean, with decoupled weight decay.

    ``w = (1 - rate decay) w - rate sign(β1 m + (1-β1) g);  m = β2 m + (1-β2) g``

    Parameters
    ----------
    learning_rate : float or Schedule
        Each weight moves by just this in every step: take a tenth of what suits Adam.
    beta1, beta2 : float
        Share of the moving mean in the direction, and decay of that mean, from 0 to below 1.
    weight_decay, clip_norm, clip_value : float
        Decay of the weights, and the limits of the gradient: of its global norm, of its elements.
    """

    learning_rate: float | schedules.Schedule = 1e-4
    beta1: float = 0.9
    beta2: float = 0.99
    name: ClassVar[str] = "lion"
    averages: ClassVar[int] = 1

    def update(
        self, w: Array, g: Array, moments: Sequence[Array], rate: float, t: int, decay: float
    ) -> None:
        """Take one step on the weights `w`, in place."""
        m = moments[0]
        w *= 1 - rate * decay
        w -= rate * np.sign(self.beta1 * m + (1 - self.beta1) * g)
        m[...] = self.beta2 * m + (1 - self.beta2) * g


OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    kind.name: kind for kind in (SGD, Adam, AdamW, RMSprop, Adagrad, NAdam, Lion)
}


def get(optimizer: str | Optimizer) -> Optimizer:
    """Return the description of an optimizer from its name or itself.

    Raises
    ------
    ValueError
        For an unknown name; the message lists the names and the nearest one.
    """
    if isinstance(optimizer, Optimizer):
        return optimizer
    if isinstance(optimizer, type):
        raise TypeError(f"optimizer must be a name or an object: write {optimizer.__name__}()")
    if not isinstance(optimizer, str) or optimizer not in OPTIMIZERS:
        raise unknown_name("optimizer", optimizer, OPTIMIZERS)
    return OPTIMIZERS[optimizer]()
