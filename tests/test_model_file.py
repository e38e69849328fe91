"""Model files: what is written is what is read, whatever happens on the way."""

import contextlib
import errno
import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import hostile
import numpy as np
import pytest
import safetensors.numpy

from fastnn.errors import ModelFileError
from fastnn.formats import atomic, model_file

DESCRIPTION = {"layers": [{"type": "Dense", "units": 3, "use_bias": True}], "note": 'grün "☃"'}
TENSORS = {
    "0.weight": np.arange(12, dtype=np.float32).reshape(4, 3) / 7,
    "0.bias": np.array([1.5, -0.0, 5e-324]),
    "step": np.array(2**62 + 1),
    "mask": np.arange(6, dtype=np.uint8).reshape(2, 3),
    "empty": np.empty((0, 5), np.float32),
}


def same(tensors, others):
    return tensors.keys() == others.keys() and all(
        (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
        for a, b in ((tensors[name], others[name]) for name in tensors)
    )


def temporaries(folder):
    return [name for name in os.listdir(folder) if name.endswith(".fastnn-tmp")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.fnn"


@pytest.fixture
def old_file(path):
    model_file.write(path, {"version": "old"}, TENSORS)
    return path


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


def test_the_file_is_on_the_disk_before_it_has_its_name_and_the_name_after(path, monkeypatch):
    """The order without which a power cut leaves an empty file under the old name."""
    calls = []

    def recorded(name, call, subject):
        def record(*arguments):
            calls.append((name, *subject(*arguments)))
            return call(*arguments)

        monkeypatch.setattr(os, name, record)

    def what_is_synced(descriptor):
        status = os.fstat(descriptor)
        if stat.S_ISDIR(status.st_mode):
            return "folder", status.st_ino
        return "file", status.st_ino, status.st_size

    recorded("fsync", os.fsync, what_is_synced)
    recorded("replace", os.replace, lambda old, new: (os.stat(old).st_ino, new))
    model_file.write(path, DESCRIPTION, TENSORS)
    status = os.stat(path)
    assert calls == [
        ("fsync", "file", status.st_ino, status.st_size),
        ("replace", status.st_ino, str(path)),
        ("fsync", "folder", os.stat(path.parent).st_ino),
    ]


@pytest.mark.parametrize(
    "error", [OSError(errno.EIO, "broken"), KeyboardInterrupt(), MemoryError()]
)
@pytest.mark.parametrize("call", ["open", "fchmod", "fsync", "replace"])
def test_whatever_interrupts_a_save_leaves_the_old_file_and_nothing_else(
    old_file, monkeypatch, call, error
):
    before = old_file.read_bytes()
    if call == "fchmod" and isinstance(error, OSError):
        return  # a file system without permissions is no reason to lose a model

    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(type(error)):
            model_file.write(old_file, DESCRIPTION, TENSORS)
    assert old_file.read_bytes() == before
    assert os.listdir(old_file.parent) == [old_file.name]
    assert not atomic._in_progress


def test_an_error_of_the_folders_sync_is_told_and_the_new_file_whole(old_file, monkeypatch):
    sync = os.fsync

    def fail(descriptor, code=errno.EIO):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(code, "broken")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="broken"):
        model_file.write(old_file, {"version": "new"}, {})
    assert model_file.read(old_file) == ({"version": "new"}, {})
    assert temporaries(old_file.parent) == []
    monkeypatch.setattr(os, "fsync", lambda descriptor: fail(descriptor, errno.EINVAL))
    model_file.write(old_file, {"version": "newer"}, {})  # such a file system cannot do it


def test_a_full_disk_leaves_the_old_file(old_file):
    before = old_file.read_bytes()
    program = f"""
import resource
import numpy as np
from fastnn.formats import model_file
for limit in (0, 1, 8, 100, 4096, 65536, 99_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, -1))
    try:
        model_file.write({str(old_file)!r}, {{}}, {{"w": np.ones(100_000 // 8)}})
    except OSError as error:
        print(type(error).__name__, error.errno)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines() == [f"OSError {errno.EFBIG}"] * 7
    assert done.stderr == ""
    assert old_file.read_bytes() == before
    assert os.listdir(old_file.parent) == [old_file.name]


KILLED = """
import os, signal, sys, time
import numpy as np
from fastnn.formats import model_file

path, rounds = sys.argv[1], int(sys.argv[2])
tensors = {"w": np.zeros(250_000), "b": np.zeros(1000, np.float32)}
model_file.write(path, {"number": 0}, tensors)
for turn in range(rounds):
    begun, first = os.pipe()
    child = os.fork()
    if child == 0:
        number = 0
        while True:
            number += 1
            for tensor in tensors.values():
                tensor.fill(number)
            model_file.write(path, {"number": number}, tensors)
            if number == 1:
                os.write(first, b"x")
    os.read(begun, 1)
    time.sleep(turn * 0.0013)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    description, read = model_file.read(path)
    assert all((tensor == description["number"]).all() for tensor in read.values())
    print(sum(name.endswith(".fastnn-tmp") for name in os.listdir(os.path.dirname(path))))
model_file.write(path, {"number": 0}, {})
"""


def test_a_save_that_is_killed_leaves_the_old_or_the_new_model(path):
    """Nearly every kill hits a save; what it leaves behind, the next save removes."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED, str(path), "25"],
        capture_output=True,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.stderr == ""
    left = [int(line) for line in done.stdout.split()]
    assert len(left) == 25
    assert any(left)  # else no kill has hit a save, and nothing was tested
    assert max(left) == 1
    assert os.listdir(path.parent) == [path.name]


def a_dead_pid():
    child = subprocess.Popen([sys.executable, "-S", "-c", ""])
    child.wait()
    return child.pid


def test_only_what_the_dead_left_beside_this_target_is_removed(path):
    dead, alive, random = a_dead_pid(), os.getppid(), "0123456789abcdef"
    stale = [
        f".model.fnn.{dead}.{random}.fastnn-tmp",
        f".model.fnn.{os.getpid()}.{random}.fastnn-tmp",  # of the process that had our number
    ]
    kept = [
        f".model.fnn.{alive}.{random}.fastnn-tmp",
        f".model.fnn.1.{random}.fastnn-tmp",
        f".model.fnn.2.{dead}.{random}.fastnn-tmp",  # the target model.fnn.2
        f".model.{dead}.{random}.fastnn-tmp",
        f".model.fnn.{dead}.{random}.fastnn-tmp2",
        f".modelXfnn.{dead}.{random}.fastnn-tmp",
        f".model.fnn.{dead}.zzz.fastnn-tmp",
        f".model.fnn.-1.{random}.fastnn-tmp",
        f".model.fnn.{10**30}.{random}.fastnn-tmp",
        "other.fnn",
    ]
    for name in stale + kept:
        (path.parent / name).write_bytes(b"")
    model_file.write(path, {}, {})
    assert sorted(os.listdir(path.parent)) == sorted([*kept, path.name])


def test_a_save_that_fails_removes_nothing_of_others(old_file, monkeypatch):
    stale = old_file.parent / f".model.fnn.{a_dead_pid()}.0123456789abcdef.fastnn-tmp"
    stale.write_bytes(b"")

    def fail(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full"):
        model_file.write(old_file, {}, {})
    assert stale.exists()


def test_threads_that_save_to_one_path_leave_one_whole_model(path):
    errors = []

    def save(number):
        try:
            for _ in range(10):
                tensors = {"w": np.full(10_000, float(number))}
                model_file.write(path, {"number": number}, tensors)
                description, tensors = model_file.read(path)
                assert (tensors["w"] == description["number"]).all()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=save, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert os.listdir(path.parent) == [path.name]


def test_a_tensor_that_changes_during_the_save_does_not_damage_the_file(path, monkeypatch):
    tensor = np.zeros(1000)
    replace = atomic.replace_file

    def change_and_replace(*arguments):
        tensor.fill(1)
        replace(*arguments)

    monkeypatch.setattr(model_file, "replace_file", change_and_replace)
    model_file.write(path, {}, {"w": tensor})
    assert not model_file.read(path)[1]["w"].any()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_a_new_file_has_the_permissions_that_the_umask_leaves(path, umask):
    before = os.umask(umask)
    try:
        model_file.write(path, {}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o666, 0o444])
def test_an_existing_file_keeps_its_permissions(old_file, mode):
    os.chmod(old_file, mode)
    model_file.write(old_file, {}, {})
    assert stat.S_IMODE(os.stat(old_file).st_mode) == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give a file away")
def test_an_existing_file_keeps_its_owner(old_file):
    os.chown(old_file, 1234, 2345)
    model_file.write(old_file, {}, {})
    status = os.stat(old_file)
    assert (status.st_uid, status.st_gid) == (1234, 2345)


def test_a_private_model_is_never_readable_by_others_while_it_is_written(old_file, monkeypatch):
    os.chmod(old_file, 0o600)
    modes = []
    change = os.fchmod

    def record(descriptor, mode):
        modes.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        change(descriptor, mode)

    monkeypatch.setattr(os, "fchmod", record)
    model_file.write(old_file, {}, {})
    assert modes == [0o600]


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_the_file_behind_it_is_written(tmp_path, exists):
    os.makedirs(tmp_path / "real")
    target = tmp_path / "real" / "model.fnn"
    if exists:
        model_file.write(target, {}, {})
        os.chmod(target, 0o640)
    os.symlink("real/model.fnn", tmp_path / "link")
    model_file.write(tmp_path / "link", {"a": 1}, {})
    assert os.path.islink(tmp_path / "link")
    assert model_file.read(target) == ({"a": 1}, {})
    assert not exists or stat.S_IMODE(os.stat(target).st_mode) == 0o640
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]
    assert os.listdir(tmp_path / "real") == ["model.fnn"]


def test_a_hard_link_keeps_the_old_model(old_file):
    os.link(old_file, old_file.parent / "backup")
    model_file.write(old_file, {}, {})
    assert model_file.read(old_file.parent / "backup")[0] == {"version": "old"}


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 127, "a b\n", "-rf", "*.[0-9]"])
def test_every_name_that_a_file_may_have_is_taken(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for number in range(2):
        model_file.write(name, {"number": number}, {})
    assert model_file.read(name) == ({"number": 1}, {})
    assert os.listdir() == [name]


@pytest.mark.parametrize("wrong", ["", "new/", "folder/", "folder"])
def test_a_path_that_names_no_file_is_refused(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    os.mkdir("folder")
    with pytest.raises(ModelFileError, match=f"{wrong!r} cannot be written: it .* a folder"):
        model_file.write(wrong, {}, {})
    assert os.listdir() == ["folder"]


def test_a_missing_folder_is_told_under_the_name_that_was_given(tmp_path):
    path = tmp_path / "none" / "model.fnn"
    with pytest.raises(FileNotFoundError) as caught:
        model_file.write(path, {}, {})
    assert caught.value.filename == str(path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotADirectoryError):
        model_file.write(tmp_path / "file" / "model.fnn", {}, {})


def as_nobody(action):
    """Run an action in a child without root's rights; return its exit status."""
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            action()
            status = 0
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_may_not_be_read_or_written_is_a_permission_error():
    # not in tmp_path, which nobody but its owner may enter
    folder = Path(os.path.realpath("/tmp"), f"fastnn-{os.getpid()}-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o755)
    path = folder / "model.fnn"
    try:
        model_file.write(path, {}, {})
        path.chmod(0)

        def forbidden():
            for call in [lambda: model_file.read(path), lambda: model_file.write(path, {}, {})]:
                with pytest.raises(PermissionError):
                    call()

        if os.geteuid() != 0:
            folder.chmod(0o555)
        assert as_nobody(forbidden) == 0
    finally:
        folder.chmod(0o755)
        path.unlink()
        folder.rmdir()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_permission_test_can_fail():
    assert as_nobody(lambda: 1 / 0) == 1


def test_a_signal_in_the_middle_of_a_save_leaves_nothing_behind(old_file, monkeypatch):
    """Ctrl-C comes as KeyboardInterrupt out of any line."""
    before = old_file.read_bytes()
    sync = os.fsync

    def interrupted(descriptor):
        os.kill(os.getpid(), signal.SIGINT)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model_file.write(old_file, {}, {"w": np.ones(1000)})
    assert old_file.read_bytes() == before
    assert os.listdir(old_file.parent) == [old_file.name]
