"""Tables as data sets: split, then learned from the training rows alone."""

import numpy as np
import pytest

from fastnn.data import load_table

pytest.importorskip("polars")


def test_a_table_of_classes_is_split_evenly_and_encoded(table):
    lines = ["a,b,t"] + [f"{i},{'xyz'[i % 3]},{'no' if i % 4 else 'yes'}" for i in range(100)]
    dataset, encoder = load_table(table("\n".join([*lines, "7,x,"]) + "\n"), "t")
    assert dataset.X_train.shape == (80, 4)
    assert dataset.X_test.shape == (20, 4)
    assert dataset.X_train.dtype == np.float32
    assert dataset.class_names == encoder.class_names == ("no", "yes")
    assert np.bincount(dataset.y_test).tolist() == [15, 5]
    assert dataset.dropped_rows == 1
    np.testing.assert_allclose(dataset.X_train[:, 0].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(dataset.X_train[:, 0].std(), 1, atol=1e-6)


def test_test_rows_have_no_part_in_what_is_learned(table):
    path = table("a,t\n" + "".join(f"{i},{i / 2}\n" for i in range(10)))
    dataset, encoder = load_table(path, "t", test_fraction=0.3, seed=1)
    train = sorted(2 * value for value in encoder.decode(dataset.y_train))
    assert len(train) == 7
    assert encoder.columns[0].mean == pytest.approx(np.mean(train), rel=1e-6)
    assert encoder.target_mean == pytest.approx(np.mean(train) / 2, rel=1e-6)
    both = np.concatenate([encoder.decode(dataset.y_train), encoder.decode(dataset.y_test)])
    np.testing.assert_allclose(sorted(both), np.arange(10) / 2, atol=1e-6)


def test_a_class_of_one_row_is_trained_on(table):
    path = table("a,t\n" + "".join(f"{i},x\n{i},y\n" for i in range(10)) + "5,z\n")
    dataset, _ = load_table(path, "t")
    assert dataset.class_names == ("x", "y", "z")
    assert (dataset.y_train == 2).sum() == 1


def test_everything_can_be_training(table):
    dataset, _ = load_table(table("a,t\n1,1.5\n2,3\n4,5\n"), "t", test_fraction=0)
    assert dataset.X_train.shape == (3, 1)
    assert dataset.X_test.shape == (0, 1)
    assert dataset.y_test.shape == (0,)


def test_the_same_file_gives_the_same_bits(table):
    path = table("a,t\n" + "".join(f"{i * 0.1},{i % 3}\n" for i in range(60)))
    first, second = load_table(path, "t")[0], load_table(path, "t")[0]
    assert first.X_train.tobytes() == second.X_train.tobytes()
    assert load_table(path, "t", seed=1)[0].X_train.tobytes() != first.X_train.tobytes()


def test_errors_count_the_rows_of_the_file(table):
    path = table("a,t\n" + "1,\n" * 5 + "1,2.5\n" * 5 + "1e999,3.5\n")
    with pytest.raises(ValueError, match="row 10 of column 'a' holds inf"):
        load_table(path, "t")


def test_a_misspelt_target_is_answered_with_the_nearest(table):
    with pytest.raises(ValueError, match=r"no target 'Price' .did you mean 'price'.*: area, price"):
        load_table(table("area,price\n1,2\n"), "Price")


def test_a_header_alone_is_refused(table):
    with pytest.raises(ValueError, match="it has no rows"):
        load_table(table("a,t\n"), "t")
