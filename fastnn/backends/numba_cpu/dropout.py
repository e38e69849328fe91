"""Dropout, and the rounding to bfloat16: what works on the bits of each element."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from fastnn.backends.numba_cpu.blocks import BLOCK, look, put, whole
from fastnn.backends.numba_cpu.memory import INLINED, Reals, bits, float_of, local, part, row

QUADS = 128  # blocks of four random words that are made at a time
WORDS = 4 * QUADS

# Philox4x32-10: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3",
# section 3.3. Two odd multipliers, and the Weyl sequence of the keys: the golden ratio and
# sqrt(3) - 1, in 32 bits.
ROUNDS = 10
MULTIPLIER0, MULTIPLIER1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
WEYL0, WEYL1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
WORD, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


def dropout(
    Y: Reals,
    ldY: int,
    X: Reals,
    ldX: int,
    rate: float,
    seed: int,
    step: int,
    layer: int,
    first_row: int,
    accumulate: int,
    B: int,
    O: int,
) -> None:
    """Y = X * mask / (1 - rate); on gradients, its own backward pass.

    Y, X (B, O), 0 <= rate < 1. Sets or adds to Y, which may be X. One block of four random words
    serves four columns of a row; a value is kept where its word reaches the threshold. So the mask
    depends on nothing but seed, step, layer, row and column. The numbers of the key are taken
    without a sign.
    """
    columns, rows = local(np.uint64, QUADS), local(np.uint64, QUADS)
    words, z = local(np.uint32, WORDS), local(X, WORDS)
    kept, zero = z.dtype.type(1 / (1 - rate)), z.dtype.type(0)
    threshold = np.uint32(rate * 4294967296.0)  # 2**32
    key0, key1 = np.uint64(seed) & WORD, np.uint64(seed) >> HALF
    # The step has 48 bits here, the layer 16.
    low = np.uint64(step) & WORD
    last = (np.uint64(layer) | (np.uint64(step) >> HALF) << np.uint64(16)) & WORD
    wide = (O + 3) // 4
    for first in range(0, B * wide, QUADS):
        n = min(QUADS, B * wide - first)
        r, q = first // wide, first % wide
        for j in range(n):
            columns[j], rows[j] = np.uint64(q), np.uint64(first_row + r) & WORD
            q += 1
            if q == wide:
                r, q = r + 1, 0
        for j in range(n):
            c0, c1, c2, c3 = columns[j], rows[j], low, last
            k0, k1 = key0, key1
            for _ in range(ROUNDS):
                p0, p1 = c0 * MULTIPLIER0, c2 * MULTIPLIER1
                c0, c1 = (p1 >> HALF) ^ c1 ^ k0, p1 & WORD
                c2, c3 = (p0 >> HALF) ^ c3 ^ k1, p0 & WORD
                k0, k1 = (k0 + WEYL0) & WORD, (k1 + WEYL1) & WORD
            four = part(words, 4 * j, 4)
            four[0], four[1] = np.uint32(c0), np.uint32(c1)
            four[2], four[3] = np.uint32(c2), np.uint32(c3)
        r, q, at = first // wide, first % wide, 0
        while at < n:
            m = min(wide - q, n - at)
            o, count = 4 * q, min(4 * m, O - 4 * q)
            x, y = part(row(X, ldX, r, O), o, count), part(row(Y, ldY, r, O), o, count)
            drawn = part(words, 4 * at, count)
            for k in range(count):
                z[k] = x[k] * kept if drawn[k] >= threshold else zero
            for k in range(count):
                y[k] = y[k] + z[k] if accumulate else z[k]
            at, r, q = at + m, r + 1, 0


@numba.njit(**INLINED)
def _nearest_bfloat16(x: Any) -> Any:
    """The nearest float whose lower half is 0, the even one of two; below the normal ones 0."""
    u = np.int64(bits(x)) & 0xFFFFFFFF
    size = u & 0x7FFFFFFF
    rounded = u | 0x00400000 if size > 0x7F800000 else u + 0x7FFF + ((u >> 16) & 1)
    kept = 0xFFFF0000 if size >= 0x00800000 else 0x80000000
    return float_of(np.int32(rounded & kept))


def round_bfloat16(Y: Reals, ldY: int, X: Reals, ldX: int, B: int, O: int) -> None:
    """Y = X rounded to bfloat16, as the instructions of processors do it; doubles by way of floats.

    Y, X (B, O). Sets Y, which may be X.
    """
    block, y = local(X, BLOCK), local(X, BLOCK)
    for first in range(0, B * O, BLOCK):
        n = min(BLOCK, B * O - first)
        x = look(block, X, ldX, O, first, n)
        for k in range(whole(n)):
            y[k] = _nearest_bfloat16(np.float32(x[k]))
        put(Y, ldY, O, first, n, y, False)
