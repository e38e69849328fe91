"""The callbacks of scikit-learn 1.9 and newer, told of every epoch."""

from __future__ import annotations

import copy
from typing import Any

from fastnn.callbacks import Callback, Run

__all__ = ["REASON", "Watchers", "watchers_of"]

# A stop that they ask for.
REASON = "a callback ended it"


class Watchers(Callback):
    """Tells scikit-learn's callbacks of every epoch, as tasks below the task of the fit.

    Parameters
    ----------
    estimator : MLPClassifier or MLPRegressor
    context : sklearn.callback.CallbackContext
        That of the fit.
    X, y : arrays
        The data of the fit.
    sample_weight : ndarray or None
    """

    def __init__(self, estimator: Any, context: Any, X: Any, y: Any, sample_weight: Any) -> None:
        self.estimator, self.context = estimator, context
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.told = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        context.call_on_fit_task_begin(**self.told)

    def begin(self) -> None:
        """Tell that an epoch begins."""
        self.task = self.context.subcontext(task_name="epoch")
        self.task.call_on_fit_task_begin(**self.told, reconstruction_attributes=self._fitted)

    def end(self) -> bool:
        """Tell that it has ended, and return whether somebody wants training to end."""
        return bool(
            self.task.call_on_fit_task_end(**self.told, reconstruction_attributes=self._fitted)
        )

    def close(self) -> None:
        """Tell that the fit has ended."""
        self.context.call_on_fit_task_end(**self.told, reconstruction_attributes=self._fitted)

    def on_epoch_begin(self, run: Run) -> None:
        """Tell that an epoch begins."""
        self.begin()

    def on_epoch_end(self, run: Run) -> None:
        """Tell that it has ended."""
        if self.end():
            run.stop(REASON)

    def _fitted(self) -> dict[str, Any]:
        """Return what makes a copy of the estimator able to predict, whatever becomes of this one.

        Called only where a callback asks for such a copy.
        """
        names = ("_network", "_label_binarizer", "classes_", "n_features_in_", "n_outputs_")
        mine = self.estimator.__dict__
        # Data have lost the names of their columns on the way here.
        return {name: copy.deepcopy(mine[name]) for name in names if name in mine}


def watchers_of(
    estimator: Any, X: Any, y: Any, sample_weight: Any, subtasks: int
) -> Watchers | None:
    """Return who is to be told of a fit, or None where nobody is."""
    mine = estimator.__dict__
    if "_skl_callbacks" not in mine and "_parent_callback_ctx" not in mine:
        return None
    context = estimator._init_callback_context(max_subtasks=subtasks)
    return Watchers(estimator, context, X, y, sample_weight)
