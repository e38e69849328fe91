/* Engines, whether their runs go on, and all memory of the core: aligned, its sizes checked, and
 * its failure testable. */
#include "engine.h"

#include <stdlib.h>

#define CACHE_LINE 64

/* The clock is read after this many multiply-adds, and the poll function called after this much
 * time: asking may mean to wait for a lock. */
#define POLL_WORK (1 << 20)
#define POLL_NANOSECONDS 5000000

/* Allocations that still succeed before one fails; negative: no failure is ordered. */
static _Atomic int64_t countdown = -1;

/* Whether a * b of two sizes stays below 2**63; sets *product if so. */
static bool size_product(int64_t a, int64_t b, int64_t *product) {
    return a >= 0 && b >= 0 && !__builtin_mul_overflow(a, b, product);
}

static bool failure_ordered(void) {
    return atomic_load_explicit(&countdown, memory_order_relaxed) >= 0 &&
           atomic_fetch_sub(&countdown, 1) == 0;
}

void *fnn_alloc(int64_t count, int64_t size) {
    int64_t bytes;
    if (!size_product(count, size, &bytes) || bytes > INT64_MAX - CACHE_LINE || failure_ordered())
        return NULL;
    /* aligned_alloc wants whole lines, and of 0 bytes it may return NULL. */
    return aligned_alloc(CACHE_LINE, ((size_t)bytes / CACHE_LINE + 1) * CACHE_LINE);
}

void fnn_free(void *memory) { free(memory); }

void fnn_alloc_fail_after(int64_t count) { atomic_store(&countdown, count); }

void *fnn_carve(fnn_arena *arena, int64_t count, int64_t size) {
    int64_t bytes, end;
    if (arena->used < 0 || !size_product(count, size, &bytes) ||
        __builtin_add_overflow(arena->used, bytes, &end) || end > INT64_MAX - 64) {
        arena->used = -1;
        return NULL;
    }
    void *carved = arena->memory ? arena->memory + arena->used : NULL;
    arena->used = (end + 63) / 64 * 64; /* the next one begins on a cache line */
    return carved;
}

fnn_status fnn_engine_create(fnn_engine **engine, const fnn_program *program, fnn_dtype dtype,
                             int threads) {
    fnn_engine *made = fnn_alloc(1, sizeof *made);
    if (!made) return FNN_NO_MEMORY;
    *made = (fnn_engine){.program = *program,
                         .kernels = fnn_kernels_of(dtype),
                         .bfloat16 = fnn_bfloat16_of(dtype),
                         .dtype = dtype,
                         .element = dtype == FNN_FLOAT32 ? sizeof(float) : sizeof(double),
                         .threads = threads < FNN_MAX_THREADS ? threads : FNN_MAX_THREADS};
    *engine = made;
    return FNN_OK;
}

void fnn_engine_free(fnn_engine *engine) {
    if (engine) fnn_free(engine->spare);
    fnn_free(engine);
}

bool fnn_go_on(fnn_run *run, int worker, int64_t work) {
    if (worker == 0 && run->poll && (run->work += work) >= POLL_WORK) {
        const int64_t now = fnn_nanoseconds();
        run->work = 0;
        if (run->asked_at == 0) /* the first look */
            run->asked_at = now;
        if (now - run->asked_at >= POLL_NANOSECONDS) {
            run->asked_at = now;
            if (run->poll->ask(run->poll->context) != 0) atomic_store(&run->interrupted, true);
        }
    }
    return !atomic_load_explicit(&run->interrupted, memory_order_relaxed);
}
