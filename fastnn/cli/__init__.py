"""The command line: ``fastnn train``, ``evaluate``, ``predict``, ``show``, ``info``, ``bench``.

Wrong use, which includes files that are not what the command needs, gives one line on stderr and
the status 2; a failure while running gives one line and 1; Ctrl-C gives one line and 130.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from fastnn.cli import terminal
from fastnn.cli.parser import UsageError, build_parser
from fastnn.cli.training import train
from fastnn.cli.using import bench, evaluate, info, predict, show
from fastnn.errors import DivergenceError

__all__ = ["main"]

COMMANDS: dict[str, Callable[[Any], None]] = {
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "show": show,
    "info": info,
    "bench": bench,
}

# What the checks of arguments, data and model files raise; BackendUnavailable and MissingDependency
# are ImportErrors, ModelFileError is a ValueError.
WRONG_USE = (
    UsageError,
    TypeError,
    ValueError,
    ImportError,
    FileNotFoundError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
)

WRONG, FAILED, INTERRUPTED, BROKEN_PIPE = 2, 1, 130, 141  # the last two as shells count signals


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        What stands behind the name of the program; `sys.argv` where omitted.

    Returns
    -------
    int
        The exit status: 0, 1 for a failure, 2 for wrong use, 130 after Ctrl-C, 141 when the reader
        of the output has gone.

    Examples
    --------
    >>> main(["train", "nothing.csv"])
    2
    """
    terminal.prepare()
    with warnings.catch_warnings():
        warnings.showwarning = _say_warning
        try:
            parsed = build_parser(tuple(COMMANDS)).parse_args(arguments)
            COMMANDS[parsed.command](parsed)
            terminal.flush()
        except SystemExit as end:  # argparse, after --help and --version
            terminal.drop_output()
            return int(end.code or 0)
        except BrokenPipeError:
            terminal.drop_output()
            return BROKEN_PIPE
        except KeyboardInterrupt as interrupt:
            terminal.complain(f"interrupted; {interrupt}" if interrupt.args else "interrupted")
            return INTERRUPTED
        except Exception as error:
            if sys.flags.dev_mode:  # python -X dev -m fastnn ...
                raise
            terminal.drop_output()
            terminal.complain(_sentence(error))
            return WRONG if isinstance(error, WRONG_USE) else FAILED
    return 0


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f": {os.fsdecode(error.filename)!r}" if error.filename else ""
        return f"{error.strerror}{place}"
    if isinstance(error, MemoryError):
        return f"not enough memory: {error}" if str(error) else "not enough memory"
    if isinstance(error, (*WRONG_USE, DivergenceError, OSError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error} (python -X dev -m fastnn shows where)"


def _say_warning(message: Warning | str, *_: object, **__: object) -> None:
    terminal.complain(str(message))
