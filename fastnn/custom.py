"""Activations and losses of one's own: a function of numbers and its derivative, under a name.

What is registered here is a name like that of any other activation or loss. The reference calls the
functions on arrays; the other backends compile them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastnn import activations, losses
from fastnn.activations import ActivationFunction, CustomActivation
from fastnn.losses import CustomLoss, LossDefinition

__all__ = ["activation", "loss"]

Array = npt.NDArray[Any]
Function = Callable[..., Any]
Made = TypeVar("Made")

# Where a function is held against its derivative. No multiple of 1/100 is near, where people put
# kinks and jumps.
SCORES = np.concatenate(
    ([-40.0073, -20.0073], 0.0073 + 0.02 * np.arange(-500, 500), [20.0073, 40.0073])
)
SCORES_OF_LOSSES = 0.0073 + 0.1 * np.arange(-50, 50)
# A loss of counts that acts on the outputs may take their logarithm.
POSITIVE_OUTPUTS = SCORES_OF_LOSSES[SCORES_OF_LOSSES > 0]
# By what a loss takes for targets: some of them.
TARGETS = {
    "values": (-2.3331, -0.4617, 0.0, 0.3519, 1.0, 2.7183),
    "probabilities": (0.0, 0.3, 1.0),
    "signs": (-1.0, 1.0),
    "counts": (0.0, 1.0, 3.0, 7.0),
}
# Steps of the differences, of fourth order: the error of the first is some 1e-11, and the second
# clears a kink that is near after all. One that is nearer still is looked at from both sides.
STEPS = (1e-4, 1e-6)
BESIDE = 3e-4
TOLERANCE = 1e-6


def activation(
    *misplaced: object, derivative: Function | None = None
) -> Callable[[Function], ActivationFunction]:
    """Register a function of one score as an activation, under its own name.

    The function and its derivative are written for numbers, with what NumPy or `math` have for
    numbers. The reference backend calls them as they are, on arrays where they can take them; the
    others compile them with Numba, so they may hold what Numba compiles, and raise no exceptions:
    where Python raises one, such as ``math.log`` of a negative number, the value is not finite.
    Whatever is not finite ends training as any divergence does.

    Networks that are there keep the function with which they were made when another one is
    registered under its name. Files keep the name alone.

    Parameters
    ----------
    derivative : callable
        ``derivative(z)`` is the derivative of the function at z. At a kink either side will do.

    Returns
    -------
    callable
        The decorator. It makes an `ActivationFunction` of the function, which layers take, as they
        take its name.

    Raises
    ------
    TypeError
        When one of the two is no function of one number.
    ValueError
        When the name is taken, a value is not finite, or the derivative is not that of central
        differences: the message names the worst point.

    Examples
    --------
    >>> import fastnn as fn
    >>> @fn.activation(derivative=lambda z: (1 + z / np.sqrt(z * z + 4)) / 2)
    ... def squareplus(z):
    ...     return (z + np.sqrt(z * z + 4)) / 2
    >>> float(squareplus(0.0))
    1.0
    >>> fn.Dense(64, activation="squareplus").activation
    ActivationFunction(name='squareplus', constant=0.0)
    """
    derivative = _derivative("activation", misplaced, derivative, "z")

    def register(function: Function) -> ActivationFunction:
        taken = (*activations.FORMULAS, *activations.ALIASES, activations.SOFTMAX)
        name = _name(function, "an activation", taken)
        value, slope = _on_arrays(function, (SCORES,)), _on_arrays(derivative, (SCORES,))
        _check_derivative(name, value, slope, (SCORES,), ("z",))
        formula = activations.Formula(lambda z, c: value(z), lambda z, a, c: slope(z))
        activations.CUSTOM[name] = CustomActivation(name, function, derivative, formula)
        return ActivationFunction(name)

    return register


def loss(
    *misplaced: object,
    derivative: Function | None = None,
    heads: tuple[str, ...] = (),
    targets: str = "values",
) -> Callable[[Function], CustomLoss]:
    """Register a function of a score and a target as a loss, under its own name.

    The loss of a row is the mean of the function over the outputs. For the functions, what
    `activation` says holds.

    Parameters
    ----------
    derivative : callable
        ``derivative(z, t)`` is the derivative of the function in the score z.
    heads : tuple of str
        The output activations that `predict` may apply behind this loss, of ``"sigmoid"``,
        ``"exp"``, ``"softmax"`` and ``"identity"``, while the loss acts on the raw scores. Where
        omitted, the loss acts on the outputs, whatever the output activation.
    targets : str
        ``"values"``, ``"probabilities"`` (0 to 1; with heads), ``"signs"`` (-1 or 1) or
        ``"counts"`` (at least 0). With probabilities and signs there is an accuracy: a raw score
        above 0 means yes.

    Returns
    -------
    callable
        The decorator. It makes a loss of the function, which a `Network` takes, as it takes its
        name.

    Raises
    ------
    TypeError
        When one of the two is no function of two numbers.
    ValueError
        As for `activation`, and for an unknown head or kind of targets.

    Examples
    --------
    >>> import fastnn as fn
    >>> @fn.loss(derivative=lambda z, t: np.tanh(z - t))
    ... def log_cosh(z, t):
    ...     return np.log(np.cosh(z - t))
    >>> net = fn.Network([fn.Dense(1)], loss="log_cosh")
    """
    derivative = _derivative("loss", misplaced, derivative, "z, t")
    heads = _check_heads(heads)
    if targets not in TARGETS:
        raise ValueError(f"targets must be one of {', '.join(TARGETS)}, got {targets!r}")
    if targets == "probabilities" and not heads:
        raise ValueError(
            "a loss of probabilities acts on the raw scores: write its functions for these, and "
            "give heads=('sigmoid', 'identity')"
        )
    scores = POSITIVE_OUTPUTS if targets == "counts" and not heads else SCORES_OF_LOSSES

    def register(function: Function) -> CustomLoss:
        name = _name(function, "a loss", (*losses.LOSSES, "auto"))
        grid = np.meshgrid(scores, TARGETS[targets])
        points = grid[0].ravel(), grid[1].ravel()
        value, slope = _on_arrays(function, points), _on_arrays(derivative, points)
        _check_derivative(name, value, slope, points, ("z", "t"))
        losses.CUSTOM[name] = LossDefinition(
            name, function, derivative, heads, targets, value, slope
        )
        return CustomLoss(name)

    return register


def _derivative(
    decorator: str, misplaced: tuple[object, ...], derivative: Function | None, arguments: str
) -> Function:
    """Return the derivative, which a decorator takes by its name and nothing else without one."""
    if misplaced:
        raise TypeError(f"write @fn.{decorator}(derivative=...), with the derivative by its name")
    if derivative is None or not callable(derivative):
        raise TypeError(f"derivative must be a function of ({arguments}), not {derivative!r}")
    return derivative


def _check_heads(heads: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(heads, str):
        raise TypeError(f"heads must be a tuple of names, such as ({heads!r},)")
    for head in heads:
        if head not in losses.HEADS:
            raise ValueError(f"heads must be of {', '.join(losses.HEADS)}, got {head!r}")
    return tuple(heads)


def _name(function: object, what: str, taken: tuple[str, ...]) -> str:
    """Return the name of a function, under which it can be registered."""
    name = getattr(function, "__name__", "")
    if not inspect.isfunction(function) or not name.isidentifier():
        raise TypeError(
            f"{what} is a function made with def, whose name it takes; got {function!r}"
        )
    if name in taken:
        raise ValueError(f"there is {what} called {name!r} already; give the function another name")
    return str(name)


def _on_arrays(function: Function, points: tuple[Array, ...]) -> Callable[..., Array]:
    """Return a function of numbers as one of arrays: itself where it can, else a loop over it.

    Parameters
    ----------
    function : callable
    points : tuple of ndarray of float64
        Arguments on which both ways must agree.
    """

    def of_numbers(*one: Any) -> Any:
        try:
            return function(*one)
        except (ArithmeticError, ValueError):  # what compiled code answers in this way too
            return np.nan

    def one_by_one(*arrays: Array) -> Array:
        numbers = zip(*(array.ravel() for array in arrays), strict=True)
        values = [of_numbers(*one) for one in numbers]
        return np.array(values, arrays[0].dtype).reshape(arrays[0].shape)

    def at_once(*arrays: Array) -> Array:
        values = np.asarray(function(*arrays), arrays[0].dtype)
        return np.array(np.broadcast_to(values, arrays[0].shape))

    with np.errstate(all="ignore"):
        try:
            for one in zip(*points, strict=True):
                at = one
                float(function(*one))
            expected = one_by_one(*points)
        except Exception as error:
            word = getattr(function, "__name__", "the function")
            remedy = " (np.exp, np.log and others give inf or nan there, and go on)"
            raise TypeError(
                f"{word} cannot be called on {len(points)} number{'s' * (len(points) > 1)} and "
                f"return one: {type(error).__name__} at {', '.join(f'{x:g}' for x in at)}: {error}"
                f"{remedy if isinstance(error, (ArithmeticError, ValueError)) else ''}"
            ) from error
        given = [array.reshape(-1, 2).copy() for array in points]
        try:
            agrees = np.allclose(at_once(*given).ravel(), expected, rtol=1e-12, equal_nan=True)
        except Exception:  # what it is written for are numbers: whatever an array brings about
            agrees = False
        # One that changes its argument, `z *= 2`, would change the scores of the network.
        kept = all((a.ravel() == b).all() for a, b in zip(given, points, strict=True))
    return at_once if agrees and kept else one_by_one


def _check_derivative(
    name: str,
    value: Callable[..., Array],
    slope: Callable[..., Array],
    points: tuple[Array, ...],
    words: tuple[str, ...],
) -> None:
    """Hold a derivative in the first argument against central differences.

    Raises
    ------
    ValueError
        Where one of the two is not finite, or they differ: at the worst point.
    """
    with np.errstate(all="ignore"):
        told = {name: value(*points), f"the derivative of {name}": slope(*points)}
        for word, numbers in told.items():
            if not np.isfinite(numbers).all():
                at = int(np.flatnonzero(~np.isfinite(numbers))[0])
                raise ValueError(f"{word} is {numbers[at]} at {_place(points, words, at)}")
        errors = _errors(value, slope, points)
        bad = np.flatnonzero(errors > 1)
        z, *others = (array[bad] for array in points)
        sides = [_errors(value, slope, (z + apart, *others)) for apart in (-BESIDE, BESIDE)]
        errors[bad[np.maximum(*sides) <= 1]] = 0  # a kink: the derivative is right on both sides
        worst = int(errors.argmax())
        rises = _difference(value, points, STEPS[0])[worst]
    if errors[worst] > 1:
        given = told[f"the derivative of {name}"][worst]
        raise ValueError(
            f"the derivative of {name} is wrong: at {_place(points, words, worst)} it gives "
            f"{given:.6g}, and {name} itself rises by {rises:.6g} (central differences)"
        )


def _errors(
    value: Callable[..., Array], slope: Callable[..., Array], points: tuple[Array, ...]
) -> Array:
    """Return how far a derivative is from the nearest difference, in tolerances."""
    given = slope(*points)
    scale = TOLERANCE * (1 + np.abs(given) + np.abs(value(*points)))
    errors = [np.abs(given - _difference(value, points, step)) / scale for step in STEPS]
    nearest = np.minimum(*errors)
    return np.where(np.isnan(nearest), np.inf, nearest)


def _difference(value: Callable[..., Array], points: tuple[Array, ...], step: float) -> Array:
    """Return the central difference of fourth order (Abramowitz & Stegun, 25.3.21)."""
    z, *others = points
    near = value(z + step, *others) - value(z - step, *others)
    far = value(z + 2 * step, *others) - value(z - 2 * step, *others)
    return (8 * near - far) / (12 * step)


def _place(points: tuple[Array, ...], words: tuple[str, ...], at: int) -> str:
    return ", ".join(f"{word} = {array[at]:.6g}" for word, array in zip(words, points, strict=True))
