"""What the terminal needs: text that cannot steer it, one line a complaint, a quiet end."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import sys
from collections.abc import Sequence

__all__ = [
    "command_line",
    "complain",
    "counted",
    "drop_output",
    "flush",
    "prepare",
    "printable",
    "say",
]

PROGRAM = "fastnn"


def prepare() -> None:
    """Let no character end the program because the terminal's encoding lacks it."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def printable(text: str) -> str:
    """Return text as one line without control characters, which could steer a terminal."""
    plain = " ".join(text.splitlines())
    return "".join(
        c if c.isprintable() or "\ud800" <= c <= "\udfff" else repr(c)[1:-1] for c in plain
    )


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    Examples
    --------
    >>> counted(1, "row"), counted(1437, "row")
    ('1 row', '1437 rows')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def say(text: str) -> None:
    """Print a line."""
    print(printable(text))


def complain(text: str) -> None:
    """Print a line on stderr, with the name of the program."""
    if sys.stderr is not None:  # print would take stdout in its place
        print(f"{PROGRAM}: {printable(text)}", file=sys.stderr)


def flush() -> None:
    """Write out what is still in the buffer, so that a failure of it is seen now."""
    if sys.stdout is not None:
        sys.stdout.flush()


def drop_output() -> None:
    """Bring out what can be; send the rest nowhere, where Python's end would complain about it."""
    try:
        flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):  # no real file, as in tests
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def command_line(words: Sequence[str]) -> str:
    """Return a command of this program that can be pasted into the shell it was started from."""
    return shlex.join([*_program(), *words])


def _program() -> list[str]:
    started = sys.argv[0]
    folder, name = os.path.split(started)
    if name == "__main__.py" and os.path.basename(folder) == PROGRAM:
        return [sys.executable, "-m", PROGRAM]
    found = shutil.which(PROGRAM)
    if name != PROGRAM or (found and os.path.samefile(found, started)):
        return [PROGRAM]
    return [started]  # not on the PATH, as in a virtual environment that is not active
