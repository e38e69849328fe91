"""Networks with an optimizer and rows to learn from, small enough for the simulator."""

import networks
import numpy as np
from networks import Described, fn, losses

from fastnn.backends import get
from fastnn.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop

REFERENCE = get("reference")
ROWS, SEED = 5, 11

ALL_LIMITS = {"weight_decay": 0.02, "clip_value": 0.05, "clip_norm": 0.1}
OPTIMIZERS = {
    "sgd": SGD(0.05),
    "momentum": SGD(0.05, momentum=0.9, clip_norm=0.1),
    "nesterov": SGD(0.05, momentum=0.9, nesterov=True, **ALL_LIMITS),
    "adam": Adam(0.01, **ALL_LIMITS),
    "adamw": AdamW(0.01, weight_decay=0.1, epsilon=0.003, epsilon_hat=True),
    "rmsprop": RMSprop(0.005, clip_value=0.05),
    "rmsprop with momentum": RMSprop(0.002, momentum=0.8, weight_decay=0.02),
    "adagrad": Adagrad(0.05, **ALL_LIMITS),
    "nadam": NAdam(0.01, momentum_decay=0.04, weight_decay=0.02),
    "lion": Lion(0.002, weight_decay=0.02),
}
SMALL = Described([fn.Dense(2, "tanh"), fn.Dense(2)], 2, losses.MeanSquaredError())
# What one network can have at once: penalties, bounds, both norms, gates, sums and columns.
EVERYTHING = Described(
    [
        fn.Dense(3, "sigmoid", l1=0.01, l2=0.02, regularize_bias=True, max_norm=0.8),
        fn.BatchNorm(),
        fn.Dropout(0.3),
        fn.LayerNorm(),
        fn.Residual([fn.Gated(3, "swiglu", l1=0.02, l2=0.03, penalty_per_row=True)]),
        fn.Concat([fn.Dense(2, "leaky_relu", use_bias=False)]),
        fn.Columns(1, 4, [fn.Dense(2)]),
        fn.Dense(3, "softmax"),
    ],
    3,
    losses.CrossEntropy(0.05),
)


def close(got, want, bound):
    """Hold an array against the truth, relative to the largest of its elements."""
    scale = max(1e-30, float(np.nan_to_num(np.abs(want)).max(initial=0)))
    np.testing.assert_allclose(got, want, rtol=0, atol=bound * scale)


class Walk:
    """A network on a backend, with its optimizer, some rows, and what its steps reported."""

    def __init__(self, described, backend, optimizer, dtype="float64", weighted=True, rows=ROWS):
        self.executable = networks.compile_network(described, backend, dtype)
        self.state = self.executable.new_state(optimizer)
        program = self.executable.program
        self.batch = networks.random_batch(program, rows, dtype, weighted=weighted)
        self.losses, self.hits = np.zeros((2, 9))

    def steps(self, count, order, batch_size=2, batch=None):
        return self.executable.run_steps(
            batch or self.batch,
            order,
            batch_size,
            self.state,
            self.state.rates(count) if count else np.empty(0),
            SEED,
            self.losses[:count],
            self.hits[:count],
        )

    def all(self):
        """Return all that training changes and tells."""
        moved = self.executable.parameters, self.executable.states, self.state.moments
        return [*(v.copy() for v in moved), self.losses, self.hits, self.state.product]
