"""The digits are the published ones, split once and for all."""

import hashlib
import os
from importlib import resources

import numpy as np
import pytest

from fastnn.data import Dataset, load_digits, split_rows

# Of the 1,797 flags of the test rows, as packed bits.
SPLIT_SHA256 = "a32d8c593f9ef19f510193b1eb1263b72948302e67170d4464023dc0d93216b0"
SPLIT_OF_20 = [3, 4, 6, 11, 12]  # 25 % of 20 rows with seed 7


def stored_arrays():
    with (
        resources.files("fastnn.data").joinpath("digits.npz").open("rb") as file,
        np.load(file, allow_pickle=False) as arrays,
    ):
        return dict(arrays)


@pytest.fixture(scope="module")
def published():
    return pytest.importorskip("sklearn.datasets").load_digits()


def test_every_value_equals_the_published_set(published):
    arrays = stored_arrays()
    assert arrays["images"].dtype == arrays["labels"].dtype == np.uint8
    np.testing.assert_array_equal(arrays["images"], published.data)
    np.testing.assert_array_equal(arrays["labels"], published.target)


def test_loaded_rows_are_the_published_ones_divided_by_16(published):
    digits, test = load_digits(), stored_arrays()["test"]
    for X, y, rows in (
        (digits.X_train, digits.y_train, ~test),
        (digits.X_test, digits.y_test, test),
    ):
        assert X.dtype == np.float32
        assert y.dtype == np.int64
        np.testing.assert_array_equal(X, published.data[rows] / 16)
        np.testing.assert_array_equal(y, published.target[rows])
    assert digits.class_names == tuple("0123456789")
    assert digits.dropped_rows == 0


def test_grey_levels_run_from_0_to_1():
    X = load_digits().X_train
    assert X.min() == 0
    assert X.max() == 1


def test_split_is_a_fifth_of_every_class():
    digits = load_digits()
    assert digits.X_train.shape == (1437, 64)
    assert digits.X_test.shape == (360, 64)
    in_test, in_training = np.bincount(digits.y_test), np.bincount(digits.y_train)
    assert np.abs(in_test - 0.2 * (in_test + in_training)).max() < 1


def test_split_never_changes():
    test = stored_arrays()["test"]
    assert hashlib.sha256(np.packbits(test).tobytes()).hexdigest() == SPLIT_SHA256


def test_split_is_what_split_rows_draws():
    arrays = stored_arrays()
    train, test = split_rows(1797, arrays["labels"], test_fraction=0.2, seed=0)
    np.testing.assert_array_equal(test, np.flatnonzero(arrays["test"]))
    np.testing.assert_array_equal(train, np.flatnonzero(~arrays["test"]))


def test_no_image_is_in_both_parts():
    digits = load_digits()
    train = {row.tobytes() for row in digits.X_train}
    assert not any(row.tobytes() in train for row in digits.X_test)


def test_each_call_gives_fresh_arrays():
    first = load_digits()
    first.X_train[:] = -1
    assert load_digits().X_train.min() == 0


def test_the_file_is_small_and_its_source_is_named():
    with resources.as_file(resources.files("fastnn.data")) as folder:
        assert os.path.getsize(folder / "digits.npz") < 100_000
        text = (folder / "DIGITS.md").read_text(encoding="utf-8")
    for source in (text, load_digits.__doc__):
        for word in ("Alpaydin", "Kaynak", "1998", "10.24432/C50P49", "CC BY 4.0", "UCI"):
            assert word in source


def test_dataset_prints_shapes_and_not_numbers():
    assert repr(load_digits()) == (
        "Dataset(X_train=float32[1437, 64], y_train=int64[1437], X_test=float32[360, 64], "
        "y_test=int64[360], classes=10, dropped=0)"
    )


def test_dataset_cannot_be_changed():
    digits = load_digits()
    with pytest.raises(AttributeError):
        digits.X_train = None
    assert isinstance(digits, Dataset)


# --- split_rows ---


@pytest.mark.parametrize(("n", "fraction"), [(1, 0.5), (2, 0.2), (10, 0.0), (30, 0.1), (97, 0.33)])
@pytest.mark.parametrize("stratified", [False, True])
def test_split_parts_are_disjoint_and_complete(n, fraction, stratified):
    labels = np.arange(n) % 3 if stratified else None
    train, test = split_rows(n, labels, fraction)
    assert sorted([*train, *test]) == list(range(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(test) > 0).all()


def test_number_of_test_rows_is_the_ceiling_of_the_share():
    assert len(split_rows(30, None, 0.1)[1]) == 3  # although 0.1 * 30 is above 3 in floats
    assert len(split_rows(31, None, 0.1)[1]) == 4
    assert len(split_rows(31, None, 0.0)[1]) == 0


def test_every_class_gives_its_share_and_keeps_a_training_row():
    labels = np.repeat(["a", "b", "c", "d"], [1, 2, 50, 47])
    train, test = split_rows(100, labels, 0.2)
    assert set(labels[train]) == {"a", "b", "c", "d"}
    for name, rows in (("a", 1), ("b", 2), ("c", 50), ("d", 47)):
        assert abs((labels[test] == name).sum() - 0.2 * rows) < 1
    assert len(test) == 20


def test_one_row_is_always_left_for_training():
    assert [len(part) for part in split_rows(2, None, 0.99)] == [1, 1]
    assert [len(part) for part in split_rows(1, None, 0.99)] == [1, 0]


def test_a_seed_names_one_split_for_good():
    assert split_rows(20, None, 0.25, seed=7)[1].tolist() == SPLIT_OF_20
    assert split_rows(20, None, 0.25, seed=8)[1].tolist() != SPLIT_OF_20


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"n": 0}, ValueError, "n must be at least 1, got 0"),
        ({"n": 2.0}, TypeError, "n must be a whole number, not 2.0"),
        ({"n": True}, TypeError, "n must be a whole number, not True"),
        ({"n": 3, "seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"n": 3, "test_fraction": 1.0}, ValueError, "test_fraction .* got 1.0"),
        ({"n": 3, "test_fraction": float("nan")}, ValueError, "test_fraction .* got nan"),
        ({"n": 3, "labels": [1, 2]}, ValueError, r"labels must have shape \(3,\).* got \(2,\)"),
    ],
)
def test_a_bad_argument_of_split_rows_is_named(arguments, error, words):
    with pytest.raises(error, match=words):
        split_rows(**arguments)
