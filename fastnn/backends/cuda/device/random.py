"""Random words as a pure function of a counter and a key: Philox4x32-10.

Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3. The
words, and so the masks of dropout, are those of every other backend.
"""

from __future__ import annotations

import numpy as np

from fastnn.backends.cuda.target import device_function

__all__ = ["WORD", "philox"]

WORD, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)
MULTIPLIER0, MULTIPLIER1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL0, WEYL1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # golden ratio, and sqrt(3) - 1


@device_function
def philox(c0, c1, c2, c3, k0, k1):
    """Return four words below 2**32; the counter and the key are uint64 below 2**32 too."""
    for _ in range(10):
        product0, product1 = c0 * MULTIPLIER0, c2 * MULTIPLIER1
        c0, c1 = (product1 >> HALF) ^ c1 ^ k0, product1 & WORD
        c2, c3 = (product0 >> HALF) ^ c3 ^ k1, product0 & WORD
        k0, k1 = (k0 + WEYL0) & WORD, (k1 + WEYL1) & WORD
    return c0, c1, c2, c3
