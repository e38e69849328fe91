"""The tables of the tabular comparison: those that scikit-learn ships, and two generated ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import datasets

__all__ = ["TABLES", "Table"]

Array = NDArray[Any]

LARGE = 100_000


@dataclass(frozen=True)
class Table:
    """A table and what is asked of it.

    Attributes
    ----------
    load : callable
        Returns the table (an array, or a polars frame where there are categories) and the target.
    classes : bool
        Whether the target is a class; else it is a number.
    large : bool
        Whether plain networks stop early, since all of their epochs would take minutes.
    """

    name: str
    load: Callable[[], tuple[Any, Array]]
    classes: bool = True
    large: bool = False


def customers(rows: int = LARGE, seed: int = 0) -> tuple[Any, Array]:
    """Return a mixed table of three classes: smooth effects, thresholds, categories, gaps.

    14 columns: ten of numbers, of which three are skewed, four tell nothing and all miss 5 % of
    their values; a Boolean; categories of 4, 12 and 150 kinds. A tenth of the labels is random.
    """
    import polars as pl

    rng = np.random.default_rng(seed)
    X = rng.normal(size=(rows, 10))
    few, some, many = (_skewed(rng, count, rows) for count in (4, 12, 150))
    flag = rng.random(rows) < 0.3
    effects = rng.normal(size=(150, 2))
    first = (
        np.sin(1.5 * X[:, 0]) + X[:, 1] * X[:, 2] + 1.2 * (X[:, 3] > 0.5) + effects[many, 0]
    ) - 0.8 * flag * (few == 1)
    second = np.abs(X[:, 4]) + 0.7 * X[:, 5] * (some < 4) + 0.8 * effects[many, 1]
    label = np.where(first > 0.6, 2, np.where(second > 0.9, 1, 0))
    wrong = rng.random(rows) < 0.1
    label[wrong] = rng.integers(0, 3, wrong.sum())
    X[:, :3] = np.exp(X[:, :3])
    X[rng.random(X.shape) < 0.05] = np.nan
    numbers = {f"number {j}": pl.Series(X[:, j]).fill_nan(None) for j in range(10)}
    kinds = {"few": few, "some": some, "many": many}
    return pl.DataFrame({**numbers, "flag": flag, **_categories(kinds)}), label


def prices(rows: int = LARGE, seed: int = 1) -> tuple[Any, Array]:
    """Return a table of prices: products of skewed numbers, steps, and two kinds of categories.

    10 columns: eight of numbers, of which three tell nothing, and categories of 6 and 80 kinds. The
    noise has 5 % of the variance.
    """
    import polars as pl

    rng = np.random.default_rng(seed)
    X = np.exp(0.5 * rng.normal(size=(rows, 8)))
    kind, place = (_skewed(rng, count, rows) for count in (6, 80))
    rate = 1 + 0.4 * rng.normal(size=80)
    price = X[:, 0] * rate[place] + np.sqrt(X[:, 1] * X[:, 2]) * (1 + (kind == 2))
    price += np.sin(3 * X[:, 3]) + 1.0 * (X[:, 4] > 1.2) - 0.5 * (kind == 4) * X[:, 0]
    price += rng.normal(size=rows) * price.std() * (0.05 / 0.95) ** 0.5
    numbers = {f"number {j}": X[:, j] for j in range(8)}
    return pl.DataFrame({**numbers, **_categories({"kind": kind, "place": place})}), price


def _skewed(rng: np.random.Generator, count: int, rows: int) -> NDArray[np.int64]:
    """Return numbers below `count`, the frequent ones several times as frequent as the rare."""
    shares = 1 / np.arange(3, count + 3)
    return rng.choice(count, rows, p=shares / shares.sum())


def _categories(columns: dict[str, NDArray[np.int64]]) -> dict[str, Any]:
    import polars as pl

    told = {}
    for name, codes in columns.items():
        words = [f"{name} {number}" for number in range(int(codes.max()) + 1)]
        told[name] = pl.Series(np.array(words)[codes], dtype=pl.Enum(words))
    return told


def _shipped(loader: Callable[..., Any]) -> Callable[[], tuple[Any, Array]]:
    return lambda: loader(return_X_y=True)


TABLES = [
    Table("breast cancer", _shipped(datasets.load_breast_cancer)),
    Table("wine", _shipped(datasets.load_wine)),
    Table("iris", _shipped(datasets.load_iris)),
    Table("digits", _shipped(datasets.load_digits)),
    Table("diabetes", _shipped(datasets.load_diabetes), classes=False),
    Table("customers (generated)", customers, large=True),
    Table("prices (generated)", prices, classes=False, large=True),
]
