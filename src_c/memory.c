/* All memory of the core: aligned, its sizes checked, and its failure testable. */
#include "fastnn.h"

#include <stdatomic.h>
#include <stdlib.h>

#define CACHE_LINE 64

/* Allocations that still succeed before one fails; negative: no failure is ordered. */
static _Atomic int64_t countdown = -1;

bool fnn_size_product(int64_t a, int64_t b, int64_t *product) {
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, product);
}

static bool failure_ordered(void) {
    return atomic_load_explicit(&countdown, memory_order_relaxed) >= 0 &&
           atomic_fetch_sub(&countdown, 1) == 0;
}

void *fnn_alloc(int64_t count, int64_t size) {
    int64_t bytes;
    if (!fnn_size_product(count, size, &bytes) || bytes > INT64_MAX - CACHE_LINE ||
        failure_ordered())
        return NULL;
    /* aligned_alloc wants whole lines, and of 0 bytes it may return NULL. */
    return aligned_alloc(CACHE_LINE, ((size_t)bytes / CACHE_LINE + 1) * CACHE_LINE);
}

void fnn_free(void *memory) {
    free(memory);
}

void fnn_alloc_fail_after(int64_t count) {
    atomic_store(&countdown, count);
}
