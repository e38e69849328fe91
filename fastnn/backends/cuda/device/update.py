"""A step of the optimizer on the whole flat vector, in one launch.

What changes from step to step is read from memory on the device, so that a captured launch can be
replayed: a table with a row of scalars for every step, and the clock that says which row is next.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends.cuda.device.matrix import flat_grid
from fastnn.backends.cuda.target import Kernel, cuda, math
from fastnn.optimizers import SGD, Adagrad, Adam, Lion, NAdam, Optimizer, RMSprop

__all__ = ["GROUP", "SCALARS", "scalars", "update"]

# Parameters begin at multiples of so many elements, which share one flag.
GROUP = 16
# Scalars of a step: the rate (or what takes its place), the root of Adam's correction, NAdam's
# factor of the moment or Adam's epsilon, and what is left of a weight that decays by itself.
SCALARS = 4


def scalars(
    optimizer: Optimizer,
    rates: npt.NDArray[np.float64],
    step: int,
    product: float,
    dtype: npt.DTypeLike,
) -> npt.NDArray[Any]:
    """Return the scalars of the steps to come, worked out in float64 and rounded once.

    Parameters
    ----------
    optimizer : Optimizer
    rates : ndarray of float64, shape (S,)
        The learning rates.
    step : int
        Steps taken before.
    product : float
        NAdam's product of the momenta of those steps.
    dtype : dtype
        Of the parameters.

    Returns
    -------
    ndarray, shape (S, SCALARS)
    """
    t = step + 1.0 + np.arange(len(rates))
    table = np.ones((len(rates), SCALARS))
    table[:, 0] = rates
    if isinstance(optimizer, (Adam, NAdam)):
        table[:, 1] = np.sqrt(1 - optimizer.beta2**t)
    if isinstance(optimizer, Adam):
        table[:, 0] = rates / (1 - optimizer.beta1**t)
        table[:, 2] = optimizer.epsilon / (table[:, 1] if optimizer.epsilon_hat else 1.0)
    if isinstance(optimizer, NAdam):
        mu = np.array([optimizer.mu(step + 1 + s) for s in range(len(rates) + 1)])
        products = product * np.cumprod(mu)
        table[:, 0] = rates * (1 - mu[:-1]) / (1 - products[:-1])
        table[:, 2] = rates * mu[1:] / (1 - products[1:])
    table[:, 3] = 1 - rates * optimizer.weight_decay
    return table.astype(dtype)


@functools.cache
def _update(real: Any, kind: str, moments: int, nesterov: bool, decoupled: bool) -> Kernel:
    zero, one, group = real(0), real(1), GROUP
    # Constants of the kernel: what is not this optimizer's is not compiled.
    sgd, adam, nadam, rmsprop, adagrad = (
        kind == name for name in ("sgd", "adam", "nadam", "rmsprop", "adagrad")
    )
    first_only, both = moments == 1, moments == 2

    def update(
        w, m, v, gradient, flags, table, clock, clip, decay, keep1, take1, keep2, take2, epsilon, N
    ):
        if clock[1] != 0:  # stopped: every step that follows leaves all as it is
            return
        at = clock[0] * SCALARS
        rate, root, ahead, shrink = table[at], table[at + 1], table[at + 2], table[at + 3]
        n = cuda.grid(1)
        while n < N:
            decays = flags[n // group] != 0
            old = w[n]
            g = gradient[n] * clip[0]
            if decoupled:
                old *= shrink if decays else one
            elif decays:
                g += decay * old
            if sgd:
                if first_only:
                    m[n] = keep1 * m[n] + g
                    g = g + keep1 * m[n] if nesterov else m[n]
                w[n] = old - rate * g
            elif adam or nadam:
                first = keep1 * m[n] + take1 * g
                second = keep2 * v[n] + take2 * (g * g)
                m[n] = first
                v[n] = second
                below = math.sqrt(second) / root + (ahead if adam else epsilon)
                if adam:
                    w[n] = old - rate * (first / below)
                else:
                    w[n] = old - rate * (g / below) - ahead * (first / below)
            elif rmsprop:
                first = keep1 * m[n] + take1 * (g * g)
                m[n] = first
                s = g / (math.sqrt(first) + epsilon)
                if both:
                    s = keep2 * v[n] + s
                    v[n] = s
                w[n] = old - rate * s
            elif adagrad:
                first = m[n] + g * g
                m[n] = first
                w[n] = old - rate * (g / (math.sqrt(first) + epsilon))
            else:  # lion
                c = keep1 * m[n] + take1 * g
                w[n] = old - rate * (one if c > zero else -one if c < zero else c)
                m[n] = keep2 * m[n] + take2 * g
            n += cuda.gridsize(1)

    return Kernel(update)


def update(
    stream: Any,
    w: Any,
    moments: tuple[Any, ...],
    gradient: Any,
    flags: Any,
    table: Any,
    clock: Any,
    clip: Any,
    optimizer: Optimizer,
    N: int,
) -> None:
    """Take the optimizer's step on w, and change its moments; all are vectors of length N.

    Parameters
    ----------
    stream : object
    w, moments, gradient : device arrays
    flags : device array of uint8
        For every GROUP elements, whether the weight decay touches them.
    table : device array
        The scalars of every step, row behind row.
    clock : device array of int64
        The position, which is the row of the table, and whether steps are stopped; see `step`.
    clip : device array, shape (1,)
        Factor of the gradient.
    optimizer : Optimizer
    N : int
    """
    real = np.dtype(w.dtype).type
    o: Any = optimizer
    one, two = 0.0, 0.0
    if isinstance(optimizer, SGD):
        kind, one = "sgd", o.momentum
    elif isinstance(optimizer, RMSprop):
        kind, one, two = "rmsprop", o.decay, o.momentum
    elif isinstance(optimizer, Adagrad):
        kind = "adagrad"
    else:
        names = {Adam: "adam", NAdam: "nadam", Lion: "lion"}
        kind = next(name for cls, name in names.items() if isinstance(optimizer, cls))
        one, two = o.beta1, o.beta2
    decoupled = kind == "lion" or getattr(o, "decoupled", False)
    kernel = _update(real, kind, len(moments), getattr(o, "nesterov", False), decoupled)
    m, v = (*moments, w, w)[:2]
    constants = (o.weight_decay, one, 1 - one, two, 1 - two, getattr(o, "epsilon", 0.0))
    told = (real(c) for c in constants)
    kernel.launch(stream, *flat_grid(N), w, m, v, gradient, flags, table, clock, clip, *told, N)
