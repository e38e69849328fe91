"""fastnn: whole calls of `fit` and `predict` from Python."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from functools import partial
from itertools import cycle
from typing import Any

import numpy as np
from cases import Case

import fastnn as fn
from peers import times_of


def describe(threads: int) -> dict[str, Any]:
    """Return the versions and what fastnn says of its best backend.

    `fastnn.info` would load the packages of all backends, which count as memory of this process.
    """
    used = [name for name in ("numpy", "numba") if importlib.util.find_spec(name)]
    versions = {name: importlib.metadata.version(name) for name in used}
    details = fn.backends.choose("auto").details()
    return {"versions": {"fastnn": fn.__version__, **versions}, "details": details}


def network(case: Case, threads: int, backend: str) -> fn.Network:
    """Return the network of a case with its first weights."""
    hidden = [fn.Dense(width, activation="relu") for width in case.widths[1:-1]]
    head = "softmax" if case.loss == "cross_entropy" else None
    rate = case.rate
    net = fn.Network(
        [*hidden, fn.Dense(case.widths[-1], activation=head)],
        input_size=case.widths[0],
        optimizer=fn.Adam(rate) if case.optimizer == "adam" else fn.SGD(rate),
        backend=backend,
        threads=threads,
    )
    set_weights(net, case)
    return net


def set_weights(net: fn.Network, case: Case) -> None:
    """Give the network the first weights of a case."""
    for n, (weight, bias) in enumerate(case.first_weights()):
        net.parameters[f"{n}.weight"][...] = weight
        net.parameters[f"{n}.bias"][...] = bias


def _backend(mode: str) -> str:
    return mode.partition(" on ")[2] or "auto"


class Trainer:
    """Whole epochs inside one call of `fit`.

    Mode ``shuffled`` draws a new order every epoch, mode ``resident`` takes the rows as they come;
    ``... on NAME`` names a backend.
    """

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.data = case, case.data()
        self.shuffle = mode.startswith("shuffled")
        self.net = network(case, threads, _backend(mode))
        self.note = f"backend {self.net.backend}"
        self.restart(1)  # some backends compile

    def restart(self, steps: int) -> None:
        """Take so many steps from the first weights."""
        set_weights(self.net, self.case)
        self.net.optimizer = self.net.optimizer  # forgets the moments
        self._fit(steps * self.case.batch, 1, shuffle=False)

    def run(self, steps: int) -> int:
        """Train for as many epochs as hold so many steps."""
        epochs = -(-steps // self.case.steps)
        self._fit(self.case.rows, epochs, self.shuffle)
        return epochs * self.case.steps

    def each(self, seconds: float) -> list[float]:
        """Return the seconds of single steps, a call of `train_batch` each."""
        X, y = self.data
        size = self.case.batch
        batches = cycle([(X[n : n + size], y[n : n + size]) for n in range(0, len(X), size)])
        return times_of(lambda: self.net.train_batch(*next(batches)), seconds)

    def weights(self) -> list[tuple[Any, Any]]:
        """Return weights and biases."""
        named = self.net.parameters
        return [(named[f"{n}.weight"], named[f"{n}.bias"]) for n in range(len(self.case.layers))]

    def _fit(self, rows: int, epochs: int, shuffle: bool) -> None:
        X, y = self.data
        self.net.fit(
            X[:rows],
            y[:rows],
            epochs=epochs,
            batch_size=self.case.batch,
            shuffle=shuffle,
            progress=False,
        )


class Predictor:
    """One call of `predict` after the other."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case = case
        self.X, _ = case.data()
        self.net = network(case, threads, _backend(mode))
        self.note = f"backend {self.net.backend}"
        self.run(3)

    def run(self, calls: int) -> int:
        """Predict so many times."""
        predict, X = self.net.predict, self.X
        for _ in range(calls):
            predict(X)
        return calls

    def each(self, seconds: float) -> list[float]:
        """Return the seconds of single calls."""
        return times_of(partial(self.net.predict, self.X), seconds)

    def outputs(self) -> np.ndarray:
        """Return the probabilities."""
        return self.net.predict(self.X)
