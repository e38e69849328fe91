"""Saving a model: whatever interrupts it, the old file or the new one stands there whole."""

import errno
import os
import signal
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
from model_files import DESCRIPTION, TENSORS

from fastnn.formats import atomic, model_file


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
    assert os.listdir(old_file.parent) == [old_file.name]
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
