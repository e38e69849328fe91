"""Whole calls of `fit` and `predict`, on one thread and on all cores."""

from __future__ import annotations

from typing import Any

import machine
import pytest
from cases import INFERENCE, TRAINING, Case

import fastnn as fn

# An epoch of a large network has no more than so many FLOP.
EPOCH_FLOPS = 4e9
THREADS = sorted({1, len(machine.cores())})


def network(case: Case, backend: str, threads: int) -> fn.Network:
    """Return the network of a case."""
    hidden = [fn.Dense(width, activation="relu") for width in case.widths[1:-1]]
    head = "softmax" if case.loss == "cross_entropy" else None
    optimizer = fn.Adam(case.rate) if case.optimizer == "adam" else fn.SGD(case.rate)
    return fn.Network(
        [*hidden, fn.Dense(case.widths[-1], activation=head)],
        input_size=case.widths[0],
        optimizer=optimizer,
        backend=backend,
        threads=threads,
    )


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("case", TRAINING, ids=lambda case: case.name.replace(", ", "-"))
def test_training(benchmark: Any, backend: str, case: Case, threads: int, shares: Any) -> None:
    """Time an epoch of shuffled batches."""
    case = case.shortened(EPOCH_FLOPS)
    X, y = case.data()
    net = network(case, backend, threads)
    with machine.pinned(machine.cores()[-threads:]):
        benchmark(net.fit, X, y, batch_size=case.batch, progress=False)
    shares(benchmark, case.flops * case.steps, case.bytes * case.steps, threads=threads)
    if benchmark.stats is not None:
        step = benchmark.stats.stats.median / case.steps
        benchmark.extra_info["us a step"] = round(1e6 * step, 3)


@pytest.mark.parametrize("case", TRAINING, ids=lambda case: case.name.replace(", ", "-"))
def test_single_step(benchmark: Any, backend: str, case: Case, shares: Any) -> None:
    """Time a call of train_batch, on one thread."""
    X, y = case.shortened(0).data()
    X, y = X[: case.batch], y[: case.batch]
    net = network(case, backend, 1)
    with machine.pinned(machine.cores()[-1:]):
        benchmark(net.train_batch, X, y)
    shares(benchmark, case.flops, case.bytes)


@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("case", INFERENCE, ids=lambda case: case.name.replace(", ", "-"))
def test_prediction(benchmark: Any, backend: str, case: Case, threads: int, shares: Any) -> None:
    """Time a call of predict."""
    X, _ = case.data()
    net = network(case, backend, threads)
    with machine.pinned(machine.cores()[-threads:]):
        benchmark(net.predict, X)
    shares(benchmark, case.flops, case.bytes, threads=threads)
