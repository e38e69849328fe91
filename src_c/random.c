/* Philox4x32-10: random words as a pure function of a counter and a key, so that any mask can be
 * made again, in any order, by any thread. Salmon, Moraes, Dror & Shaw 2011, "Parallel random
 * numbers: as easy as 1, 2, 3", section 3.3. */
#include "fastnn.h"

/* The constants of the paper: two multipliers, and the Weyl sequences of the keys (the golden ratio
 * and sqrt(3) - 1, in 32 bits). */
static const uint32_t MULTIPLIER[2] = {0xD2511F53u, 0xCD9E8D57u};
static const uint32_t WEYL[2] = {0x9E3779B9u, 0xBB67AE85u};
enum { ROUNDS = 10 };

void fnn_philox4x32(uint32_t words[4], const uint32_t counter[4], const uint32_t key[2]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)MULTIPLIER[0] * c0, p1 = (uint64_t)MULTIPLIER[1] * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += WEYL[0];
        k1 += WEYL[1];
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}
