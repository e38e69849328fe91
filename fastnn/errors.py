"""The exceptions that fastnn raises beside Python's own, and how an unknown name is answered."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BackendUnavailable",
    "CompilationError",
    "DivergenceError",
    "FastnnError",
    "MissingDependency",
    "ModelFileError",
    "unknown_name",
]


class FastnnError(Exception):
    """Base of every exception that fastnn defines."""


class ModelFileError(FastnnError, ValueError):
    """A model file that is broken, truncated, hostile, or of a newer format."""


class BackendUnavailable(FastnnError, ImportError):
    """A backend whose compiled part, package or device is missing."""


class MissingDependency(FastnnError, ImportError):
    """An optional package that the call needs is not installed."""


class CompilationError(FastnnError, TypeError):
    """A custom activation or loss that cannot be compiled for a backend."""


class DivergenceError(FastnnError, ArithmeticError):
    """The loss or its gradient became NaN or infinite during training.

    The network keeps the last finite weights, unless somebody wrote others into it.

    Attributes
    ----------
    step : int
        Number of complete steps that the optimizer has taken.
    epoch : int
        Number of the epoch, counted over the life of the network, in which it happened.
    loss : float
        The loss of the batch at which training stopped.
    finite : bool
        Whether the weights and running statistics that are kept are finite.
    """

    def __init__(self, step: int, epoch: int, loss: float, finite: bool = True) -> None:
        self.step, self.epoch, self.loss, self.finite = step, epoch, loss, finite
        steps = f"{step} step{'s' * (step != 1)}"
        if finite:
            advice = (
                "the last finite weights are kept; try a smaller learning rate, clip_norm=1.0, or "
                "standardised inputs"
            )
        else:
            advice = (
                "NaN or infinity was written into the parameters or states before; set finite ones"
            )
        super().__init__(
            f"training diverged in epoch {epoch} after {steps} (loss {loss}); {advice}"
        )

    def __reduce__(self) -> tuple[type[DivergenceError], tuple[int, int, float, bool]]:
        return type(self), (self.step, self.epoch, self.loss, self.finite)


def unknown_name(kind: str, name: object, known: Iterable[str], remedy: str = "") -> ValueError:
    """Build the answer to a name that is not in the table: the names, and the nearest of them.

    Parameters
    ----------
    kind : str
        What the name should have been, such as ``"activation"``.
    name : object
        What came.
    known : iterable of str
        The names that exist.
    remedy : str, optional
        What may be done about it, beside another name.

    Returns
    -------
    ValueError
        To be raised by the caller.
    """
    import difflib  # only ever needed here

    names = sorted(known)
    nearest = difflib.get_close_matches(str(name).lower()[:100], names, n=1, cutoff=0.5)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    more = f"; {remedy}" if remedy else ""
    return ValueError(f"unknown {kind} {str(name)[:100]!r}{hint}; known: {', '.join(names)}{more}")
