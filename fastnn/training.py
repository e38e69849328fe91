"""The loop of epochs: which rows come when, at which rate, who is told, and when it ends."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.backends import Batch, Executable, OptimizerState
from fastnn.callbacks import Callback, Run
from fastnn.errors import DivergenceError
from fastnn.progress import drawn_bar

__all__ = ["History", "Shuffle", "TrainingState", "take_step", "train", "try_step"]

# Whether every epoch has an order of its own; or what rearranges the order of rows in place, before
# every epoch, given the number of epochs done.
Shuffle = bool | Callable[[npt.NDArray[np.int64], int], object]

# How long a native call lasts at most while somebody watches: long enough to cost nothing, short
# enough for a bar that moves.
WATCHED_SECONDS = 0.1


@dataclass
class TrainingState:
    """What training goes on from.

    Attributes
    ----------
    optimizer : OptimizerState
    epochs : int
        Whole epochs done.
    cursor : tuple of (int, int, int)
        Rows and batch size of an epoch that was broken off, and the steps that it had taken.
    busy : bool
        Whether a call of many steps is under way, and the counts are behind the parameters.
    """

    optimizer: OptimizerState
    epochs: int = 0
    cursor: tuple[int, int, int] = (0, 0, 0)
    busy: bool = False


class History(Mapping[str, list[float]]):
    """The metrics of a run by name, a value an epoch.

    Attributes
    ----------
    stop_reason : str
        Why training ended.
    best_epoch : int
        Epoch, counted from 1 over the life of the network, of the lowest validation loss, or of the
        lowest loss without validation data. 0 before the first epoch.
    seconds : float
        Time that the run took.
    """

    def __init__(self, names: Sequence[str], first_epoch: int) -> None:
        self._values: dict[str, list[float]] = {name: [] for name in names}
        self._first_epoch = first_epoch
        self.stop_reason = ""
        self.seconds = 0.0

    def __getitem__(self, name: str) -> list[float]:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {values[-1]:.4g}" for name, values in self.items() if values)
        return f"History({len(self['loss'])} epochs; {last}; {self.stop_reason})"

    @property
    def best_epoch(self) -> int:
        """Number of the epoch with the lowest validation loss, else the lowest loss."""
        losses = self._values.get("val_loss", self._values["loss"])
        if not losses:
            return 0
        # A validation loss may be NaN, which is no lower than a number.
        return self._first_epoch + int(np.argmin(np.nan_to_num(losses, nan=np.inf)))

    def append(self, metrics: Mapping[str, float]) -> None:
        """Add the metrics of an epoch."""
        for name, values in self._values.items():
            values.append(metrics[name])


def train(
    run: Run,
    executable: Executable,
    state: TrainingState,
    batch: Batch,
    validation: Batch | None,
    *,
    epochs: int,
    batch_size: int,
    shuffle: Shuffle,
    seed: int,
    callbacks: Sequence[Callback],
    progress: bool,
) -> History:
    """Train for some epochs.

    Parameters
    ----------
    run : Run
        What callbacks see.
    executable : Executable
        Its parameters are trained in place.
    state : TrainingState
        Changed in place, so that it always tells where training stands.
    batch, validation : Batch
        Rows to train on, and rows to validate on.
    epochs, batch_size : int
        At least 1.
    shuffle : bool or callable
        Whether every epoch has an order of its own, drawn from `seed` and the number of the epoch;
        or who rearranges the order of the epoch before.
    seed : int
    callbacks : sequence of Callback
    progress : bool
        Whether a bar is drawn where the output is a terminal.

    Returns
    -------
    History

    Raises
    ------
    DivergenceError
        When a loss or gradient is not finite; the parameters are the last finite ones.
    KeyboardInterrupt
        With parameters and state at a whole step.
    """
    started = time.perf_counter()
    history = History(run.metric_names, state.epochs + 1)
    run.epoch, run.step = state.epochs, state.optimizer.step
    schedule = state.optimizer.optimizer.schedule
    schedule.check(run.metric_names)
    for callback in callbacks:
        callback.on_fit_begin(run)
    passes = _Passes(run, executable, state, batch, batch_size, shuffle, seed)
    with drawn_bar(epochs, passes.steps, passes.done) if progress else nullcontext() as bar:
        # The bar is told before the others, who may print.
        told = callbacks if bar is None else [bar, *callbacks]
        for _ in range(epochs):
            if run.stop_reason is not None:
                break
            passes.begin()
            for callback in told:
                callback.on_epoch_begin(run)
            if run.stop_reason is not None:  # before the first call, with a bar or without one
                break
            metrics = passes.run_all(told)
            if metrics is None:  # a callback ended it between two calls
                break
            if validation is not None:
                loss, share = executable.evaluate(validation)
                metrics |= {"val_loss": loss, "val_accuracy": share}
            run.metrics = {name: metrics[name] for name in run.metric_names}
            history.append(run.metrics)
            state.optimizer.plateau = schedule.observe(state.optimizer.plateau, run.metrics)
            for callback in told:
                callback.on_epoch_end(run)
    for callback in callbacks:
        callback.on_fit_end(run)
    history.stop_reason = run.stop_reason or f"all {epochs} epochs done"
    history.seconds = time.perf_counter() - started
    return history


class _Passes:
    """The passes over the rows, in native calls of many steps; their arrays are made once.

    Attributes
    ----------
    steps : int
        Steps of an epoch.
    done : int
        Those that the current epoch has taken; at first, those of the epoch that was broken off.
    """

    def __init__(
        self,
        run: Run,
        executable: Executable,
        state: TrainingState,
        batch: Batch,
        batch_size: int,
        shuffle: Shuffle,
        seed: int,
    ) -> None:
        self.run, self.executable, self.state, self.batch = run, executable, state, batch
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.order = np.arange(len(batch), dtype=np.int64)
        self.steps = -(-len(batch) // batch_size)
        same = state.cursor[:2] == (len(batch), batch_size)
        self.done = state.cursor[2] if same and state.cursor[2] < self.steps else 0
        self.losses, self.hits = np.empty(self.steps), np.empty(self.steps)
        self.shares = np.empty(0)
        # Kept for the one case that the backend cannot undo: an update that itself overflowed.
        self.finite: Any = None

    def begin(self) -> None:
        """Make ready for the next epoch, or for what is left of one that was broken off."""
        self.first = self.done = self.done % self.steps
        if callable(self.shuffle):
            self.shuffle(self.order, self.state.epochs)
            _check_order(self.order)
        elif self.shuffle:
            self.executable.draw_order(self.order, self.seed, self.state.epochs)
        self.finite = self.executable.keep(self.finite)
        self.run.epoch = self.state.epochs + 1

    def run_all(self, callbacks: Sequence[Callback]) -> dict[str, float] | None:
        """Take all steps; return the metrics, or None when a callback ended the run."""
        watchers = [c for c in callbacks if type(c).on_steps_end is not Callback.on_steps_end]
        pace = 16 if watchers else self.steps
        while self.done < self.steps:
            count = self._until_due(min(pace, self.steps - self.done), watchers)
            started = time.perf_counter()
            self._call(count)
            if watchers and count == pace:
                elapsed = max(time.perf_counter() - started, 1e-6)
                pace = max(1, int(count * min(4.0, WATCHED_SECONDS / elapsed)))
            self.run.batch_losses = self.losses[self.first : self.done]
            for callback in watchers:
                callback.on_steps_end(self.run)
            if self.run.stop_reason is not None and self.done < self.steps:
                return None
        return self._metrics()

    def _until_due(self, count: int, watchers: Sequence[Callback]) -> int:
        """Shorten a call so that it ends where a callback wants to be told."""
        step = self.state.optimizer.step
        due = [c.every_steps - step % c.every_steps for c in watchers if c.every_steps]
        return min([count, *due])

    def _call(self, count: int) -> None:
        """Take some steps in one native call."""
        first, state = self.done, self.state
        rates = state.optimizer.rates(count, first, self.steps)
        schedule = state.optimizer.optimizer.schedule
        if first == self.first and not rates[0] and schedule.initial > 0 and not rates.any():
            warnings.warn(
                f"the learning rate is 0: the schedule {schedule} is over, and nothing is learned; "
                "set net.optimizer to start afresh",
                RuntimeWarning,
                stacklevel=2,
            )
        before = state.optimizer.step
        window = slice(first, first + count)
        state.busy = True
        try:
            self.executable.run_steps(
                self.batch,
                self.order[first * self.batch_size : (first + count) * self.batch_size],
                self.batch_size,
                state.optimizer,
                rates,
                self.seed,
                self.losses[window],
                self.hits[window],
            )
        finally:
            taken = state.optimizer.step - before
            state.busy = False
            self.done += taken
            state.cursor = (len(self.order), self.batch_size, self.done)
            if self.done == self.steps:  # counted at once: whoever saves now has a whole epoch
                state.epochs, state.cursor = state.epochs + 1, (0, 0, 0)
                state.optimizer.epochs += 1
            self.run.step = state.optimizer.step
        if taken < count or not self.executable.is_finite(state.optimizer):
            loss = float(self.losses[min(self.done, self.steps - 1)])
            _keep_finite(self.executable, state.optimizer, self.finite)
            raise _failure(self.executable, state.optimizer, self.run.epoch, loss)

    def _metrics(self) -> dict[str, float]:
        """Return the means over the rows, each batch counting by its weight."""
        first = self.first
        if self.batch.weight is not None or len(self.shares) != self.steps - first:
            self.shares = self._shares()
        loss, share = self.shares @ self.losses[first:], self.shares @ self.hits[first:]
        return {"loss": float(loss), "accuracy": float(share)}

    def _shares(self) -> npt.NDArray[np.float64]:
        """Return what every batch of the epoch counts, of a sum of 1."""
        starts = np.arange(self.first, self.steps) * self.batch_size
        if self.batch.weight is None:
            mass = np.diff(starts, append=len(self.order)).astype(np.float64)
        else:
            mass = np.add.reduceat(self.batch.weight[self.order].astype(np.float64), starts)
        return mass / mass.sum()


def _check_order(order: npt.NDArray[np.int64]) -> None:
    """Refuse an order of somebody's own that names rows which do not exist.

    Raises
    ------
    IndexError
        When it does.
    """
    if order.min() < 0 or order.max() >= len(order):
        wrong = int(order[(order < 0) | (order >= len(order))][0])
        raise IndexError(f"shuffle wrote row {wrong} into an order of {len(order)} rows")


def take_step(executable: Executable, state: TrainingState, batch: Batch, seed: int) -> float:
    """Take one optimizer step on a batch, and return the loss before it.

    Raises
    ------
    DivergenceError
        When the loss, its gradient or what was updated is not finite; the parameters and states
        are as they were.
    """
    loss, share = np.empty(1), np.empty(1)
    optimizer = state.optimizer
    rate = np.array([optimizer.next_rate()])
    finite = executable.keep()
    taken = executable.run_steps(batch, None, len(batch), optimizer, rate, seed, loss, share)
    if not taken or not executable.is_finite(optimizer):
        executable.go_back(finite)
        _keep_moments(executable, optimizer)
        raise _failure(executable, optimizer, state.epochs + 1, float(loss[0]))
    return float(loss[0])


def try_step(
    executable: Executable, state: TrainingState, X: Any, y: Any, seed: int
) -> float | None:
    """Do as `take_step` on what a user brought, if it fits as it is; else return None.

    Raises
    ------
    DivergenceError
        When the loss, its gradient or what was updated is not finite; the parameters and states
        are as they were.
    """
    optimizer = state.optimizer
    told = executable.try_step(X, y, optimizer, optimizer.next_rate(), seed)
    if told is None:
        return None
    loss, finite = told
    if not finite:
        raise _failure(executable, optimizer, state.epochs + 1, loss)
    return loss


def _keep_finite(executable: Executable, state: OptimizerState, finite: Any) -> None:
    """Go back to what was kept where the current parameters or states are not finite."""
    if not all(map(executable.all_finite, (executable.parameters, executable.states))):
        executable.go_back(finite)
    _keep_moments(executable, state)


def _keep_moments(executable: Executable, state: OptimizerState) -> None:
    """Forget moments that are not finite."""
    if not executable.all_finite(state.moments):
        state.moments[...] = 0


def _failure(
    executable: Executable, state: OptimizerState, epoch: int, loss: float
) -> DivergenceError:
    """Return what to raise once the finite weights are back, if there were any."""
    vectors = executable.parameters, executable.states
    return DivergenceError(state.step, epoch, loss, all(map(executable.all_finite, vectors)))
