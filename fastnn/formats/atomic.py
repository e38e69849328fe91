"""Plain files: opened without waiting for anybody, and replaced whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
from collections.abc import Iterable
from io import FileIO

from fastnn.errors import ModelFileError

__all__ = ["open_plain", "replace_file"]

SUFFIX = ".fastnn-tmp"
MOST_NAME = 200  # bytes of the target's name in that of its temporary file; names end at 255
KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}

_in_progress: set[str] = set()  # the temporary files that this process writes just now


def open_plain(path: str) -> FileIO:
    """Open a plain file for reading, unbuffered.

    Raises
    ------
    ModelFileError
        When the path names a folder, a pipe, a socket or a device. None of them is opened.
    OSError
        When the file cannot be opened; FileNotFoundError when there is none.
    """
    _refuse_special(os.stat(path))
    # Whoever swaps the file for a pipe after that look does not make us wait for its writer.
    file = FileIO(path, opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))
    try:
        _refuse_special(os.fstat(file.fileno()))
    except BaseException:
        file.close()
        raise
    return file


def replace_file(path: str, content: Iterable[bytes | memoryview]) -> None:
    """Write a file so that a kill or a power cut at any moment leaves the old or the new one.

    The bytes go to a temporary file in the same folder and to the disk; then it takes the target's
    name, and the folder goes to the disk too. What fails on the way leaves the old file as it was.

    Parameters
    ----------
    path : str
        The target. Of a symbolic link, the file that it points to. An existing file's permissions
        and owner stay; a new file gets those that ``open`` would give.
    content : iterable of bytes or memoryview
        What the file shall hold, in order.

    Raises
    ------
    ModelFileError
        When the path names a folder, a pipe, a socket or a device.
    OSError
        When the file cannot be written, such as on a full disk.
    """
    target = os.path.realpath(path)
    folder, name = os.path.split(target)
    if not os.path.basename(path):
        raise ModelFileError("it names a folder; a model file must be a plain file")
    old: os.stat_result | None = None
    with contextlib.suppress(FileNotFoundError):
        old = os.stat(target)
        _refuse_special(old)
    prefix = f".{os.fsdecode(os.fsencode(name)[:MOST_NAME])}."
    temporary = os.path.join(folder, f"{prefix}{os.getpid()}.{secrets.token_hex(8)}{SUFFIX}")
    _in_progress.add(temporary)
    try:
        _write_durably(temporary, content, old, path)
        os.replace(temporary, target)
        _fsync_folder(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        _in_progress.discard(temporary)
    _remove_stale(folder, prefix)


def _refuse_special(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "no plain file")
        raise ModelFileError(f"it is {kind}; a model file must be a plain file")


def _write_durably(
    temporary: str,
    content: Iterable[bytes | memoryview],
    old: os.stat_result | None,
    path: str,
) -> None:
    mode = stat.S_IMODE(old.st_mode) if old else 0o666  # less the umask
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, mode)
    except OSError as error:  # say which file the user asked for
        raise OSError(error.errno, error.strerror, path) from None
    with open(descriptor, "wb") as file:
        if old:
            with contextlib.suppress(OSError):  # only root may give a file away
                os.fchown(descriptor, old.st_uid, old.st_gid)
            with contextlib.suppress(OSError):  # some file systems know no permissions
                os.fchmod(descriptor, mode)
        for piece in content:
            file.write(piece)
        file.flush()
        os.fsync(descriptor)


def _fsync_folder(folder: str) -> None:
    """Bring the new name to the disk, where the file system lets a folder be synced."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # a folder that can be written, yet not be listed
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def _remove_stale(folder: str, prefix: str) -> None:
    """Remove what killed processes left behind beside this target."""
    pattern = re.compile(rf"{re.escape(prefix)}([1-9]\d{{0,8}})\.[0-9a-f]{{16}}{re.escape(SUFFIX)}")
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            match = pattern.fullmatch(name)
            path = os.path.join(folder, name)
            if match and _is_stale(path, int(match[1])):
                os.unlink(path)


def _is_stale(path: str, pid: int) -> bool:
    if pid == os.getpid():  # in a container, the process before us had our number
        return path not in _in_progress
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's process, alive
        return False
    return False
