"""A machine that runs a Program by its plan on symbols, and stops where memory holds a wrong one.

The symbol of a value is its slot; that of a gradient is its slot and, for each column, the ops that
have added to it so far. What the ops read is what their kernels do, forward and backward.
"""

# Activations whose backward kernel needs the value alone.
BY_VALUE = {"relu", "sigmoid", "tanh", "exp"}
READS_INPUTS = {"dense", "layer_norm", "batch_norm", "gate"}


def run_in_all_ways(program, plan):
    """Check everything that a backend does with a Program."""
    predict(program, plan)
    learn(program, plan, training=True)
    learn(program, plan, training=False)


def predict(program, plan):
    """Check a prediction, where slots take turns in the buffers."""
    outside = {0: "X", program.scores: "scores"}

    def place(slot):
        source = plan.places[slot].source
        if source in outside:
            return outside[source]
        assert 0 <= plan.places[source].buffer < plan.buffers, f"slot {slot} has no memory"
        assert program.slots[slot].width <= plan.buffer_ld
        return plan.places[source].buffer

    assert place(program.scores) == "scores"
    _forward(program, plan, place, _meanings(program, training=False), "X")


def learn(program, plan, training):
    """Check a gradient, where every home has memory of its own; dropout is on in training."""
    meaning = _meanings(program, training)
    home = [place.home for place in plan.places]
    at = home if training else [place.source for place in plan.places]
    values = _forward(program, plan, at.__getitem__, meaning, 0)
    readers = _readers(program)
    gradients = {home[program.scores]: (program.scores, readers[program.scores])}

    def is_whole(slot):
        owner, added = gradients[home[slot]]
        return owner == slot and [sorted(ops) for ops in added] == readers[slot]

    def is_there(slot):
        return values[at[slot]] == meaning[slot]

    for number in reversed(range(len(program.ops))):
        op, fusion = program.ops[number], plan.fusions[number]
        if fusion.done_backward:
            assert is_whole(op.inputs[0]), f"nobody has taken the derivative of op {number}"
            continue
        assert is_whole(op.output), f"op {number} has no gradient"
        assert all(map(is_there, _needed(op))), f"op {number} misses a value"
        for slot, adds in zip(op.inputs, op.accumulate, strict=True):
            nothing = slot, [[] for _ in readers[slot]]
            owner, added = gradients.get(home[slot], nothing)
            assert owner == slot or not adds, f"op {number} adds to the gradient of slot {owner}"
            owner, added = (owner, list(added)) if owner == slot else nothing
            for column in _columns(program, op, slot):
                assert not adds or added[column], f"op {number} adds to what is not there"
                added[column] = [*(added[column] if adds else []), number]
            gradients[home[slot]] = slot, added
        if fusion.masks:
            relu = program.ops[op.inputs[0] - 1]
            assert (op.kind, relu.kind, relu.function) == ("dense", "activation", "relu")
            assert is_whole(relu.output), f"op {number} masks a gradient that is not whole"
            assert is_there(relu.output)
            before = relu.inputs[0]
            gradients[home[relu.output]] = before, [[relu.output - 1] for _ in readers[before]]
    for op in program.ops:  # the gradients of the parameters come when all this is over
        if op.parameters:
            assert is_whole(op.output), f"the gradient of slot {op.output} is overwritten"
            assert all(map(is_there, op.inputs))


def _columns(program, op, slot):
    """Return which columns of a slot an op reads."""
    first, width = 0, program.slots[slot].width
    if op.kind == "slice":
        first, width = op.constant, program.slots[op.output].width
    return range(first, first + width)


def _readers(program):
    """Return by slot and column the ops that read it, an op that reads it twice twice."""
    readers = [[[] for _ in range(slot.width)] for slot in program.slots]
    for number, op in enumerate(program.ops):
        for slot in op.inputs:
            for column in _columns(program, op, slot):
                readers[slot][column].append(number)
    return readers


def _meanings(program, training):
    """Return by slot the slot whose value it has: without dropout, that of the dropout's input."""
    meaning = [0]
    for op in program.ops:
        drops = training or op.kind != "dropout"
        meaning.append(op.output if drops else meaning[op.inputs[0]])
    return meaning


def _forward(program, plan, place, meaning, X):
    """Run all ops forward, and return what the memory holds then."""
    memory = {X: 0}
    for op, fusion in zip(program.ops, plan.fusions, strict=True):
        if fusion.done_forward:
            continue
        for slot in op.inputs:
            assert memory[place(slot)] == meaning[slot], f"slot {slot} is overwritten"
        target, output = place(op.output), op.output
        # Only what works on each element by itself may write where it reads.
        if op.kind not in ("activation", "dropout"):
            assert target not in map(place, op.inputs), (
                f"slot {output} overwrites what it is made of"
            )
        if fusion.relu:
            (relu,) = [other for other in program.ops if op.output in other.inputs]
            assert (op.kind, relu.kind, relu.function) == ("dense", "activation", "relu")
            output = relu.output
        memory[target] = meaning[output]
    assert memory[place(program.scores)] == meaning[program.scores]
    assert memory[X] == 0, "the input is overwritten"
    return memory


def _needed(op):
    """Return the slots whose values the backward kernel of an op reads."""
    if op.kind == "softmax":
        return (op.output,)
    if op.kind == "activation":
        slope = op.function == "leaky_relu" and op.constant >= 0
        return (op.output,) if op.function in BY_VALUE or slope else (*op.inputs, op.output)
    return op.inputs if op.kind in READS_INPUTS else ()
