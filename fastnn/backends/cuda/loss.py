"""The loss head of a network on the device, and what it makes of scores in predictions."""

from __future__ import annotations

from typing import Any

from fastnn.backends.cuda.device import elementwise, losses, rows
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.cuda.passes import Pass
from fastnn.metrics import HITS
from fastnn.program import Program

__all__ = ["Head"]


class Head:
    """The loss and the output activation of a network.

    Parameters
    ----------
    program : Program
    custom : ElementLoss, optional
        Its loss, where it is one of the user's.

    Attributes
    ----------
    has_hits : bool
        Whether outputs are right or wrong.
    """

    def __init__(self, program: Program, custom: Any = None) -> None:
        self._loss, self._O = program.loss, program.outputs
        self._function = program.loss.loss if custom is None else custom
        self.has_hits = self._loss.targets in HITS

    def loss(
        self,
        part: Pass,
        scores: Matrix,
        targets: tuple[Matrix | None, Any, Any],
        results: tuple[Any, Any, Any],
        dZ: Matrix | None,
    ) -> None:
        """Put the loss of some rows on the stream.

        Parameters
        ----------
        part : Pass
            The rows.
        scores : Matrix
        targets : tuple
            The targets as values or None, as labels or None, and the weights or None.
        results : tuple
            Device arrays for the loss of every row and its hits, and that of the factor.
        dZ : Matrix, optional
            Where the gradient of the scores is wanted.
        """
        T, labels, weight = targets
        row_loss, hits, factor = results
        stream, B, O = part.stream, part.B, self._O
        wanted, constant = hits if self.has_hits else None, self._loss.constant
        common = (row_loss, wanted, dZ, scores)
        if T is None:
            losses.loss_labels(stream, *common, labels, weight, factor, constant, B, O)
        else:
            losses.loss(stream, *common, T, weight, factor, self._function, constant, B, O)

    def predict(self, stream: Any, out: Matrix, scores: Matrix, B: int) -> None:
        """Put on the stream what the head makes of the scores."""
        name = self._loss.head
        if name == "softmax":
            rows.softmax_forward(stream, out, scores, B, self._O)
        else:
            elementwise.activation_forward(stream, out, scores, name, 0.0, B, self._O)
