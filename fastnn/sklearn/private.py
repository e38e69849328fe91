"""Private names of scikit-learn's own MLPs that its tests, and some users, reach for.

`_optimizer` (with its `learning_rate`), `_no_improvement_count`, `_label_binarizer` and
`_random_state` are attributes that fitting leaves; what is here is only for others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.sklearn.data import Rows
from fastnn.sklearn.lbfgs import FullBatch

__all__ = ["PrivateNames"]


class PrivateNames:
    """What scikit-learn's tests call beside the public methods."""

    def _loss_grad_lbfgs(
        self, packed_coef_inter: npt.NDArray[np.float64], X: Any, y: Any, *rest: Any
    ) -> tuple[float, npt.NDArray[np.float64]]:
        """Return the loss and its gradient for packed parameters and binarized targets.

        What follows is the weights of the rows, from scikit-learn 1.7 on, and four buffers of its
        own, which are not used.
        """
        estimator: Any = self
        rows = Rows(X, y, rest[0] if len(rest) == 5 else None)
        objective = estimator._objective(y.shape[1])
        loss = FullBatch(estimator.network_, objective, estimator.alpha, rows, y)
        return loss(packed_coef_inter)
