/* From a description to an engine: the program is checked, copied, and its chunk of rows chosen. */
#include "engine.h"

#include <string.h>

/* What the slots and gradients of a chunk may take, beside as much as the parameters do. A batch
 * that fits is one chunk, and its updates are made on the spot. It depends on nothing but the
 * program, so memory does not grow with the rows of a call. */
#define CHUNK_BYTES (6 << 20)
#define CHUNK_LEAST 28

/* A tile of the input of a layer, or of a block of it, stays in the second-level cache. */
#define TILE_BYTES (1 << 19)
#define TILE_LEAST 28
#define TILE_MOST 512
#define TILE_STEP 14 /* rows of a tile of the product on AVX-512 */
#define DEEP 896     /* as in kernels/gemm.inc: deeper layers are cut into blocks */
#define BLOCK 256

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

static bool parameter_fits(const fnn_program *program, const fnn_parameter *p) {
    int64_t length;
    return p->rows >= 1 && p->columns >= 1 && p->stride >= p->columns && p->offset >= 0 &&
           fnn_size_product(p->rows, p->stride, &length) && length <= program->size &&
           p->offset <= program->size - length;
}

/* Whether a parameter of the op is there and of this shape; an optional one may be absent. */
static bool has_shape(const fnn_program *program, const fnn_op *op, int which, int64_t rows,
                      int64_t columns, bool optional) {
    const int32_t number = op->parameters[which];
    if (number < 0)
        return optional;
    if (number >= program->parameter_count)
        return false;
    const fnn_parameter *p = &program->parameters[number];
    return p->rows == rows && p->columns == columns;
}

static bool has_state(const fnn_program *program, const fnn_op *op, int which, int64_t length) {
    const int32_t number = op->states[which];
    return number >= 0 && number < program->state_count && program->states[number].length == length;
}

static bool op_fits(const fnn_program *program, int32_t number) {
    const fnn_op *op = &program->ops[number];
    const bool two = op->kind == FNN_OP_GATE || op->kind == FNN_OP_ADD || op->kind == FNN_OP_CONCAT;
    /* An op reads only slots that are written before it. */
    if (op->output != number + 1)
        return false;
    for (int i = 0; i < (two ? 2 : 1); i++)
        if (op->inputs[i] < 0 || op->inputs[i] > number)
            return false;
    const int64_t I = program->slots[op->inputs[0]].width, O = program->slots[op->output].width;
    const int64_t second = two ? program->slots[op->inputs[1]].width : 0;
    switch (op->kind) {
    case FNN_OP_DENSE:
        return has_shape(program, op, 0, I, O, false) && has_shape(program, op, 1, 1, O, true);
    case FNN_OP_ACTIVATION:
    case FNN_OP_SOFTMAX:
        return I == O;
    case FNN_OP_DROPOUT:
        return I == O && op->constant >= 0 && op->constant < 1;
    case FNN_OP_LAYER_NORM:
        return I == O && has_shape(program, op, 0, 1, O, false) &&
               has_shape(program, op, 1, 1, O, false);
    case FNN_OP_BATCH_NORM:
        return I == O && has_shape(program, op, 0, 1, O, false) &&
               has_shape(program, op, 1, 1, O, false) && has_state(program, op, 0, O) &&
               has_state(program, op, 1, O);
    case FNN_OP_GATE: /* its backward kernel sets the gradients of both inputs, always */
        return I == O && second == O && has_shape(program, op, 0, 1, 1, true) &&
               op->inputs[0] > 0 && op->inputs[1] > 0 && op->inputs[0] != op->inputs[1] &&
               !op->accumulate[0] && !op->accumulate[1];
    case FNN_OP_ADD:
        return I == O && second == O;
    case FNN_OP_CONCAT:
        return I + second == O;
    }
    return false;
}

static bool program_fits(const fnn_program *program) {
    if (program->op_count < 1 || program->slot_count != program->op_count + 1 ||
        program->size < 0 || program->state_size < 0)
        return false;
    for (int32_t s = 0; s < program->slot_count; s++)
        if (program->slots[s].width < 1 || program->slots[s].width > INT32_MAX)
            return false;
    for (int32_t p = 0; p < program->parameter_count; p++)
        if (!parameter_fits(program, &program->parameters[p]))
            return false;
    for (int32_t s = 0; s < program->state_count; s++) {
        const fnn_state *state = &program->states[s];
        if (state->length < 1 || state->length > program->state_size || state->offset < 0 ||
            state->offset > program->state_size - state->length)
            return false;
    }
    for (int32_t n = 0; n < program->op_count; n++)
        if (!op_fits(program, n))
            return false;
    return true;
}

/* Whether the derivative follows from the value: then nobody misses what the value overwrites. */
static bool runs_in_place(const fnn_op *op) {
    switch (op->function) {
    case FNN_RELU:
    case FNN_SIGMOID:
    case FNN_TANH:
    case FNN_EXP:
        return op->kind == FNN_OP_ACTIVATION;
    case FNN_LEAKY_RELU:
        return op->kind == FNN_OP_ACTIVATION && op->constant >= 0;
    default:
        return false;
    }
}

/* Whether the backward pass of an op asks for what it wrote, or, without dropout, others do. */
static bool needs_output(const fnn_op *op) {
    return op->kind == FNN_OP_ACTIVATION || op->kind == FNN_OP_SOFTMAX ||
           op->kind == FNN_OP_DROPOUT;
}

/* The first op that reads the slot, or -1; and whether it is the only one. */
static int32_t reader_of(const fnn_program *program, int32_t slot, bool *only) {
    int32_t first = -1, count = 0;
    for (int32_t n = program->op_count - 1; n >= 0; n--)
        for (int which = 0; which < 2; which++)
            if (program->ops[n].inputs[which] == slot)
                first = n, count++;
    *only = count == 1;
    return first;
}

/* From the last slot to the first, so that the home of what comes later is known. */
static void fuse_ops(fnn_engine *engine) {
    const fnn_program *program = &engine->program;
    for (int32_t slot = program->op_count; slot >= 0; slot--) {
        bool only;
        const int32_t reader = reader_of(program, slot, &only);
        fnn_place *place = &engine->places[slot];
        place->home = slot;
        if (slot == 0 || !only || !runs_in_place(&program->ops[reader]) ||
            needs_output(&program->ops[slot - 1]))
            continue;
        const fnn_op *behind = &program->ops[reader];
        place->home = engine->places[behind->output].home;
        if (behind->function != FNN_RELU)
            continue;
        if (program->ops[slot - 1].kind == FNN_OP_DENSE)
            engine->fusions[slot - 1].relu = engine->fusions[reader].done_forward = true;
        /* The first reader of a slot is the last to add to its gradient. */
        const int32_t next = reader_of(program, behind->output, &only);
        if (next >= 0 && program->ops[next].kind == FNN_OP_DENSE)
            engine->fusions[next].masks = engine->fusions[reader].done_backward = true;
    }
}

static bool is_free(const fnn_engine *engine, int32_t buffer, int32_t op) {
    for (int32_t s = 0; s <= engine->program.op_count; s++)
        if (engine->places[s].buffer == buffer && engine->places[s].last >= op)
            return false;
    return true;
}

/* Give the slots of a prediction buffers by turns. A buffer is free behind the last reader of what
 * it holds, so a chain of layers has two, however deep it is. */
static void take_turns(fnn_engine *engine) {
    const fnn_program *program = &engine->program;
    for (int32_t s = 0; s <= program->op_count; s++) {
        engine->places[s].buffer = engine->places[s].last = -1;
        engine->buffer_ld =
            fnn_most(engine->buffer_ld, fnn_leading_dimension(program->slots[s].width));
    }
    for (int32_t n = 0; n < program->op_count; n++)
        for (int which = 0; which < 2; which++)
            if (program->ops[n].inputs[which] >= 0)
                engine->places[fnn_source(engine, false, program->ops[n].inputs[which])].last = n;
    for (int32_t n = 0; n < program->op_count; n++) {
        const int32_t slot = fnn_source(engine, false, n + 1);
        fnn_place *place = &engine->places[slot];
        if (slot == 0 || slot == program->op_count || place->buffer >= 0)
            continue; /* the caller's memory, or what it has already */
        int32_t buffer = 0;
        while (!is_free(engine, buffer, n))
            buffer++;
        place->buffer = buffer;
        engine->buffers = buffer < engine->buffers ? engine->buffers : buffer + 1;
    }
}

static void mark_ops(fnn_engine *engine) {
    const fnn_program *program = &engine->program;
    engine->places[0].trainable = false;
    for (int32_t n = 0; n < program->op_count; n++) {
        const fnn_op *op = &program->ops[n];
        bool trainable = op->parameters[0] >= 0 || engine->places[op->inputs[0]].trainable;
        if (op->inputs[1] >= 0)
            trainable |= engine->places[op->inputs[1]].trainable;
        engine->places[op->output].trainable = trainable;
        engine->couples_rows |= op->kind == FNN_OP_BATCH_NORM;
        engine->fusions[n] = (fnn_fusion){0};
    }
    for (int32_t p = 0; p < program->parameter_count; p++)
        engine->limits_norms |= program->parameters[p].max_norm > 0;
    fuse_ops(engine);
    take_turns(engine);
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

/* How many rows go through the engine together. */
static void choose_rows(fnn_engine *engine) {
    const fnn_program *program = &engine->program;
    int64_t row_bytes = 0, deepest = 1;
    for (int32_t s = 0; s < program->slot_count; s++)
        if (engine->places[s].home == s)
            row_bytes += 2 * engine->element * fnn_leading_dimension(program->slots[s].width);
    for (int32_t n = 0; n < program->op_count; n++) {
        const fnn_op *op = &program->ops[n];
        const int64_t I = program->slots[op->inputs[0]].width, O = program->slots[op->output].width;
        const int64_t depth = I > DEEP ? BLOCK : I;
        deepest = depth > deepest ? depth : deepest;
        engine->row_work += op->kind == FNN_OP_DENSE ? I * O : 16 * O;
    }
    const int64_t bytes = CHUNK_BYTES + program->size * engine->element;
    engine->chunk = clamp(bytes / row_bytes, CHUNK_LEAST, INT32_MAX);
    engine->tile = clamp(TILE_BYTES / (engine->element * deepest), TILE_LEAST, TILE_MOST);
    /* Of a prediction everything stays there: the rows of the input, and the buffers. */
    const int64_t widths = program->slots[0].width + engine->buffers * engine->buffer_ld;
    engine->small_tile = clamp(TILE_BYTES / (engine->element * widths) / TILE_STEP * TILE_STEP,
                               TILE_LEAST, TILE_MOST);
}

/* Copy an array of the program into the block, once there is one. */
static const void *keep(fnn_arena *arena, const void *array, int64_t count, int64_t size) {
    void *copy = fnn_carve(arena, count, size);
    if (copy && count > 0)
        memcpy(copy, array, (size_t)(count * size));
    return copy;
}

static fnn_engine *lay_out(fnn_arena *arena, const fnn_program *program) {
    fnn_engine *engine = fnn_carve(arena, 1, sizeof *engine);
    fnn_program copy = *program;
    copy.slots = keep(arena, program->slots, program->slot_count, sizeof *copy.slots);
    copy.parameters =
        keep(arena, program->parameters, program->parameter_count, sizeof *copy.parameters);
    copy.ops = keep(arena, program->ops, program->op_count, sizeof *copy.ops);
    copy.states = keep(arena, program->states, program->state_count, sizeof *copy.states);
    fnn_place *places = fnn_carve(arena, program->slot_count, sizeof *places);
    fnn_fusion *fusions = fnn_carve(arena, program->op_count, sizeof *fusions);
    if (engine)
        *engine = (fnn_engine){.program = copy, .places = places, .fusions = fusions};
    return engine;
}

fnn_status fnn_engine_create(fnn_engine **engine, const fnn_program *program, fnn_dtype dtype,
                             int threads) {
    if (!program_fits(program))
        return FNN_BAD_PROGRAM;
    fnn_arena measure = {NULL, 0};
    lay_out(&measure, program);
    fnn_arena arena = {measure.used < 0 ? NULL : fnn_alloc(measure.used, 1), 0};
    if (!arena.memory)
        return FNN_NO_MEMORY;
    fnn_engine *made = lay_out(&arena, program);
    made->kernels = fnn_kernels_of(dtype);
    made->bfloat16 = fnn_bfloat16_of(dtype);
    made->dtype = dtype;
    made->element = dtype == FNN_FLOAT32 ? sizeof(float) : sizeof(double);
    made->threads = threads < FNN_MAX_THREADS ? threads : FNN_MAX_THREADS;
    mark_ops(made);
    choose_rows(made);
    *engine = made;
    return FNN_OK;
}

void fnn_engine_free(fnn_engine *engine) {
    if (engine)
        fnn_free(engine->spare);
    fnn_free(engine); /* it stands at the head of its block */
}
