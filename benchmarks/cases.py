"""What is measured: networks, batches, data and first weights, the same for every contestant."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = [
    "BUSY",
    "EPOCH_FLOPS",
    "INFERENCE",
    "MEMORY",
    "TRAINING",
    "Case",
    "forget_data",
    "select",
]

Array = npt.NDArray[np.float32]

# Rows of the training data by inputs: MNIST and the digits of scikit-learn in their sizes, else
# enough that an epoch is long beside the call that starts it.
ROWS = {784: 60_000, 64: 1_797}
OTHER_ROWS = 20_000

# Rows on which the loss is compared.
LOSS_ROWS = 2_000


@dataclass(frozen=True)
class Case:
    """A network at work: relu between the layers, softmax or nothing at the end.

    Attributes
    ----------
    widths : tuple of int
        Inputs, hidden layers, outputs.
    batch : int
        Rows of a training step, or of a call that predicts.
    optimizer : {"sgd", "adam"}
    loss : {"cross_entropy", "mse"}
    training : bool
        Whether it is trained, else it predicts.
    rows : int
        Rows of the training data; 0 takes the usual number for these inputs.
    """

    widths: tuple[int, ...]
    batch: int
    optimizer: str = "sgd"
    loss: str = "cross_entropy"
    training: bool = True
    rows: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "widths", tuple(self.widths))  # a list, when it was JSON
        rows = self.rows or ROWS.get(self.widths[0], OTHER_ROWS)
        # Whole batches only, so that every contestant takes the same steps.
        whole = max(1, rows // self.batch) * self.batch
        object.__setattr__(self, "rows", whole if self.training else self.batch)

    @property
    def name(self) -> str:
        """Name, such as ``784-30-10, 10`` or ``784-30-10, 10, adam``."""
        suffix = "" if self.optimizer == "sgd" else f", {self.optimizer}"
        return f"{'-'.join(map(str, self.widths))}, {self.batch}{suffix}"

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Inputs and outputs of every layer."""
        return list(pairwise(self.widths))

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.rows // self.batch

    @property
    def rate(self) -> float:
        """The learning rate."""
        return 1e-3 if self.optimizer == "adam" else 0.05

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(i * o + o for i, o in self.layers)

    @property
    def flops(self) -> int:
        """Floating-point operations of the products of one step or call.

        Three products a layer in training (forward, gradient of the weights, gradient of the
        inputs), without the last in the first layer; one product a layer in prediction.
        """
        if not self.training:
            return sum(2 * self.batch * i * o for i, o in self.layers)
        each = [6 * self.batch * i * o for i, o in self.layers]
        return sum(each) - each[0] // 3

    @property
    def bytes(self) -> int:
        """Bytes that one step or call has to move at least: rows, and every weight once.

        A training step reads a weight and writes it; Adam does so with two moments beside it.
        """
        rows = self.batch * (self.widths[0] + self.widths[-1])
        touched = 1 if not self.training else 2 if self.optimizer == "sgd" else 6
        return 4 * (rows + touched * self.parameters)

    @property
    def data_bytes(self) -> int:
        """Bytes of the inputs, and of labels or values."""
        width = self.widths[0]
        return self.rows * (4 * width + (4 * self.widths[-1] if self.loss == "mse" else 8))

    def shortened(self, flops: float) -> Case:
        """Return the case with fewer rows, so that an epoch has no more than so many FLOP."""
        steps = max(2, int(flops // self.flops))
        return replace(self, rows=min(self.rows, steps * self.batch))

    def data(self) -> tuple[Array, npt.NDArray[np.generic]]:
        """Return inputs (N, I), and labels (N,) int64 or values (N, 1) that can be learnt."""
        return _data(self.rows, self.widths[0], self.widths[-1], self.loss)

    def first_weights(self) -> list[tuple[Array, Array]]:
        """Return weights (I, O) and biases (O,) of every layer, as they stand before training."""
        rng = np.random.default_rng(2)
        return [
            (
                rng.standard_normal((i, o), np.float32) * np.float32(np.sqrt(2 / i)),
                np.zeros(o, np.float32),
            )
            for i, o in self.layers
        ]

    def outputs(self, weights: list[tuple[Array, Array]], X: Array) -> npt.NDArray[np.float64]:
        """Return the scores of the network in float64, computed by NumPy."""
        hidden = X.astype(np.float64)
        for n, (weight, bias) in enumerate(weights):
            hidden = hidden @ weight.astype(np.float64) + bias
            if n < len(weights) - 1:
                hidden = np.maximum(hidden, 0)
        return hidden

    def mean_loss(
        self, weights: list[tuple[Array, Array]], X: Array, y: npt.NDArray[np.generic]
    ) -> float:
        """Return the loss over the first rows, by one formula for every contestant."""
        X, y = X[:LOSS_ROWS], y[:LOSS_ROWS]
        scores = self.outputs(weights, X)
        if self.loss == "mse":
            return float(np.mean((scores - y) ** 2))
        top = scores.max(axis=1)
        total = top + np.log(np.exp(scores - top[:, None]).sum(axis=1))
        return float(np.mean(total - scores[np.arange(len(y)), y]))


TRAINING = (
    Case((4, 6, 2), 1),
    Case((4, 6, 2), 16),
    Case((784, 16, 16, 10), 32),
    Case((784, 30, 10), 10),
    Case((64, 100, 10), 200),
    Case((784, 128, 64, 10), 64),
    Case((256, 256, 256, 1), 256, loss="mse"),
    Case((784, 512, 512, 10), 128),
    Case((1024, 2048, 2048, 1000), 512),
    Case((64, 100, 10), 200, "adam"),
    Case((784, 128, 64, 10), 64, "adam"),
    Case((784, 512, 512, 10), 128, "adam"),
)

INFERENCE = tuple(
    Case(widths, rows, training=False)
    for widths in ((4, 6, 2), (784, 30, 10), (64, 100, 10), (784, 128, 64, 10), (784, 512, 512, 10))
    for rows in (1, 32, 1000)
)

# An epoch has no more than so many FLOP in a comparison, so that a run is not much longer than it
# should be; the inputs are still beyond the caches, but for the case that is bound by arithmetic.
EPOCH_FLOPS = 1e11

# The cases whose memory is told: an epoch over much data, and many parameters over little.
MEMORY = {
    "memory": Case((784, 128, 64, 10), 64),
    "memory of a large net": Case((1024, 2048, 2048, 1000), 512, "adam", rows=2048),
}

# The cases that are repeated beside busy processes: steps of a millisecond, and short ones.
BUSY = (Case((784, 512, 512, 10), 128), Case((784, 16, 16, 10), 32))


@lru_cache(maxsize=1)
def _data(rows: int, inputs: int, outputs: int, loss: str) -> tuple[Array, npt.NDArray[np.generic]]:
    rng = np.random.default_rng(1)
    X = rng.standard_normal((rows, inputs), np.float32)
    teacher = rng.standard_normal((inputs, outputs), np.float32)
    scores = X @ (teacher / np.float32(np.sqrt(inputs)))
    if loss == "mse":
        return X, np.tanh(scores)
    return X, scores.argmax(axis=1).astype(np.int64)


def forget_data() -> None:
    """Free the data of the last case."""
    _data.cache_clear()


def select(cases: tuple[Case, ...], wanted: list[str]) -> list[Case]:
    """Return the cases whose name has one of the wanted texts in it; all where none is wanted."""
    return [c for c in cases if not wanted or any(text in c.name for text in wanted)]
