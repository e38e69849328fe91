/* From a program and its plan to an engine: one block of memory that holds copies of both. */
#include "engine.h"

#include <string.h>

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

/* Copy an array of the program into the block, once there is one. */
static const void *keep(fnn_arena *arena, const void *array, int64_t count, int64_t size) {
    void *copy = fnn_carve(arena, count, size);
    if (copy && count > 0)
        memcpy(copy, array, (size_t)(count * size));
    return copy;
}

static fnn_engine *lay_out(fnn_arena *arena, const fnn_program *p, const fnn_plan *plan) {
    fnn_engine *engine = fnn_carve(arena, 1, sizeof *engine);
    fnn_program copy = *p;
    copy.slots = keep(arena, p->slots, p->slot_count, sizeof *p->slots);
    copy.parameters = keep(arena, p->parameters, p->parameter_count, sizeof *p->parameters);
    copy.ops = keep(arena, p->ops, p->op_count, sizeof *p->ops);
    copy.states = keep(arena, p->states, p->state_count, sizeof *p->states);
    const fnn_place *places = keep(arena, plan->places, p->slot_count, sizeof *places);
    const fnn_fusion *fusions = keep(arena, plan->fusions, p->op_count, sizeof *fusions);
    if (engine)
        *engine = (fnn_engine){.program = copy,
                               .places = places,
                               .fusions = fusions,
                               .couples_rows = plan->couples_rows,
                               .limits_norms = plan->limits_norms,
                               .buffers = plan->buffers,
                               .buffer_ld = plan->buffer_ld,
                               .widest_input = plan->widest_input,
                               .chunk = plan->chunk,
                               .tile = plan->tile,
                               .small_tile = plan->small_tile,
                               .row_work = plan->row_work};
    return engine;
}

fnn_status fnn_engine_create(fnn_engine **engine, const fnn_program *program, const fnn_plan *plan,
                             fnn_dtype dtype, int threads) {
    fnn_arena measure = {NULL, 0};
    lay_out(&measure, program, plan);
    fnn_arena arena = {measure.used < 0 ? NULL : fnn_alloc(measure.used, 1), 0};
    if (!arena.memory)
        return FNN_NO_MEMORY;
    fnn_engine *made = lay_out(&arena, program, plan);
    made->kernels = fnn_kernels_of(dtype);
    made->bfloat16 = fnn_bfloat16_of(dtype);
    made->dtype = dtype;
    made->element = dtype == FNN_FLOAT32 ? sizeof(float) : sizeof(double);
    made->threads = threads < FNN_MAX_THREADS ? threads : FNN_MAX_THREADS;
    *engine = made;
    return FNN_OK;
}

void fnn_engine_free(fnn_engine *engine) {
    if (engine)
        fnn_free(engine->spare);
    fnn_free(engine); /* it stands at the head of its block */
}

int64_t fnn_first_outside(const int64_t *values, int64_t count, int64_t limit) {
    for (int64_t n = 0; n < count; n++)
        if (values[n] < 0 || values[n] >= limit)
            return n;
    return -1;
}
