"""JAX on a GPU: as on the processor, with products in float32."""

from __future__ import annotations

from typing import Any

import jax

from peers import jax_peer
from peers.jax_peer import Trainer

__all__ = ["Trainer", "describe"]

# By default JAX multiplies float32 in TF32 on a GPU, which is not the work of the others.
jax.config.update("jax_default_matmul_precision", "highest")


def describe(threads: int) -> dict[str, Any]:
    """Return versions and devices."""
    if jax.default_backend() != "gpu":
        raise RuntimeError(f"this JAX runs on the {jax.default_backend()}: install jax[cuda12]")
    return jax_peer.describe(threads)
