"""Data to learn from: digits that come with the package, MNIST's files, and tables."""

from fastnn.data.dataset import Dataset, split_rows
from fastnn.data.digits import load_digits
from fastnn.data.idx import load_mnist, read_idx

__all__ = [
    "Dataset",
    "load_digits",
    "load_mnist",
    "read_idx",
    "split_rows",
]
