"""Checks of the numbers that describe a network: one sentence names the argument and what came."""

from __future__ import annotations

import math
import numbers

__all__ = ["flag", "real_number", "whole_number"]

# No dimension that fits a machine comes near; products of two stay inside int64.
LARGEST_SIZE = 2**31 - 1


def whole_number(name: str, value: object, low: int, high: int = LARGEST_SIZE) -> int:
    """Return `value` as an int between `low` and `high`, both allowed.

    Raises
    ------
    TypeError
        When `value` is no whole number.
    ValueError
        When it lies outside the bounds.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    number = int(value)
    if not low <= number <= high:
        raise ValueError(f"{name} must lie between {low} and {high}, got {number}")
    return number


def real_number(
    name: str,
    value: object,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    below: bool = False,
) -> float:
    """Return `value` as a finite float between `low` and `high`.

    Parameters
    ----------
    name : str
        Name of the argument, for the message.
    value : object
        What came.
    low, high : float
        The bounds, allowed themselves unless `above` or `below` says otherwise.
    above, below : bool
        Whether the value must be strictly above `low`, strictly below `high`.

    Raises
    ------
    TypeError
        When `value` is no real number.
    ValueError
        When it is not finite or lies outside the bounds.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {value!r}")
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(
            f"{name} must be finite, got a number of {len(str(value))} digits"
        ) from None
    inside = (number > low if above else number >= low) and (
        number < high if below else number <= high
    )
    if not (math.isfinite(number) and inside):
        # Infinity is above every bound: the sentence must say what else is wrong with it.
        finite = "finite and " if inside and low > -math.inf else ""
        left = f"above {low:g}" if above else f"at least {low:g}" if low > -math.inf else "finite"
        right = f" and below {high:g}" if below else f" and at most {high:g}"
        raise ValueError(
            f"{name} must be {finite}{left}{right if high < math.inf else ''}, got {value!r}"
        )
    return number


def flag(name: str, value: object) -> bool:
    """Return `value` when it is True or False.

    Raises
    ------
    TypeError
        For anything else.
    """
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}")
    return value
