"""The plan of a Program: what shares work and memory, how many rows, and what does not fit."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plan_machine import run_in_all_ways

from fastnn import layers as fn
from fastnn.activations import FORMULAS, ActivationFunction
from fastnn.program import lower
from fastnn.program.plan import CHUNK_BYTES, CHUNK_LEAST, WORK_MOST, plan


def planned(layers, inputs=8, element=4):
    program = lower([*layers, fn.Dense(3, "softmax")], inputs, None)
    return program, plan(program, element)


def homes(layers):
    return [place.home for place in planned(layers)[1].places]


def sources(layers):
    return [place.source for place in planned(layers)[1].places]


def fused(layers):
    """Return by kind of fusion which ops have it."""
    fusions = planned(layers)[1].fusions
    return {
        name: [n for n, fusion in enumerate(fusions) if getattr(fusion, name)]
        for name in ("relu", "masks", "done_forward", "done_backward")
    }


def fusions(relu=(), masks=(), done_forward=(), done_backward=()):
    named = {"relu": relu, "masks": masks}
    named |= {"done_forward": done_forward, "done_backward": done_backward}
    return {name: list(ops) for name, ops in named.items()}


# -- a relu between two dense layers --------------------------------------------------------------


def test_a_relu_between_two_dense_layers_is_done_by_both():
    assert fused([fn.Dense(8, "relu")]) == fusions([0], [2], [1], [1])


def test_a_relu_behind_a_dense_layer_only_is_done_forward():
    assert fused([fn.Dense(8, "relu"), fn.LayerNorm()]) == fusions(relu=[0], done_forward=[1])


def test_a_relu_before_a_dense_layer_only_is_done_backward():
    layers = [fn.LayerNorm(), fn.Activation("relu")]
    assert fused(layers) == fusions(masks=[2], done_backward=[1])


def test_the_first_reader_of_a_relu_takes_its_derivative_along_if_it_is_dense():
    # The first reader is the last one to add to the gradient.
    before = [fn.Dense(8, "relu")]
    assert fused([*before, fn.Residual([fn.Dense(8)])]) == fusions([0], [2], [1], [1])
    other = fused([*before, fn.Residual([fn.LayerNorm(), fn.Dense(8)])])
    assert other == fusions(relu=[0], done_forward=[1])


@pytest.mark.parametrize(
    "layers",
    [
        [fn.Activation("relu")],  # of the input, which is the caller's
        [fn.Dense(8, "tanh")],
        [fn.Dense(8), fn.Dropout(0.1), fn.Activation("relu")],
        [fn.Dense(8), fn.Residual([fn.Activation("relu"), fn.Dense(8)])],
        [fn.Dense(8, "sigmoid"), fn.Activation("relu")],
    ],
)
def test_nothing_else_is_done_by_a_neighbour(layers):
    assert fused(layers) == fusions()


# -- activations in place -------------------------------------------------------------------------

IN_PLACE = {"relu", "sigmoid", "tanh", "exp", "leaky_relu"}


@pytest.mark.parametrize("function", sorted(set(FORMULAS) - {"identity"}))
def test_an_activation_whose_derivative_follows_from_the_value_is_in_place(function):
    assert homes([fn.Dense(8, function)])[1] == (2 if function in IN_PLACE else 1)


def test_a_leaky_relu_whose_slope_is_negative_is_not_in_place():
    falling = ActivationFunction("leaky_relu", -0.1)
    assert homes([fn.Dense(8, falling)])[1] == 1
    assert homes([fn.Dense(8, ActivationFunction("leaky_relu", 0.0))])[1] == 2


@pytest.mark.parametrize(
    "before",
    [fn.Dense(8), fn.LayerNorm(), fn.BatchNorm(), fn.Concat([fn.Dense(3)]), fn.Gated(8)],
    ids=lambda layer: type(layer).__name__,
)
def test_an_activation_is_in_place_behind_what_does_not_need_its_output(before):
    program, made = planned([before, fn.Activation("tanh")])
    slot = program.ops[-2].inputs[0]
    assert program.ops[-2].kind == "activation"
    assert made.places[slot].home == slot + 1


@pytest.mark.parametrize(
    "before",
    [fn.Activation("tanh"), fn.Activation("softmax"), fn.Dropout(0.1)],
    ids=["activation", "softmax", "dropout"],
)
def test_an_activation_is_not_in_place_behind_what_needs_its_output(before):
    assert homes([before, fn.Activation("tanh")]) == [0, 1, 2, 3]


def test_an_activation_is_not_in_place_where_another_op_reads_its_input():
    # dense 1, tanh 2, dense 3, and 4 adds slot 1 to it
    assert homes([fn.Dense(8), fn.Residual([fn.Activation("tanh"), fn.Dense(8)])])[1] == 1


# -- predictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [2, 3, 20])
def test_a_chain_of_layers_takes_two_buffers_by_turns(depth):
    _, made = planned([fn.LayerNorm()] * depth)
    assert made.buffers == 2
    turns = [place.buffer for place in made.places]
    assert turns == [-1, *([0, 1] * depth)[:depth], -1]


def test_activations_in_place_and_fused_need_no_buffer_of_their_own():
    _, made = planned([fn.Dense(8, "relu"), fn.Dense(8, "tanh")])
    assert [place.buffer for place in made.places] == [-1, -1, 0, -1, 1, -1]


def test_a_residual_keeps_its_input_until_it_is_added():
    program, made = planned([fn.Dense(8), fn.Residual([fn.LayerNorm(), fn.Dense(8)])])
    assert [op.kind for op in program.ops] == ["dense", "layer_norm", "dense", "add", "dense"]
    assert [place.buffer for place in made.places] == [-1, 0, 1, 2, 1, -1]


def test_only_slots_with_a_buffer_count_in_its_width():
    _, made = planned([fn.Dense(30, "relu")], inputs=784)
    assert (made.buffers, made.buffer_ld, made.widest_input) == (1, 32, 784)
    wide = lower([fn.Dense(30), fn.Dense(1000)], 784, None)
    assert plan(wide, 4).buffer_ld == 32
    alone = plan(lower([fn.Dense(1000)], 784, None), 4)
    assert (alone.buffers, alone.buffer_ld, alone.widest_input) == (0, 0, 784)


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ([fn.Dropout(0.1)], [0, 0, 2]),
        ([fn.Dropout(0.1), fn.Dropout(0.2)], [0, 0, 0, 3]),
        ([fn.Dense(8, "relu"), fn.Dropout(0.1)], [0, 2, 2, 2, 4]),
        ([fn.Dense(8), fn.Dropout(0.1), fn.Activation("relu")], [0, 1, 1, 3, 4]),
        ([fn.Dense(8), fn.Residual([fn.Dropout(0.1)])], [0, 1, 1, 3, 4]),
    ],
)
def test_a_dropout_leaves_a_prediction_where_it_is(layers, expected):
    assert sources(layers) == expected


def test_a_dropout_at_the_end_writes_the_scores():
    program = lower([fn.Dense(8), fn.Dropout(0.1)], 8, None)
    assert [place.source for place in plan(program, 4).places] == [0, 1, 2]


# -- numbers --------------------------------------------------------------------------------------


def test_what_depends_on_a_parameter_is_trainable():
    _, made = planned([fn.Activation("tanh"), fn.Residual([fn.Dropout(0.1), fn.LayerNorm()])])
    assert [place.trainable for place in made.places] == [False, False, False, True, True, True]


def test_batch_norms_couple_rows_and_a_max_norm_limits_norms():
    def ties(*layers):
        _, made = planned(list(layers))
        return made.couples_rows, made.limits_norms

    assert ties(fn.LayerNorm()) == (False, False)
    assert ties(fn.Residual([fn.BatchNorm()])) == (True, False)
    assert ties(fn.Dense(8, max_norm=2.0)) == (False, True)


@pytest.mark.parametrize("element", [4, 8])
@pytest.mark.parametrize("width", [1, 100, 784, 896, 5000, 100_000])
def test_rows_stay_in_the_cache(width, element):
    _, made = planned([fn.Dense(30, "relu")], width, element)
    depth = width if width <= 896 else 256
    assert 28 <= made.tile <= 512
    assert made.tile == 28 or made.tile * depth * element <= 2**19
    assert 28 <= made.prediction_tile <= 512
    kept = made.prediction_tile * (width + made.buffers * made.buffer_ld) * element
    assert made.prediction_tile == 28 or kept <= 2**19


def test_a_tile_of_a_prediction_is_as_high_as_the_cache_allows():
    assert planned([fn.Dense(30, "relu")], 784)[1].prediction_tile == 154  # 11 * 14
    assert planned([fn.Dense(30, "relu")], 784, 8)[1].prediction_tile == 70
    # 2**19 / 4 bytes for 100 inputs and two buffers of 304 are 185 rows, or 13 * 14.
    assert planned([fn.Dense(300, "gelu")] * 2, 100)[1].prediction_tile == 182


@pytest.mark.parametrize("element", [4, 8])
@pytest.mark.parametrize("layers", [[fn.Dense(30, "relu")], [fn.Dense(4096, "gelu")] * 3])
def test_a_chunk_takes_as_much_memory_as_it_may(layers, element):
    program, made = planned(layers, 784, element)
    lds = [-(-slot.width // 16) * 16 for slot in program.slots]
    lds = [ld + 16 * (ld % 128 == 0) for ld in lds]
    own = [ld for slot, ld in enumerate(lds) if made.places[slot].home == slot]
    row = 2 * element * sum(own)
    limit = CHUNK_BYTES + program.size * element
    assert made.chunk * row <= limit < (made.chunk + 1) * row


def test_a_chunk_has_some_rows_however_wide_they_are():
    program = lower([fn.LayerNorm()] * 8 + [fn.Dense(1)], 1_000_000, None)
    assert plan(program, 4).chunk == CHUNK_LEAST


def test_work_is_counted_up_to_what_is_worth_all_threads():
    assert planned([fn.Dense(5, "tanh")])[1].row_work == 8 * 5 + 16 * 5 + 5 * 3
    assert planned([fn.Dense(2**20), fn.Dense(2**20)])[1].row_work == WORK_MOST


# -- any program ----------------------------------------------------------------------------------

# relu by far the most often, since most depends on it.
FUNCTIONS = st.just("relu") | st.sampled_from(
    ["tanh", "gelu", ActivationFunction("leaky_relu", 0.5), ActivationFunction("leaky_relu", -0.5)]
)
SHAPELESS = st.one_of(
    st.builds(fn.Activation, FUNCTIONS | st.just("softmax")),
    st.builds(fn.Dropout, st.sampled_from([0.0, 0.5])),
    st.sampled_from([fn.LayerNorm(), fn.BatchNorm()]),
)
KINDS = ["dense", "gated", "shapeless", "residual", "concat", "columns"]
WIDTHS = st.sampled_from([1, 3, 16, 128, 200])


@st.composite
def lists_of_layers(draw, width, depth=2):
    """Draw layers for an input of some width, and the width behind them."""
    layers = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(KINDS))
        if kind in ("residual", "concat") and depth > 0:
            inner, behind = draw(lists_of_layers(width, depth - 1))
            if kind == "concat":
                layers.append(fn.Concat(inner))
                width += behind
            else:
                layers.append(fn.Residual(inner if behind == width else [*inner, fn.Dense(width)]))
        elif kind == "columns" and depth > 0:
            start = draw(st.integers(0, width - 1))
            stop = draw(st.integers(start + 1, width))
            inner, behind = draw(lists_of_layers(stop - start, depth - 1))
            layers.append(fn.Columns(start, stop, inner))
            width += behind - (stop - start)
        elif kind == "shapeless":
            layers.append(draw(SHAPELESS))
        else:
            width = draw(WIDTHS)
            gate = st.builds(fn.Gated, st.just(width), st.sampled_from(sorted(fn.GATES)))
            dense = st.builds(fn.Dense, st.just(width), FUNCTIONS)
            layers.append(draw(gate if kind == "gated" else dense))
    return layers, width


ENDS = [[fn.Dense(3, "softmax")], [fn.Dense(2, "relu")], [fn.Dropout(0.5)], [fn.LayerNorm()]]
ENDS += [[fn.Residual([fn.Activation("tanh")])], [fn.Residual([fn.Activation("identity")])]]


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(lists_of_layers(5), st.sampled_from(ENDS))
def test_nothing_is_overwritten_before_its_last_reader(layers, end):
    program = lower([*layers[0], *end], 5, None)
    made = plan(program, 4)
    run_in_all_ways(program, made)
    for slot, place in enumerate(made.places):
        assert made.places[place.home].home == place.home >= slot
        assert made.places[place.source].source == place.source


def lie_apart(places, size):
    """Whether the places (begin, length) fill so much memory, on cache lines, without overlap."""
    at = 0
    for begin, length in sorted(places):
        if begin != at or begin % 16:
            return False
        at += length
    return at == size


@settings(max_examples=100, deadline=None, derandomize=True, database=None)
@given(lists_of_layers(5), st.sampled_from(ENDS))
def test_the_slots_of_a_step_lie_apart_and_the_input_behind_them(layers, end):
    made = plan(lower([*layers[0], *end], 5, None), 4)
    own = [place for slot, place in enumerate(made.places) if place.home == slot > 0]
    assert lie_apart([(place.offset, place.ld) for place in own], made.slot_size)
    assert made.places[0].offset == made.slot_size
    for place in made.places:
        home = made.places[place.home]
        assert (place.offset, place.ld) == (home.offset, home.ld)


@pytest.mark.parametrize("element", [4, 8])
@pytest.mark.parametrize("width", [1, 10, 100, 3000])
def test_blocks_cover_every_parameter_once(width, element):
    layers = [fn.Dense(width, "relu"), fn.LayerNorm(), fn.Dense(70, max_norm=1.0), fn.BatchNorm()]
    program, made = planned([*layers, fn.Gated(20, "swiglu")], 700, element)
    scratch = set()
    for number, op in enumerate(program.ops):
        own = [block for block in made.blocks if block.op == number]
        assert bool(own) == bool(op.parameters)
        if not own:
            continue
        weight, *others = (program.parameters[p] for p in op.parameters)
        assert [block.first for block in own] == list(range(0, weight.rows, own[0].rows))
        assert own[-1].first + own[-1].rows == weight.rows
        assert len(own) == 1 or own[0].rows % 16 == 0
        assert len(own) == 1 or weight.max_norm == 0
        assert len(own) <= 16 or own[0].rows * weight.stride * element >= 2**17 - 2**15
        assert {block[3:] for block in own} == {own[0][3:]}
        scratch.add((own[0].weight, own[0].rows * weight.stride))
        scratch |= {(own[0].bias, other.stride) for other in others}
    assert lie_apart(scratch, made.scratch_size)


# dense 1, relu 2, layer_norm 3, dense 4, add 5 of 2 and 4, dense 6, tanh 7, dropout 8, dense 9
WRONG = [
    ("places", 3, {"buffer": 0}),
    ("places", 4, {"source": 3}),
    ("places", 5, {"buffer": -1}),
    ("places", 5, {"source": 2, "home": 2}),
    ("places", 1, {"source": 1, "home": 1}),
    ("places", 6, {"source": 5, "home": 5}),
    ("places", 7, {"source": 6, "home": 8}),
    ("places", 8, {"source": 6}),
    ("fusions", 0, {"relu": False}),
    ("fusions", 1, {"done_forward": False}),
    ("fusions", 1, {"done_backward": True}),
    ("fusions", 2, {"relu": True}),
    ("fusions", 3, {"masks": True}),
    ("fusions", 6, {"done_forward": True}),
]


@pytest.mark.parametrize(("field", "number", "change"), WRONG)
def test_the_machine_finds_a_wrong_plan(field, number, change):
    layers = [fn.Dense(8, "relu"), fn.Residual([fn.LayerNorm(), fn.Dense(8)])]
    program, made = planned([*layers, fn.Dense(8, "tanh"), fn.Dropout(0.1)])
    parts = list(getattr(made, field))
    parts[number] = parts[number]._replace(**change)
    wrong = made._replace(**{field: tuple(parts)})
    with pytest.raises((AssertionError, KeyError, ValueError)):
        run_in_all_ways(program, wrong)
