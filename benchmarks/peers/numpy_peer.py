"""NumPy: the step that a careful person writes by hand, without a new array in it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from cases import Case

from peers import times_of


def describe(threads: int) -> dict[str, Any]:
    """Return the versions and the OpenBLAS core, which decides the speed of the products."""
    details = {"blas": np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]}
    try:
        import threadpoolctl
    except ImportError:
        details["core"] = "unknown (threadpoolctl is not installed)"
    else:
        # One for NumPy, and perhaps one for SciPy; OpenMP has none of its own.
        pools = [p for p in threadpoolctl.threadpool_info() if "architecture" in p]
        details["core"] = ", ".join(dict.fromkeys(p["architecture"] for p in pools))
        details["threads"] = ", ".join(str(p["num_threads"]) for p in pools)
    return {"versions": {"numpy": np.__version__}, "details": details}


class Net:
    """Weights, and a buffer for whatever a step computes."""

    def __init__(self, case: Case) -> None:
        self.case, self.note = case, ""
        self.outputs_of_layers = [np.empty((case.batch, o), np.float32) for _, o in case.layers]
        self.reset()

    def reset(self) -> None:
        """Take the first weights."""
        self.pairs = self.case.first_weights()

    def forward(self, X: np.ndarray) -> np.ndarray:
        """Return the scores of a batch, in a buffer."""
        hidden = X
        last = len(self.pairs) - 1
        for n, (weight, bias) in enumerate(self.pairs):
            out = self.outputs_of_layers[n]
            np.matmul(hidden, weight, out=out)
            out += bias
            if n < last:
                np.maximum(out, 0, out=out)
            hidden = out
        return hidden


def softmax(scores: np.ndarray) -> np.ndarray:
    """Turn scores into probabilities, in place."""
    scores -= scores.max(axis=1, keepdims=True)
    np.exp(scores, out=scores)
    scores /= scores.sum(axis=1, keepdims=True)
    return scores


class Trainer(Net):
    """Steps in a Python loop over consecutive batches."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.data = case.data()
        X, y = self.data
        whole = range(0, case.rows, case.batch)
        self.batches = [(X[n : n + case.batch], y[n : n + case.batch]) for n in whole]
        self.rows_of_batch = np.arange(case.batch)
        self.gradients = [np.empty_like(p) for pair in case.first_weights() for p in pair]
        self.scratch = [np.empty_like(g) for g in self.gradients]
        self.hidden = [np.empty((case.batch, i), np.float32) for i, _ in case.layers]
        super().__init__(case)
        self.run(2)

    def reset(self) -> None:
        """Take the first weights, and forget the moments."""
        super().reset()
        self.at = self.taken = 0
        self.first = [np.zeros_like(g) for g in self.gradients]
        self.second = [np.zeros_like(g) for g in self.gradients]

    def restart(self, steps: int) -> None:
        """Take so many steps from the first weights."""
        self.reset()
        self.run(steps)

    def run(self, steps: int) -> int:
        """Take so many steps."""
        for _ in range(steps):
            self.step(*self.batches[self.at])
            self.at = (self.at + 1) % len(self.batches)
        return steps

    def each(self, seconds: float) -> list[float]:
        """Return the seconds of single steps."""
        return times_of(partial(self.run, 1), seconds)

    def step(self, X: np.ndarray, y: np.ndarray) -> None:
        """Take one step."""
        d = self.forward(X)
        if self.case.loss == "mse":
            d -= y
            d *= np.float32(2 / d.size)
        else:
            softmax(d)
            d[self.rows_of_batch, y] -= 1
            d *= np.float32(1 / len(d))
        for n in range(len(self.pairs) - 1, -1, -1):
            below = self.outputs_of_layers[n - 1] if n else X
            np.matmul(below.T, d, out=self.gradients[2 * n])
            d.sum(axis=0, out=self.gradients[2 * n + 1])
            if n:
                np.matmul(d, self.pairs[n][0].T, out=self.hidden[n])
                d = np.multiply(self.hidden[n], below > 0, out=self.hidden[n])
        self.update()

    def update(self) -> None:
        """Apply the gradients."""
        rate = np.float32(self.case.rate)
        self.taken += 1
        parameters = [p for pair in self.pairs for p in pair]
        if self.case.optimizer == "sgd":
            for parameter, gradient in zip(parameters, self.gradients, strict=True):
                gradient *= rate
                parameter -= gradient
            return
        rate = np.float32(self.case.rate / (1 - 0.9**self.taken))
        spread = np.float32(1 / np.sqrt(1 - 0.999**self.taken))
        for p, g, m, v, s in zip(
            parameters, self.gradients, self.first, self.second, self.scratch, strict=True
        ):
            m *= np.float32(0.9)
            m += np.multiply(g, np.float32(0.1), out=s)
            v *= np.float32(0.999)
            g *= g
            v += np.multiply(g, np.float32(0.001), out=g)
            np.sqrt(v, out=s)
            s *= spread
            s += np.float32(1e-8)
            np.divide(m, s, out=s)
            s *= rate
            p -= s

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return weights and biases."""
        return self.pairs


class Predictor(Net):
    """One forward pass after the other."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        super().__init__(case)
        self.X, _ = case.data()
        self.run(3)

    def run(self, calls: int) -> int:
        """Predict so many times."""
        for _ in range(calls):
            softmax(self.forward(self.X))
        return calls

    def each(self, seconds: float) -> list[float]:
        """Return the seconds of single calls."""
        return times_of(lambda: softmax(self.forward(self.X)), seconds)

    def outputs(self) -> np.ndarray:
        """Return the probabilities."""
        return softmax(self.forward(self.X))
