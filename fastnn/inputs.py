"""The door: whatever users bring becomes contiguous, typed, finite arrays, or one clear sentence.

Below this file nothing is checked again. What was brought is never written to.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import checks
from fastnn.backends import Batch
from fastnn.errors import unknown_name
from fastnn.program import Program

__all__ = ["Door", "check_out", "class_weights", "network_dtype", "predict_dtype"]

Array = npt.NDArray[Any]
Finder = Callable[[Array], int]

DTYPES = ("float32", "float64")

# Second word of the seed that sets rows aside, beside the numbers of epochs.
VALIDATION = 2**32

# How far the sum of a row of class probabilities may be from 1: float32 rounding of many classes.
PROBABILITY_SLACK = 1e-4


class Door:
    """Turns what users bring into checked arrays of one network's dtype.

    Parameters
    ----------
    dtype : numpy.dtype
        float32 or float64.
    first_nonfinite : callable
        Returns the flat position of the first NaN or infinity of a contiguous array, or -1.
    """

    def __init__(self, dtype: np.dtype[Any], first_nonfinite: Finder) -> None:
        self.dtype, self.first_nonfinite = dtype, first_nonfinite

    def rows(self, X: Any, columns: int | None) -> Array:
        """Return the rows of X, C-contiguous and finite: X itself where it already fits.

        Parameters
        ----------
        X : array-like, shape (B, I)
            An array of any layout or numeric dtype, a data frame, nested lists.
        columns : int or None
            The number of columns that X must have; None takes any but 0.

        Raises
        ------
        TypeError
            For strings, dates, complex numbers, masked and sparse arrays.
        ValueError
            For a wrong rank, a wrong number of columns, NaN or infinity.
        """
        array = _numbers("X", X)
        if array.ndim != 2:
            hint = "; for one row use X.reshape(1, -1)" if array.ndim == 1 else ""
            raise ValueError(f"X must have 2 dimensions (rows, columns), got {array.shape}{hint}")
        if array.shape[1] == 0:
            raise ValueError(f"X has no columns: shape {array.shape}")
        if columns is not None and array.shape[1] != columns:
            raise ValueError(f"X has {array.shape[1]} columns, the network takes {columns}")
        return self._finite("X", array)

    def batch(self, program: Program, X: Any, y: Any, sample_weight: Any) -> Batch:
        """Return rows, targets and weights that belong together, at least one row of them.

        Raises
        ------
        TypeError, ValueError
            As `rows` does, and for targets or weights that do not fit the rows or the loss.
        """
        rows = self.rows(X, program.inputs)
        if not len(rows):
            raise ValueError(f"X has no rows: shape {rows.shape}")
        batch = Batch(
            rows, self._targets(y, len(rows), program), self._weights(sample_weight, len(rows))
        )
        # A row of weight 0 is as good as absent: it takes no place in any batch, and what it holds
        # cannot spoil a sum.
        if batch.weight is not None and not batch.weight.all():
            return _rows(batch, np.flatnonzero(batch.weight))
        return batch

    def validation(
        self, program: Program, batch: Batch, data: Any, seed: int
    ) -> tuple[Batch, Batch | None]:
        """Return the rows to train on, and those to validate on.

        Parameters
        ----------
        program : Program
        batch : Batch
            All rows that were given to train on.
        data : None, pair (X, y), triple with weights, or float
            A fraction sets aside that share of `batch`.
        seed : int
            Chooses the rows that a fraction sets aside: a later fit sets the same ones aside.

        Raises
        ------
        TypeError, ValueError
            When it is none of these, or does not fit.
        """
        if data is None:
            return batch, None
        if isinstance(data, (float, np.floating)):
            share = checks.real_number("validation_data", data, 0, 1, above=True, below=True)
            count = max(1, round(share * len(batch)))
            if count >= len(batch):
                raise ValueError(f"validation_data={share} of {len(batch)} rows leaves none")
            order = np.random.default_rng([seed, VALIDATION]).permutation(len(batch))
            return _rows(batch, np.sort(order[count:])), _rows(batch, np.sort(order[:count]))
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise TypeError(
                "validation_data must be (X, y), (X, y, sample_weight) or a fraction, not "
                f"{type(data).__name__}"
            )
        X, y, *weight = data
        return batch, self.batch(program, X, y, weight[0] if weight else None)

    def _targets(self, y: Any, rows: int, program: Program) -> Array:
        """Return labels, int64, shape (B,); or targets of the network's dtype, shape (B, O)."""
        array = _numbers("y", y)
        if array.ndim not in (1, 2):
            raise ValueError(f"y must have 1 or 2 dimensions, got shape {array.shape}")
        if len(array) != rows:
            raise ValueError(f"X has {rows} rows, y has {len(array)}")
        kind, outputs = program.loss.targets, program.outputs
        if kind == "classes" and (array.ndim == 1 or (array.shape[1] == 1 and outputs > 1)):
            return _labels(array.reshape(-1), outputs)
        if array.ndim == 1 and outputs == 1:
            array = array.reshape(-1, 1)
        if array.shape != (rows, outputs):
            labels = kind == "values" and array.ndim == 1 and array.dtype.kind in "iub"
            hint = "; for classes end with activation='softmax'" if labels else ""
            raise ValueError(
                f"y has shape {array.shape}, the network gives ({rows}, {outputs}){hint}"
            )
        result = self._finite("y", array)
        if kind == "signs":
            return _signs(result, program.loss.loss)
        if kind == "counts":
            _check_counts(result, program.loss.loss)
        elif kind != "values":
            _check_probabilities(result, program.loss.loss, rows_sum_to_1=kind == "classes")
        return result

    def _weights(self, sample_weight: Any, rows: int) -> Array | None:
        """Return the weights of the rows, shape (B,), or None."""
        if sample_weight is None:
            return None
        array = _numbers("sample_weight", sample_weight)
        if array.shape != (rows,):
            raise ValueError(f"sample_weight must have shape ({rows},), got {array.shape}")
        result = self._finite("sample_weight", array)
        if (result < 0).any():
            row = int(np.flatnonzero(result < 0)[0])
            raise ValueError(f"sample_weight must not be negative, got {result[row]} in row {row}")
        _check_total("sample_weight", result)
        return result

    def _finite(self, name: str, array: Array) -> Array:
        """Return real numbers in the network's dtype, contiguous, aligned and finite."""
        with np.errstate(over="ignore"):  # found below, by place
            result = np.require(array, self.dtype, ["C_CONTIGUOUS", "ALIGNED"])
        bad = self.first_nonfinite(result)
        if bad < 0:
            return result
        index = np.unravel_index(bad, result.shape)
        came, place = array[index], _place(index)
        if np.isfinite(came):
            raise ValueError(f"{name} holds {came} in {place}, too large for {self.dtype}")
        raise ValueError(
            f"{name} holds {came} in {place}; fill in or drop what is missing before the call"
        )


def class_weights(class_weight: Any, batch: Batch, program: Program) -> Batch:
    """Return the batch with the weight of each row's class multiplied in, less rows of weight 0.

    Parameters
    ----------
    class_weight : mapping of int to float, or "balanced", or None
        Classes that the mapping leaves out weigh 1; the classes of signs are 0 and 1, and -1 means
        0. ``"balanced"`` gives class c the weight
        ``B / (K * rows of c)``, as scikit-learn does.
    batch : Batch
        Checked rows and targets.
    program : Program

    Raises
    ------
    TypeError, ValueError
        When the weights are neither, name a class that does not exist, are negative, or the network
        has no classes.
    """
    if class_weight is None:
        return batch
    signs = program.loss.targets == "signs"
    yes_or_no = (signs or program.loss.targets == "probabilities") and program.outputs == 1
    if program.loss.targets != "classes" and not yes_or_no:
        raise ValueError(f"class_weight needs classes, the loss is {program.loss.loss}")
    count = 2 if yes_or_no else program.outputs
    if batch.Y.ndim == 1:
        labels = batch.Y
    else:
        labels = (batch.Y[:, 0] > 0.5).astype(np.int64) if yes_or_no else batch.Y.argmax(axis=1)
    factors = np.ones(count)
    if isinstance(class_weight, str) and class_weight == "balanced":
        present = np.bincount(labels, minlength=count)
        factors = len(labels) / (np.count_nonzero(present) * np.maximum(present, 1))
    elif isinstance(class_weight, Mapping):
        for label, weight in class_weight.items():
            label = 0 if signs and label == -1 else label
            if not isinstance(label, (int, np.integer)) or not 0 <= label < count:
                raise ValueError(f"class_weight names {label!r}, the classes are 0 to {count - 1}")
            factors[int(label)] = checks.real_number(f"class_weight of {label}", weight, 0)
    else:
        raise TypeError(f"class_weight must be a mapping or 'balanced', not {class_weight!r}")
    own = factors[labels] if batch.weight is None else factors[labels] * batch.weight
    with np.errstate(over="ignore"):  # found below
        own = own.astype(batch.X.dtype)
    _check_total("class_weight times sample_weight", own)
    weighed = Batch(batch.X, batch.Y, own)
    return weighed if own.all() else _rows(weighed, np.flatnonzero(own))


def check_out(out: Any, rows: int, outputs: int, dtype: np.dtype[Any]) -> Array:
    """Return the user's buffer for predictions.

    Raises
    ------
    TypeError
        When it is no array, or of another dtype.
    ValueError
        When its shape is wrong, it is read-only, or it is not C-contiguous.
    """
    if not isinstance(out, np.ndarray) or out.dtype != dtype:
        came = out.dtype if isinstance(out, np.ndarray) else type(out).__name__
        raise TypeError(f"out must be an array of {dtype}, not {came}")
    if out.shape != (rows, outputs):
        raise ValueError(f"out must have shape ({rows}, {outputs}), got {out.shape}")
    if not (out.flags.c_contiguous and out.flags.aligned and out.flags.writeable):
        raise ValueError("out must be writeable, aligned and C-contiguous")
    return out


def _numbers(name: str, value: Any) -> Array:
    """Return a value as an array of real numbers, not yet of the network's dtype."""
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array; fill it first: {name}.filled(value)")
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise TypeError(f"{name} is a sparse array; make it dense first: {name}.toarray()")
    try:
        array = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} cannot be read as an array: {error}") from error
    if array.dtype.kind in "OUS":
        array = _plain(name, array)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name} must hold real numbers, not {array.dtype}")
    return array


def _plain(name: str, array: Array) -> Array:
    """Turn an array of Python objects into numbers, or name the first that is none."""
    for index, item in np.ndenumerate(array):
        # NumPy counts a timedelta64 among the integers.
        if not isinstance(item, (numbers.Real, np.bool_)) or isinstance(item, np.timedelta64):
            plain = item.item() if isinstance(item, np.generic) else item
            where = f" in {_place(index)}" if index else ""
            labels = "; np.unique(y, return_inverse=True) numbers labels" if name == "y" else ""
            raise TypeError(f"{name} must hold numbers, got {plain!r}{where}{labels}")
    try:
        return array.astype(np.float64)
    except OverflowError:
        raise ValueError(f"{name} holds a number that is too large for float64") from None


def _labels(array: Array, classes: int) -> npt.NDArray[np.int64]:
    """Return labels as int64, each from 0 to classes - 1."""
    # The comparison is written so that NaN fails it too.
    wrong = ~((array >= 0) & (array < classes))
    if array.dtype.kind == "f":
        wrong |= array != np.floor(array)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"labels must be whole numbers from 0 to {classes - 1}, got {array[row]} in row {row}"
        )
    return np.require(array, np.int64, ["C_CONTIGUOUS", "ALIGNED"])


def _signs(y: Array, loss: str) -> Array:
    """Return labels -1 and 1, or 0 and 1, as -1 and 1."""
    wrong = np.argwhere((y != -1) & (y != 0) & (y != 1))
    if len(wrong):
        index = tuple(wrong[0])
        raise ValueError(
            f"y must hold -1 and 1, or 0 and 1, for {loss}, got {y[index]} in {_place(index)}"
        )
    if (y == -1).any() and (y == 0).any():
        index = tuple(np.argwhere(y == 0)[0])
        raise ValueError(f"y holds -1, and 0 in {_place(index)}; {loss} takes either beside 1")
    return np.where(y > 0, y.dtype.type(1), y.dtype.type(-1))


def _check_counts(y: Array, loss: str) -> None:
    negative = np.argwhere(y < 0)
    if len(negative):
        index = tuple(negative[0])
        raise ValueError(f"y must be at least 0 for {loss}, got {y[index]} in {_place(index)}")


def _check_total(name: str, weight: Array) -> None:
    """Refuse weights whose sum, or the inverse of it, is not finite."""
    with np.errstate(over="ignore"):
        total = float(weight.sum(dtype=np.float64))
    if total == 0:
        raise ValueError(f"{name} is 0 in every row; some row must count")
    if not np.finfo(weight.dtype).tiny <= total <= np.finfo(weight.dtype).max:
        raise ValueError(f"{name} sums to {total:g}; scale it to a mean of about 1")


def _check_probabilities(y: Array, loss: str, *, rows_sum_to_1: bool) -> None:
    outside = np.argwhere((y < 0) | (y > 1))
    if len(outside):
        index = tuple(outside[0])
        raise ValueError(
            f"y must lie between 0 and 1 for {loss}, got {y[index]} in {_place(index)}"
        )
    if rows_sum_to_1:
        sums = y.sum(axis=1, dtype=np.float64)
        uneven = np.flatnonzero(np.abs(sums - 1) > PROBABILITY_SLACK)
        if len(uneven):
            raise ValueError(
                f"every row of y must sum to 1 for {loss}, row {uneven[0]} sums to "
                f"{sums[uneven[0]]:g}"
            )


def _place(index: Sequence[Any]) -> str:
    return ", ".join(f"{axis} {i}" for axis, i in zip(("row", "column"), index, strict=False))


def _rows(batch: Batch, rows: npt.NDArray[np.int64]) -> Batch:
    weight = None if batch.weight is None else batch.weight[rows]
    return Batch(batch.X[rows], batch.Y[rows], weight)


def network_dtype(dtype: npt.DTypeLike) -> np.dtype[Any]:
    """Return the dtype of a network.

    Raises
    ------
    ValueError
        When it is neither float32 nor float64.
    """
    try:
        wanted = np.dtype("object" if dtype is None else dtype)
    except TypeError:
        raise unknown_name("dtype", dtype, DTYPES) from None
    if wanted.name not in DTYPES or not wanted.isnative:
        raise unknown_name("dtype", dtype, DTYPES)
    return wanted


def predict_dtype(name: str | None, dtype: np.dtype[Any]) -> str | None:
    """Return the type of the factors in predictions, None for that of the network.

    Raises
    ------
    ValueError
        When it is not bfloat16, or the network is not float32.
    """
    if name is None:
        return None
    if name != "bfloat16":
        raise unknown_name("predict_dtype", name, ("bfloat16",))
    if dtype.name != "float32":
        raise ValueError(f"predict_dtype='bfloat16' goes with dtype='float32', not {dtype.name!r}")
    return name
