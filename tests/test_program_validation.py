"""A Program that does not fit together is refused, by the part that does not fit."""

import re

import pytest
from networks import random_network

from fastnn import layers as fn
from fastnn.program import lower
from fastnn.program.plan import plan

LAYERS = [
    fn.Dropout(0.1),
    fn.Dense(9, "relu"),
    fn.Residual([fn.LayerNorm(), fn.Gated(9, "swiglu")]),
    fn.BatchNorm(),
    fn.Concat([fn.Dense(5, "tanh", use_bias=False)]),
    fn.Activation("softmax"),
    fn.Dense(3, "softmax"),
]
PROGRAM = lower(LAYERS, 4, None)
KINDS = [op.kind for op in PROGRAM.ops]
MOST = 2**31 - 1

OPS = [
    ("dense", {"kind": "conv"}, "conv, is none of dense, activation,"),
    ("dense", {"output": 1}, "writes slot 1, expected 2"),
    ("dense", {"output": 99}, "writes slot 99, expected 2"),
    ("dense", {"inputs": ()}, "reads the slots (), expected 1 of those written before it"),
    ("dense", {"inputs": (0, 1)}, "reads the slots (0, 1), expected 1"),
    ("dense", {"inputs": (-1,)}, "reads the slots (-1,)"),
    ("dense", {"inputs": (2,)}, "reads the slots (2,)"),
    ("add", {"inputs": (3,)}, "reads the slots (3,), expected 2"),
    ("add", {"inputs": (3, 99)}, "reads the slots (3, 99)"),
    ("dropout", {"output": 1, "constant": 1.0}, "has the rate 1.0, expected 0 to below 1"),
    ("dropout", {"constant": -0.1}, "has the rate -0.1"),
    ("dropout", {"constant": float("nan")}, "has the rate nan"),
    ("layer_norm", {"inputs": (0,)}, "makes 9 columns of 4"),
    ("add", {"inputs": (3, 0)}, "makes 9 columns of 9 and 4"),
    ("concat", {"inputs": (8, 7)}, "makes 14 columns of 18"),
    ("softmax", {"inputs": (3,)}, "makes 14 columns of 9"),
    ("dense", {"parameters": ()}, "has 0 parameters, expected 1 to 2"),
    ("dense", {"parameters": (0, 1, 2)}, "has 3 parameters, expected 1 to 2"),
    ("dense", {"parameters": (0, 99)}, "has parameter 99 of "),
    ("dense", {"parameters": (-1,)}, "has parameter -1 of "),
    ("dense", {"parameters": (1, 0)}, "has a parameter of shape (9,), expected (4, 9)"),
    ("dense", {"parameters": (0, 0)}, "has a parameter of shape (4, 9), expected (1, 9)"),
    ("layer_norm", {"parameters": (2,)}, "has 1 parameters, expected 2 to 2"),
    ("layer_norm", {"parameters": (0, 1)}, "has a parameter of shape (4, 9), expected (1, 9)"),
    ("gate", {"parameters": (1,)}, "has a parameter of shape (9,), expected (1, 1)"),
    ("activation", {"parameters": (1,)}, "has 1 parameters, expected 0 to 0"),
    ("batch_norm", {"states": (0,)}, "has the states (0,), expected 2 of 2"),
    ("batch_norm", {"states": (0, 2)}, "has the states (0, 2), expected 2 of 2"),
    ("layer_norm", {"states": (0, 1)}, "has the states (0, 1), expected 0 of 2"),
    ("activation", {"function": "sin"}, "has the function 'sin', expected one of identity,"),
    ("gate", {"function": ""}, "has the function '', expected one of sigmoid, relu, gelu, silu"),
    ("gate", {"function": "tanh"}, "has the function 'tanh', expected one of sigmoid, relu,"),
    ("add", {"accumulate": (True, False)}, "has accumulate=(True, False), expected [False, False]"),
    ("dense", {"accumulate": ()}, "has accumulate=(), expected [False]"),
    ("layer_norm", {"accumulate": (False,)}, "has accumulate=(False,), expected [True]"),
]


@pytest.mark.parametrize(("kind", "change", "message"), OPS)
def test_an_op_that_does_not_fit_is_named(kind, change, message):
    number = KINDS.index(kind)
    ops = list(PROGRAM.ops)
    ops[number] = ops[number]._replace(**change)
    named = f"op {number}, {message}" if "kind" in change else f"op {number}, {kind}, {message}"
    refuse(PROGRAM._replace(ops=tuple(ops)), named)


def refuse(program, message):
    message = f"the program does not fit together: {message}"
    with pytest.raises(ValueError, match=re.escape(message)):
        plan(program, 4)


@pytest.mark.parametrize(
    ("part", "number", "change", "message"),
    [
        ("slots", 0, {"width": 0}, f"slot input has 0 columns, expected 1 to {MOST}"),
        ("slots", 2, {"width": MOST + 1}, f"slot 1 has {MOST + 1} columns"),
        (
            "slots",
            2,
            {"width": 10},
            "op 1, dense, has a parameter of shape (4, 9), expected (4, 10)",
        ),
        ("parameters", 0, {"shape": ()}, "parameter 1.weight has the shape ()"),
        ("parameters", 0, {"shape": (4, 3, 3)}, "parameter 1.weight has the shape (4, 3, 3)"),
        ("parameters", 0, {"shape": (0, 9)}, "parameter 1.weight has the shape (0, 9)"),
        ("parameters", 0, {"shape": (4, 0)}, "parameter 1.weight has the shape (4, 0)"),
        (
            "parameters",
            0,
            {"stride": 8},
            "parameter 1.weight has the shape (4, 9) and the stride 8",
        ),
        ("parameters", 0, {"offset": -16}, "parameter 1.weight goes from -16 to 48 of "),
        ("parameters", 0, {"offset": PROGRAM.size - 63}, "parameter 1.weight goes from "),
        ("parameters", 0, {"stride": 2**62}, f"parameter 1.weight goes from 0 to {2**64} of "),
        ("states", 0, {"length": 0}, "state 3.running_mean goes from 0 to 0 of 32 numbers"),
        ("states", 0, {"length": 8}, "op 8, batch_norm, has a state that is not of length 9"),
        ("states", 1, {"offset": 24}, "state 3.running_variance goes from 24 to 33 of 32 numbers"),
        ("states", 1, {"offset": -1}, "state 3.running_variance goes from -1 to 8 of 32 numbers"),
    ],
)
def test_a_slot_parameter_or_state_that_does_not_fit_is_named(part, number, change, message):
    parts = list(getattr(PROGRAM, part))
    parts[number] = parts[number]._replace(**change)
    refuse(PROGRAM._replace(**{part: tuple(parts)}), message)


def test_every_parameter_belongs_to_one_op_alone():
    layers = [fn.Dense(4, use_bias=False), fn.Dense(4, use_bias=False)]
    program = lower(layers, 4, None)
    first, last = program.ops
    shared = program._replace(ops=(first, last._replace(parameters=first.parameters)))
    refuse(shared, "the ops have the parameters [0, 0], expected each once")
    weights = (program.parameters[0], program.parameters[1]._replace(offset=16))
    refuse(program._replace(parameters=weights), "the parameters 0.weight and 1.weight overlap")


def test_vectors_that_no_memory_holds_are_refused():
    refuse(PROGRAM._replace(size=2**63), f"a flat vector has {2**63} numbers")
    refuse(PROGRAM._replace(state_size=-1), "a flat vector has -1 numbers")


def test_every_op_writes_one_slot():
    refuse(PROGRAM._replace(slots=PROGRAM.slots[:-1]), "it has 14 slots, expected 15 for 14 ops")
    refuse(PROGRAM._replace(slots=PROGRAM.slots[:1], ops=()), "it has no op")


def test_what_no_op_reads_is_refused():
    ops = list(PROGRAM.ops)
    assert ops[-1].kind == "dense"
    assert ops[-2].kind == "softmax"
    ops[-1] = ops[-1]._replace(inputs=ops[-2].inputs)
    refuse(PROGRAM._replace(ops=tuple(ops)), "op 12, softmax, writes what no op reads")


@pytest.mark.parametrize(
    ("inputs", "accumulate"), [((0, 2), (False,) * 2), ((2, 2), (False, True))]
)
def test_a_gate_sets_the_gradients_of_two_slots_of_its_own(inputs, accumulate):
    program = lower([fn.Gated(4), fn.Dense(3)], 4, None)
    dense, other, gate, last = program.ops
    assert (gate.kind, gate.inputs) == ("gate", (1, 2))
    gate = gate._replace(inputs=inputs, accumulate=accumulate)
    refuse(
        program._replace(ops=(dense, other, gate, last)), f"op 2, gate, reads the slots {inputs}"
    )


@pytest.mark.parametrize(
    ("number", "change", "message"),
    [
        (0, {"constant": -1.0}, "op 0, slice, reads 2 columns from -1 on of 5"),
        (0, {"constant": 4.0}, "op 0, slice, reads 2 columns from 4 on of 5"),
        (0, {"constant": 0.5}, "op 0, slice, reads 2 columns from 0.5 on of 5"),
        (0, {"constant": float("nan")}, "op 0, slice, reads 2 columns from nan on of 5"),
        (0, {"inputs": (0, 0)}, "op 0, slice, reads the slots (0, 0), expected 1"),
        (0, {"constant": 1.0}, "op 0, slice, reads columns only some of which are read behind it"),
        (
            0,
            {"constant": 2.0, "accumulate": (True,)},
            "no op reads some of the 5 columns of",
        ),
        (0, {"accumulate": (True,)}, "op 0, slice, has accumulate=(True,), expected [False]"),
        (1, {"accumulate": (True,)}, "op 1, slice, has accumulate=(True,), expected [False]"),
        (3, {"inputs": (1,), "accumulate": (True,)}, "op 1, slice, writes what no op reads"),
    ],
)
def test_slices_share_out_the_columns_of_a_slot(number, change, message):
    layers = [fn.Columns(2, 4, [fn.Dense(2, use_bias=False)]), fn.Dense(3)]
    program = lower(layers, 5, None)
    assert [op.kind for op in program.ops] == [*["slice"] * 3, "dense", *["concat"] * 2, "dense"]
    assert [op.constant for op in program.ops[:3]] == [0, 2, 4]
    ops = list(program.ops)
    ops[number] = ops[number]._replace(**change)
    refuse(program._replace(ops=tuple(ops)), message)


def test_a_slot_is_refused_where_no_op_reads_some_of_its_columns():
    program = lower([fn.Dense(4), fn.Columns(0, 2, [fn.Activation("relu")]), fn.Dense(2)], 3, None)
    dense, left, right, *rest = program.ops
    assert (left.kind, right.kind, right.constant) == ("slice", "slice", 2)
    left, right = left._replace(accumulate=(True,)), right._replace(constant=0.0)
    refuse(
        program._replace(ops=(dense, left, right, *rest)), "op 0, dense, writes what no op reads"
    )


@pytest.mark.parametrize("seed", range(20))
def test_what_lower_makes_fits_together(seed):
    network = random_network(seed)
    plan(lower(network.layers, network.inputs, network.loss), 4)
