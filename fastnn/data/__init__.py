"""Data to learn from: digits that come with the package, MNIST's files, and tables."""

from fastnn.data.dataset import Dataset, split_rows
from fastnn.data.digits import load_digits
from fastnn.data.idx import load_mnist, read_idx
from fastnn.data.table.columns import CategoryColumn, NumericColumn
from fastnn.data.table.encoder import EncodedTable, TableEncoder
from fastnn.data.table.file import read_table
from fastnn.data.table.load import load_table

__all__ = [
    "CategoryColumn",
    "Dataset",
    "EncodedTable",
    "NumericColumn",
    "TableEncoder",
    "load_digits",
    "load_mnist",
    "load_table",
    "read_idx",
    "read_table",
    "split_rows",
]
