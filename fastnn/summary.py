"""The table of a network: its layers, their widths and their parameters, as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from fastnn.activations import ActivationFunction
from fastnn.layers import Layer
from fastnn.program import Program

__all__ = ["table", "text"]

# What is said by the other columns, or only interests the first weights.
LEFT_OUT = {"layers"}


def text(description: Any) -> str:
    """Return a layer, a loss or the like as its constructor: what differs from the default."""
    parts = []
    given = [field for field in dataclasses.fields(description) if field.init]
    for number, field in enumerate(given):
        value = getattr(description, field.name)
        plain = isinstance(value, ActivationFunction) and value.name == "identity"
        usual = value == field.default and field.name != "learning_rate"
        if field.name in LEFT_OUT or plain or usual:
            continue
        shown = repr(value)
        if isinstance(value, ActivationFunction):
            shown = repr(str(value))
        elif dataclasses.is_dataclass(value):
            shown = text(value)
        parts.append(shown if number == 0 else f"{field.name}={shown}")
    return f"{type(description).__name__}({', '.join(parts)})"


def table(layers: Sequence[Layer], program: Program | None, foot: str) -> str:
    """Return the table of a network.

    Parameters
    ----------
    layers : sequence of Layer
    program : Program or None
        The layers laid out; None while the input size is not known.
    foot : str
        What stands behind the number of parameters in the last line.

    Returns
    -------
    str
        A line for the input and for every layer: its number, its description, the width behind it
        and its parameters; below, the total.
    """
    rows = [("", "layer", "width", "parameters")]
    if program is not None:
        rows.append(("", "input", str(program.inputs), ""))
    rows += _layer_rows(layers, program, "")
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}".rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join([*lines, f"{_total(program)}, {foot}"])


def _total(program: Program | None) -> str:
    if program is None:
        return "input size not known yet"
    running = sum(state.length for state in program.states)
    beside = f" and {running:,} running statistics" if running else ""
    return f"{program.parameter_count:,} parameters{beside}"


def _layer_rows(
    layers: Sequence[Layer], program: Program | None, prefix: str
) -> list[tuple[str, str, str, str]]:
    rows = []
    for number, layer in enumerate(layers):
        name = f"{prefix}{number}"
        width, count = ("?", "?") if program is None else _figures(program, name)
        indent = "  " * name.count(".")
        rows.append((name, indent + text(layer), width, count))
        rows += _layer_rows(getattr(layer, "layers", ()), program, f"{name}.")
    return rows


def _figures(program: Program, name: str) -> tuple[str, str]:
    """Return the width behind a layer, empty where it does not change it, and its parameters."""
    mine = [s.width for s in program.slots if s.name == name or _belongs(s.name, name)]
    own = [p for p in program.parameters if p.name.rpartition(".")[0] == name]
    count = sum(p.rows * p.columns for p in own)
    return (str(mine[-1]) if mine else ""), (f"{count:,}" if count else "")


def _belongs(slot: str, name: str) -> bool:
    """Tell whether a slot, such as ``"0.relu"``, is of the layer itself, not of one inside it."""
    head, _, last = slot.rpartition(".")
    return head == name and not last.isdecimal()
