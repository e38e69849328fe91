"""How exactly a GPU multiplies matrices of float32: the names and meanings of PyTorch."""

from __future__ import annotations

from fastnn.errors import unknown_name

__all__ = ["get_float32_matmul_precision", "set_float32_matmul_precision"]

PRECISIONS = ("highest", "high")

_chosen = "highest"


def set_float32_matmul_precision(precision: str) -> None:
    """Set how exactly products of float32 matrices are computed on a GPU.

    Parameters
    ----------
    precision : {"highest", "high"}
        ``"highest"``, the default, multiplies in float32. ``"high"`` lets cuBLAS round the factors
        to TF32, with 11 significant bits instead of 24, and sum in float32, which GPUs since Ampere
        do several times faster. It changes large products of the ``"cuda"`` backend, and nothing on
        the processor.

    Raises
    ------
    ValueError
        For another name.

    Examples
    --------
    >>> set_float32_matmul_precision("high")
    >>> get_float32_matmul_precision()
    'high'
    >>> set_float32_matmul_precision("highest")
    """
    global _chosen
    if not isinstance(precision, str) or precision not in PRECISIONS:
        raise unknown_name("precision of float32 products", precision, PRECISIONS)
    _chosen = precision


def get_float32_matmul_precision() -> str:
    """Return the precision of float32 products on a GPU: ``"highest"`` or ``"high"``."""
    return _chosen
