"""What is measured of the estimators: fits, predictions, who takes part, and what is aimed at."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cases import Case
from contestants import Contestant, Worker
from measure import OURS

__all__ = [
    "FITS",
    "PREDICTIONS",
    "PREDICTION_GOALS",
    "RIVAL",
    "Fit",
    "contestants",
    "drop_needless_cores",
]


@dataclass(frozen=True)
class Fit:
    """A fit with Adam and default arguments.

    Attributes
    ----------
    case : Case
    epochs : int
        So many that the fit lasts long beside its first epoch, which is taken off for the time of
        a step.
    goal : float
        Times as fast as scikit-learn with its default core of OpenBLAS, at least.
    """

    case: Case
    epochs: int
    goal: float

    def shortened(self, epochs: int, flops: float) -> Fit:
        """Return the fit with fewer epochs and rows, for a look."""
        return replace(self, case=self.case.shortened(flops), epochs=min(self.epochs, epochs))


FITS = (
    Fit(Case((64, 100, 10), 200, "adam", rows=20_000), 21, 8.0),
    Fit(Case((784, 30, 10), 10, "adam", rows=10_000), 11, 15.0),
    Fit(Case((784, 128, 64, 10), 64, "adam", rows=12_800), 6, 4.5),
    Fit(Case((784, 512, 512, 10), 128, "adam", rows=12_800), 5, 3.0),
    Fit(Case((20, 100, 1), 200, "adam", "mse", rows=100_000), 11, 8.0),
)

# Every classifier predicts one row, and many.
PREDICTIONS = tuple(
    Case(fit.case.widths, rows, training=False)
    for fit in FITS
    if fit.case.loss == "cross_entropy"
    for rows in (1, 1000)
)

# A call with one row takes at most so many seconds. For the widest network no goal is set: its
# weights alone take longer to be read.
PREDICTION_GOALS = dict.fromkeys([(64, 100, 10), (784, 30, 10), (784, 128, 64, 10)], 12e-6)

RIVAL = "scikit-learn"  # with the core that OpenBLAS chooses: the goals are against this one
# The cores of OpenBLAS for AVX2 and for AVX-512: which of them it chooses depends on its version,
# and on variables that some machines set for everybody.
CORES = ("Haswell", "SkylakeX")


def contestants(dtype: str) -> list[Contestant]:
    """Return who takes part, with data of a dtype."""

    def using(name: str, package: str, **variables: str) -> Contestant:
        mode = f"{package} {dtype}"
        return Contestant(name, "estimator_peer", ("sklearn",), mode=mode, environment=variables)

    theirs = "sklearn.neural_network"
    others = [using(f"{RIVAL}, {core}", theirs, OPENBLAS_CORETYPE=core) for core in CORES]
    return [using(OURS, "fastnn.sklearn"), using(RIVAL, theirs), *others]


def drop_needless_cores(workers: dict[str, Worker]) -> dict[str, str]:
    """Close and take out who runs on a core that another has; return their names, and why."""
    cores = {name: worker.description["details"]["core"] for name, worker in workers.items()}
    refused = {}
    for name, worker in workers.items():
        wanted = worker.contestant.environment.get("OPENBLAS_CORETYPE")
        if wanted is None:
            continue
        if cores[name] != wanted:
            refused[name] = f"OpenBLAS takes the core {cores[name]}"
        elif cores[name] == cores.get(RIVAL):
            refused[name] = f"it is {RIVAL}: OpenBLAS takes this core by itself"
    for name in refused:
        workers.pop(name).close()
    return refused
