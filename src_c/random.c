/* Philox4x32-10: random words as a pure function of a counter and a key, so that any mask can be
 * made again, in any order, by any thread. Salmon, Moraes, Dror & Shaw 2011, "Parallel random
 * numbers: as easy as 1, 2, 3", section 3.3. */
#include "fastnn.h"

void fnn_philox4x32(uint32_t words[4], const uint32_t counter[4], const uint32_t key[2]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < FNN_PHILOX_ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)FNN_PHILOX_MULTIPLIER0 * c0,
                       p1 = (uint64_t)FNN_PHILOX_MULTIPLIER1 * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += FNN_PHILOX_WEYL0;
        k1 += FNN_PHILOX_WEYL1;
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}
