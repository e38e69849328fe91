"""Claims about the order in which the estimators take rows."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.utils import shuffle

from fastnn.sklearn.rules import RandomOrder


@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
def test_rows_come_in_the_order_in_which_scikit_learn_takes_them(rows):
    theirs, ours = np.random.RandomState(5), np.random.RandomState(5)
    expected, order = np.arange(rows), np.arange(rows)
    measures = SimpleNamespace(order=None)
    rearrange = RandomOrder(ours, measures)
    for epoch in range(3):
        expected = shuffle(expected, random_state=theirs)
        rearrange(order, epoch)
        assert order.tolist() == expected.tolist()
        assert measures.order is order
    assert ours.randint(2**31) == theirs.randint(2**31)  # no more numbers were drawn
