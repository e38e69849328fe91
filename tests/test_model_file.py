"""Model files: what is written is what is read, and what could not be read is not written."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import hostile
import numpy as np
import pytest
import safetensors.numpy
from model_files import DESCRIPTION, TENSORS

from fastnn.formats import model_file


def same(tensors, others):
    return tensors.keys() == others.keys() and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in ((tensors[name], others[name]) for name in tensors)
    )


@pytest.mark.parametrize("convert", [str, Path, os.fsencode], ids=["str", "Path", "bytes"])
def test_what_is_written_is_what_is_read(path, convert):
    model_file.write(convert(path), DESCRIPTION, TENSORS)
    description, tensors = model_file.read(convert(path))
    assert description == DESCRIPTION
    assert same(tensors, TENSORS)


def test_the_arrays_are_the_callers_own(path):
    model_file.write(path, {}, TENSORS)
    tensors = model_file.read(path)[1]
    for array in tensors.values():
        assert array.flags.writeable
        assert array.flags.aligned
        assert array.flags.c_contiguous
        assert array.dtype.isnative
        array[...] = 0
    assert same(model_file.read(path)[1], TENSORS)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: a.astype(a.dtype.newbyteorder(">")),
        lambda a: np.asfortranarray(a),
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: a[::-1][::-1],
        lambda a: np.frombuffer(b"\0" + a.tobytes(), np.uint8)[1:].view(a.dtype).reshape(a.shape),
    ],
    ids=["byte-swapped", "Fortran", "strided", "reversed", "misaligned and read-only"],
)
def test_every_layout_is_written_as_its_values(path, change):
    expected = TENSORS["0.weight"]
    changed = change(expected)
    before = changed.tobytes()
    model_file.write(path, {}, {"w": changed})
    assert same(model_file.read(path)[1], {"w": expected})
    assert changed.tobytes() == before


def test_the_same_content_gives_the_same_bytes(path, tmp_path):
    model_file.write(path, DESCRIPTION, TENSORS)
    backwards = dict(reversed(list(DESCRIPTION.items())))
    for _ in range(20):  # safetensors' own writer shuffles the metadata
        model_file.write(tmp_path / "b", backwards, dict(reversed(list(TENSORS.items()))))
        assert (tmp_path / "b").read_bytes() == path.read_bytes()


def test_safetensors_reads_the_same_arrays(path):
    model_file.write(path, DESCRIPTION, TENSORS)
    assert same(safetensors.numpy.load_file(path), TENSORS)
    with safetensors.safe_open(path, "np") as file:
        assert json.loads(file.metadata()["description"]) == DESCRIPTION
        assert file.metadata()["format"] == "fastnn"


def test_the_file_by_hand(path):
    """The bytes, and the checksum as the documentation of the format tells it."""
    model_file.write(path, {"b": 1, "a": [2.5]}, {"w": np.array([1.0, 2.0], np.float32)})
    data = bytes.fromhex("0000803f00000040")
    digest = hashlib.sha256(b'{"a": [2.5], "b": 1}' + b'["w", "F32", [2]]' + data).hexdigest()
    header = (
        '{"__metadata__":{"description":"{\\"a\\": [2.5], \\"b\\": 1}","format":"fastnn",'
        f'"sha256":"{digest}","version":"1"}},'
        '"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    ).encode()
    header += b" " * (-len(header) % 8)
    assert path.read_bytes() == len(header).to_bytes(8, "little") + header + data


def test_the_corpus_knows_the_same_checksum(path):
    path.write_bytes(hostile.sealed())
    model_file.write(path, *model_file.read(path))
    assert hostile.metadata()["sha256"].encode() in path.read_bytes()


def test_tensors_are_aligned_in_the_file_whatever_their_names(path):
    tensors = {"a": np.ones(3, np.uint8), "b": np.ones(3, np.float32), "c": np.ones(3)}
    model_file.write(path, {}, tensors)
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    assert start % 8 == 0
    for name, array in tensors.items():
        assert header[name]["data_offsets"][0] % array.itemsize == 0


@pytest.mark.parametrize(
    ("tensor", "error", "because"),
    [
        ([1.0, 2.0], TypeError, "'w' must be an array of float32.*, not list"),
        (np.float64(1), TypeError, "not float64"),
        (np.ones(2, np.float16), TypeError, "not float16"),
        (np.ones(2, np.int32), TypeError, "not int32"),
        (np.ones(2, bool), TypeError, "not bool"),
        (np.ones(2, complex), TypeError, "not complex128"),
        (np.array(["a"]), TypeError, "not <U1"),
        (np.array([object()]), TypeError, "not object"),
        (np.ones(2, [("a", "f4")]), TypeError, "array of float32"),
        (np.ones((1, 1, 1)), ValueError, "'w' has shape"),
        (np.array([1, np.nan]), ValueError, "'w' holds NaN or infinity"),
        (np.array([np.inf], np.float32), ValueError, "'w' holds NaN or infinity"),
        (np.empty((0, 2**31)), ValueError, "'w' has shape"),
    ],
)
def test_a_tensor_that_cannot_be_read_back_is_not_written(old_file, tensor, error, because):
    before = old_file.read_bytes()
    with pytest.raises(error, match=because):
        model_file.write(old_file, {}, {"w": tensor})
    assert old_file.read_bytes() == before


@pytest.mark.parametrize("name", ["", "a\nb", "\0", "x" * 256, "\ud800", "__metadata__"])
def test_a_name_that_cannot_be_read_back_is_not_written(path, name):
    with pytest.raises(ValueError, match="does not fit into a model file"):
        model_file.write(path, {}, {name: np.ones(2)})
    assert not path.exists()


def test_a_name_must_be_text(path):
    with pytest.raises(TypeError, match="must be a str, not 3"):
        model_file.write(path, {}, {3: np.ones(2)})


@pytest.mark.parametrize(
    ("description", "error"),
    [
        ([], (TypeError, ValueError)),
        (None, (TypeError, ValueError)),
        ({1: "a"}, TypeError),
        ({"a": (1, 2)}, TypeError),
        ({"a": {2}}, TypeError),
        ({"a": np.float32(1)}, TypeError),
        ({"a": b"bytes"}, TypeError),
        ({"a": float("nan")}, ValueError),
        ({"a": float("inf")}, ValueError),
        ({"a": "\ud800"}, ValueError),
        ({"a": 10**65}, ValueError),
        ({"a": "x" * (1 << 19)}, ValueError),
        ({"a": [[]] * 70_000}, ValueError),
        ({1: "a", "1": "b"}, (TypeError, ValueError)),
    ],
)
def test_a_description_that_cannot_be_read_back_is_not_written(path, description, error):
    with pytest.raises(error):
        model_file.write(path, description, {})
    assert not path.exists()


def test_too_many_tensors_are_not_written(path):
    tensors = {str(number): np.empty(0) for number in range(4097)}
    with pytest.raises(ValueError, match="4097 tensors, more than 4096"):
        model_file.write(path, {}, tensors)
    del tensors["0"]
    model_file.write(path, {}, tensors)
    assert len(model_file.read(path)[1]) == 4096


def test_a_header_beyond_its_limit_is_not_written(path):
    tensors = {f"{number:0255}": np.empty(0) for number in range(4096)}
    with pytest.raises(ValueError, match="header has more than 1048576 bytes"):
        model_file.write(path, {}, tensors)


def test_neither_writing_nor_reading_imports_safetensors(path):
    program = (
        "import sys, numpy as np; from fastnn.formats import model_file;"
        f"path = {str(path)!r}; model_file.write(path, {{}}, {{'w': np.ones(2)}});"
        "model_file.read(path);"
        "sys.exit('safetensors' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
