"""The table of a network: its layers, their widths and their parameters, as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fastnn.activations import ActivationFunction
from fastnn.layers import Layer

if TYPE_CHECKING:
    from fastnn.network import Network

__all__ = ["layer_text", "table"]

# What is said by the other columns, or only interests the first weights.
LEFT_OUT = {"layers"}


def layer_text(layer: Any) -> str:
    """Return a layer, a loss or the like as its constructor: what differs from the default."""
    parts = []
    for number, field in enumerate(dataclasses.fields(layer)):
        value = getattr(layer, field.name)
        plain = isinstance(value, ActivationFunction) and value.name == "identity"
        usual = value == field.default and field.name != "learning_rate"
        if field.name in LEFT_OUT or plain or usual:
            continue
        text = repr(str(value)) if isinstance(value, ActivationFunction) else repr(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, ActivationFunction):
            text = layer_text(value)
        parts.append(text if number == 0 else f"{field.name}={text}")
    return f"{type(layer).__name__}({', '.join(parts)})"


def table(network: Network) -> str:
    """Return the table of a network.

    Parameters
    ----------
    network : Network

    Returns
    -------
    str
        A line for the input and for every layer: its number, its description, the width behind it
        and its parameters; below, the total, the loss and the optimizer.
    """
    rows = [("", "layer", "width", "parameters")]
    known = network.input_size is not None
    if known:
        rows.append(("", "input", str(network.input_size), ""))
    rows += _layer_rows(network, network.layers, "", known)
    widths = [max(len(row[i]) for row in rows) for i in range(4)]
    lines = [
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:>{widths[2]}}  "
        f"{row[3]:>{widths[3]}}".rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    total = f"{network.parameter_count:,} parameters" if known else "input size not known yet"
    lines.append(
        f"{total}, {network.dtype}; loss {layer_text(network.loss)}; "
        f"optimizer {layer_text(network.optimizer)}; backend {network.backend}"
    )
    return "\n".join(lines)


def _layer_rows(
    network: Network, layers: Sequence[Layer], prefix: str, known: bool
) -> list[tuple[str, str, str, str]]:
    rows = []
    for number, layer in enumerate(layers):
        name = f"{prefix}{number}"
        width, count = _figures(network, name) if known else ("?", "?")
        indent = "  " * name.count(".")
        rows.append((name, indent + layer_text(layer), width, count))
        inner = getattr(layer, "layers", ())
        rows += _layer_rows(network, inner, f"{name}.", known)
    return rows


def _figures(network: Network, name: str) -> tuple[str, str]:
    """Return the width behind a layer, empty where it does not change it, and its parameters."""
    program = network.program
    mine = [s.width for s in program.slots if s.name == name or _belongs(s.name, name)]
    own = [p for p in program.parameters if p.name.rpartition(".")[0] == name]
    count = sum(p.rows * p.columns for p in own)
    return (str(mine[-1]) if mine else ""), (f"{count:,}" if count else "")


def _belongs(slot: str, name: str) -> bool:
    """Tell whether a slot, such as ``"0.relu"``, is of the layer itself, not of one inside it."""
    head, _, last = slot.rpartition(".")
    return head == name and not last.isdecimal()
