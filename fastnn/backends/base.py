"""What every backend offers: the kernels of the table, and a Program made executable."""

from __future__ import annotations

import threading
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import activations, losses
from fastnn.backends.aligned import aligned_zeros
from fastnn.optimizers import SGD, Optimizer
from fastnn.program import Parameter, Program, State
from fastnn.schedules import Plateau

__all__ = ["Backend", "Batch", "Executable", "OptimizerState", "aligned_zeros"]

Array = npt.NDArray[Any]

# Single steps share a computation of so many learning rates, which else takes longer than a step.
RATES_AHEAD = 256


@dataclass
class OptimizerState:
    """What an optimizer remembers: its moments, laid out as the flat vector, and its step count.

    Attributes
    ----------
    optimizer : Optimizer
    moments : ndarray, shape (moment_count, P)
    step : int
        Steps taken so far.
    epochs : int
        Whole epochs done so far: the time of schedules that count epochs.
    product : float
        NAdam's: the product of the momenta of all steps so far.
    plateau : Plateau
        What the schedule remembers of the metrics.
    prepared : object
        What the backend has made ready for `Executable.try_step`, if anything.
    """

    optimizer: Optimizer
    moments: Array
    step: int = 0
    epochs: int = 0
    product: float = 1.0
    plateau: Plateau = Plateau()
    prepared: Any = field(default=None, repr=False, compare=False)
    _ahead: tuple[int, int, float, list[float]] = field(
        default=(0, 0, 1.0, []), init=False, repr=False, compare=False
    )

    def next_rate(self) -> float:
        """Return the learning rate of the next step."""
        first, epochs, scale, rates = self._ahead
        at = self.step - first
        if not 0 <= at < len(rates) or epochs != self.epochs or scale != self.plateau.scale:
            at, rates = 0, self.rates(RATES_AHEAD).tolist()
            self._ahead = self.step, self.epochs, self.plateau.scale, rates
        return rates[at]

    def scale_rate(self, factor: float, keep_velocity: bool) -> None:
        """Multiply the rates to come, and divide the velocity of SGD where it is to be kept."""
        self.plateau = self.plateau._replace(scale=self.plateau.scale * factor)
        if keep_velocity and isinstance(self.optimizer, SGD):
            self.moments /= self.moments.dtype.type(factor)

    def rates(self, count: int, first: int = 0, steps: float = np.inf) -> Array:
        """Return the learning rates of the next steps, of which there is at least one.

        Parameters
        ----------
        count : int
            How many.
        first : int
            Steps of the current epoch that were taken before.
        steps : int, optional
            Steps of an epoch. Where omitted, no step adds to the epochs done.
        """
        schedule = self.optimizer.schedule
        if schedule.is_constant:
            return np.full(count, schedule.initial * self.plateau.scale)
        ahead = np.arange(count)
        rates = schedule.rates(self.step + ahead, self.epochs + (first + ahead) / steps)
        return rates * self.plateau.scale


@dataclass(frozen=True)
class Batch:
    """Rows of inputs, targets and weights, checked and converted.

    Attributes
    ----------
    X : ndarray of the network's dtype, shape (B, I), C-contiguous
    Y : ndarray, C-contiguous
        Of the network's dtype, shape (B, O); or labels, int64, shape (B,), where the targets of the
        loss are classes.
    weight : ndarray of the network's dtype, shape (B,), or None
        Weights of the rows, at least 0, with a sum above 0 in every batch that is trained on.
    """

    X: Array
    Y: Array
    weight: Array | None = None

    def __len__(self) -> int:
        return len(self.X)


class Executable(ABC):
    """A Program on a backend, with its flat vector of parameters.

    The arrays that come in are checked: of the right shape and dtype, contiguous, finite.

    Parameters
    ----------
    program : Program
    dtype : numpy.dtype
        float32 or float64.
    threads : int
        Threads to use at most. The results are the same for any number.

    Attributes
    ----------
    parameters : ndarray, shape (P,)
        The flat vector. `run_steps` and `try_step` change it; anybody else who writes into it calls
        `changed` behind that, or takes it from `lend`.
    states : ndarray, shape (S,)
        The flat vector of states, such as running means: `run_steps` changes it, nothing else.
    custom_activations : dict of str to CustomActivation
        Those that the Program names, as they were registered when this object was made.
    custom_loss : LossDefinition or None
        The same of the loss.
    """

    def __init__(self, program: Program, dtype: np.dtype[Any], threads: int) -> None:
        self.program, self.dtype, self.threads = program, dtype, threads
        self.parameters = aligned_zeros((program.size,), dtype)
        self.states = aligned_zeros((program.state_size,), dtype)
        for state in program.states:
            self.state_view(state)[...] = state.initial
        named = {op.function for op in program.ops if op.kind == "activation"}
        self.custom_activations = {
            name: activations.CUSTOM[name] for name in sorted(named & activations.CUSTOM.keys())
        }
        self.custom_loss = losses.CUSTOM.get(program.loss.loss)
        self._stamp = object()  # another one after every change of the parameters
        self._lent: Callable[[], Array | None] = lambda: None
        self._lending = threading.Lock()

    def changed(self) -> None:
        """Note that the parameters are others now: nothing made from them before is used again."""
        self._stamp = object()

    def lend(self) -> Array:
        """Return the flat vector for views that their holders may write into at any time.

        Nothing that is made from the parameters is kept while one of these views is alive.
        """
        with self._lending:
            flat = self._lent()
            if flat is None:
                # Over a memoryview: so this array, not its owner, is the base of all views of it.
                flat = np.asarray(self.parameters.data)
                self._lent = weakref.ref(flat)
                self.changed()
        return flat

    def view(self, parameter: Parameter, flat: Array | None = None) -> Array:
        """Return the window, of a parameter's shape, into a flat vector (that of the weights)."""
        vector = self.parameters if flat is None else flat
        block = vector[parameter.offset : parameter.end].reshape(parameter.rows, parameter.stride)
        return block[:, : parameter.columns].reshape(parameter.shape)

    def state_view(self, state: State, flat: Array | None = None) -> Array:
        """Return the window of a state into a flat vector (that of the states)."""
        return (self.states if flat is None else flat)[state.offset : state.end]

    def all_finite(self, vector: Array) -> bool:
        """Tell whether parameters, states or moments are finite."""
        return bool(np.isfinite(vector).all())

    def is_finite(self, state: OptimizerState) -> bool:
        """Tell whether all that training changes is finite: a mean square overflows first."""
        vectors = self.parameters, self.states, state.moments
        return all(map(self.all_finite, vectors))

    def keep(self, kept: Any = None) -> Any:
        """Return parameters and states for `go_back`, in the memory of what was `kept` before."""
        parameters, states = kept or (np.empty_like(self.parameters), np.empty_like(self.states))
        parameters[...], states[...] = self.parameters, self.states
        return parameters, states

    def go_back(self, kept: Any) -> None:
        """Put back the parameters and states that `keep` returned."""
        self.parameters[...], self.states[...] = kept
        self.changed()

    def draw_order(self, order: npt.NDArray[np.int64], seed: int, epoch: int) -> None:
        """Set the order of rows in an epoch: a pure function of its length, the seed and the epoch.

        So a run that goes on draws what it would have drawn. The order is that of NumPy's shuffle.
        """
        order[...] = np.arange(len(order))
        np.random.Generator(np.random.PCG64([seed, epoch])).shuffle(order)

    def new_state(self, optimizer: Optimizer) -> OptimizerState:
        """Return the state of an optimizer that has taken no step."""
        shape = (optimizer.moment_count, self.program.size)
        return OptimizerState(optimizer, aligned_zeros(shape, self.dtype))

    @abstractmethod
    def predict(self, X: Array, out: Array, *, bfloat16: bool = False) -> None:
        """Write the predictions, the head applied, for `X` (B, I) into `out` (B, O).

        With `bfloat16`, which wants float32, weights and inputs of dense ops are rounded to
        bfloat16, and their products summed in float32. Safe to call from several threads at once.
        """

    def try_predict(self, X: Any, out: Any, *, bfloat16: bool = False) -> Array | None:
        """Return the predictions for what a user brought, if it fits as it is: the fast road.

        Parameters
        ----------
        X : object
            It fits if it is a finite ndarray, no instance of a subclass, of the right shape and
            dtype, C-contiguous and aligned, with at least one row.
        out : object
            Where to write, None for a new array. It fits if it is such an array too, writeable, and
            shares no memory with `X`.
        bfloat16 : bool
            As for `predict`.

        Returns
        -------
        ndarray or None
            None where something does not fit, or where the backend has no fast road. Then nothing
            was done, and the caller converts and checks, or says what is wrong.
        """
        return None

    @abstractmethod
    def evaluate(self, batch: Batch) -> tuple[float, float]:
        """Return the mean loss with penalties, and the share of right outputs.

        Dropout is off, and batch norms use the running statistics. The share is NaN where nothing
        is right or wrong: where the targets are values or counts.
        """

    @abstractmethod
    def loss_and_gradient(
        self,
        batch: Batch,
        gradient: Array | None,
        input_gradient: Array | None = None,
        *,
        training: bool = False,
        seed: int = 0,
        step: int = 0,
    ) -> float:
        """Return the mean loss with penalties, and set its gradient.

        Parameters
        ----------
        batch : Batch
        gradient : ndarray, shape (P,), or None
            Set to the gradient in the flat vector; padding is set to 0.
        input_gradient : ndarray, shape (B, I), or None
            Set to the gradient of the mean loss, without penalties, in the inputs.
        training : bool
            Whether dropout is on, with the masks of `seed` and `step`, and whether batch norms use
            the statistics of the batch; the running ones stay as they are.
        seed, step : int
            Key of the dropout masks, each at least 0 and below 2**64.
        """

    @abstractmethod
    def run_steps(
        self,
        batch: Batch,
        order: npt.NDArray[np.int64] | None,
        batch_size: int,
        state: OptimizerState,
        learning_rates: npt.NDArray[np.float64],
        seed: int,
        losses: npt.NDArray[np.float64],
        hits: npt.NDArray[np.float64],
    ) -> int:
        """Take training steps, one for each learning rate.

        A step takes the gradient of the batch's mean loss with penalties, clips it (elements first,
        then the global norm), updates the parameters, holds their columns to their largest norms,
        and moves the running statistics. Step s works on the rows
        ``order[s * batch_size : (s + 1) * batch_size]``; the last one may be smaller.

        Parameters
        ----------
        batch : Batch
            The rows to draw from.
        order : ndarray of int64, shape (R,), or None
            Numbers of the rows in the order of training; None takes them as they come.
        batch_size : int
        state : OptimizerState
            Changed in place; its step count is also the step in the key of the dropout masks.
        learning_rates : ndarray of float64, shape (S,)
            With S = ceil(R / batch_size).
        seed : int
            Seed of the dropout masks.
        losses, hits : ndarray of float64, shape (S,)
            Set to every batch's loss before its update, and its share of right outputs (NaN where
            nothing is right or wrong).

        Returns
        -------
        int
            Steps taken. Fewer than S: the loss of the next step, which stands in `losses`, its
            gradient or its batch statistics were not finite. No parameter was updated by a gradient
            that is not finite; where the loss was finite, a backend may have updated others.

        Raises
        ------
        KeyboardInterrupt
            After Ctrl-C, with parameters and state at a whole step.
        """

    def try_step(
        self, X: Any, y: Any, state: OptimizerState, rate: float, seed: int
    ) -> tuple[float, bool] | None:
        """Take one step on what a user brought, if it fits as it is: the fast road of `run_steps`.

        Parameters
        ----------
        X : object
            As for `try_predict`.
        y : object
            Such an array of the shape of the outputs where the targets of the loss are values, or
            labels of classes: int64, shape (B,), C-contiguous.
        state : OptimizerState
        rate : float
            The learning rate.
        seed : int
            Seed of the dropout masks.

        Returns
        -------
        tuple of (float, bool), or None
            The loss before the update, and whether the step was taken and all that it changed is
            finite. If not, parameters and states are those from before the step, and moments that
            are not finite are now 0. None as for `try_predict`.
        """
        return None


class Backend(ABC):
    """A way to run Programs.

    Attributes
    ----------
    name : str
    kernels : module
        A function for every row of `fastnn.program.kernels.KERNELS`.
    """

    name: str
    kernels: ModuleType

    @abstractmethod
    def compile(self, program: Program, dtype: np.dtype[Any], threads: int) -> Executable:
        """Return the Program as an Executable with parameters of 0."""

    def first_nonfinite(self, array: Array) -> int:
        """Return the flat position of the first NaN or infinity in an array, or -1.

        Parameters
        ----------
        array : ndarray of float32 or float64
            Of one or two dimensions, C-contiguous and aligned.
        """
        return self.kernels.first_nonfinite(array if array.ndim == 2 else array.reshape(-1, 1))

    def ahead(self, dtype: np.dtype[Any]) -> dict[str, Callable[[], object]]:
        """Return what can be compiled before it is needed: calls that do it, by what they compile.

        All of them together are all that networks of a dtype can need, but for custom functions.
        """
        return {}

    def details(self) -> dict[str, str]:
        """Return what there is to say of the backend here, such as the instruction set it uses."""
        return {}
