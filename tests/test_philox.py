"""The dropout masks: Philox4x32-10 to the published vectors, and a pure function of the element."""

import naive
import numpy as np
import pytest

from fastnn.backends.reference.philox import philox4x32

# Known answers of the authors' distribution (Random123, tests/kat_vectors, "philox4x32 10").
PUBLISHED = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
@pytest.mark.parametrize("philox", [naive.philox4x32, philox4x32], ids=["loops", "reference"])
def test_the_published_words_come_out(philox, counter, key, words):
    assert " ".join(f"{int(word):08x}" for word in philox(counter, key)) == words


SHAPE = (37, 61)
CONSTANTS = {"rate": 0.3, "seed": 5, "step": 7, "layer": 2, "first_row": 0}


def mask(backend, dtype="float32", shape=SHAPE, **changed):
    X, Y = np.ones(shape, dtype), np.full(shape, np.nan, dtype)
    constants = {**CONSTANTS, **changed}
    backend.kernels.dropout(Y, X, *constants.values(), False)
    return Y != 0


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.999])
def test_every_backend_keeps_exactly_the_elements_of_the_loops(backend, rate):
    there = {"seed": 2**63 + 11, "step": 2**35 + 3, "layer": 9, "first_row": 2**31 + 5}
    wanted = [
        [
            naive.kept(
                rate,
                row=r + there["first_row"],
                column=o,
                **{name: there[name] for name in ("seed", "step", "layer")},
            )
            for o in range(13)
        ]
        for r in range(9)
    ]
    assert (mask(backend, shape=(9, 13), rate=rate, **there) == wanted).all()


def test_a_word_at_the_threshold_is_kept(backend):
    word = naive.philox4x32((0, 0, 7, 2), (5, 0))[0]
    assert mask(backend, shape=(1, 1), rate=word / 2**32)
    assert not mask(backend, shape=(1, 1), rate=(word + 1) / 2**32)


@pytest.mark.parametrize("name", ["seed", "step", "layer", "first_row"])
@pytest.mark.parametrize("bit", [0, 1, 15])
def test_the_mask_changes_with_every_part_of_its_key(backend, name, bit):
    assert (mask(backend) != mask(backend, **{name: CONSTANTS[name] + 2**bit})).mean() > 0.3


@pytest.mark.parametrize(("name", "bits"), [("seed", (31, 32, 63)), ("step", (31, 32, 47))])
def test_the_high_bits_of_seed_and_step_count(backend, name, bits):
    for bit in bits:
        assert (mask(backend) != mask(backend, **{name: 2**bit})).mean() > 0.3


def test_both_precisions_drop_the_same_elements(backend):
    assert (mask(backend, "float32") == mask(backend, "float64")).all()


def test_a_batch_drops_the_same_in_pieces(backend):
    whole = mask(backend)
    pieces = [mask(backend, shape=(n, SHAPE[1]), first_row=r) for r, n in ((0, 20), (20, 17))]
    assert (np.concatenate(pieces) == whole).all()


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_the_share_of_kept_elements_is_the_promised_one(backend, rate):
    kept = mask(backend, shape=(400, 256), rate=rate)
    deviation = (rate * (1 - rate) / kept.size) ** 0.5
    assert abs(kept.mean() - (1 - rate)) < 5 * deviation
    # Neither rows nor columns are favoured: their shares spread as coins do.
    for axis, count in ((0, 400), (1, 256)):
        spread = kept.mean(axis=axis).std() / (rate * (1 - rate) / count) ** 0.5
        assert 0.85 < spread < 1.15


def test_what_is_kept_is_scaled_so_that_the_mean_stays(backend):
    X, Y = np.full((200, 200), 3.0), np.empty((200, 200))
    backend.kernels.dropout(Y, X, *{**CONSTANTS, "rate": 0.25}.values(), False)
    assert set(np.unique(Y)) == {0.0, 4.0}
    assert Y.mean() == pytest.approx(3.0, abs=0.03)
