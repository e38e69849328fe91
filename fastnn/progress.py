"""The bars of training runs, and of what takes long otherwise."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from fastnn.callbacks import Callback, Run
from fastnn.errors import MissingDependency

__all__ = ["drawn_bar", "drawn_names"]


class _Bar(Callback):
    """Moves a tqdm on by the steps of a run."""

    def __init__(self, bar: Any, epochs: int, done: int) -> None:
        self.bar, self.epochs, self.epoch = bar, epochs, 0
        bar.update(done)

    def on_epoch_begin(self, run: Run) -> None:
        """Show the number of the epoch."""
        self.epoch, self.step = self.epoch + 1, run.step
        self.bar.set_description(f"epoch {self.epoch}/{self.epochs}")

    def on_steps_end(self, run: Run) -> None:
        """Move on."""
        self.bar.update(run.step - self.step)
        self.step = run.step

    def on_epoch_end(self, run: Run) -> None:
        """Show the metrics."""
        self.bar.set_postfix_str(" ".join(f"{k} {v:.4f}" for k, v in run.metrics.items()))


@contextmanager
def drawn_bar(epochs: int, steps: int, done: int) -> Iterator[Callback | None]:
    """Draw a bar where the output is a terminal, as long as the context lasts.

    Parameters
    ----------
    epochs, steps : int
        Epochs of the run, and steps of each.
    done : int
        Steps of the first epoch that were taken before.

    Yields
    ------
    Callback or None
        What has to be told of the run, None where nothing is drawn.

    Raises
    ------
    MissingDependency
        When tqdm is not installed.
    """
    if not _has_output():
        yield None
        return
    # None draws only where the output is a terminal.
    with _bars("fit")(total=epochs * steps, unit="step", disable=None, miniters=1) as bar:
        yield None if bar.disable else _Bar(bar, epochs, done)


def drawn_names(names: Iterable[str]) -> Iterator[str]:
    """Yield names, and draw a bar that shows the current one, where the output is a terminal.

    Raises
    ------
    MissingDependency
        When tqdm is not installed.
    """
    names = list(names)
    if not _has_output():
        yield from names
        return
    with _bars("warmup")(names, disable=None, miniters=1, leave=False) as bar:
        for name in bar:
            bar.set_description(name)
            yield name


def _has_output() -> bool:
    """Tell whether there is somewhere to draw.

    A daemon may have closed its output, or have been started without one.
    """
    return sys.stderr is not None and not getattr(sys.stderr, "closed", False)


@functools.cache
def _bars(call: str) -> Any:
    """Return a tqdm without its thread, which even a bar that is not drawn would start.

    Python warns who forks beside a thread. This one looks after bars whose steps get slower than
    tqdm expected; with ``miniters=1`` it expects nothing, and looks at the clock at every step.
    """
    try:
        from tqdm.auto import tqdm  # loaded by the first bar, not by the import of fastnn
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"the progress bar of {call} needs tqdm: pip install tqdm, or call {call} with "
            "progress=False"
        ) from error

    # Only the stubs of tqdm take a parameter; the class itself cannot be subscripted.
    class Bar(tqdm):  # type: ignore[type-arg]
        monitor_interval = 0

    return Bar
