/* Engines, and the memory of a run. */
#include "engine.h"

void *fnn_carve(fnn_arena *arena, int64_t count, int64_t size) {
    int64_t bytes, end;
    if (arena->used < 0 || !fnn_size_product(count, size, &bytes) ||
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
