"""The Program: what every network becomes and every backend runs. Flat, immutable, plain data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["LossHead", "Op", "Parameter", "Program", "Slot", "State"]


class Slot(NamedTuple):
    """A tensor with one row for every row of the batch: shape (B, width)."""

    name: str
    width: int


class Parameter(NamedTuple):
    """A weight matrix or vector inside the flat vector of all parameters.

    Attributes
    ----------
    name : str
        The layer's index in the list and the role, such as ``"0.weight"`` or ``"2.0.bias"``.
    shape : tuple of int
        (I, O), or (O,).
    offset : int
        Index of the first element in the flat vector, a multiple of 16.
    stride : int
        Elements from one row to the next, at least the row's length. What lies between is padding,
        and is always 0.
    regularized : bool
        Whether the optimizer's weight decay touches it.
    l1, l2 : float
        Penalty ``l1 Σ|w| + l2/2 Σw²``.
    max_norm : float
        Largest Euclidean norm of a column after an update; 0: any.
    initializer : str
        How the first values are drawn; see `fastnn.initializers.initialize`.
    fan : (int, int)
        Inputs and outputs of the layer, which set the spread of the first values.
    penalty_per_row : bool
        Whether the penalty is divided by the sum of the weights of a batch.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    stride: int
    regularized: bool
    l1: float
    l2: float
    max_norm: float
    initializer: str
    fan: tuple[int, int]
    penalty_per_row: bool = False

    @property
    def rows(self) -> int:
        """Number of rows; 1 for a vector."""
        return self.shape[0] if len(self.shape) == 2 else 1

    @property
    def columns(self) -> int:
        """Length of a row."""
        return self.shape[-1]

    @property
    def end(self) -> int:
        """Index behind the last element, padding included."""
        return self.offset + self.rows * self.stride


class State(NamedTuple):
    """A vector that training sets and the optimizer does not, such as a running mean.

    Attributes
    ----------
    name : str
        The layer's index in the list and the role, such as ``"1.running_mean"``.
    length : int
    offset : int
        Index of the first element in the flat vector of states, a multiple of 16. What lies between
        two states is padding, and is always 0.
    initial : float
        The value of every element before training.
    """

    name: str
    length: int
    offset: int
    initial: float

    @property
    def end(self) -> int:
        """Index behind the last element."""
        return self.offset + self.length


class Op(NamedTuple):
    """One operation: reads slots, writes one slot. The backward pass is the ops in reverse.

    Attributes
    ----------
    kind : str
        ``dense``, ``activation``, ``softmax``, ``dropout``, ``layer_norm``, ``batch_norm``,
        ``gate``, ``add``, ``concat`` or ``slice``.
    inputs : tuple of int
        Slots that it reads.
    output : int
        Slot that it writes. No slot is written twice.
    accumulate : tuple of bool
        For every input: whether the backward pass adds to its gradient (a later op has set it) or
        sets it. A slice does so to the columns that it reads, no others.
    parameters : tuple of int
        Parameters that it uses, in the order of the kernel's arguments.
    function : str
        The activation of ``activation`` and ``gate``.
    constant : float
        Its constant; the rate of ``dropout``, the epsilon of ``layer_norm`` and ``batch_norm``; the
        first column that ``slice`` reads.
    states : tuple of int
        States that it uses, in the order of the kernel's arguments.
    momentum : float
        Of the running statistics of ``batch_norm``.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    accumulate: tuple[bool, ...]
    parameters: tuple[int, ...] = ()
    function: str = ""
    constant: float = 0.0
    states: tuple[int, ...] = ()
    momentum: float = 0.0

    def reads(self, slots: Sequence[Slot], slot: int) -> tuple[int, int]:
        """Return the first column that it reads of one of its inputs, and that behind the last."""
        if self.kind == "slice":
            return int(self.constant), int(self.constant) + slots[self.output].width
        return 0, slots[slot].width


class LossHead(NamedTuple):
    """The loss on the scores, and the head that turns scores into predictions.

    Attributes
    ----------
    loss : str
        Name in `fastnn.losses.LOSSES`.
    constant : float
        The constant of the loss.
    targets : str
        What the targets are; see `fastnn.losses.Loss`.
    head : str
        ``"softmax"``, ``"sigmoid"``, ``"exp"`` or ``"identity"``: what `predict` applies to the
        scores.
    """

    loss: str
    constant: float
    targets: str
    head: str


class Program(NamedTuple):
    """A network, laid out. Slot 0 is the input; the last op writes the scores.

    Attributes
    ----------
    slots : tuple of Slot
    parameters : tuple of Parameter
    states : tuple of State
    ops : tuple of Op
        In the order of the forward pass.
    loss : LossHead
    size : int
        Length of the flat vector of parameters, padding included.
    state_size : int
        Length of the flat vector of states, padding included.
    """

    slots: tuple[Slot, ...]
    parameters: tuple[Parameter, ...]
    states: tuple[State, ...]
    ops: tuple[Op, ...]
    loss: LossHead
    size: int
    state_size: int

    @property
    def inputs(self) -> int:
        """Number of inputs of the network."""
        return self.slots[0].width

    @property
    def scores(self) -> int:
        """The slot that holds the scores."""
        return self.ops[-1].output if self.ops else 0

    @property
    def outputs(self) -> int:
        """Number of outputs of the network."""
        return self.slots[self.scores].width

    @property
    def parameter_count(self) -> int:
        """Number of parameters, without padding."""
        return sum(p.rows * p.columns for p in self.parameters)

    @property
    def penalized(self) -> bool:
        """Whether any parameter has a penalty."""
        return any(p.l1 or p.l2 for p in self.parameters)
