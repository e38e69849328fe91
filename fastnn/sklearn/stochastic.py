"""The solvers sgd and adam: `fastnn.Network.fit` under scikit-learn's rules."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring, get_scorer

from fastnn.callbacks import Callback
from fastnn.errors import DivergenceError
from fastnn.sklearn import describe
from fastnn.sklearn.data import Rows, dense
from fastnn.sklearn.describe import Objective
from fastnn.sklearn.measures import Measures
from fastnn.sklearn.rules import LearningRate, RandomOrder, Rules, TimeLimit
from fastnn.sklearn.watchers import Watchers

__all__ = ["NON_FINITE", "train"]

NON_FINITE = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)

# From `train` to the line of the user that called fit.
TO_THE_CALLER = 6


def train(
    estimator: Any,
    objective: Objective,
    rows: Rows,
    held: Rows | None,
    watchers: Watchers | None,
    *,
    incremental: bool,
) -> None:
    """Train an estimator's network for `max_iter` epochs, or for one if `incremental`.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
        It has a network, and a record that is written on.
    objective : Objective
    rows, held : Rows
        Rows to train on, and rows to validate on.
    watchers : Watchers or None
        Callbacks of scikit-learn.
    incremental : bool

    Raises
    ------
    ValueError
        When the weights do not stay finite.
    """
    network, held_back = estimator.network_, held is not None
    goes_on = incremental or (estimator.warm_start and estimator.keep_optimizer)
    if not goes_on or "_optimizer" not in vars(estimator):
        estimator._optimizer = LearningRate(estimator)
        network.optimizer = describe.optimizer_of(estimator, objective.step)
    # Other rows may come now: an epoch that a call before has broken off is not finished with them.
    network._state.cursor = (0, 0, 0)
    _prepare_record(estimator)
    batch_size = _batch_size(estimator.batch_size, len(rows))
    measures = Measures(network, objective, estimator.alpha, rows)
    score = _score_function(estimator, held, measures) if estimator.early_stopping else None
    rules = Rules(estimator, batch_size, measures, held, score)
    validation = None
    if held is not None:
        validation = (dense(held.X), estimator._encode(held.y), held.weight)
    divergence: DivergenceError | None = None
    try:
        history = network.fit(
            dense(rows.X),
            estimator._encode(rows.y),
            sample_weight=rows.weight,
            epochs=1 if incremental else int(estimator.max_iter),
            batch_size=batch_size,
            validation_data=validation,
            shuffle=RandomOrder(estimator._random_state, measures) if estimator.shuffle else False,
            callbacks=[rules, *_other_callbacks(estimator, watchers)],
            progress=bool(estimator.progress),
        )
        reason = rules.run.stop_reason
        if reason is None and not incremental:
            reason = history.stop_reason
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({estimator.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=TO_THE_CALLER,
            )
    except KeyboardInterrupt:
        reason = "interrupted by the user"
        warnings.warn("Training interrupted by user.", stacklevel=TO_THE_CALLER)
    except DivergenceError as error:
        divergence, reason = error, f"diverged: {error}"
    rules.record_part()
    estimator.stop_reason_ = reason
    if divergence is not None:
        _note_divergence(estimator, divergence, held_back)
    if estimator.early_stopping and reason is not None and estimator._best is not None:
        network.parameters_vector, network.states_vector = estimator._best


def _prepare_record(estimator: Any) -> None:
    """Make ready what the rules write on, whatever the fit before has left."""
    estimator.n_iter_ = 0
    if estimator.early_stopping:
        if estimator.validation_scores_ is None:
            estimator.validation_scores_ = []
            estimator.best_validation_score_ = -np.inf
        estimator.best_loss_ = None
    elif estimator.best_loss_ is None:
        estimator.best_loss_ = np.inf
        estimator.validation_scores_ = estimator.best_validation_score_ = None


def _batch_size(given: int | str, rows: int) -> int:
    """Return the rows of a batch."""
    if isinstance(given, str):
        return min(200, rows)
    if given > rows:
        warnings.warn(
            "Got `batch_size` less than 1 or larger than sample size. It is going to be clipped",
            stacklevel=TO_THE_CALLER + 1,
        )
    return min(int(given), rows)


def _other_callbacks(estimator: Any, watchers: Watchers | None) -> list[Callback]:
    given = estimator.callbacks
    own = [] if given is None else [given] if isinstance(given, Callback) else list(given)
    limit = [] if estimator.max_time is None else [TimeLimit(float(estimator.max_time))]
    return [*limit, *own, *([] if watchers is None else [watchers])]


def _score_function(
    estimator: Any, held: Rows | None, measures: Measures
) -> Callable[[Mapping[str, float]], float]:
    """Return what early stopping looks at: a function of the metrics of an epoch."""
    assert held is not None  # fit has seen to it
    metric = estimator.early_stopping_metric
    if metric is None:
        return lambda metrics: estimator._score_of(held, metrics)
    if metric == "loss":
        return lambda metrics: -measures.of_validation(metrics, held)
    # A metric function in the place of a scorer is refused, in words that say what to do.
    scorer = check_scoring(estimator, scoring=get_scorer(metric))
    plain = estimator._without_feature_names()
    options = {} if held.weight is None else {"sample_weight": held.weight}
    return lambda metrics: float(scorer(plain, held.X, held.y, **options))


def _note_divergence(estimator: Any, error: DivergenceError, held_back: bool) -> None:
    """Keep the best weights where there are any; else say what happened as scikit-learn does."""
    if not (estimator.early_stopping and held_back and estimator._best is not None):
        raise ValueError(NON_FINITE) from error
    estimator.n_iter_ += 1
    estimator.loss_curve_.append(error.loss)
    estimator.validation_scores_.append(float("nan"))
    warnings.warn(
        f"training diverged in epoch {estimator.n_iter_}; the weights of the best validation "
        "score before it are kept",
        ConvergenceWarning,
        stacklevel=TO_THE_CALLER + 1,
    )
