"""Philox4x32-10, the counter-based generator of the dropout masks, in NumPy.

Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3. A
block of four words is a pure function of a counter and a key, so anybody can make a mask again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["philox4x32"]

# The constants of the paper: two odd multipliers, and the Weyl sequence of the keys (the golden
# ratio and sqrt(3) - 1, in 32 bits).
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
WORD = 0xFFFFFFFF


def philox4x32(counter: Sequence[Any], key: Sequence[int]) -> list[npt.NDArray[np.uint64]]:
    """Return the four words of every block.

    Parameters
    ----------
    counter : sequence of four ints or integer arrays
        Broadcast against each other; the low 32 bits of each count.
    key : sequence of two ints
        The low 32 bits of each count.

    Returns
    -------
    list of four ndarray of uint64
        Words below 2**32, of the broadcast shape.
    """
    arrays = np.broadcast_arrays(
        *(np.asarray(c, dtype=np.uint64) & np.uint64(WORD) for c in counter)
    )
    c0, c1, c2, c3 = (np.array(a, dtype=np.uint64) for a in arrays)
    k0, k1 = key[0] & WORD, key[1] & WORD
    for _ in range(ROUNDS):
        product0, product1 = c0 * np.uint64(MULTIPLIERS[0]), c2 * np.uint64(MULTIPLIERS[1])
        high0, low0 = product0 >> np.uint64(32), product0 & np.uint64(WORD)
        high1, low1 = product1 >> np.uint64(32), product1 & np.uint64(WORD)
        c0, c1, c2, c3 = high1 ^ c1 ^ np.uint64(k0), low1, high0 ^ c3 ^ np.uint64(k1), low0
        k0, k1 = (k0 + WEYL[0]) & WORD, (k1 + WEYL[1]) & WORD
    return [c0, c1, c2, c3]
