"""The plan of a Program: how its ops and slots share work and memory, and how many rows they get.

Programs know nothing of it, and the results have the same bits without it.
"""

from __future__ import annotations

from typing import NamedTuple

from fastnn.program.lowering import leading_dimension
from fastnn.program.program import Op, Parameter, Program
from fastnn.program.validation import check

__all__ = ["Block", "Fusion", "Place", "Plan", "plan"]

# What the slots and gradients of a chunk may take, beside as much as the parameters do. A batch
# that fits is one chunk, and its updates are made on the spot. It depends on nothing but the
# program, so memory does not grow with the rows of a call.
CHUNK_BYTES = 6 << 20
CHUNK_LEAST = 28
CHUNK_MOST = 2**31 - 1

# A tile of the input of a layer, or of a block of it, stays in the second-level cache.
TILE_BYTES = 1 << 19
TILE_LEAST = 28
TILE_MOST = 512
TILE_STEP = 14  # rows of a tile of the product on AVX-512
DEEP = 896  # as in src_c/kernels/gemm.inc: deeper layers are cut into blocks
BLOCK = 256

# The work of a row, in multiply-adds: an elementwise function takes about as long as so many. More
# than the most is worth all threads with one row, and times the rows it stays below 2**63.
FUNCTION_WORK = 16
WORK_MOST = 2**31 - 1

# The gradient of a block of a parameter stays in the second-level cache until it is used, and one
# that has fewer bytes than the least is started and ended in as much time as it takes. A large
# parameter has more blocks than most machines have threads, so that a slow thread's are taken over.
# Their number does not depend on the threads: penalties are summed by blocks.
BLOCK_BYTES = 1 << 17
BLOCK_LEAST_BYTES = 1 << 14
BLOCK_LEAST = 28
BLOCK_STEP = 16  # whole vectors, where the gradient is turned
BLOCKS = 16


class Place(NamedTuple):
    """Where the numbers of a slot stand.

    Attributes
    ----------
    trainable : bool
        Whether they depend on a parameter.
    home : int
        The slot whose memory it uses: that behind an activation in place, or itself.
    source : int
        The same in a prediction, where a dropout does nothing: its output stands in its input. But
        the scores are always written where they are wanted.
    buffer : int
        In a prediction, where slots take turns; -1: it has none.
    ld : int
        Elements from one row to the next.
    offset : int
        In a training step: where it begins in the memory of all slots, in elements a row.
    """

    trainable: bool
    home: int
    source: int
    buffer: int
    ld: int
    offset: int


class Fusion(NamedTuple):
    """How an op runs among its neighbours.

    A relu between two dense layers costs nothing of its own: the product before it cuts off what is
    below 0, the product behind it takes its derivative along.

    Attributes
    ----------
    relu : bool
        A dense op: the relu behind it is its own last touch.
    masks : bool
        A dense op: the gradient of its input is that of the relu before it.
    done_forward, done_backward : bool
        An activation: another op does it.
    """

    relu: bool
    masks: bool
    done_forward: bool
    done_backward: bool


class Block(NamedTuple):
    """Rows of an op's first parameter, whose gradient is summed and used up in one go.

    Attributes
    ----------
    op : int
    first, rows : int
    weight : int
        Where its gradient stands in the scratch memory of a thread, in elements.
    bias : int
        The same of the op's second parameter, which the first block brings along.
    """

    op: int
    first: int
    rows: int
    weight: int
    bias: int


class Plan(NamedTuple):
    """What a backend needs to know beside a Program to run it in tiles of rows.

    Attributes
    ----------
    places : tuple of Place
        By slot.
    fusions : tuple of Fusion
        By op.
    blocks : tuple of Block
        In the order of the ops.
    scratch_size : int
        Elements of the scratch memory of a thread that works on blocks.
    slot_size : int
        Elements a row of the memory of all slots in a training step, the input apart.
    couples_rows : bool
        Whether a batch norm ties the rows of a training batch together.
    limits_norms : bool
        Whether a parameter has a max_norm.
    buffers : int
        Number of buffers of a prediction.
    buffer_ld : int
        Wide enough for every slot that has a buffer; 0 where none has.
    widest_input : int
        Wide enough for the input of every dense op.
    chunk : int
        Rows whose slots and gradients are kept at a time, at most.
    tile : int
        Rows that a thread takes through all ops at a time, at most.
    prediction_tile : int
        The same in a prediction.
    row_work : int
        Multiply-adds of a row's forward pass, at most `WORK_MOST`.
    """

    places: tuple[Place, ...]
    fusions: tuple[Fusion, ...]
    blocks: tuple[Block, ...]
    scratch_size: int
    slot_size: int
    couples_rows: bool
    limits_norms: bool
    buffers: int
    buffer_ld: int
    widest_input: int
    chunk: int
    tile: int
    prediction_tile: int
    row_work: int


def plan(program: Program, element: int) -> Plan:
    """Check a Program, and plan how it runs.

    Parameters
    ----------
    program : Program
    element : int
        Bytes of a number.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        When the program does not fit together; the message names the part that does not.
    """
    check(program)
    ops, widths = program.ops, [slot.width for slot in program.slots]
    home, fusions = _fuse(ops)
    source = _sources(ops, home)
    buffer = _take_turns(ops, source)
    lds = [leading_dimension(width) for width in widths]
    buffers = max(buffer) + 1
    buffer_ld = max((lds[slot] for slot, turn in enumerate(buffer) if turn >= 0), default=0)
    depths = [widths[op.inputs[0]] for op in ops]
    deepest = max(BLOCK if depth > DEEP else depth for depth in depths)
    # Slots and gradients of a training step.
    offset, slot_size = _lay_out(lds, home)
    row_bytes = 2 * element * (slot_size + lds[0])
    blocks, scratch_size = _blocks(program, element)
    # Of a prediction everything stays in the cache: the rows of the input, and the buffers.
    small = TILE_BYTES // (element * (program.inputs + buffers * buffer_ld))
    work = sum(
        widths[op.output] * (depth if op.kind == "dense" else FUNCTION_WORK)
        for op, depth in zip(ops, depths, strict=True)
    )
    return Plan(
        places=tuple(map(Place, _trainable(ops), home, source, buffer, lds, offset)),
        fusions=fusions,
        blocks=blocks,
        scratch_size=scratch_size,
        slot_size=slot_size,
        couples_rows=any(op.kind == "batch_norm" for op in ops),
        limits_norms=any(p.max_norm > 0 for p in program.parameters),
        buffers=buffers,
        buffer_ld=buffer_ld,
        widest_input=max((lds[op.inputs[0]] for op in ops if op.kind == "dense"), default=0),
        chunk=_clamp((CHUNK_BYTES + program.size * element) // row_bytes, CHUNK_LEAST, CHUNK_MOST),
        tile=_clamp(TILE_BYTES // (element * deepest), TILE_LEAST, TILE_MOST),
        prediction_tile=_clamp(small // TILE_STEP * TILE_STEP, TILE_LEAST, TILE_MOST),
        row_work=min(work, WORK_MOST),
    )


def _clamp(value: int, low: int, high: int) -> int:
    return max(low, min(value, high))


def _trainable(ops: tuple[Op, ...]) -> list[bool]:
    """Return by slot whether its numbers depend on a parameter."""
    trainable = [False]
    for op in ops:
        trainable.append(bool(op.parameters) or any(trainable[slot] for slot in op.inputs))
    return trainable


def _fuse(ops: tuple[Op, ...]) -> tuple[list[int], tuple[Fusion, ...]]:
    """Return the homes of the slots, and the fusions of the ops."""
    readers: list[list[int]] = [[] for _ in range(len(ops) + 1)]
    for number, op in enumerate(ops):
        for slot in op.inputs:
            readers[slot].append(number)
    home = list(range(len(ops) + 1))
    fusions = [[False] * 4 for _ in ops]
    relu, masks, done_forward, done_backward = range(4)
    for slot in range(1, len(ops)):
        before, behind = slot - 1, readers[slot][0]
        if len(readers[slot]) > 1 or not _in_place(ops[behind]) or _needs_output(ops[before]):
            continue
        output = home[slot] = ops[behind].output
        if ops[behind].function != "relu":
            continue
        if ops[before].kind == "dense":
            fusions[before][relu] = fusions[behind][done_forward] = True
        # The first reader of a slot is the last to add to its gradient.
        if readers[output] and ops[readers[output][0]].kind == "dense":
            fusions[readers[output][0]][masks] = fusions[behind][done_backward] = True
    return home, tuple(Fusion(*fusion) for fusion in fusions)


def _in_place(op: Op) -> bool:
    """Whether the derivative follows from the value: nobody misses what the value overwrites."""
    if op.kind != "activation":
        return False
    if op.function == "leaky_relu":
        return op.constant >= 0
    return op.function in ("relu", "sigmoid", "tanh", "exp")


def _needs_output(op: Op) -> bool:
    """Whether the backward pass of an op asks for what it wrote, or, without dropout, others do."""
    return op.kind in ("activation", "softmax", "dropout")


def _sources(ops: tuple[Op, ...], home: list[int]) -> list[int]:
    """Return by slot which slot's memory it uses in a prediction."""
    source = [0]
    for op in ops[:-1]:
        source.append(source[op.inputs[0]] if op.kind == "dropout" else home[op.output])
    return [*source, len(ops)]


def _take_turns(ops: tuple[Op, ...], source: list[int]) -> list[int]:
    """Return by slot its buffer in a prediction, or -1.

    A buffer is free behind the last reader of what it holds, so a chain of layers has two, however
    deep it is. The input and the scores stand in the caller's memory.
    """
    last = [-1] * len(source)  # the last op that reads the memory of a slot
    for number, op in enumerate(ops):
        for slot in op.inputs:
            last[source[slot]] = number
    buffer = [-1] * len(source)
    busy: list[int] = []  # by buffer: the last op that reads what it holds
    for number, op in enumerate(ops):
        slot = source[op.output]
        if slot in (0, len(ops)) or buffer[slot] >= 0:
            continue
        free = next((b for b, until in enumerate(busy) if until < number), len(busy))
        busy[free : free + 1] = [last[slot]]
        buffer[slot] = free
    return buffer


def _lay_out(lds: list[int], home: list[int]) -> tuple[list[int], int]:
    """Return where the slots of a training step begin, and the size of all but the input.

    The input is the last: where it is used as the caller has it, there is no memory for it.
    """
    offset, size = [0] * len(lds), 0
    for slot in range(len(lds) - 1, -1, -1):
        offset[slot] = size if home[slot] == slot else offset[home[slot]]
        size += lds[slot] if home[slot] == slot and slot > 0 else 0
    return offset, size


def _blocks(program: Program, element: int) -> tuple[tuple[Block, ...], int]:
    """Return the blocks of all parameters, and the scratch memory that they take."""
    blocks: list[Block] = []
    scratch = 0
    for number, op in enumerate(program.ops):
        if not op.parameters:
            continue
        weight, *others = (program.parameters[p] for p in op.parameters)
        most = _block_rows(weight, element)
        bias = scratch + most * weight.stride
        for first in range(0, weight.rows, most):
            rows = min(most, weight.rows - first)
            blocks.append(Block(number, first, rows, scratch, bias))
        scratch = bias + sum(other.stride for other in others)
    return tuple(blocks), scratch


def _block_rows(parameter: Parameter, element: int) -> int:
    """Return how many rows of a parameter a block has, at most."""
    if parameter.max_norm > 0:  # a bound on whole columns
        return parameter.rows
    row_bytes = parameter.stride * element
    rows = max(BLOCK_LEAST_BYTES // row_bytes, -(-parameter.rows // BLOCKS))
    rows = max(BLOCK_LEAST, min(BLOCK_BYTES // row_bytes, rows))
    even = -(-parameter.rows // -(-parameter.rows // rows))  # all of about the same height
    return min(-(-even // BLOCK_STEP) * BLOCK_STEP, parameter.rows)
