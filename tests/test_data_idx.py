"""IDX files: what the format promises is read, everything else is refused in one sentence."""

import functools
import gzip
import os
import struct
import tracemalloc

import numpy as np
import pytest

from fastnn.data import load_mnist, read_idx

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def header(shape, code=0x08):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


def idx_bytes(array):
    code = CODES[array.dtype.str[1:]]
    return header(array.shape, code) + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.fixture
def idx_file(write_file):
    return functools.partial(write_file, "some-idx")


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", CODES)
def test_every_type_is_read_to_native_order(idx_file, kind, packed):
    array = np.array([[0, 1, 100], [3, 4, 127]], kind)
    if kind[0] != "u":
        array[1, 0] = -3
    content = idx_bytes(array)
    read = read_idx(idx_file(gzip.compress(content) if packed else content))
    np.testing.assert_array_equal(read, array)
    assert read.dtype == np.dtype(kind)
    assert read.dtype.isnative
    assert read.flags.c_contiguous
    assert read.flags.writeable


def test_bytes_of_the_format_by_hand(idx_file):
    content = bytes([0, 0, 0x0B, 2, 0, 0, 0, 1, 0, 0, 0, 2, 0x01, 0x00, 0xFF, 0xFE])
    assert read_idx(idx_file(content)).tolist() == [[256, -2]]


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("shape", [(0,), (0, 28, 28), (3, 0), (1,) * 64])
def test_empty_and_deep_shapes_are_read(idx_file, shape, packed):
    content = idx_bytes(np.zeros(shape, "f4"))
    assert read_idx(idx_file(gzip.compress(content) if packed else content)).shape == shape


def test_a_file_larger_than_a_block_is_read_whole(idx_file):
    array = np.random.default_rng(0).integers(0, 255, (3, 1_000_003)).astype("u1")
    np.testing.assert_array_equal(read_idx(idx_file(gzip.compress(idx_bytes(array), 1))), array)


GOOD = header((3,)) + b"abc"
BROKEN = {
    "empty": (b"", "begins with nothing"),
    "one byte": (b"\0", "begins with 00;"),
    "bad magic": (b"\x01" + GOOD[1:], "begins with 01 00 08 01"),
    "little-endian magic": (b"\x01\x08\0\0" + GOOD[4:], "begins with 01 08 00 00"),
    "text": (b"label\n1\n2\n", "begins with 6c 61 62 65"),
    "type byte 0a": (header((3,), 0x0A) + b"abc", "type code 0a; known codes are 08, 09, 0b"),
    "type byte ff": (header((3,), 0xFF) + b"abc", "type code ff"),
    "no dimensions": (header(()) + b"a", "has 0 dimensions; between 1 and 64"),
    "65 dimensions": (header((1,) * 65) + b"a", "has 65 dimensions"),
    "255 dimensions": (header((1,) * 255) + b"a", "has 255 dimensions"),
    "cut in the header": (GOOD[:6], "ends inside its header: 2 bytes .* 4 expected"),
    "one byte short": (GOOD[:-1], r"2 bytes of values; its header promises 3 \(shape \(3,\), 1"),
    "no values": (header((3,)), "0 bytes of values; its header promises 3"),
    "one byte more": (GOOD + b"x", "promises 3"),
    "twice the file": (GOOD * 2, "promises 3"),
    "dimensions beyond 2**63": (header((2**32 - 1,) * 3), "more than fits in memory"),
    "dimensions that wrap to 0": (header((2**31, 2**31, 4)), "more than fits in memory"),
    "dimensions beyond 2**63 and a 0": (header((0,) + (2**32 - 1,) * 3), "more than fits"),
    "a little beyond 2**63 bytes": (header((2**31, 2**31, 1), 0x0C), "more than fits in memory"),
    "4 GB promised": (header((2**32 - 1,)) + b"abc", "promises 4294967295"),
    "4 TB promised": (header((2**32 - 1, 1024)) + b"abc", "promises 4398046510080"),
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_refused_in_one_sentence_with_its_name(idx_file, name, packed):
    content, words = BROKEN[name]
    path = idx_file(gzip.compress(content) if packed else content)
    with pytest.raises(ValueError, match=words) as caught:
        read_idx(path)
    assert repr(str(path)) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 15])
def test_a_truncated_gzip_file_is_refused(idx_file, cut):
    with pytest.raises(ValueError, match="broken as a gzip file"):
        read_idx(idx_file(gzip.compress(idx_bytes(np.arange(99, dtype="f8")))[:-cut]))


@pytest.mark.parametrize("place", range(2, len(gzip.compress(GOOD))))
def test_a_flipped_byte_of_a_gzip_file_changes_no_value_silently(idx_file, place):
    content = bytearray(gzip.compress(GOOD, mtime=0))
    content[place] ^= 0x40
    try:
        read = read_idx(idx_file(bytes(content)))
    except ValueError:
        return
    assert read.tolist() == list(b"abc")  # a field that gzip ignores, such as the time


@pytest.mark.parametrize(
    ("promised", "words"),
    [
        (1000, "more than 1000 bytes of values; its header promises 1000"),
        (2**31, "promises 2147483648 bytes in its header, more than its .* compressed bytes"),
    ],
)
def test_a_gzip_bomb_takes_no_memory(idx_file, promised, words):
    path = idx_file(gzip.compress(header((promised,)) + bytes(100_000_000)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=words):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


def test_a_plain_file_that_promises_much_takes_no_memory(idx_file):
    path = idx_file(header((2**32 - 1, 2**20)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="0 bytes of values"):
            read_idx(path)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_a_missing_file_and_a_folder_are_told_by_the_system(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        read_idx(tmp_path / "nothing-here")
    with pytest.raises(OSError, match=str(tmp_path)):
        read_idx(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="is a pipe"):
        read_idx(tmp_path / "pipe")


# --- load_mnist ---

IMAGES = {
    "train": np.arange(5 * 2 * 3, dtype="u1").reshape(5, 2, 3) * 8,
    "t10k": np.full((4, 2, 3), 255, "u1"),
}
LABELS = {"train": np.array([0, 1, 2, 1, 3], "u1"), "t10k": np.array([3, 0, 6, 1], "u1")}


def write_mnist(folder, mark="-", ending="", images=IMAGES, labels=LABELS):
    for part in ("train", "t10k"):
        for kind, dimensions, arrays in (("images", 3, images), ("labels", 1, labels)):
            content = idx_bytes(arrays[part])
            path = folder / f"{part}-{kind}{mark}idx{dimensions}-ubyte{ending}"
            path.write_bytes(gzip.compress(content) if ending else content)
    return folder


@pytest.mark.parametrize("mark", ["-", "."])
@pytest.mark.parametrize("ending", ["", ".gz"])
def test_the_four_files_are_found_under_each_name(tmp_path, mark, ending):
    mnist = load_mnist(write_mnist(tmp_path, mark, ending))
    assert mnist.X_train.dtype == mnist.X_test.dtype == np.float32
    assert mnist.y_train.dtype == mnist.y_test.dtype == np.int64
    np.testing.assert_array_equal(
        mnist.X_train, (IMAGES["train"].reshape(5, 6) / np.float32(255)).astype(np.float32)
    )
    np.testing.assert_array_equal(mnist.X_test, np.ones((4, 6)))
    assert mnist.y_train.tolist() == [0, 1, 2, 1, 3]
    assert mnist.y_test.tolist() == [3, 0, 6, 1]
    assert mnist.class_names == ("0", "1", "2", "3", "4", "5", "6")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        load_mnist(tmp_path / "nowhere")


def test_the_names_looked_for_are_listed(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_mnist(tmp_path)
    for name in ("-idx1-ubyte", ".idx1-ubyte", "-idx1-ubyte.gz", ".idx1-ubyte.gz"):
        assert f"t10k-labels{name}" in str(caught.value)


def test_counts_of_images_and_labels_must_agree(tmp_path):
    write_mnist(tmp_path, labels={**LABELS, "t10k": np.array([1, 2], "u1")})
    with pytest.raises(ValueError, match="t10k-images.* holds 4 images, .*t10k-labels.* 2 labels"):
        load_mnist(tmp_path)


def test_both_parts_must_have_the_same_number_of_pixels(tmp_path):
    write_mnist(tmp_path, images={**IMAGES, "t10k": np.zeros((4, 3, 3), "u1")})
    with pytest.raises(ValueError, match="training images have 6 pixels, the test images 9"):
        load_mnist(tmp_path)


@pytest.mark.parametrize(
    "images",
    [np.zeros((5, 6), "u1"), np.zeros((5, 2, 3), "f4"), np.zeros((0, 2, 3), "u1")],
    ids=["two dimensions", "float", "empty"],
)
def test_images_of_another_kind_are_refused(tmp_path, images):
    write_mnist(tmp_path, images={**IMAGES, "train": images})
    words = r"train-images.* holds .* of shape .*; uint8 with 3 dimensions, not empty, is expected"
    with pytest.raises(ValueError, match=words):
        load_mnist(tmp_path)
