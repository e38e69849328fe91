"""fastnn: fully connected neural networks, from Python, on NumPy and a small core in C.

A network is a list of layers; see `Network`.

>>> import fastnn as fn
>>> net = fn.Network([fn.Dense(8, activation="relu"), fn.Dense(3, activation="softmax")])
>>> history = net.fit([[0.0, 1.0], [1.0, 0.0]], [0, 2], epochs=5, progress=False)
>>> net.predict([[0.0, 1.0]]).shape
(1, 3)
"""

from typing import TYPE_CHECKING, Any

from fastnn import activations, backends, errors, initializers, losses, schedules
from fastnn.backends.precision import set_float32_matmul_precision
from fastnn.backends.threads import get_num_threads, set_num_threads
from fastnn.callbacks import Callback, CSVLogger, EarlyStopping, ModelCheckpoint, Run
from fastnn.custom import activation, loss
from fastnn.information import info
from fastnn.layers import (
    Activation,
    BatchNorm,
    Columns,
    Concat,
    Dense,
    Dropout,
    Gated,
    LayerNorm,
    Residual,
)
from fastnn.losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    Hinge,
    Huber,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
)
from fastnn.network import Network
from fastnn.optimizers import SGD, Adagrad, Adam, AdamW, Lion, NAdam, RMSprop
from fastnn.training import History
from fastnn.warming import warmup

__all__ = [
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "BatchNorm",
    "BinaryCrossEntropy",
    "CSVLogger",
    "Callback",
    "Columns",
    "Concat",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "EarlyStopping",
    "Gated",
    "Hinge",
    "History",
    "Huber",
    "LayerNorm",
    "Lion",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "ModelCheckpoint",
    "NAdam",
    "Network",
    "Poisson",
    "Quantile",
    "RMSprop",
    "Residual",
    "Run",
    "activation",
    "activations",
    "backends",
    "data",
    "errors",
    "get_num_threads",
    "info",
    "initializers",
    "loss",
    "losses",
    "schedules",
    "set_float32_matmul_precision",
    "set_num_threads",
    "warmup",
]


if TYPE_CHECKING:
    from fastnn import data


def __getattr__(name: str) -> Any:
    # On demand: each of these takes longer than the rest of the import.
    if name == "data":
        import fastnn.data

        return fastnn.data
    if name == "__version__":
        from fastnn.information import version

        return version()
    raise AttributeError(f"module 'fastnn' has no attribute {name!r}")
