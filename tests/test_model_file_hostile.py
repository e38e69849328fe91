"""Model files from strangers: refused with one exception, in one sentence, at bounded cost."""

import functools
import json
import os
import random
import re
import subprocess
import sys
import threading
import tracemalloc

import hostile
import numpy as np
import pytest
import safetensors
import safetensors.numpy

from fastnn.errors import ModelFileError
from fastnn.formats import header, model_file

CASES = hostile.cases()
CONTROLS = hostile.controls()


@pytest.fixture
def saved(write_file):
    return functools.partial(write_file, "model.fnn")


def refusal(path):
    with pytest.raises(ModelFileError) as caught:
        model_file.read(path)
    assert type(caught.value) is ModelFileError
    return str(caught.value)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_hostile_file_is_refused_for_what_is_wrong_with_it(saved, case):
    path = saved(case.content)
    message = refusal(path)
    assert message.startswith(f"the model file {str(path)!r} cannot be read: ")
    assert re.search(case.because, message)
    assert len(message) < 500 + len(str(path))
    assert message.isprintable()


def test_the_corpus_is_large_and_every_case_its_own():
    assert len(CASES) >= 200
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({case.content for case in CASES}) == len(CASES)


@pytest.mark.parametrize("content", CONTROLS.values(), ids=CONTROLS)
def test_an_odd_but_valid_file_is_taken_and_means_what_safetensors_reads(saved, content):
    path = saved(content)
    description, tensors = model_file.read(path)
    length = int.from_bytes(content[:8], "little")
    text = json.loads(content[8 : 8 + length])["__metadata__"]["description"]
    assert description == json.loads(text)
    expected = safetensors.numpy.load_file(path)
    assert tensors.keys() == expected.keys()
    for name, array in tensors.items():
        assert array.dtype == expected[name].dtype
        assert array.shape == expected[name].shape
        assert array.tobytes() == expected[name].tobytes()
        assert array.flags.c_contiguous
        assert array.flags.writeable
        assert array.flags.aligned
        assert array.dtype.isnative


def test_no_hostile_file_makes_fastnn_take_much_more_memory_than_it_has(saved):
    tracemalloc.start()
    for case in CASES:
        path = saved(case.content)
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        refusal(path)
        peak = tracemalloc.get_traced_memory()[1] - before
        assert peak < len(case.content) + (7 << 20), case.name
    tracemalloc.stop()


def test_reading_takes_no_more_memory_than_the_file_has(tmp_path):
    size = 32 << 20
    model_file.write(tmp_path / "m", {}, {"t": np.ones(size // 4, np.float32)})
    tracemalloc.start()
    tensors = model_file.read(tmp_path / "m")[1]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert tensors["t"].nbytes == size
    assert peak < size + (1 << 20)


def test_every_flip_of_one_byte_is_refused(saved):
    path = saved(b"")
    arrays = {"0.weight": np.arange(12.0).reshape(3, 4), "0.bias": np.ones(4, np.float32)}
    model_file.write(path, {"name": 'grün "x"', "layers": [1, 2.5, None]}, arrays)
    content = path.read_bytes()
    generator = random.Random(1)
    flips = [(place, 0x20) for place in range(len(content))]  # capitals, spaces, signs
    flips += [(generator.randrange(len(content)), generator.randrange(1, 256)) for _ in range(600)]
    for place, bits in flips:
        damaged = bytearray(content)
        damaged[place] ^= bits
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError):
            model_file.read(path)


def test_every_cut_is_refused(saved):
    path = saved(b"")
    model_file.write(path, {}, {"t": np.ones(9, np.float32)})
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError):
            model_file.read(path)


def mutated(text, generator):
    """Return a header after one to three changes to its tokens."""
    tokens = re.findall(r'"[^"]*"|-?\d+|[^"\d]', text)
    for _ in range(generator.randint(1, 3)):
        place = generator.randrange(len(tokens))
        other = generator.randrange(len(tokens))
        tokens[place] = generator.choice([
            tokens[other],
            "",
            tokens[place] * 2,
            tokens[place] + tokens[other],
            " ",
            generator.choice([
                "0", "1", "2", "4", "8", "16", "24", "-1", "-0", "1.0", "1e0", "00", "4294967296",
                "9223372036854775808", "18446744073709551616", "NaN", "true", "null", "[]", "{}",
                '"F64"', '"I64"', '"U8"', '"BOOL"', '"\\ud800"', "\ufeff", "\x01", "0,", "[0,0]",
            ]),
        ])  # fmt: skip
    return "".join(tokens)


def test_what_fastnn_takes_safetensors_takes_too(saved, monkeypatch):
    """The reader is never looser than that of safetensors, and where both read, they agree."""
    monkeypatch.setattr(model_file, "_checksum", lambda *_: "0" * 64)
    path, generator = saved(b""), random.Random(2)
    entries = {
        "a": hostile.entry([2], 0, 8),
        "b": hostile.entry([0, 4], 8, 8),
        "c": hostile.entry([2, 1], 8, 24, "F64"),
    }
    metadata = hostile.metadata(description="{}", sha256="0" * 64)
    text = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":"))
    taken = 0
    for _ in range(2000):
        content = hostile.raw_file(mutated(text, generator), bytes(24))
        path.write_bytes(content)
        try:
            tensors = model_file.read(path)[1]
        except ModelFileError:
            continue
        taken += 1
        expected = safetensors.numpy.load(content)
        assert tensors.keys() == expected.keys()
        for name, array in tensors.items():
            assert array.tobytes() == expected[name].tobytes()
            assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
    assert taken > 10  # else the mutations are too coarse to say anything


def test_safetensors_itself_takes_some_of_the_corpus():
    """Else the comparison above would compare with nothing."""
    looser = 0
    for case in CASES:
        try:
            safetensors.deserialize(case.content)
        except safetensors.SafetensorError:
            continue
        looser += 1
    assert looser > 20


def test_a_missing_file_stays_file_not_found(tmp_path):
    with pytest.raises(FileNotFoundError):
        model_file.read(tmp_path / "none.fnn")
    os.symlink("nowhere", tmp_path / "dangling")
    with pytest.raises(FileNotFoundError):
        model_file.read(tmp_path / "dangling")


def test_a_symbolic_link_to_itself_is_an_os_error(tmp_path):
    os.symlink("loop", tmp_path / "loop")
    for call in [model_file.read, lambda path: model_file.write(path, {}, {})]:
        with pytest.raises(OSError, match="symbolic links"):
            call(tmp_path / "loop")


def test_a_symbolic_link_to_a_model_is_followed(tmp_path):
    model_file.write(tmp_path / "m", {"a": 1}, {})
    os.symlink("m", tmp_path / "link")
    assert model_file.read(tmp_path / "link") == ({"a": 1}, {})


@pytest.mark.parametrize("call", ["read", "write"])
@pytest.mark.parametrize("path", ["/", "/dev/null", "/dev/zero", "/dev/full", "folder", "pipe"])
def test_what_is_no_plain_file_is_neither_read_nor_replaced(tmp_path, monkeypatch, path, call):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    os.mkfifo("pipe")  # a pipe that is opened waits for its other end
    kind = {"/": "folder", "folder": "folder", "pipe": "pipe"}.get(path, "device")
    with pytest.raises(ModelFileError, match=f"{path}.* a {kind}"):
        model_file.read(path) if call == "read" else model_file.write(path, {}, {})
    os.symlink(path, "link")
    with pytest.raises(ModelFileError, match=kind):
        model_file.read("link") if call == "read" else model_file.write("link", {}, {})
    assert sorted(os.listdir()) == ["folder", "link", "pipe"]


def test_a_file_that_turns_into_a_pipe_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "m"
    model_file.write(path, {}, {})
    look = os.stat

    def look_and_swap(*arguments, **options):
        status = look(*arguments, **options)
        if os.fspath(arguments[0]) == str(path):
            monkeypatch.undo()
            os.unlink(path)
            os.mkfifo(path)
        return status

    monkeypatch.setattr(os, "stat", look_and_swap)
    with pytest.raises(ModelFileError, match="a pipe"):
        model_file.read(path)


@pytest.mark.parametrize("wrong", [3, None, 2.5, ["m"]])
def test_a_path_that_is_none_is_a_type_error(wrong):
    for call in [model_file.read, lambda path: model_file.write(path, {}, {})]:
        with pytest.raises(TypeError):
            call(wrong)


@pytest.mark.parametrize(("change", "because"), [(-1, "became shorter"), (1, "grew")])
def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch, change, because):
    path = tmp_path / "m"
    model_file.write(path, {}, {"t": np.ones(1000)})

    def parse_and_change(*arguments):
        os.truncate(path, os.path.getsize(path) + change)
        return header.parse(*arguments)

    monkeypatch.setattr(model_file, "parse", parse_and_change)
    with pytest.raises(ModelFileError, match=because):
        model_file.read(path)


def test_a_file_with_an_unfinished_rewrite_in_its_middle_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "m"
    model_file.write(path, {}, {"t": np.ones(1000)})

    def parse_and_change(*arguments):
        with open(path, "r+b") as file:
            file.seek(-8, os.SEEK_END)
            file.write(np.array([2.0]).tobytes())
        return header.parse(*arguments)

    monkeypatch.setattr(model_file, "parse", parse_and_change)
    with pytest.raises(ModelFileError, match="damaged"):
        model_file.read(path)


def sparse(path, header_text, size, length=None):
    with open(path, "wb") as file:
        file.write(hostile.raw_file(header_text, length=length))
        file.truncate(size)


@pytest.mark.parametrize("length", [None, 100_000_000, 100_000_001, (1 << 40) - 8])
def test_a_sparse_file_of_a_tebibyte_costs_nothing(tmp_path, length):
    sparse(tmp_path / "m", {"__metadata__": hostile.metadata()}, 1 << 40, length)
    tracemalloc.start()
    refusal(tmp_path / "m")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_tensors_beyond_the_memory_are_refused(tmp_path, monkeypatch):
    model_file.write(tmp_path / "m", {}, {"t": np.ones(1000)})
    empty = np.empty

    def poor(size, dtype):
        if size > 5000:
            raise MemoryError
        return empty(size, dtype)

    monkeypatch.setattr(np, "empty", poor)
    assert "more than the memory at hand" in refusal(tmp_path / "m")


def test_nothing_is_left_open(saved):
    before = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    for case in CASES:
        refusal(saved(case.content))
    after = os.listdir("/proc/self/fd") if os.path.isdir("/proc/self/fd") else []
    assert after == before


def test_threads_read_hostile_files_at_the_same_time(tmp_path):
    refused, cases = [], CASES[::5]

    def read(number):
        for case in cases:
            path = tmp_path / str(number)
            path.write_bytes(case.content)
            try:
                model_file.read(path)
            except ModelFileError as error:
                refused.append(re.search(case.because, str(error)) is not None)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == [True] * 4 * len(cases)


WATCHED = """
import os, sys
import safetensors.numpy
from fastnn.errors import ModelFileError
from fastnn.formats import model_file

folder, seen = sys.argv[1], []
paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
current, watching, refused, taken = None, False, 0, 0

def hook(event, arguments):
    if watching and not (event == "open" and arguments[0] == current):
        seen.append((event, str(arguments)[:200]))

sys.addaudithook(hook)
for current in paths:
    watching = True
    try:
        model_file.read(current)
        taken += 1
    except ModelFileError:
        refused += 1
    finally:
        watching = False
print(refused, taken, seen)
"""


def test_reading_raises_no_audit_event_but_the_opening_of_the_file(tmp_path):
    """No import, exec, compile, pickle, subprocess or socket: the whole corpus, good files too."""
    for number, content in enumerate([case.content for case in CASES] + list(CONTROLS.values())):
        (tmp_path / f"{number:04}").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, str(tmp_path)], capture_output=True, text=True
    )
    assert done.stderr == ""
    assert done.stdout.strip() == f"{len(CASES)} {len(CONTROLS)} []"


LIMITED = """
import os, resource, sys
from fastnn.errors import ModelFileError
from fastnn.formats import model_file

sys.setrecursionlimit(10**8)  # as some programs do: nothing but the reader guards the stack
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
for name in sorted(os.listdir(sys.argv[1])):
    try:
        model_file.read(os.path.join(sys.argv[1], name))
    except ModelFileError:
        print(name)
"""


def test_nested_files_cannot_overflow_the_stack(tmp_path):
    nested = [case.content for case in CASES if "nest" in case.name or "[[" in case.name]
    nested.append(hostile.raw_file(b'{"a":' * 200_000 + b"1" + b"}" * 200_000))
    for number, content in enumerate(nested):
        (tmp_path / f"{number:04}").write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0
    assert len(done.stdout.split()) == len(nested) >= 6
