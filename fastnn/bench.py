"""A short benchmark of fastnn alone: what it does on this machine, and how near to its own limit.

The comparison with other libraries is in the folder ``benchmarks`` of the sources.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import backends, checks
from fastnn.backends import threads as cores
from fastnn.layers import Dense
from fastnn.network import Network
from fastnn.optimizers import SGD

__all__ = ["lines"]

Array = npt.NDArray[Any]

# Widths of a network and rows of a training step.
TRAINING = (
    ((4, 6, 2), 16),
    ((784, 30, 10), 10),
    ((64, 100, 10), 200),
    ((784, 128, 64, 10), 64),
    ((784, 512, 512, 10), 128),
)
PREDICTED_ROWS = (1, 1000)
# An epoch: long beside the call that starts it, short enough for a look.
EPOCH_FLOPS = 5e8
MOST_STEPS = 1000
# A product whose three matrices stay in the caches of a core.
PRODUCT = 256
COLUMNS = ("", "threads", "µs", "GFLOP/s", "of products")


def lines(backend: str = "auto", threads: int | None = None, seconds: float = 0.2) -> Iterator[str]:
    """Measure products, training steps and predictions in float32; yield the lines of a report.

    Training is whole epochs of `fit`, shuffled; its operations are counted as 6 I O a row and layer
    (4 in the first), those of predictions as 2. The last column is the share of what the backend's
    own product of 256 by 256 matrices reaches on as many threads.

    Parameters
    ----------
    backend : str
    threads : int, optional
        The most to use; `fastnn.get_num_threads` decides where omitted. One thread is measured too.
    seconds : float
        Least time of a measurement; the best of three counts.

    Yields
    ------
    str

    Raises
    ------
    TypeError, ValueError
        For a bad argument.
    BackendUnavailable
        When the backend is missing.

    Examples
    --------
    >>> next(lines("reference", threads=1, seconds=1e-6))
    'backend reference'
    """
    seconds = checks.real_number("seconds", seconds, 0, above=True)
    most = cores.get_num_threads() if threads is None else threads
    most = checks.whole_number("threads", most, 1, 4096)
    chosen = backends.choose(backend)
    details = "".join(f", {key} {value}" for key, value in chosen.details().items())
    yield f"backend {chosen.name}{details}"
    limit = _product_speed(chosen.kernels.dense_forward, seconds)
    yield f"products alone, 1 thread: {limit:.3g} GFLOP/s"
    yield _line(COLUMNS)
    for widths, batch in TRAINING:
        name = f"train {'-'.join(map(str, widths))}, batch {batch}"
        flops = _training_flops(widths, batch)
        steps = int(min(max(EPOCH_FLOPS // flops, 2), MOST_STEPS))
        X, y = _rows(widths, steps * batch)
        for count in sorted({1, most}):
            net = _network(widths, chosen.name, count)
            fit = partial(net.fit, X, y, batch_size=batch, progress=False)
            epoch = _best(fit, seconds)
            yield _result(name, count, epoch / steps, flops, limit)
    for widths, _ in TRAINING:
        for rows in PREDICTED_ROWS:
            name = f"predict {'-'.join(map(str, widths))}, rows {rows}"
            X, _ = _rows(widths, rows)
            flops = sum(2 * rows * i * o for i, o in pairwise(widths))
            for count in sorted({1, most}):
                net = _network(widths, chosen.name, count)
                call = _best(partial(net.predict, X), seconds)
                yield _result(name, count, call, flops, limit)


def _training_flops(widths: tuple[int, ...], batch: int) -> int:
    each = [6 * batch * i * o for i, o in pairwise(widths)]
    return sum(each) - each[0] // 3  # the inputs need no gradient


def _rows(widths: tuple[int, ...], rows: int) -> tuple[Array, Array]:
    generator = np.random.default_rng(0)
    X = generator.standard_normal((rows, widths[0]), np.float32)
    return X, generator.integers(0, widths[-1], rows)


def _network(widths: tuple[int, ...], backend: str, threads: int) -> Network:
    hidden = [Dense(width, activation="relu") for width in widths[1:-1]]
    return Network(
        [*hidden, Dense(widths[-1], activation="softmax")],
        input_size=widths[0],
        optimizer=SGD(0.01),
        backend=backend,
        threads=threads,
    )


def _product_speed(dense: Callable[..., Any], seconds: float) -> float:
    """Return the GFLOP/s of a backend's product."""
    X, W, Y = (np.ones((PRODUCT, PRODUCT), np.float32) for _ in range(3))
    return float(2e-9 * PRODUCT**3 / _best(partial(dense, Y, X, W, None, "identity"), seconds))


def _best(call: Callable[[], Any], seconds: float) -> float:
    """Return the seconds of a call: the best of three means over at least so many seconds."""
    call()  # the first one fills caches
    count, best = 1, float("inf")
    for _ in range(3):
        while True:
            started = time.perf_counter()
            for _ in range(count):
                call()
            taken = time.perf_counter() - started
            best = min(best, taken / count)
            if taken >= seconds / 3:
                break
            count *= 2
    return best


def _result(name: str, threads: int, seconds: float, flops: int, limit: float) -> str:
    speed = flops / seconds * 1e-9
    share = f"{speed / (limit * threads):.0%}"
    return _line((name, str(threads), f"{seconds * 1e6:.4g}", f"{speed:.3g}", share))


def _line(cells: tuple[str, ...]) -> str:
    first, *rest = cells
    return f"{first:<34}" + "".join(f"{cell:>13}" for cell in rest)
