"""A Program run op by op over rows on the device: every method puts kernels on the stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from fastnn.backends.cuda.device import columns, elementwise, flat, rows
from fastnn.backends.cuda.device.functions import FROM_OUTPUT
from fastnn.backends.cuda.device.fused import Chain, Targets
from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.cuda.products import Products
from fastnn.backends.cuda.workspace import Workspace
from fastnn.program import Op, Program
from fastnn.program.plan import Plan

__all__ = ["Network", "Pass"]


class Network(NamedTuple):
    """What all passes of a network share.

    Attributes
    ----------
    program : Program
    plan : Plan
    products : Products
    custom : mapping of str to Activation
        The activations of the user's, by name.
    parameters, states : device arrays
        The flat vectors.
    constants : device array
        The constant of every op, at its number.
    chain : Chain, optional
        What runs the whole network in one launch, where it is small and simple enough.
    rounded : device array, optional
        The parameters rounded to bfloat16.
    """

    program: Program
    plan: Plan
    products: Products
    custom: dict[str, Any]
    parameters: Any
    states: Any
    constants: Any
    chain: Chain | None
    rounded: Any = None


def fusions(program: Program, plan: Plan) -> tuple[dict[int, Op], dict[int, Op]]:
    """Return which activations a dense op brings along: forward, and as a slope of its input.

    The plan does it for relu, whose slope is quickly told on a processor. Here the product before
    an activation computes any, and the product behind takes along the slope of those whose slope
    follows from their output.
    """
    ops, places = program.ops, plan.places
    forward, backward = {}, {}
    for op in ops:
        if op.kind != "activation" or op.function not in FROM_OUTPUT:
            continue
        slot = op.inputs[0]
        if slot == 0 or places[slot].home != op.output:
            continue
        if ops[slot - 1].kind == "dense":
            forward[slot - 1] = op
        readers = [n for n, other in enumerate(ops) if op.output in other.inputs]
        if readers and ops[readers[0]].kind == "dense":
            backward[readers[0]] = op
    return forward, backward


class Pass:
    """A pass over the rows that stand in a workspace, forward and backward.

    Parameters
    ----------
    network : Network
    space : Workspace
    stream : object
    clock : device array
        As `device.step` describes it: it tells the masks of dropout.
    X : Matrix
        The inputs.
    B : int
        How many rows.
    training : bool
        Whether dropout is on and batch norms use the statistics of the rows.
    first_row : int
        Number of the first row in its batch.
    input_gradient : Matrix, optional
        Where the gradient in the inputs is wanted.
    """

    def __init__(
        self,
        network: Network,
        space: Workspace,
        stream: Any,
        clock: Any,
        X: Matrix,
        B: int,
        *,
        training: bool,
        first_row: int = 0,
        input_gradient: Matrix | None = None,
    ) -> None:
        self.network, self.space, self.stream, self.clock = network, space, stream, clock
        self.X, self.B = X, B
        self.program, self.places = network.program, network.plan.places
        self.training, self.first_row = training, first_row
        self.input_gradient = input_gradient
        self.behind, self.before = fusions(self.program, network.plan)
        self.done_forward = {op.output for op in self.behind.values()}
        self.done_backward = {op.output for op in self.before.values()}

    # -- where things are -------------------------------------------------------------------------

    def slot(self, number: int) -> Matrix:
        """Return the values of a slot."""
        place = self.places[number]
        source = place.home if self.training else place.source
        return self.X if source == 0 else self.space.slots[source]

    def gradient(self, number: int) -> Matrix | None:
        """Return the gradient of a slot, None where nobody wants it."""
        if number == 0:
            return self.input_gradient
        wanted = self.input_gradient is not None or self.places[number].trainable
        return self.space.gradients[self.places[number].home] if wanted else None

    def _vectors(self, op: Op, flat: Any) -> list[Any]:
        """Return the parameters of an op in a flat vector, each from its first element on."""
        parameters = (self.program.parameters[n] for n in op.parameters)
        return [flat[p.offset : p.end] for p in parameters]

    def _weights(self, op: Op, flat: Any) -> tuple[Matrix, Any]:
        """Return weights and bias of a dense op in a flat vector."""
        weight, *bias = self._vectors(op, flat)
        stride = self.program.parameters[op.parameters[0]].stride
        return Matrix(weight, stride), bias[0] if bias else None

    def statistics(self, op: Op) -> tuple[Any, Any]:
        """Return mean and variance of a batch norm: in training of the batch, else running ones."""
        flat = self.space.statistics if self.training else self.network.states
        mean, variance = (self.program.states[n] for n in op.states)
        return flat[mean.offset : mean.end], flat[variance.offset : variance.end]

    def _gate_constant(self, number: int, op: Op) -> Any:
        if op.parameters:
            return self._vectors(op, self.network.parameters)[0]
        return self.network.constants[number : number + 1]

    def _width(self, number: int) -> int:
        return self.program.slots[number].width

    # -- in one launch ----------------------------------------------------------------------------

    def scores(self) -> Matrix:
        """Return the scores, in one launch where the network is a chain that fits."""
        chain = self.network.chain
        if chain is None:
            return self.forward()
        scores = self.slot(self.program.scores)
        chain.predict(self.stream, scores, self.X, self.network.parameters, self.B)
        return scores

    def train(self, chain: Chain, targets: Targets, row_loss: Any, hits: Any) -> None:
        """Run a chain forward and backward, but for the gradients of its parameters."""
        outputs = [self.program.ops[number].output for number in chain.ops]
        gradients = [self.gradient(slot) for slot in outputs]
        loss = self.program.loss
        chain.train(
            self.stream,
            [self.slot(slot) for slot in outputs],
            [d for d in gradients if d is not None],
            row_loss,
            hits,
            self.X,
            self.network.parameters,
            targets,
            loss.loss,
            loss.constant,
            self.B,
        )

    # -- forward ----------------------------------------------------------------------------------

    def forward(self, bfloat16: bool = False) -> Matrix:
        """Run the ops in order, and return the scores."""
        for number, op in enumerate(self.program.ops):
            if op.output not in self.done_forward:
                self._forward(number, op, bfloat16)
        return self.slot(self.program.scores)

    def _forward(self, number: int, op: Op, bfloat16: bool) -> None:
        stream, B, O = self.stream, self.B, self._width(op.output)
        Y, inputs = self.slot(op.output), [self.slot(s) for s in op.inputs]
        X, parameters = inputs[0], self.network.parameters
        if op.kind == "dense":
            W, b = self._weights(op, parameters)
            if bfloat16:
                X, W = self._rounded(op, X)
            function, constant = _told(self.behind.get(number))
            self.network.products.forward(
                stream, Y, X, W, b, function, constant, B, self._width(op.inputs[0]), O
            )
        elif op.kind == "activation":
            function = self.network.custom.get(op.function, op.function)
            elementwise.activation_forward(stream, Y, X, function, op.constant, B, O)
        elif op.kind == "softmax":
            rows.softmax_forward(stream, Y, X, B, O)
        elif op.kind == "dropout":
            self._drop(number, op, Y, X, False)
        elif op.kind == "layer_norm":
            scale, shift = self._vectors(op, parameters)
            saved = self.space.saved[number]
            rows.layer_norm_forward(stream, Y, *saved, X, scale, shift, op.constant, B, O)
        elif op.kind == "batch_norm":
            (mean, variance), (scale, shift) = self.statistics(op), self._vectors(op, parameters)
            if self.training:
                columns.batch_norm_statistics(stream, mean, variance, X, B, O)
            columns.batch_norm_forward(
                stream, Y, X, mean, variance, scale, shift, op.constant, B, O
            )
        elif op.kind == "gate":
            constant = self._gate_constant(number, op)
            elementwise.gate_forward(stream, Y, X, inputs[1], constant, op.function, B, O)
        elif op.kind == "add":
            elementwise.copy(stream, Y, X, False, B, O)
            elementwise.copy(stream, Y, inputs[1], True, B, O)
        elif op.kind == "concat":
            I = self._width(op.inputs[0])
            elementwise.copy(stream, Y, X, False, B, I)
            elementwise.copy(stream, _columns(Y, I), inputs[1], False, B, O - I)
        else:
            assert op.kind == "slice"
            elementwise.copy(stream, Y, _columns(X, int(op.constant)), False, B, O)

    def _drop(self, number: int, op: Op, Y: Matrix, X: Matrix, accumulate: bool) -> None:
        B, O = self.B, self._width(op.output)
        if self.training:
            elementwise.dropout(
                self.stream, Y, X, self.clock, op.constant, number, self.first_row, accumulate, B, O
            )
        elif Y.at is not X.at:
            elementwise.copy(self.stream, Y, X, accumulate, B, O)

    def _rounded(self, op: Op, X: Matrix) -> tuple[Matrix, Matrix]:
        """Return the factors of a dense op rounded to bfloat16: the weights have been already."""
        I = self._width(op.inputs[0])
        rounded = Matrix(self.space.rounded, I)
        elementwise.round_bfloat16(self.stream, rounded, X, self.B, I)
        return rounded, self._weights(op, self.network.rounded)[0]

    # -- backward ---------------------------------------------------------------------------------

    def gradients(self, gradient: Any, accumulate: bool) -> None:
        """Set, or add to, the gradient of all parameters, behind `train`."""
        for number, op in enumerate(self.program.ops):
            if op.parameters:
                self._backward_parameters(number, op, gradient, accumulate)

    def backward(self, gradient: Any, accumulate: bool) -> None:
        """Run the ops in reverse.

        Parameters
        ----------
        gradient : device array or None
            Where that of the parameters is wanted, as a flat vector.
        accumulate : bool
            Whether it is added to.
        """
        for number, op in reversed(list(enumerate(self.program.ops))):
            if op.output not in self.done_backward:
                self._backward_data(number, op)
            if gradient is not None and op.parameters:
                self._backward_parameters(number, op, gradient, accumulate)

    def _backward_data(self, number: int, op: Op) -> None:
        outward = [self.gradient(s) for s in op.inputs]
        if all(d is None for d in outward):
            return
        stream, B, O = self.stream, self.B, self._width(op.output)
        dY, Y = self.gradient(op.output), self.slot(op.output)
        assert dY is not None
        dX, X, adds = outward[0], self.slot(op.inputs[0]), op.accumulate[0]
        if op.kind in ("add", "concat"):
            self._share(op, dY, outward)
            return
        assert dX is not None
        parameters = self.network.parameters
        if op.kind == "dense":
            W, _ = self._weights(op, parameters)
            function, constant = _told(self.before.get(number))
            masked = X if number in self.before else None
            I = self._width(op.inputs[0])
            self.network.products.backward_data(
                stream, dX, dY, W, masked, function, constant, adds, B, I, O
            )
        elif op.kind == "activation":
            function = self.network.custom.get(op.function, op.function)
            elementwise.activation_backward(stream, dX, dY, X, Y, function, op.constant, adds, B, O)
        elif op.kind == "softmax":
            rows.softmax_backward(stream, dX, dY, Y, adds, B, O)
        elif op.kind == "dropout":
            self._drop(number, op, dX, dY, adds)
        elif op.kind == "layer_norm":
            scale, saved = self._vectors(op, parameters)[0], self.space.saved[number]
            rows.layer_norm_backward_data(stream, dX, dY, X, *saved, scale, adds, B, O)
        elif op.kind == "batch_norm":
            (mean, variance), scale = self.statistics(op), self._vectors(op, parameters)[0]
            columns.batch_norm_backward_data(
                stream, dX, dY, X, mean, variance, scale, op.constant, self.training, adds, B, O
            )
        elif op.kind == "slice":
            elementwise.copy(stream, _columns(dX, int(op.constant)), dY, adds, B, O)
        else:
            assert op.kind == "gate"
            dV = outward[1]
            assert dV is not None
            V, constant = self.slot(op.inputs[1]), self._gate_constant(number, op)
            elementwise.gate_backward(stream, dX, dV, dY, X, V, constant, op.function, B, O)

    def _share(self, op: Op, dY: Matrix, outward: Sequence[Matrix | None]) -> None:
        """Give the inputs of a sum the gradient each, those of a concatenation their columns."""
        column = 0
        for slot, d, adds in zip(op.inputs, outward, op.accumulate, strict=True):
            width = self._width(slot)
            if d is not None:
                elementwise.copy(self.stream, d, _columns(dY, column), adds, self.B, width)
            column += width if op.kind == "concat" else 0

    def _backward_parameters(self, number: int, op: Op, gradient: Any, accumulate: bool) -> None:
        stream, B, O = self.stream, self.B, self._width(op.output)
        X, dY = self.slot(op.inputs[0]), self.gradient(op.output)
        assert dY is not None
        if op.kind == "dense":
            dW, db = self._weights(op, gradient)
            I = self._width(op.inputs[0])
            self.network.products.backward_weights(stream, dW, db, X, dY, accumulate, B, I, O)
            return
        first, *second = self._vectors(op, gradient)
        if op.kind == "layer_norm":
            saved = self.space.saved[number]
            columns.layer_norm_backward_parameters(
                stream, first, second[0], dY, X, *saved, accumulate, B, O
            )
        elif op.kind == "batch_norm":
            mean, variance = self.statistics(op)
            epsilon = op.constant
            columns.batch_norm_backward_parameters(
                stream, first, second[0], dY, X, mean, variance, epsilon, accumulate, B, O
            )
        else:
            assert op.kind == "gate"
            V, beta, room = self.slot(op.inputs[1]), self._gate_constant(number, op), self.space
            flat.gate_backward_beta(stream, first, dY, X, V, beta, room.partials, accumulate, B, O)


def _told(op: Op | None) -> tuple[str, float]:
    return ("identity", 0.0) if op is None else (op.function, op.constant)


def _columns(matrix: Matrix, first: int) -> Matrix:
    """Return a matrix from one of its columns on."""
    return Matrix(matrix.at[first:], matrix.ld) if first else matrix
