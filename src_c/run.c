/* The calls of an engine without training: predictions, the loss, its gradient. */
#define _POSIX_C_SOURCE 200809L /* clock_gettime */
#include "engine.h"

#include <math.h>
#include <string.h>
#include <time.h>

/* The clock is read after this many multiply-adds, and the poll function called after this much
 * time: asking may mean to wait for a lock. */
#define POLL_WORK (1 << 20)
#define POLL_NANOSECONDS 5000000

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

bool fnn_go_on(fnn_run *run, int64_t work) {
    run->work += work;
    if (run->work < POLL_WORK || !run->poll)
        return true;
    run->work = 0;
    const int64_t now = nanoseconds();
    if (now - run->asked_at < POLL_NANOSECONDS)
        return true;
    run->asked_at = now;
    return run->poll->ask(run->poll->context) == 0;
}

static fnn_matrix carve_slot(fnn_arena *arena, const fnn_run *run, int32_t slot) {
    const fnn_engine *engine = run->engine;
    const int64_t ld = fnn_leading_dimension(engine->program.slots[slot].width);
    return (fnn_matrix){fnn_carve(arena, run->rows * ld, engine->element), ld};
}

static void lay_out(fnn_run *run, fnn_arena *arena, int parts) {
    const fnn_program *program = &run->engine->program;
    const int64_t rows = run->rows, element = run->engine->element;
    run->slots = fnn_carve(arena, program->slot_count, sizeof(fnn_matrix));
    run->gradients = fnn_carve(arena, program->slot_count, sizeof(fnn_matrix));
    for (int32_t s = 0; s < program->slot_count; s++) {
        fnn_matrix slot = {NULL, 0}, gradient = {NULL, 0};
        if (s > 0) /* the input is used where it is, or gathered; so is its gradient */
            slot = carve_slot(arena, run, s);
        if (s > 0 && parts & FNN_RUN_BACKWARD)
            gradient = carve_slot(arena, run, s);
        if (arena->memory) {
            run->slots[s] = slot;
            run->gradients[s] = gradient;
        }
    }
    run->saved = fnn_carve(arena, 2 * program->op_count * rows, element);
    if (parts & FNN_RUN_LOSS) {
        run->row_loss = fnn_carve(arena, rows, sizeof(double));
        run->hits = fnn_carve(arena, rows, sizeof(double));
    }
    if (parts & FNN_RUN_GATHER) {
        run->X = fnn_carve(arena, rows * program->slots[0].width, element);
        run->Y = fnn_carve(arena, rows * program->slots[program->op_count].width, element);
        run->labels = fnn_carve(arena, rows, sizeof(int64_t));
        run->weight = fnn_carve(arena, rows, element);
    }
    if (parts & FNN_RUN_FLAT)
        run->flat = fnn_carve(arena, program->size, element);
    run->statistics = fnn_carve(arena, program->state_size, element);
}

fnn_status fnn_begin(fnn_run *run, int64_t rows, int parts) {
    const bool whole = run->training && run->engine->couples_rows;
    run->rows = whole || rows < run->engine->chunk ? rows : run->engine->chunk;
    run->asked_at = nanoseconds();
    fnn_arena measure = {NULL, 0};
    lay_out(run, &measure, parts);
    fnn_arena arena = {measure.used < 0 ? NULL : fnn_alloc(measure.used, 1), 0};
    if (!arena.memory)
        return FNN_NO_MEMORY;
    run->memory = arena.memory;
    lay_out(run, &arena, parts);
    memset(run->statistics, 0, (size_t)(run->engine->program.state_size * run->engine->element));
    return FNN_OK;
}

static int64_t chunk_of(const fnn_run *run, int64_t rows_left) {
    return rows_left < run->rows ? rows_left : run->rows;
}

/* Slots are written by ops only, and no op writes slot 0. */
static void set_input(fnn_run *run, const char *X) {
    run->slots[0] = (fnn_matrix){(char *)X, run->engine->program.slots[0].width};
}

static void apply_head(const fnn_engine *engine, void *out, int64_t rows, int64_t O) {
    const fnn_kernels *k = engine->kernels;
    if (engine->program.head == FNN_HEAD_SOFTMAX)
        k->softmax_forward(out, out, rows, O, O, O);
    else if (engine->program.head == FNN_HEAD_SIGMOID)
        k->activation_forward(out, out, FNN_SIGMOID, 0, rows, O, O, O);
    else if (engine->program.head == FNN_HEAD_EXP)
        k->activation_forward(out, out, FNN_EXP, 0, rows, O, O, O);
}

fnn_status fnn_predict(const fnn_engine *engine, const void *parameters, const void *states,
                       void *out, const void *X, int64_t rows, const fnn_poll *poll) {
    fnn_run run = {.engine = engine, .parameters = parameters, .states = states, .poll = poll};
    const int32_t scores = engine->program.op_count;
    const int64_t I = engine->program.slots[0].width, O = engine->program.slots[scores].width;
    fnn_status status = fnn_begin(&run, rows, 0);
    for (int64_t r = 0; r < rows && status == FNN_OK; r += run.B) {
        run.B = chunk_of(&run, rows - r);
        set_input(&run, fnn_at(engine, X, r * I));
        char *chunk_out = fnn_at(engine, out, r * O);
        run.slots[scores] = (fnn_matrix){chunk_out, O}; /* the last op writes where it is wanted */
        if (!fnn_forward(&run))
            status = FNN_INTERRUPTED;
        else
            apply_head(engine, chunk_out, run.B, O);
    }
    fnn_free(run.memory);
    return status;
}

static double weight_at(const fnn_engine *engine, const void *weight, int64_t row) {
    if (!weight)
        return 1;
    return engine->dtype == FNN_FLOAT32 ? ((const float *)weight)[row]
                                        : ((const double *)weight)[row];
}

/* Return a batch of the rows that `order` numbers, or without one of those from `first` on. */
static fnn_batch chunk_rows(fnn_run *run, const fnn_batch *batch, const int64_t *order,
                            int64_t first) {
    const fnn_engine *e = run->engine;
    const fnn_program *program = &e->program;
    const int64_t B = run->B, I = program->slots[0].width;
    const int64_t O = program->slots[program->op_count].width;
    fnn_batch chunk = *batch;
    chunk.rows = B;
    if (!order) {
        chunk.X = fnn_at(e, batch->X, first * I);
        chunk.Y = batch->Y ? fnn_at(e, batch->Y, first * O) : NULL;
        chunk.labels = batch->labels ? batch->labels + first : NULL;
        chunk.weight = batch->weight ? fnn_at(e, batch->weight, first) : NULL;
        return chunk;
    }
    e->kernels->gather_rows(run->X, batch->X, order, B, I, I, I);
    chunk.X = run->X;
    if (batch->Y) {
        e->kernels->gather_rows(run->Y, batch->Y, order, B, O, O, O);
        chunk.Y = run->Y;
    }
    if (batch->labels) {
        for (int64_t r = 0; r < B; r++)
            run->labels[r] = batch->labels[order[r]];
        chunk.labels = run->labels;
    }
    if (batch->weight) {
        e->kernels->gather_rows(run->weight, batch->weight, order, B, 1, 1, 1);
        chunk.weight = run->weight;
    }
    return chunk;
}

/* The share of right outputs is known for losses of classes, of probabilities and of signs. */
static bool counts_hits(const fnn_program *program) {
    return program->loss == FNN_CROSS_ENTROPY || program->loss == FNN_BINARY_CROSS_ENTROPY ||
           program->loss == FNN_HINGE;
}

/* Set row_loss and hits of a chunk, and the gradient of its scores where there is to be one. */
static void chunk_loss(fnn_run *run, const fnn_batch *chunk, double factor) {
    const fnn_program *program = &run->engine->program;
    const fnn_kernels *k = run->engine->kernels;
    const fnn_matrix Z = run->slots[program->op_count], dZ = run->gradients[program->op_count];
    const int64_t O = program->slots[program->op_count].width;
    double *hits = counts_hits(program) ? run->hits : NULL;
    if (chunk->labels)
        k->loss_labels(run->row_loss, hits, dZ.at, Z.at, chunk->labels, chunk->weight,
                       program->loss_constant, factor, run->B, O, dZ.ld, Z.ld);
    else
        k->loss(run->row_loss, hits, dZ.at, Z.at, chunk->Y, chunk->weight, program->loss,
                program->loss_constant, factor, run->B, O, dZ.ld, Z.ld, O);
}

/* Return the penalties on the parameters, and add their gradient. */
static double penalties(const fnn_run *run) {
    const fnn_engine *e = run->engine;
    double total = 0;
    for (int32_t n = 0; n < e->program.parameter_count; n++) {
        const fnn_parameter *p = &e->program.parameters[n];
        if (p->l1 == 0 && p->l2 == 0)
            continue;
        char *gradient = run->gradient ? fnn_at(e, run->gradient, p->offset) : NULL;
        total += e->kernels->penalty(gradient, fnn_at(e, run->parameters, p->offset), p->l1, p->l2,
                                     p->rows * p->stride);
    }
    return total;
}

bool fnn_batch_loss(fnn_run *run, const fnn_batch *batch, const int64_t *order, int64_t first,
                    int64_t rows, double *loss, double *hits) {
    const fnn_engine *e = run->engine;
    const int64_t I = e->program.slots[0].width;
    const bool backward = run->gradient || run->input_gradient;
    const bool counted = counts_hits(&e->program);
    double total = 0, loss_sum = 0, hit_sum = 0;
    for (int64_t r = 0; r < rows; r++)
        total += weight_at(e, batch->weight, order ? order[r] : first + r);
    if (run->gradient)
        memset(run->gradient, 0, (size_t)(e->program.size * e->element));
    for (int64_t at = 0; at < rows; at += run->B) {
        run->B = chunk_of(run, rows - at);
        run->first_row = at;
        const fnn_batch chunk = chunk_rows(run, batch, order ? order + at : NULL, first + at);
        set_input(run, chunk.X);
        if (run->input_gradient)
            run->gradients[0] = (fnn_matrix){fnn_at(e, run->input_gradient, at * I), I};
        if (!fnn_forward(run))
            return false;
        chunk_loss(run, &chunk, 1 / total);
        for (int64_t r = 0; r < run->B; r++) {
            const double weight = weight_at(e, chunk.weight, r);
            loss_sum += weight * run->row_loss[r];
            hit_sum += weight * (counted ? run->hits[r] : NAN);
        }
        if (backward && !fnn_backward(run))
            return false;
    }
    *loss = loss_sum / total + penalties(run);
    *hits = hit_sum / total;
    return true;
}

fnn_status fnn_loss_and_gradient(const fnn_engine *engine, const void *parameters,
                                 const void *states, const fnn_batch *batch, bool training,
                                 uint64_t seed, uint64_t step, double *loss, double *hits,
                                 void *gradient, void *input_gradient, const fnn_poll *poll) {
    fnn_run run = {.engine = engine,
                   .parameters = parameters,
                   .states = states,
                   .gradient = gradient,
                   .input_gradient = input_gradient,
                   .training = training,
                   .seed = seed,
                   .step = step,
                   .poll = poll};
    const int parts = gradient || input_gradient ? FNN_RUN_LOSS | FNN_RUN_BACKWARD : FNN_RUN_LOSS;
    fnn_status status = fnn_begin(&run, batch->rows, parts);
    if (status == FNN_OK && !fnn_batch_loss(&run, batch, NULL, 0, batch->rows, loss, hits))
        status = FNN_INTERRUPTED;
    fnn_free(run.memory);
    return status;
}
