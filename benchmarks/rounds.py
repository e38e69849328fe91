"""Interleaved rounds: A B C, then C B A, so that what the machine does meanwhile hits all alike."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["agreement", "calibrate", "geometric_mean", "paired_ratio", "percentile", "play"]

# A run is as long as the clock and the scheduler need at least, before its length is known.
FIRST_SECONDS = 0.02

# How far final losses may differ, as a share: float32 sums in other orders, over some steps.
LOSS_TOLERANCE = 2e-3
OUTPUT_TOLERANCE = 1e-4

Run = Callable[[int], Mapping[str, Any]]


def calibrate(run: Run, seconds: float) -> int:
    """Return how many steps take so many seconds; this also warms everything up."""
    count = 1
    while True:
        told = run(count)
        if told["seconds"] >= min(FIRST_SECONDS, seconds):
            pace = told["seconds"] / told["count"]
            return max(1, round(seconds / pace))
        # Growth is bounded, because the first run of a step may hold something else.
        guess = seconds / max(told["seconds"], 1e-9) * told["count"]
        count = int(min(guess + 1, 8 * max(count, told["count"])))


def play(
    runs: Mapping[str, Run], counts: Mapping[str, int], rounds: int, pause: float = 0.0
) -> dict[str, list[Mapping[str, Any]]]:
    """Return what every run told, by contestant.

    Parameters
    ----------
    runs : mapping of str to callable
        Takes a number of steps and returns ``count``, the steps that it took, and ``seconds``.
    counts : mapping of str to int
        The number of steps of a round.
    rounds : int
    pause : float
        Seconds before every run.
    """
    told: dict[str, list[Mapping[str, Any]]] = {name: [] for name in runs}
    for number in range(rounds):
        order = list(runs) if number % 2 == 0 else list(reversed(runs))
        for name in order:
            time.sleep(pause)
            told[name].append(runs[name](counts[name]))
    return told


def paired_ratio(theirs: Sequence[float], ours: Sequence[float]) -> dict[str, float]:
    """Return the median, the lowest and the highest ratio of two times of the same round."""
    ratios = [a / b for a, b in zip(theirs, ours, strict=True)]
    return {"median": statistics.median(ratios), "low": min(ratios), "high": max(ratios)}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean; None of nothing."""
    logs = [math.log(v) for v in values]
    return math.exp(statistics.fmean(logs)) if logs else None


def agreement(reference: Mapping[str, Any], answer: Mapping[str, Any]) -> str:
    """Return an empty text where two contestants did the same work, else what differs.

    Parameters
    ----------
    reference, answer : mapping
        What a worker answers to ``check``: the loss before and after the same steps, or outputs.
    """
    if "outputs" in reference:
        pairs = zip(reference["outputs"], answer["outputs"], strict=True)
        far = max(abs(a - b) for ours, theirs in pairs for a, b in zip(ours, theirs, strict=True))
        return "" if far <= OUTPUT_TOLERANCE else f"outputs differ by {far:.1e}"
    ours, theirs, before = reference["loss"], answer["loss"], reference["before"]
    if ours == before:
        return "the loss did not move"
    # A NaN fails this too.
    if not abs(theirs - ours) <= LOSS_TOLERANCE * abs(ours):
        return f"final loss {theirs:.5g}, not {ours:.5g}"
    return ""
