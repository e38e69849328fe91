"""The Network: predictions, gradients and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn import checks, inputs, metrics
from fastnn.backends import Batch
from fastnn.callbacks import Callback, Run, check_callbacks
from fastnn.model import Model
from fastnn.program import Program
from fastnn.training import History, Shuffle, take_step, train, try_step

__all__ = ["Network"]

Array = npt.NDArray[Any]


class Network(Model):
    """A fully connected network.

    Parameters
    ----------
    layers : list of Layer
        The layers, from the input on.
    input_size : int, optional
        Number of inputs I; taken from the first `fit` or `train_batch` where omitted.
    loss : str or Loss
        ``"auto"`` chooses by the output activation: cross entropy behind softmax, binary cross
        entropy behind sigmoid, else the mean squared error.
    optimizer : str or Optimizer
    dtype : {"float32", "float64"}
        Type of parameters and arithmetic.
    seed : int or None
        Seed of the first weights, of the order of rows, and of dropout. None draws one.
    backend : str
        One of `fastnn.backends.available`, or ``"auto"`` for the fastest of them.
    threads : int, optional
        Threads to use at most; `fastnn.get_num_threads` decides where omitted. The results do not
        depend on it.
    predict_dtype : {None, "bfloat16"}
        With ``"bfloat16"``, `predict` rounds the weights and inputs of its matrix products to 8
        significant bits and sums the products in float32: the native backend is then faster where
        the processor has AVX512-BF16 (`fastnn info` says so), and not faster elsewhere.
        Probabilities moved by up to 0.007 in the networks tried, and the most probable class was
        the same for 99.5 to 100 % of the rows. Training, `evaluate` and gradients are those of
        `dtype`, which must be float32. It is an attribute too, and files do not keep it.

    Attributes
    ----------
    layers : tuple of Layer
    seed : int
    metadata : dict
        Anything that plain JSON can hold; it is saved with the network.

    Raises
    ------
    TypeError, ValueError
        For an argument of the wrong kind, an unknown name, widths that do not fit, or a loss that
        does not go with the output activation.
    BackendUnavailable
        When the backend is missing.

    Examples
    --------
    >>> import fastnn as fn
    >>> net = fn.Network([fn.Dense(6, "relu"), fn.Dense(2, "softmax")], input_size=4)
    >>> net.parameter_count
    44
    """

    def predict(self, X: npt.ArrayLike, out: Array | None = None) -> Array:
        """Return probabilities or values, a row for every row of X.

        Parameters
        ----------
        X : array-like, shape (B, I)
        out : ndarray, shape (B, O), optional
            Where to write: of the network's dtype, C-contiguous.

        Returns
        -------
        ndarray, shape (B, O)
            Of the network's dtype; `out` where it was given. With the native backend a row's
            numbers do not depend on the batch that it stands in.

        Raises
        ------
        TypeError, ValueError
            For rows that are no finite numbers of the right width, or a buffer that does not fit.
        """
        executable = self._executable or self._ready()
        bfloat16 = self.predict_dtype is not None
        predictions = executable.try_predict(X, out, bfloat16=bfloat16)
        if predictions is not None:
            return predictions
        rows = self._door.rows(X, self.input_size)
        shape = (len(rows), executable.program.outputs)
        if out is None:
            out = np.empty(shape, self.dtype)
        elif np.may_share_memory(inputs.check_out(out, *shape, self.dtype), rows):
            rows = rows.copy()
        executable.predict(rows, out, bfloat16=bfloat16)
        return out

    def evaluate(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> dict[str, float]:
        """Return the mean loss, with penalties, and a measure of the predictions.

        Parameters
        ----------
        X : array-like, shape (B, I)
        y : array-like
            Targets, as for `fit`.
        sample_weight : array-like, shape (B,), optional

        Returns
        -------
        dict of str to float
            ``loss``, and ``accuracy`` for classes, probabilities and signs, or ``r2`` for values
            and counts (not where the network predicts log rates).
        """
        executable = self._ready()
        _, batch = self._batch(X, y, sample_weight)
        loss, share = executable.evaluate(batch)
        head = executable.program.loss
        if head.targets in metrics.HITS:
            return {"loss": loss, "accuracy": share}
        if head.targets == "counts" and head.head == "identity":  # log rates are no counts
            return {"loss": loss}
        predictions = np.empty((len(batch), executable.program.outputs), self.dtype)
        executable.predict(batch.X, predictions)  # like the loss, without predict_dtype
        return {"loss": loss, "r2": metrics.r2(predictions, batch.Y, batch.weight)}

    def loss_and_gradients(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        sample_weight: npt.ArrayLike | None = None,
        *,
        training: bool = False,
    ) -> tuple[float, dict[str, Array]]:
        """Return the mean loss with penalties, and its gradient in every parameter.

        Parameters
        ----------
        X : array-like, shape (B, I)
        y : array-like
            Targets, as for `fit`.
        sample_weight : array-like, shape (B,), optional
        training : bool
            Whether dropout is on, with the masks of the next step, and batch norms use the
            statistics of these rows. The running ones are used otherwise, and never changed here.

        Returns
        -------
        float, dict of str to ndarray
            Each gradient has the shape of its parameter.
        """
        flat = np.empty_like(self._ready().parameters)
        loss = self._gradients(X, y, sample_weight, training, flat, None)
        executable = self._ready()
        named = executable.program.parameters
        return loss, {p.name: executable.view(p, flat).copy() for p in named}

    def input_gradients(
        self, X: npt.ArrayLike, y: npt.ArrayLike, *, training: bool = False
    ) -> Array:
        """Return the gradient of the mean loss, without penalties, in the inputs, shape (B, I)."""
        rows = self._door.rows(X, self._ready().program.inputs)
        gradient = np.empty_like(rows)
        self._gradients(rows, y, None, training, None, gradient)
        return gradient

    def train_batch(
        self, X: npt.ArrayLike, y: npt.ArrayLike, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Take one optimizer step on all rows, and return the loss before it.

        Raises
        ------
        DivergenceError
            When the loss, its gradient or what was updated is not finite; weights and running
            statistics are as they were.
        """
        if self._executable is not None and sample_weight is None:
            loss = try_step(self._executable, self._state, X, y, self.seed)
            if loss is not None:
                return loss
        program, batch = self._batch(X, y, sample_weight)
        executable = self._executable or self._build(program)
        return take_step(executable, self._state, batch, self.seed)

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation_data: Any = None,
        sample_weight: npt.ArrayLike | None = None,
        class_weight: Mapping[int, float] | str | None = None,
        shuffle: Shuffle = True,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> History:
        """Train for some epochs, going on from where training stands.

        Parameters
        ----------
        X : array-like, shape (B, I)
        y : array-like
            For classes: labels 0 to K-1, shape (B,), or rows of probabilities, shape (B, K). Else
            values, shape (B, O), or (B,) for one output: for the hinge loss -1 and 1, or 0 and 1,
            for the Poisson loss at least 0.
        epochs : int
            Epochs to run now. ``fit(epochs=3)`` and then ``fit(epochs=2)`` gives the bits of
            ``fit(epochs=5)``. An epoch that was broken off is finished first, and counts as one,
            where the number of rows and the batch size are the same.
        batch_size : int
            Rows a step. The last batch may be smaller, and counts with its own mean.
        validation_data : pair (X, y), triple with weights, or float
            Rows to measure the loss on after every epoch; a fraction sets aside that share of the
            rows, with their weights, chosen by the seed.
        sample_weight : array-like, shape (B,), optional
            Weights of the rows. A row of weight 0 is as good as absent. In the statistics of a
            batch norm all other rows count alike.
        class_weight : mapping of int to float, or "balanced", optional
            Weights of the classes, multiplied into those of the rows that are trained on. The rows
            of a class of weight 0 are as good as absent.
        shuffle : bool or callable
            Whether every epoch has an order of its own. A callable gets the order of the epoch
            before, ndarray of int64, shape (B,), at first 0 to B-1, and the number of epochs done,
            and rearranges the order in place before every epoch.
        callbacks : list of Callback
        progress : bool
            Whether a bar is drawn, where the output is a terminal.

        Returns
        -------
        History
            ``loss``, and ``accuracy`` where there are classes or signs, measured while training;
            the same with ``val_`` in front for the validation data.

        Raises
        ------
        TypeError, ValueError
            For bad arguments; the network is as it was.
        DivergenceError
            When a loss or gradient is not finite; the last finite weights are kept.
        KeyboardInterrupt
            After Ctrl-C; the weights stand at a whole step.
        """
        epochs = checks.whole_number("epochs", epochs, 1)
        batch_size = checks.whole_number("batch_size", batch_size, 1)
        progress = checks.flag("progress", progress)
        shuffle = shuffle if callable(shuffle) else checks.flag("shuffle", shuffle)
        watchers = check_callbacks(callbacks)
        program, batch = self._batch(X, y, sample_weight)
        batch, validation = self._door.validation(program, batch, validation_data, self.seed)
        batch = inputs.class_weights(class_weight, batch, program)
        names = ["loss", "accuracy"] if program.loss.targets in metrics.HITS else ["loss"]
        if validation is not None:
            names += [f"val_{name}" for name in names]
        executable = self._executable or self._build(program)
        return train(
            Run(self, names, self._state.optimizer),
            executable,
            self._state,
            batch,
            validation,
            epochs=epochs,
            batch_size=min(batch_size, len(batch)),
            shuffle=shuffle,
            seed=self.seed,
            callbacks=watchers,
            progress=progress,
        )

    def _gradients(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        training: bool,
        flat: Array | None,
        input_gradient: Array | None,
    ) -> float:
        executable = self._ready()
        _, batch = self._batch(X, y, sample_weight)
        return executable.loss_and_gradient(
            batch,
            flat,
            input_gradient,
            training=checks.flag("training", training),
            seed=self.seed,
            step=self._state.optimizer.step,
        )

    def _batch(self, X: Any, y: Any, sample_weight: Any = None) -> tuple[Program, Batch]:
        """Return a checked batch, and the program, laid out for it where there is none yet."""
        if self._executable is None:
            X = self._door.rows(X, None)
            program = self._lower(X.shape[1])
        else:
            program = self._executable.program
        return program, self._door.batch(program, X, y, sample_weight)
