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
#define DEEP 896 /* as in kernels/gemm.inc: deeper layers are cut into blocks */
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

static void mark_ops(fnn_engine *engine) {
    const fnn_program *program = &engine->program;
    engine->trainable[0] = false;
    for (int32_t n = 0; n < program->op_count; n++) {
        const fnn_op *op = &program->ops[n];
        bool trainable = op->parameters[0] >= 0 || engine->trainable[op->inputs[0]];
        if (op->inputs[1] >= 0)
            trainable |= engine->trainable[op->inputs[1]];
        engine->trainable[op->output] = trainable;
        engine->couples_rows |= op->kind == FNN_OP_BATCH_NORM;
    }
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

/* How many rows go through the engine together. */
static void choose_rows(fnn_engine *engine) {
    const fnn_program *program = &engine->program;
    int64_t row_bytes = 0, deepest = 1;
    for (int32_t s = 0; s < program->slot_count; s++)
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
    bool *trainable = fnn_carve(arena, program->slot_count, sizeof *trainable);
    if (engine)
        *engine = (fnn_engine){.program = copy, .trainable = trainable};
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
    made->dtype = dtype;
    made->element = dtype == FNN_FLOAT32 ? sizeof(float) : sizeof(double);
    made->threads = threads < FNN_MAX_THREADS ? threads : FNN_MAX_THREADS;
    choose_rows(made);
    mark_ops(made);
    *engine = made;
    return FNN_OK;
}

void fnn_engine_free(fnn_engine *engine) {
    fnn_free(engine); /* it stands at the head of its block */
}

int64_t fnn_first_outside(const int64_t *values, int64_t count, int64_t limit) {
    for (int64_t n = 0; n < count; n++)
        if (values[n] < 0 || values[n] >= limit)
            return n;
    return -1;
}
