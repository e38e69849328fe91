"""The table of layers below scikit-learn's picture of an estimator."""

from __future__ import annotations

import html

from fastnn.network import Network

__all__ = ["layers_as_html"]


def layers_as_html(network: Network | None) -> str:
    """Return a network's table of layers as HTML that folds; nothing before there is a network."""
    if network is None:
        return ""
    table = html.escape(network.summary())
    return f"<details><summary>Layers</summary><pre>{table}</pre></details>"
