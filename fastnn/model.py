"""What a network is: its layers, its parameters, where its training stands, and its file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from fastnn import backends, checks, initializers, inputs, losses, network_file, optimizers, summary
from fastnn.backends import Executable
from fastnn.backends.threads import get_num_threads
from fastnn.layers import Layer, check_layers
from fastnn.losses import Loss
from fastnn.network_file import Snapshot
from fastnn.optimizers import Optimizer
from fastnn.program import Program, choose_loss, lower
from fastnn.schedules import Plateau
from fastnn.training import TrainingState

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Model"]

Array = npt.NDArray[Any]


class Model:
    """A described network with its parameters; `fastnn.Network` does something with them."""

    def __init__(
        self,
        layers: Sequence[Layer],
        *,
        input_size: int | None = None,
        loss: str | Loss = "auto",
        optimizer: str | Optimizer = "adam",
        dtype: npt.DTypeLike = "float32",
        seed: int | None = 0,
        backend: str = "auto",
        threads: int | None = None,
        predict_dtype: str | None = None,
    ) -> None:
        self.layers = check_layers(layers, "Network")
        self._loss = None if isinstance(loss, str) and loss == "auto" else losses.get(loss)
        self._optimizer = optimizers.get(optimizer)
        self._dtype = inputs.network_dtype(dtype)
        self.predict_dtype = predict_dtype
        if seed is None:
            seed = int(np.random.default_rng().integers(2**63))
        self.seed = checks.whole_number("seed", seed, 0, 2**64 - 1)
        self._backend = backends.choose(backend)
        self._door = inputs.Door(self._dtype, self._backend.first_nonfinite)
        self._threads = (
            get_num_threads()
            if threads is None
            else checks.whole_number("threads", threads, 1, 4096)
        )
        self.metadata: dict[str, Any] = {}
        self._executable: Executable | None = None
        choose_loss(self.layers, self._loss)  # a pair that does not go is refused now
        if input_size is not None:
            self._build(self._lower(checks.whole_number("input_size", input_size, 1)))

    @property
    def input_size(self) -> int | None:
        """Number of inputs, None while it is not known."""
        return None if self._executable is None else self.program.inputs

    @property
    def program(self) -> Program:
        """The network laid out: slots, parameters and ops."""
        return self._ready().program

    @property
    def backend(self) -> str:
        """Name of the backend that runs it."""
        return self._backend.name

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of parameters and arithmetic."""
        return self._dtype

    @property
    def predict_dtype(self) -> str | None:
        """``"bfloat16"`` where predictions round their factors, None where they do not."""
        return self._predict_dtype

    @predict_dtype.setter
    def predict_dtype(self, name: str | None) -> None:
        self._predict_dtype = inputs.predict_dtype(name, self._dtype)

    @property
    def loss(self) -> Loss:
        """The loss, chosen where it was ``"auto"``."""
        return choose_loss(self.layers, self._loss)

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer. Setting another one starts it afresh, without moments."""
        return self._optimizer

    @optimizer.setter
    def optimizer(self, optimizer: str | Optimizer) -> None:
        self._optimizer = optimizers.get(optimizer)
        if self._executable is not None:
            self._state.optimizer = self._executable.new_state(self._optimizer)

    @property
    def epochs(self) -> int:
        """Whole epochs of training done."""
        return 0 if self._executable is None else self._state.epochs

    @property
    def steps(self) -> int:
        """Steps that the optimizer has taken."""
        return 0 if self._executable is None else self._state.optimizer.step

    @property
    def parameters(self) -> Mapping[str, Array]:
        """Every parameter by name, as a live view: what is written into it counts at once."""
        executable = self._ready()
        flat = executable.lend()
        views = {p.name: executable.view(p, flat) for p in executable.program.parameters}
        return MappingProxyType(views)

    @property
    def states(self) -> Mapping[str, Array]:
        """Running means and variances of batch norms by name, as live views."""
        executable = self._ready()
        views = {s.name: executable.state_view(s) for s in executable.program.states}
        return MappingProxyType(views)

    @property
    def parameter_count(self) -> int:
        """Number of parameters."""
        return self.program.parameter_count

    @property
    def parameters_vector(self) -> Array:
        """A copy of all parameters, one behind the other, unpadded; setting it writes them."""
        return _joined(self._views(), self._dtype)

    @parameters_vector.setter
    def parameters_vector(self, vector: npt.ArrayLike) -> None:
        try:
            _spread("parameters_vector", np.asarray(vector, dtype=self.dtype), self._views())
        finally:
            self._ready().changed()

    @property
    def states_vector(self) -> Array:
        """A copy of all states, one behind the other; setting it writes them."""
        return _joined(self.states, self._dtype)

    @states_vector.setter
    def states_vector(self, vector: npt.ArrayLike) -> None:
        _spread("states_vector", np.asarray(vector, dtype=self.dtype), self.states)

    def summary(self) -> str:
        """Return the table of layers, widths and parameters as text."""
        program = None if self._executable is None else self._executable.program
        foot = (
            f"{self._dtype}; loss {summary.text(self.loss)}; optimizer "
            f"{summary.text(self._optimizer)}; backend {self.backend}"
        )
        return summary.table(self.layers, program, foot)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        inner = ", ".join(summary.text(layer) for layer in self.layers)
        return f"Network([{inner}], input_size={self.input_size}, backend={self.backend!r})"

    # -- files ------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save everything that prediction and further training need, as one safetensors file.

        The file appears whole or not at all: a crash leaves the old one.

        Raises
        ------
        ModelFileError
            When the path is a folder, a pipe or a device.
        OSError
            When it cannot be written.
        TypeError, ValueError
            When the metadata is no plain JSON, or a weight is not finite.
        """
        network_file.write(path, self._snapshot())

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        backend: str = "auto",
        threads: int | None = None,
        predict_dtype: str | None = None,
    ) -> Self:
        """Return the network that `save` wrote; it trains on as if it had never stopped.

        Parameters
        ----------
        path : str or path
        backend, threads, predict_dtype
            As for the constructor; a file does not bind them.

        Raises
        ------
        ModelFileError
            When the file is broken, hostile, no model, or of a newer format.
        OSError
            When it cannot be read.
        """
        return cls._restore(network_file.read(path), backend, threads, predict_dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restore, (self._snapshot(), self.backend, None, self.predict_dtype)

    # -- inside -----------------------------------------------------------------------------------

    def _lower(self, input_size: int) -> Program:
        return lower(self.layers, input_size, self._loss)

    def _build(self, program: Program) -> Executable:
        """Make the program executable and draw the first weights."""
        executable = self._backend.compile(program, self._dtype, self._threads)
        generator = np.random.default_rng(self.seed)
        for p in program.parameters:
            first = initializers.initialize(p.initializer, p.shape, p.fan, generator)
            executable.view(p)[...] = first
        executable.changed()
        self._state = TrainingState(executable.new_state(self._optimizer))
        self._executable = executable
        return executable

    def _snapshot(self) -> Snapshot:
        known = self._executable is not None
        if known and self._state.busy:
            raise RuntimeError(
                "the network is in the middle of training steps; save or copy it from a callback, "
                "such as ModelCheckpoint, or after fit"
            )
        return Snapshot(
            self.layers,
            self.input_size,
            self._loss,
            self._optimizer,
            self._dtype.name,
            self.seed,
            self.epochs,
            self._state.cursor if known else (0, 0, 0),
            self.steps,
            self._state.optimizer.epochs if known else 0,
            self._state.optimizer.product if known else 1.0,
            self._state.optimizer.plateau if known else Plateau(),
            self.metadata,
            network_file.tensors_of(self._ready(), self._state) if known else {},
        )

    @classmethod
    def _restore(
        cls,
        snapshot: Snapshot,
        backend: str = "auto",
        threads: int | None = None,
        predict_dtype: str | None = None,
    ) -> Self:
        network = cls(
            snapshot.layers,
            input_size=snapshot.input_size,
            loss="auto" if snapshot.loss is None else snapshot.loss,
            optimizer=snapshot.optimizer,
            dtype=snapshot.dtype,
            seed=snapshot.seed,
            backend=backend,
            threads=threads,
            predict_dtype=predict_dtype,
        )
        network.metadata = snapshot.metadata
        if network._executable is not None:
            state = network._state
            network_file.fill(network._executable, state, snapshot.tensors)
            state.epochs, state.cursor = snapshot.epochs, snapshot.cursor
            state.optimizer.step, state.optimizer.product = snapshot.step, snapshot.product
            state.optimizer.plateau = snapshot.plateau
            state.optimizer.epochs = snapshot.optimizer_epochs
        return network

    def _views(self) -> dict[str, Array]:
        """Return views of all parameters, for now: who writes into them says so."""
        executable = self._ready()
        return {p.name: executable.view(p) for p in executable.program.parameters}

    def _ready(self) -> Executable:
        if self._executable is None:
            raise ValueError(
                "the input size is not known yet: give Network(..., input_size=...) or call fit"
            )
        return self._executable


def _joined(views: Mapping[str, Array], dtype: np.dtype[Any]) -> Array:
    """Return a copy of the elements of all views, one view behind the other."""
    flat = [view.reshape(-1) for view in views.values()]
    return np.concatenate(flat) if flat else np.empty(0, dtype)


def _spread(name: str, vector: Array, views: Mapping[str, Array]) -> None:
    """Write a vector into views, one behind the other."""
    length = sum(view.size for view in views.values())
    if vector.shape != (length,):
        raise ValueError(f"{name} must have shape ({length},), got {vector.shape}")
    start = 0
    for view in views.values():
        view[...] = vector[start : start + view.size].reshape(view.shape)
        start += view.size
