"""What an activation of one's own costs beside the built-in one of the same formula, in training.

Both are inside the same network on the same backend and thread, and run in turns; what counts is
the time of the thread itself, without what others take of its core. ``python benchmarks/custom.py``
shows the table.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import machine
import numpy as np
from cases import Case
from frame import say, show
from own_activations import COPIES
from rounds import calibrate, paired_ratio, play

import fastnn as fn

__all__ = ["main", "measure"]

# The networks, and the ratio that is promised for each.
PROMISES = {Case((784, 512, 512, 10), 128): 1.3, Case((64, 100, 10), 200, rows=20_000): 1.5}

COLUMNS = ["activation", "built-in", "one's own", "of the best", "median", "low", "high", "made in"]
COLUMNS += ["promise"]

# An epoch has so many FLOP at most.
EPOCH_FLOPS = 2e10

# No step to speak of: the scores stay what they are, whatever the activation.
RATE = 1e-30

# How far the outputs of the two may be from each other, as a share of the largest.
TOLERANCE = 1e-4


def main(argv: list[str] | None = None) -> int:
    """Measure and print the table; return 1 where a promise is not kept."""
    arguments = parser().parse_args(argv)
    late = 0
    for case, promise in PROMISES.items():
        rows = []
        for name in arguments.activations or COPIES:
            say(f"{case.name}: {name}")
            told = measure(case, name, arguments.backend, arguments.rounds, arguments.seconds)
            late += told["ratio"]["median"] > promise
            rows.append(_cells(name, told, promise))
        show(
            f"{case.name}, backend {arguments.backend}, one thread; promised: {promise} times",
            COLUMNS,
            rows,
        )
    return int(late > 0)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parsed = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parsed.add_argument("activations", nargs="*", metavar="ACTIVATION", choices=[[], *COPIES])
    parsed.add_argument("--backend", default="native", choices=("native", "numba"))
    parsed.add_argument("--rounds", type=int, default=11)
    parsed.add_argument("--seconds", type=float, default=0.1, help="the length of a run")
    return parsed


def measure(case: Case, name: str, backend: str, rounds: int, seconds: float) -> dict[str, Any]:
    """Time steps with an activation and with its copy, in turns.

    Returns
    -------
    dict
        ``ours`` and ``own``, the best seconds of a step, their paired ``ratio``, and ``compiled``,
        the seconds of making the network with the copy and of its first step.
    """
    case = case.shortened(EPOCH_FLOPS)
    X, y = case.data()
    nets = {}
    with machine.pinned(machine.cores()[-1:]):
        for who, activation in (("ours", name), ("own", copy(name))):
            start = time.thread_time()
            nets[who] = network(case, activation, backend)
            nets[who].train_batch(X[: case.batch], y[: case.batch])
            compiled = time.thread_time() - start
        _check_agreement(name, nets, X[: case.batch])
        runs = {who: _runner(net, case, X, y) for who, net in nets.items()}
        counts = dict.fromkeys(runs, max(calibrate(run, seconds) for run in runs.values()))
        told = play(runs, counts, rounds)
    times = {who: [run["seconds"] / run["count"] for run in told[who]] for who in told}
    best = {who: min(values) for who, values in times.items()}
    return {**best, "ratio": paired_ratio(times["own"], times["ours"]), "compiled": compiled}


def copy(name: str) -> str:
    """Register the copy of an activation; return the name of that."""
    function, derivative = COPIES[name]

    def own(z: Any) -> Any:
        return function(z)

    own.__name__ = f"own_{name}"
    return fn.activation(derivative=derivative)(own).name


def network(case: Case, activation: str, backend: str) -> fn.Network:
    """Return the network of a case with an activation in its hidden layers."""
    # The usual choice depends on the activation, and knows none of one's own.
    hidden = [
        fn.Dense(width, activation=activation, weight_initializer="glorot_uniform")
        for width in case.widths[1:-1]
    ]
    return fn.Network(
        [*hidden, fn.Dense(case.widths[-1], activation="softmax")],
        input_size=case.widths[0],
        optimizer=fn.SGD(RATE),
        seed=0,
        backend=backend,
        threads=1,
    )


def _check_agreement(name: str, nets: dict[str, fn.Network], X: Any) -> None:
    """Leave with a word where the copy is none."""
    ours, own = (nets[who].predict(X) for who in ("ours", "own"))
    if not np.abs(ours - own).max() <= TOLERANCE * np.abs(ours).max():
        raise SystemExit(f"the copy of {name} does something else")


def _runner(net: fn.Network, case: Case, X: Any, y: Any) -> Callable[[int], dict[str, Any]]:
    def run(count: int) -> dict[str, Any]:
        epochs = max(1, count // case.steps)
        start = time.thread_time()
        net.fit(X, y, batch_size=case.batch, epochs=epochs, progress=False)
        return {"count": epochs * case.steps, "seconds": time.thread_time() - start}

    return run


def _cells(name: str, told: dict[str, Any], promise: float) -> list[str]:
    ratio = told["ratio"]
    verdict = "kept" if ratio["median"] <= promise else "BROKEN"
    micros = [f"{1e6 * told[who]:.1f} µs" for who in ("ours", "own")]
    ratios = [f"{told['own'] / told['ours']:.2f}"]
    ratios += [f"{ratio[key]:.2f}" for key in ("median", "low", "high")]
    return [name, *micros, *ratios, f"{told['compiled']:.2f} s", verdict]


if __name__ == "__main__":
    sys.exit(main())
