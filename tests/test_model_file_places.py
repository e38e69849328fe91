"""Where a model is saved: permissions and owners, links, names, and what is no place for a file."""

import contextlib
import os
import stat
from pathlib import Path

import pytest

from fastnn.errors import ModelFileError
from fastnn.formats import model_file


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
