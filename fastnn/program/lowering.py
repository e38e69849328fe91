"""Layers become a Program: widths worked out, parameters laid out, the head tied to the loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fastnn import initializers, losses
from fastnn import layers as describe
from fastnn.activations import SOFTMAX, ActivationFunction
from fastnn.checks import LARGEST_SIZE
from fastnn.layers import Layer
from fastnn.program.program import LossHead, Op, Parameter, Program, Slot, State

__all__ = ["choose_loss", "leading_dimension", "lower"]

# A row begins on a cache line (16 floats), and rows are no multiple of 512 bytes apart, where their
# heads would fall into the same few sets of the cache.
ROW = 16
ALIAS = 128


def leading_dimension(width: int) -> int:
    """Return the elements from one row of a matrix to the next."""
    ld = _whole_lines(width)
    return ld if ld % ALIAS else ld + ROW


def _whole_lines(length: int) -> int:
    return -(-length // ROW) * ROW


def lower(layers: Sequence[Layer], input_size: int, loss: losses.Loss | None) -> Program:
    """Lay out a list of layers as a Program.

    Parameters
    ----------
    layers : sequence of Layer
    input_size : int
        Width of the input.
    loss : Loss or None
        None chooses by the output activation: cross entropy behind softmax, binary cross entropy
        behind sigmoid, else the mean squared error.

    Returns
    -------
    Program

    Raises
    ------
    ValueError
        When the widths of a Residual disagree, Columns lie outside of their input, or the loss does
        not go with the head.
    """
    hidden, head = _split_head(layers)
    chosen = choose_loss(layers, loss)
    lowering = _Lowering(input_size)
    scores = lowering.chain(hidden, "", 0)
    if not chosen.heads:  # the loss acts on the outputs, so the head is an ordinary op
        scores = lowering.activation(scores, head, "head")
        head = ActivationFunction("identity")
    lowering.finish(scores)
    return Program(
        tuple(lowering.slots),
        tuple(lowering.parameters),
        tuple(lowering.states),
        _with_accumulation(lowering.ops, lowering.slots),
        LossHead(chosen.name, chosen.constant, chosen.targets, head.name),
        lowering.size,
        lowering.state_size,
    )


def choose_loss(layers: Sequence[Layer], loss: losses.Loss | None) -> losses.Loss:
    """Return the loss, chosen by the output activation where None is given.

    Raises
    ------
    ValueError
        When the loss does not go with the output activation.
    """
    head = _split_head(layers)[1]
    chosen = losses.automatic(head.name) if loss is None else loss
    if not losses.accepts(chosen, head.name):
        raise ValueError(
            f"the loss {chosen.name} goes with the output activations {', '.join(chosen.heads)}, "
            f"not with {head}"
        )
    return chosen


def _split_head(layers: Sequence[Layer]) -> tuple[list[Layer], ActivationFunction]:
    """Take the output activation off the last layer."""
    *first, last = layers
    identity = ActivationFunction("identity")
    if isinstance(last, describe.Dense):
        assert isinstance(last.activation, ActivationFunction)
        # The first weights still go by the activation that is taken off.
        initializer = initializers.resolve(last.weight_initializer, last.activation.name)
        bare = replace(last, activation=None, weight_initializer=initializer)
        return [*first, bare], last.activation
    if isinstance(last, describe.Activation):
        assert isinstance(last.function, ActivationFunction)
        return first, last.function
    return list(layers), identity


class _Lowering:
    """The Program under construction."""

    def __init__(self, input_size: int) -> None:
        self.slots = [Slot("input", input_size)]
        self.parameters: list[Parameter] = []
        self.states: list[State] = []
        self.ops: list[Op] = []
        self.size = self.state_size = 0
        self.rules: dict[type[Layer], Callable[..., int]] = {
            describe.Dense: self.dense,
            describe.Gated: self.gated,
            describe.Activation: self.activation_layer,
            describe.Dropout: self.dropout,
            describe.LayerNorm: self.layer_norm,
            describe.BatchNorm: self.batch_norm,
            describe.Residual: self.residual,
            describe.Concat: self.concat,
            describe.Columns: self.columns,
        }

    def chain(self, layers: Sequence[Layer], prefix: str, slot: int) -> int:
        for number, layer in enumerate(layers):
            slot = self.rules[type(layer)](slot, layer, f"{prefix}{number}")
        return slot

    def dense(self, slot: int, layer: describe.Dense, name: str) -> int:
        assert isinstance(layer.activation, ActivationFunction)
        scores = self.affine(slot, layer, name, "weight", "bias", layer.activation.name)
        return self.activation(scores, layer.activation, name)

    def gated(self, slot: int, layer: describe.Gated, name: str) -> int:
        value = self.affine(slot, layer, name, "weight", "bias", "identity")
        gate = self.affine(slot, layer, name, "gate_weight", "gate_bias", "identity")
        beta = (self.vector(f"{name}.beta", 1, "ones"),) if layer.kind == "swiglu" else ()
        function = ActivationFunction(describe.GATES[layer.kind])
        assert function.constant is not None
        return self.op(
            Op("gate", (value, gate), -1, (), beta, function.name, function.constant),
            f"{name}.gate",
            layer.units,
        )

    def affine(
        self,
        slot: int,
        layer: describe.Dense | describe.Gated,
        name: str,
        weight: str,
        bias: str,
        activation: str,
    ) -> int:
        shape = (self.slots[slot].width, layer.units)
        parameter = Parameter(
            f"{name}.{weight}",
            shape,
            offset=0,
            stride=0,
            regularized=True,
            l1=layer.l1,
            l2=layer.l2,
            max_norm=layer.max_norm or 0.0,
            initializer=initializers.resolve(layer.weight_initializer, activation),
            fan=shape,
            penalty_per_row=layer.penalty_per_row,
        )
        numbers = [self.parameter(parameter)]
        if layer.use_bias:
            told = layer.regularize_bias
            row = parameter._replace(
                name=f"{name}.{bias}",
                shape=(layer.units,),
                regularized=told,
                l1=layer.l1 if told else 0.0,
                l2=layer.l2 if told else 0.0,
                max_norm=0.0,
                initializer=initializers.resolve(layer.bias_initializer, activation),
            )
            numbers.append(self.parameter(row))
        return self.op(Op("dense", (slot,), -1, (), tuple(numbers)), name, layer.units)

    def activation_layer(self, slot: int, layer: describe.Activation, name: str) -> int:
        assert isinstance(layer.function, ActivationFunction)
        return self.activation(slot, layer.function, name)

    def activation(self, slot: int, function: ActivationFunction, name: str) -> int:
        width = self.slots[slot].width
        if function.name == "identity":
            return slot
        if function.name == SOFTMAX:
            return self.op(Op("softmax", (slot,), -1, ()), f"{name}.softmax", width)
        assert function.constant is not None
        op = Op("activation", (slot,), -1, (), (), function.name, function.constant)
        return self.op(op, f"{name}.{function.name}", width)

    def dropout(self, slot: int, layer: describe.Dropout, name: str) -> int:
        op = Op("dropout", (slot,), -1, (), constant=layer.rate)
        return self.op(op, name, self.slots[slot].width)

    def layer_norm(self, slot: int, layer: describe.LayerNorm, name: str) -> int:
        width = self.slots[slot].width
        numbers = self.scale_and_shift(name, width)
        op = Op("layer_norm", (slot,), -1, (), numbers, constant=layer.epsilon)
        return self.op(op, name, width)

    def batch_norm(self, slot: int, layer: describe.BatchNorm, name: str) -> int:
        width = self.slots[slot].width
        states = (
            self.state(f"{name}.running_mean", width, 0.0),
            self.state(f"{name}.running_variance", width, 1.0),
        )
        op = Op(
            "batch_norm",
            (slot,),
            -1,
            (),
            self.scale_and_shift(name, width),
            constant=layer.epsilon,
            states=states,
            momentum=layer.momentum,
        )
        return self.op(op, name, width)

    def residual(self, slot: int, layer: describe.Residual, name: str) -> int:
        end = self.chain(layer.layers, f"{name}.", slot)
        width, inner = self.slots[slot].width, self.slots[end].width
        if width != inner:
            raise ValueError(
                f"Residual, layer {name}: its input has {width} columns, its layers give {inner}; "
                "they must agree to be added"
            )
        return self.op(Op("add", (slot, end), -1, ()), name, width)

    def concat(self, slot: int, layer: describe.Concat, name: str) -> int:
        return self.join(slot, self.chain(layer.layers, f"{name}.", slot), name)

    def columns(self, slot: int, layer: describe.Columns, name: str) -> int:
        width, start, stop = self.slots[slot].width, layer.start, layer.stop
        if stop > width:
            raise ValueError(
                f"Columns, layer {name}: its input has {width} columns, so {start} to {stop} are "
                "not all there"
            )
        # One after the other: together they set the gradient of the slot.
        left = self.slice(slot, 0, start, f"{name}.left")
        middle = self.slice(slot, start, stop, f"{name}.middle")
        right = self.slice(slot, stop, width, f"{name}.right")
        end = self.chain(layer.layers, f"{name}.", middle)
        if left >= 0:
            end = self.join(left, end, name)
        return self.join(end, right, name) if right >= 0 else end

    def slice(self, slot: int, start: int, stop: int, name: str) -> int:
        """Return some columns of a slot; -1: there are none."""
        if stop - start in (0, self.slots[slot].width):
            return slot if stop > start else -1
        return self.op(Op("slice", (slot,), -1, (), constant=start), name, stop - start)

    def join(self, left: int, right: int, name: str) -> int:
        width = self.slots[left].width + self.slots[right].width
        return self.op(Op("concat", (left, right), -1, ()), name, width)

    def finish(self, scores: int) -> None:
        """Make sure that the last op writes the scores: a network may have no op at all."""
        if not self.ops or self.ops[-1].output != scores:
            raise ValueError(
                "the network has no layer that computes anything; add one, such as Dense(1)"
            )

    def op(self, op: Op, name: str, width: int) -> int:
        if width > LARGEST_SIZE:
            raise ValueError(f"layer {name} gives {width} columns, more than {LARGEST_SIZE}")
        self.slots.append(Slot(name, width))
        self.ops.append(op._replace(output=len(self.slots) - 1))
        return len(self.slots) - 1

    def scale_and_shift(self, name: str, width: int) -> tuple[int, int]:
        return (
            self.vector(f"{name}.scale", width, "ones"),
            self.vector(f"{name}.shift", width, "zeros"),
        )

    def vector(self, name: str, length: int, initializer: str) -> int:
        return self.parameter(
            Parameter(name, (length,), 0, 0, False, 0.0, 0.0, 0.0, initializer, (length, length))
        )

    def state(self, name: str, length: int, initial: float) -> int:
        """Lay out a state behind the last one."""
        self.states.append(State(name, length, self.state_size, initial))
        self.state_size += _whole_lines(length)
        return len(self.states) - 1

    def parameter(self, parameter: Parameter) -> int:
        """Lay out a parameter behind the last one."""
        measure = leading_dimension if parameter.rows > 1 else _whole_lines
        stride = measure(parameter.columns)
        placed = parameter._replace(offset=self.size, stride=stride)
        self.parameters.append(placed)
        self.size = placed.end
        return len(self.parameters) - 1


def _with_accumulation(ops: Sequence[Op], slots: Sequence[Slot]) -> tuple[Op, ...]:
    """Mark, in the order of the backward pass, who sets a slot's gradient and who adds to it."""
    done: list[list[tuple[int, int]]] = [[] for _ in slots]  # by slot: columns that are set
    marked: list[Op] = []
    for op in reversed(ops):
        accumulate = []
        for slot in op.inputs:
            first, end = op.reads(slots, slot)
            accumulate.append(any(first < e and f < end for f, e in done[slot]))
            done[slot].append((first, end))
        marked.append(op._replace(accumulate=tuple(accumulate)))
    return tuple(reversed(marked))
