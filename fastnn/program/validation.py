"""Whether a Program fits together. What runs one trusts it, and reads and writes memory by it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from fastnn.activations import CUSTOM, FORMULAS
from fastnn.checks import LARGEST_SIZE
from fastnn.layers import GATES
from fastnn.program.program import Op, Program

__all__ = ["check"]

LONGEST_VECTOR = 2**63 - 1

# By kind of op: how many slots it reads, how many parameters it has at least, and how many states.
KINDS = {
    "dense": (1, 1, 0),
    "activation": (1, 0, 0),
    "softmax": (1, 0, 0),
    "dropout": (1, 0, 0),
    "layer_norm": (1, 2, 0),
    "batch_norm": (1, 2, 2),
    "gate": (2, 0, 0),
    "add": (2, 0, 0),
    "concat": (2, 0, 0),
    "slice": (1, 0, 0),
}


def check(program: Program) -> None:
    """Raise a ValueError that names the first part of the Program that does not fit."""
    for fault in _faults(program):
        raise ValueError(f"the program does not fit together: {fault}")


def _faults(program: Program) -> Iterator[str]:
    """Yield what does not fit. Each part is looked at only where those before it do."""
    slots, ops = program.slots, program.ops
    if not ops:
        yield "it has no op"
    if len(slots) != len(ops) + 1:
        yield f"it has {len(slots)} slots, expected {len(ops) + 1} for {len(ops)} ops and the input"
    for slot in slots:
        if not 1 <= slot.width <= LARGEST_SIZE:
            yield f"slot {slot.name} has {slot.width} columns, expected 1 to {LARGEST_SIZE}"
    for size in (program.size, program.state_size):
        if not 0 <= size <= LONGEST_VECTOR:
            yield f"a flat vector has {size} numbers, expected 0 to {LONGEST_VECTOR}"
    for p in program.parameters:
        if len(p.shape) not in (1, 2) or p.rows < 1 or not 1 <= p.columns <= p.stride:
            yield f"parameter {p.name} has the shape {p.shape} and the stride {p.stride}"
        if p.offset < 0 or p.end > program.size:
            yield f"parameter {p.name} goes from {p.offset} to {p.end} of {program.size} numbers"
    for s in program.states:
        if s.length < 1 or s.offset < 0 or s.end > program.state_size:
            yield f"state {s.name} goes from {s.offset} to {s.end} of {program.state_size} numbers"
    for number, op in enumerate(ops):
        if fault := _op_fault(program, number, op):
            yield f"op {number}, {op.kind}, {fault}"
    # Threads sum the gradients of different ops, and update their parameters, at the same time.
    used = [number for op in ops for number in op.parameters]
    if len(set(used)) < len(used):
        yield f"the ops have the parameters {used}, expected each once"
    for p, q in pairwise(sorted(program.parameters, key=lambda p: p.offset)):
        if p.end > q.offset:
            yield f"the parameters {p.name} and {q.name} overlap"
    yield from _gradient_faults(program)


def _op_fault(program: Program, number: int, op: Op) -> str:
    """Return what does not fit about an op, or an empty text."""
    if op.kind not in KINDS:
        return f"is none of {', '.join(KINDS)}"
    inputs, least, states = KINDS[op.kind]
    if op.output != number + 1:
        return f"writes slot {op.output}, expected {number + 1}"
    if len(op.inputs) != inputs or not all(0 <= slot <= number for slot in op.inputs):
        return f"reads the slots {op.inputs}, expected {inputs} of those written before it"
    widths, O = [program.slots[slot].width for slot in op.inputs], program.slots[op.output].width
    if op.kind == "concat":
        widths = [sum(widths)]
    if op.kind == "slice":
        if not (op.constant >= 0 and op.constant + O <= widths[0] and op.constant % 1 == 0):
            return f"reads {O} columns from {op.constant:g} on of {widths[0]}"
        widths = [O]
    if op.kind != "dense" and any(width != O for width in widths):
        return f"makes {O} columns of {' and '.join(map(str, widths))}"
    shapes = _shapes(op.kind, widths[0], O)
    if not least <= len(op.parameters) <= len(shapes):
        return f"has {len(op.parameters)} parameters, expected {least} to {len(shapes)}"
    for p, shape in zip(op.parameters, shapes, strict=False):
        if not 0 <= p < len(program.parameters):
            return f"has parameter {p} of {len(program.parameters)}"
        if (program.parameters[p].rows, program.parameters[p].columns) != shape:
            return f"has a parameter of shape {program.parameters[p].shape}, expected {shape}"
    if len(op.states) != states or not all(0 <= s < len(program.states) for s in op.states):
        return f"has the states {op.states}, expected {states} of {len(program.states)}"
    if any(program.states[s].length != O for s in op.states):
        return f"has a state that is not of length {O}"
    functions = {"activation": (*FORMULAS, *CUSTOM), "gate": GATES.values()}.get(op.kind)
    if functions and op.function not in functions:
        return f"has the function {op.function!r}, expected one of {', '.join(functions)}"
    if op.kind == "dropout" and not 0 <= op.constant < 1:
        return f"has the rate {op.constant}, expected 0 to below 1"
    return ""


def _shapes(kind: str, I: int, O: int) -> tuple[tuple[int, int], ...]:
    """Return rows and columns of the parameters of an op, those that may be absent too."""
    if kind == "dense":
        return (I, O), (1, O)
    if kind in ("layer_norm", "batch_norm"):
        return (1, O), (1, O)
    return ((1, 1),) if kind == "gate" else ()


def _gradient_faults(program: Program) -> Iterator[str]:
    """Yield the ops whose backward pass would not set each gradient once, and then add to it."""
    slots = program.slots
    done: list[list[tuple[int, int]]] = [[] for _ in slots]  # by slot: columns that are set
    done[program.scores].append((0, program.outputs))
    for number in range(len(program.ops) - 1, -1, -1):
        op = program.ops[number]
        if _columns(done[op.output], 0, slots[op.output].width) < slots[op.output].width:
            yield f"op {number}, {op.kind}, writes what no op reads"
        accumulate = []
        for slot in op.inputs:
            first, end = op.reads(slots, slot)
            there = _columns(done[slot], first, end)
            accumulate.append(there > 0)
            if there == 0:
                done[slot].append((first, end))
            elif there < end - first:
                yield f"op {number}, {op.kind}, reads columns only some of which are read behind it"
        if tuple(accumulate) != tuple(op.accumulate):
            yield f"op {number}, {op.kind}, has accumulate={op.accumulate}, expected {accumulate}"
        # Its backward kernel sets the gradients of both inputs, always.
        if op.kind == "gate" and (any(accumulate) or 0 in op.inputs):
            yield f"op {number}, gate, reads the slots {op.inputs}, whose gradients are not its own"
    if _columns(done[0], 0, program.inputs) < program.inputs:
        yield f"no op reads some of the {program.inputs} columns of the input"


def _columns(parts: list[tuple[int, int]], first: int, end: int) -> int:
    """Return how many of the columns are in parts that lie apart."""
    return sum(max(0, min(end, e) - max(first, f)) for f, e in parts)
