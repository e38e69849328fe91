"""Tables: TabularMLP beside gradient boosting and plain networks, by 5-fold cross-validation.

``python benchmarks/tabular.py`` shows the table, ``--write`` puts it into docs/tabular.md.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import documents
import frame
import machine
import numpy as np
import report
import sklearn
import store
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from tabular_sets import TABLES, Table
from threadpoolctl import threadpool_limits

import fastnn.sklearn

__all__ = ["main", "markdown", "measure"]

DOCUMENT = store.ROOT / "docs" / "tabular.md"
FOLDS, THREADS, SEED = 5, 2, 0
QUICK_ROWS = 2000

Result = dict[str, list[float]]


def main(argv: list[str] | None = None) -> int:
    """Measure, print the table, and write it where that is asked; return the exit status."""
    arguments = parser().parse_args(argv)
    chosen = [table for table in TABLES if any(word in table.name for word in arguments.tables)]
    if arguments.write and (arguments.quick or chosen != TABLES):
        parser().error("--write needs a whole run: all tables, without --quick")
    described = machine.describe()
    results = {}
    for table in chosen:
        results[table.name] = measure(table, arguments.contestants, quick=arguments.quick)
        for name, told in results[table.name].items():
            print(f"{table.name:22} {name:14} {_cell(table, told)}", flush=True)
    text = "\n\n".join([markdown(chosen, results), _note(described)])
    print(f"\n{text}")
    if arguments.write:
        page = DOCUMENT.read_text(encoding="utf-8")
        DOCUMENT.write_text(documents.insert(page, "tabular", text), encoding="utf-8")
        print(f"\nwritten: {DOCUMENT.relative_to(store.ROOT)}")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parsed = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parsed.add_argument("tables", nargs="*", default=[""], help="pieces of their names")
    parsed.add_argument(
        "--contestants", nargs="+", choices=CONTESTANTS, default=list(CONTESTANTS), metavar="NAME"
    )
    parsed.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS} rows at most")
    parsed.add_argument("--write", action="store_true", help="into docs/tabular.md")
    return parsed


def measure(table: Table, contestants: list[str], *, quick: bool = False) -> dict[str, Result]:
    """Cross-validate the contestants on a table, all on the same folds.

    Returns
    -------
    dict
        By contestant: ``scores`` and ``seconds`` of the fits, a number for each fold.
    """
    X, y = table.load()
    kind = StratifiedKFold if table.classes else KFold
    folds = list(kind(FOLDS, shuffle=True, random_state=SEED).split(np.zeros(len(y)), y))
    told: dict[str, Result] = {name: {"scores": [], "seconds": []} for name in contestants}
    for number, (train, test) in enumerate(folds):
        if quick:
            train, test = train[:QUICK_ROWS], test[:QUICK_ROWS]
        # Turns, so that what the machine does meanwhile hits all alike.
        for name in contestants[:: 1 if number % 2 == 0 else -1]:
            frame.say(f"{table.name}, fold {number + 1} of {FOLDS}: {name}")
            model = CONTESTANTS[name](X, table)
            with threadpool_limits(THREADS), warnings.catch_warnings():
                # Plain networks stop where their defaults say so, converged or not.
                warnings.simplefilter("ignore", ConvergenceWarning)
                start = time.perf_counter()
                model.fit(X[train], y[train])
                told[name]["seconds"].append(time.perf_counter() - start)
                told[name]["scores"].append(model.score(X[test], y[test]))
    return told


def tabular(X: Any, table: Table) -> BaseEstimator:
    """Return TabularMLP with its defaults."""
    told = {"random_state": SEED, "n_threads": THREADS}
    if table.classes:
        return fastnn.sklearn.TabularMLPClassifier(**told)
    return fastnn.sklearn.TabularMLPRegressor(**told)


def boosting(X: Any, table: Table) -> BaseEstimator:
    """Return scikit-learn's gradient boosting with its defaults."""
    kind = HistGradientBoostingClassifier if table.classes else HistGradientBoostingRegressor
    return kind(random_state=SEED)


def sklearn_mlp(X: Any, table: Table) -> BaseEstimator:
    """Return scikit-learn's MLP, behind what `prepared` puts before it."""
    kind = MLPClassifier if table.classes else MLPRegressor
    return prepared(X, kind(random_state=SEED, early_stopping=table.large), table)


def fastnn_mlp(X: Any, table: Table) -> BaseEstimator:
    """Return the MLP of fastnn, behind what `prepared` puts before it."""
    kind = fastnn.sklearn.MLPClassifier if table.classes else fastnn.sklearn.MLPRegressor
    told = {"random_state": SEED, "early_stopping": table.large, "n_threads": THREADS}
    return prepared(X, kind(**told), table)


def prepared(X: Any, network: BaseEstimator, table: Table) -> BaseEstimator:
    """Return a network behind what it needs: scaled numbers, no gaps, categories one-hot.

    The target of a regression is standardised too, without which these networks are far behind.
    """
    scaling = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    if isinstance(X, np.ndarray):
        whole = make_pipeline(StandardScaler(), network)
    else:
        kinds = [name for name in X.columns if str(X[name].dtype).startswith("Enum")]
        numbers = [name for name in X.columns if name not in kinds]
        categories = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        whole = make_pipeline(
            make_column_transformer((scaling, numbers), (categories, kinds)), network
        )
    return (
        whole if table.classes else TransformedTargetRegressor(whole, transformer=StandardScaler())
    )


CONTESTANTS: dict[str, Callable[[Any, Table], BaseEstimator]] = {
    "TabularMLP": tabular,
    "HistGradientBoosting": boosting,
    "scikit-learn MLP": sklearn_mlp,
    "fastnn MLP": fastnn_mlp,
}


def markdown(tables: list[Table], results: dict[str, dict[str, Result]]) -> str:
    """Return the table in Markdown, the best mean of a row in bold."""
    names = list(next(iter(results.values())))
    rows = []
    for table in tables:
        told = results[table.name]
        means = {name: np.mean(told[name]["scores"]) for name in names}
        best = max(means.values())
        cells = [_cell(table, told[name], bold=means[name] == best) for name in names]
        rows.append([f"{table.name}, {'accuracy' if table.classes else 'R²'}", *cells])
    return report.markdown(["table", *names], rows)


def _cell(table: Table, told: Result, *, bold: bool = False) -> str:
    factor, digits = (100, 1) if table.classes else (1, 3)
    mean, spread = (factor * f(told["scores"]) for f in (np.mean, np.std))
    score = f"{mean:.{digits}f}{' %' if table.classes else ''}"
    seconds = statistics.median(told["seconds"])
    return f"{f'**{score}**' if bold else score} ± {spread:.{digits}f}, {report.number(seconds)} s"


def _note(described: dict[str, str]) -> str:
    commit = store.version_of_the_code()
    return report.bullets(
        [
            f"{described['cpu']}, {THREADS} threads for each; fastnn at {commit}, scikit-learn "
            f"{sklearn.__version__}; load {described['load at the start']} before",
            f"mean ± standard deviation over the {FOLDS} folds, and the median time of a fit",
        ]
    )


if __name__ == "__main__":
    sys.exit(main())
