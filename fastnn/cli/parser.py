"""The words of the command line: commands, options, their help and their defaults."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from fastnn import activations, backends, losses, optimizers
from fastnn.errors import unknown_name

__all__ = ["UsageError", "build_parser"]

MODEL = "a model file that fastnn saved"
TABLE_ENDINGS = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
TABLES = f"{', '.join(TABLE_ENDINGS[:-1])} or {TABLE_ENDINGS[-1]}"


class UsageError(Exception):
    """The program was called in a way that makes no sense; the message says what would."""


class _Parser(argparse.ArgumentParser):
    """Raises one sentence instead of printing the usage and then the error."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message}; see: {self.prog} --help")


class _Program(_Parser):
    """The parser of the whole line, which knows the nearest command to a word that is none."""

    commands: tuple[str, ...] = ()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = sys.argv[1:] if args is None else list(args)
        if words and not words[0].startswith("-") and words[0] not in self.commands:
            self.error(str(unknown_name("command", words[0], self.commands)))
        return super().parse_known_args(words, namespace)


class _Command(_Parser):
    """The parser of one command, which answers for the options that it does not know."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return parsed, unknown


def build_parser(commands: Sequence[str]) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Its result has ``command``, one of `commands`, and the options of that command.
    """
    parser = _Program(
        prog="fastnn",
        description="Train fully connected neural networks, and predict with them.",
        epilog="example:\n  fastnn train digits\n  fastnn predict digits.fnn digits",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.commands = tuple(commands)
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    choices = parser.add_subparsers(
        dest="command", metavar="COMMAND", required=True, parser_class=_Command
    )
    for name in commands:
        summary, example, add_options = DESCRIPTIONS[name]
        command = choices.add_parser(
            name,
            help=summary,
            description=summary[0].upper() + summary[1:] + ".",
            epilog=f"example:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        add_options(command)
    return parser


class _Version(argparse.Action):
    """Prints the version, which is looked up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from fastnn.information import version

        print(f"fastnn {version()}")
        parser.exit()


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", metavar="DATA", help=f"digits, mnist, or a table: {TABLES}")
    _add_folder(parser)
    table = parser.add_argument_group("tables")
    table.add_argument("--target", metavar="COLUMN", help="the column to predict")
    table.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="auto takes text, true/false and a few whole numbers as classes",
    )
    network = parser.add_argument_group("network")
    network.add_argument(
        "--hidden",
        type=_widths,
        default=(128, 64),
        metavar="WIDTHS",
        help="units of each hidden layer, such as 256,128, or none (128,64)",
    )
    network.add_argument(
        "--activation",
        type=_activation,
        default="relu",
        metavar="NAME",
        help="of the hidden layers, such as relu, tanh, gelu, silu (relu)",
    )
    network.add_argument(
        "--dropout",
        type=float,
        default=0.2,
        metavar="RATE",
        help="share of hidden outputs set to 0 while training (0.2)",
    )
    network.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    learning = parser.add_argument_group("training")
    learning.add_argument(
        "--epochs",
        type=_count,
        metavar="N",
        help="passes over the training rows (60; fewer, down to 10, above 16,000 rows)",
    )
    learning.add_argument(
        "--batch-size", type=_count, default=32, metavar="N", help="rows a step (32)"
    )
    learning.add_argument(
        "--learning-rate",
        type=float,
        metavar="RATE",
        help="the first; it falls to 0 along half a cosine (0.005; 0.1 for sgd)",
    )
    learning.add_argument(
        "--optimizer",
        choices=tuple(optimizers.OPTIMIZERS),
        default="adam",
        help="(adam)",
    )
    learning.add_argument(
        "--loss",
        type=_loss,
        metavar="NAME",
        help=f"{', '.join(losses.LOSSES)} (cross_entropy for classes, mse for values)",
    )
    learning.add_argument(
        "--seed", type=_whole, default=0, metavar="N", help="of weights, order and dropout (0)"
    )
    _add_running(parser)
    parser.add_argument(
        "--output",
        metavar="FILE",
        help="where to save the model, in place of one that is there (the name of the data with "
        ".fnn, in this folder, unless a model of other data is there)",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print nothing but the last line, the result"
    )


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument(
        "data",
        metavar="DATA",
        help="digits or mnist, of which the test rows count, or a table with its target, of which "
        "all rows count, also those that the network was trained on",
    )
    _add_folder(parser)
    _add_running(parser)


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL)
    parser.add_argument(
        "data",
        metavar="DATA",
        help=f"digits or mnist (their test rows), an IDX file of images, or a table: {TABLES}",
    )
    _add_folder(parser)
    parser.add_argument(
        "--rows",
        type=_count,
        metavar="N",
        help="the first N rows only (10 of digits and mnist, all of a file)",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="a new file to write the predictions of a table to, as CSV"
    )
    _add_running(parser)


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=MODEL)


def _info(parser: argparse.ArgumentParser) -> None:
    pass


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds",
        type=float,
        default=0.2,
        metavar="S",
        help="least time of a measurement (0.2)",
    )
    _add_running(parser)


def _add_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        dest="folder",
        metavar="FOLDER",
        help="of mnist: the folder with its four files, as published",
    )


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument(
        "--backend",
        choices=("auto", *backends.BACKENDS),
        default="auto",
        help="(auto: the fastest)",
    )
    group.add_argument("--threads", type=_count, metavar="N", help="at most (the cores)")


# Command: what it does, an example of it, and what adds its options.
DESCRIPTIONS: dict[str, tuple[str, str, Callable[[argparse.ArgumentParser], None]]] = {
    "train": (
        "train a network and save it",
        "fastnn train flats.csv --target price --hidden 64,32",
        _train,
    ),
    "evaluate": (
        "measure a saved network on rows with known answers",
        "fastnn evaluate digits.fnn digits",
        _evaluate,
    ),
    "predict": (
        "predict with a saved network, a line a row",
        "fastnn predict flats.fnn new_flats.csv --output prices.csv",
        _predict,
    ),
    "show": (
        "show the layers of a saved network and where it stands",
        "fastnn show digits.fnn",
        _show,
    ),
    "info": ("show versions, backends and threads", "fastnn info", _info),
    "bench": ("measure how fast fastnn is here", "fastnn bench --threads 1", _bench),
}


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _widths(text: str) -> tuple[int, ...]:
    if text == "none":
        return ()
    try:
        return tuple(_count(part.strip()) for part in text.split(","))
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; give the units of each layer, whole numbers above 0 such as 128,64, or "
            "the word none for no hidden layer"
        ) from None


def _activation(text: str) -> str:
    try:
        return activations.get(text).name
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _loss(text: str) -> losses.Loss:
    if text not in losses.LOSSES:
        raise argparse.ArgumentTypeError(str(unknown_name("loss", text, losses.LOSSES)))
    return losses.get(text)
