"""JAX: a whole epoch as one compiled `lax.scan`, its parameters donated."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case
from jax import lax

from peers import times_of


def describe(threads: int) -> dict[str, Any]:
    """Return the versions; the threads are those of the cores that the process was bound to."""
    details = {"devices": ", ".join(map(str, jax.devices()))}
    return {"versions": {"jax": jax.__version__}, "details": details}


def scores(parameters: Any, x: jax.Array) -> jax.Array:
    """Return the scores of a batch."""
    for weight, bias in parameters[:-1]:
        x = jax.nn.relu(x @ weight + bias)
    weight, bias = parameters[-1]
    return x @ weight + bias


def mean_loss(kind: str, parameters: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the loss of a batch."""
    out = scores(parameters, x)
    if kind == "mse":
        return jnp.mean((out - y) ** 2)
    logs = jax.nn.log_softmax(out)
    return -jnp.mean(jnp.take_along_axis(logs, y[:, None], axis=1))


def update(case: Case, state: Any, gradient: Any) -> Any:
    """Return the state (parameters, first and second moments, step) after a step."""
    parameters, first, second, step = state
    map_ = jax.tree_util.tree_map
    step += 1
    if case.optimizer == "sgd":
        return map_(lambda p, g: p - case.rate * g, parameters, gradient), first, second, step
    first = map_(lambda m, g: 0.9 * m + 0.1 * g, first, gradient)
    second = map_(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradient)
    rate, spread = case.rate / (1 - 0.9**step), 1 / (1 - 0.999**step)
    parameters = map_(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v * spread) + 1e-8), parameters, first, second
    )
    return parameters, first, second, step


def run_epoch(case: Case, state: Any, X: jax.Array, y: jax.Array) -> Any:
    """Return the state after a step on every batch; X is (steps, batch, inputs)."""
    gradient = jax.grad(partial(mean_loss, case.loss))

    def step(state: Any, batch: Any) -> Any:
        return update(case, state, gradient(state[0], *batch)), None

    return lax.scan(step, state, (X, y))[0]


class Trainer:
    """Whole epochs over resident batches."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.data = case, case.data()
        self.note = "one lax.scan an epoch"
        X, y = self.data
        if y.dtype == np.int64:
            y = y.astype(np.int32)
        leading = (case.steps, case.batch)
        self.X = jax.device_put(X.reshape(*leading, -1))
        self.y = jax.device_put(y.reshape(*leading, *y.shape[1:]))
        self.state = self._first()
        self.epoch = self._compile(case.steps)

    def restart(self, steps: int) -> None:
        """Take so many steps from the first weights."""
        epoch = self._compile(steps)
        self.state = epoch(self._first(), self.X[:steps], self.y[:steps])

    def run(self, steps: int) -> int:
        """Train for as many epochs as hold so many steps."""
        epochs = -(-steps // self.case.steps)
        for _ in range(epochs):
            self.state = self.epoch(self.state, self.X, self.y)
        jax.block_until_ready(self.state)
        return epochs * self.case.steps

    def weights(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return weights and biases."""
        return [(np.asarray(w), np.asarray(b)) for w, b in self.state[0]]

    def _first(self) -> Any:
        parameters = jax.device_put(self.case.first_weights())
        moments = self.case.first_weights() if self.case.optimizer == "adam" else ()
        zeros = [jax.tree_util.tree_map(jnp.zeros_like, moments) for _ in range(2)]
        return parameters, *zeros, jnp.float32(0)

    def _compile(self, steps: int) -> Any:
        function = jax.jit(partial(run_epoch, self.case), donate_argnums=0)
        return function.lower(self._first(), self.X[:steps], self.y[:steps]).compile()


class Predictor:
    """One compiled call after the other, from a device array, each waited for."""

    def __init__(self, case: Case, threads: int, mode: str) -> None:
        self.case, self.note = case, "jit, device arrays in and out"
        self.X = jax.device_put(case.data()[0])
        self.parameters = jax.device_put(case.first_weights())
        self.predict = jax.jit(lambda parameters, x: jax.nn.softmax(scores(parameters, x)))
        self.run(3)

    def run(self, calls: int) -> int:
        """Predict so many times."""
        predict, parameters, X = self.predict, self.parameters, self.X
        for _ in range(calls):
            predict(parameters, X).block_until_ready()
        return calls

    def each(self, seconds: float) -> list[float]:
        """Return the seconds of single calls."""
        predict, parameters, X = self.predict, self.parameters, self.X
        return times_of(lambda: predict(parameters, X).block_until_ready(), seconds)

    def outputs(self) -> np.ndarray:
        """Return the probabilities."""
        return np.asarray(self.predict(self.parameters, self.X))
