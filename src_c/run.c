/* The calls of an engine without training: predictions, the loss, its gradient. */
#include "engine.h"

#include <math.h>
#include <string.h>

/* What an engine keeps for the next run, at most: who needs more has time to ask for it. */
#define KEPT_BYTES (16 << 20)

/* Below this many multiply-adds a run has one thread: to tell another costs more than it does. In
 * training the others are awake; a single call has to wake them. */
#define WORK_OF_TWO 400000
#define WORK_OF_WAKING 8000000

/* The slots of a prediction share buffers, the others have memory of their own. */
static void lay_out_slots(fnn_run *run, fnn_arena *arena, int parts) {
    const fnn_engine *e = run->engine;
    const fnn_program *p = &e->program;
    const bool tiles = parts & FNN_RUN_TILES, backward = parts & FNN_RUN_BACKWARD;
    const int64_t rows = run->rows, input = parts & FNN_RUN_GATHER ? p->slots[0].ld : 0;
    const int64_t size = tiles ? p->buffers * p->buffer_ld : p->slot_size + input;
    const char *values = fnn_carve(arena, rows, size * e->element);
    const char *gradients = fnn_carve(arena, backward ? rows : 0, p->slot_size * e->element);
    for (int32_t n = 0; n < p->slot_count && arena->memory; n++) {
        const fnn_slot *slot = &p->slots[n];
        const int64_t at = tiles ? slot->buffer * p->buffer_ld : slot->offset;
        run->slots[n] = fnn_rows(at < 0 ? NULL : fnn_at(e, values, rows * at), slot->ld);
        run->gradients[n] =
            fnn_rows(backward ? fnn_at(e, gradients, rows * slot->offset) : NULL, slot->ld);
    }
}

static void lay_out(fnn_run *run, fnn_arena *arena, int parts) {
    const fnn_program *p = &run->engine->program;
    const int64_t rows = run->rows, element = run->engine->element;
    const int64_t lost = parts & FNN_RUN_LOSS ? rows : 0;
    const int64_t gathered = parts & FNN_RUN_GATHER ? rows : 0;
    run->slots = fnn_carve(arena, p->slot_count, sizeof(fnn_matrix));
    run->gradients = fnn_carve(arena, p->slot_count, sizeof(fnn_matrix));
    lay_out_slots(run, arena, parts);
    run->saved = fnn_carve(arena, rows, 2 * p->op_count * element);
    run->row_loss = fnn_carve(arena, lost, sizeof(double));
    run->hits = fnn_carve(arena, lost, sizeof(double));
    run->Y = fnn_carve(arena, gathered, p->slots[p->op_count].width * element);
    run->labels = fnn_carve(arena, gathered, sizeof(int64_t));
    run->weight = fnn_carve(arena, gathered, element);
    run->flat = fnn_carve(arena, parts & FNN_RUN_FLAT ? p->size : 0, element);
    run->statistics = fnn_carve(arena, p->state_size, element);
    run->block_penalty = fnn_carve(arena, p->block_count, sizeof(double));
    if (parts & FNN_RUN_BACKWARD)
        run->scratch_size = p->scratch_size;
    else if (run->bfloat16) /* a tile of a dense op's input for every worker */
        run->scratch_size = run->tile * p->widest_input;
    run->scratch = fnn_carve(arena, run->workers, run->scratch_size * element);
}

/* Memory for a run: what the last one left with the engine, where that is enough. A step or a
 * prediction of a few rows takes less time than to ask the system for it. */
static fnn_spare *take_memory(fnn_engine *engine, int64_t bytes) {
    fnn_spare *spare = atomic_exchange(&engine->spare, NULL);
    const bool fits = bytes >= 0 && bytes <= INT64_MAX - (int64_t)sizeof *spare;
    if (spare && fits && spare->bytes >= bytes) return spare;
    fnn_free(spare);
    spare = fits ? fnn_alloc(bytes + (int64_t)sizeof *spare, 1) : NULL;
    if (spare) spare->bytes = bytes;
    return spare;
}

fnn_status fnn_begin(fnn_run *run, int64_t rows, int parts) {
    const fnn_engine *e = run->engine;
    const bool whole = run->training && e->program.couples_rows;
    const int64_t tile = parts & FNN_RUN_TILES ? e->program.prediction_tile : e->program.tile;
    run->rows = whole ? rows : fnn_least(rows, e->program.chunk);
    run->tile = whole ? rows : fnn_least(rows, tile);
    const int64_t worth = run->training ? WORK_OF_TWO : WORK_OF_WAKING;
    if (fnn_least(rows, worth) * e->program.row_work >= worth) /* so no product is too large */
        run->pool = fnn_pool_begin(e->threads);
    run->workers = run->pool ? e->threads : 1;
    if (!whole)
        run->tile = fnn_least(run->tile, (run->rows - 1) / run->workers + 1); /* even shares */
    if (parts & FNN_RUN_TILES) {
        run->rows = run->workers * run->tile;
        run->row_ld = e->program.buffer_ld;
    }
    fnn_arena measure = {NULL, 0};
    lay_out(run, &measure, parts);
    run->memory = take_memory((fnn_engine *)e, measure.used);
    if (!run->memory) return FNN_NO_MEMORY;
    fnn_arena arena = {(char *)(run->memory + 1), 0};
    lay_out(run, &arena, parts);
    memset(run->statistics, 0, (size_t)(e->program.state_size * e->element));
    for (int64_t r = 0; r < run->rows && parts & FNN_RUN_LOSS; r++) run->hits[r] = NAN;
    if (parts & FNN_RUN_BACKWARD) {
        /* Rows of weights are padded with 0, and no gradient ever changes that. */
        memset(run->scratch, 0, (size_t)(run->scratch_size * run->workers * e->element));
        char *flat = parts & FNN_RUN_FLAT ? run->flat : run->gradient;
        if (flat) memset(flat, 0, (size_t)(e->program.size * e->element));
    }
    return FNN_OK;
}

void fnn_end(fnn_run *run) {
    fnn_pool_end(run->pool);
    fnn_spare *spare = run->memory;
    if (spare && spare->bytes <= KEPT_BYTES)
        spare = atomic_exchange(&((fnn_engine *)run->engine)->spare, spare);
    fnn_free(spare);
}

/* ---- Predictions ---------------------------------------------------------------------------- */

/* Each worker has a tile of the workspace for itself, and takes one tile of rows after another. */
static void predict_tile(void *context, int64_t item, int worker) {
    fnn_run *run = context;
    const fnn_engine *e = run->engine;
    const fnn_kernels *k = e->kernels;
    const int64_t I = e->program.slots[0].width, O = e->program.slots[e->program.op_count].width;
    const int64_t first = item * run->tile, rows = fnn_least(run->tile, run->batch->rows - first);
    const fnn_matrix X = {fnn_at(e, run->batch->X, first * I), I};
    const fnn_matrix out = {fnn_at(e, run->out, first * O), O};
    const fnn_tile tile = {run, worker, worker * run->tile, rows, .X = X, .scores = out};
    if (run->only_finite && k->first_nonfinite(X, rows, I) >= 0) atomic_store(&run->diverged, true);
    if (atomic_load(&run->diverged) || !fnn_go_on(run, worker, 0) || !fnn_forward(&tile)) return;
    if (e->program.head == FNN_HEAD_SOFTMAX)
        k->softmax_forward(out, out, rows, O);
    else if (e->program.head == FNN_HEAD_SIGMOID)
        k->activation_forward(out, out, FNN_SIGMOID, 0, rows, O);
    else if (e->program.head == FNN_HEAD_EXP)
        k->activation_forward(out, out, FNN_EXP, 0, rows, O);
}

fnn_status fnn_predict(const fnn_engine *engine, const void *parameters, const void *states,
                       void *out, const void *X, int64_t rows, bool bfloat16, bool only_finite,
                       const fnn_poll *poll) {
    fnn_run run = {engine, (char *)parameters, (char *)states, poll, .training = false};
    const fnn_batch batch = {.X = X, .rows = rows};
    run.bfloat16 = bfloat16 ? &engine->bfloat16 : NULL;
    run.batch = &batch, run.out = out, run.only_finite = only_finite;
    if (rows == 0) return FNN_OK;
    const fnn_status status = fnn_begin(&run, rows, FNN_RUN_TILES);
    if (status == FNN_OK) fnn_parallel(run.pool, (rows - 1) / run.tile + 1, predict_tile, &run);
    fnn_end(&run);
    return status == FNN_OK ? fnn_outcome(&run) : status;
}

/* ---- Losses --------------------------------------------------------------------------------- */

static double weight_at(const fnn_engine *engine, const void *weight, int64_t row) {
    if (!weight) return 1;
    return engine->dtype == FNN_FLOAT32 ? ((const float *)weight)[row]
                                        : ((const double *)weight)[row];
}

/* Return the targets and weights of rows of the chunk, gathered where they are not together. */
static fnn_batch targets_of(fnn_run *run, int64_t first, int64_t rows) {
    const fnn_engine *e = run->engine;
    const fnn_batch *batch = run->batch;
    const int64_t O = e->program.slots[e->program.op_count].width, row = run->first_row + first;
    const int64_t *order = run->order ? run->order + first : NULL;
    fnn_batch found = {.rows = rows};
    if (batch->Y) found.Y = order ? fnn_at(e, run->Y, first * O) : fnn_at(e, batch->Y, row * O);
    if (batch->labels) found.labels = order ? run->labels + first : batch->labels + row;
    if (batch->weight)
        found.weight = order ? fnn_at(e, run->weight, first) : fnn_at(e, batch->weight, row);
    if (order && batch->Y)
        e->kernels->gather_rows(fnn_rows(found.Y, O), fnn_rows(batch->Y, O), order, rows, O);
    for (int64_t r = 0; r < rows && order && batch->labels; r++)
        run->labels[first + r] = batch->labels[order[r]];
    if (order && batch->weight)
        e->kernels->gather_rows(fnn_rows(found.weight, 1), fnn_rows(batch->weight, 1), order, rows,
                                1);
    return found;
}

/* Set row_loss and hits of a tile, and the gradient of its scores where there is to be one. */
static void loss_of(const fnn_tile *tile) {
    fnn_run *run = tile->run;
    const fnn_engine *e = run->engine;
    const fnn_program *program = &e->program;
    const int64_t O = program->slots[program->op_count].width, first = tile->first;
    const fnn_batch targets = targets_of(run, first, tile->rows);
    const fnn_matrix Z = tile->scores, none = {NULL, 0};
    fnn_matrix dZ = run->gradients[program->op_count];
    if (dZ.at) dZ = fnn_part(e, dZ, first, 0);
    e->kernels->loss(run->row_loss + first, run->hits + first, program->custom_loss ? none : dZ, Z,
                     fnn_rows(targets.Y, O), targets.labels, targets.weight, program->loss,
                     program->loss_constant, run->factor, tile->rows, O);
    if (program->custom_loss)
        program->custom_loss(run->row_loss + first, dZ.at, dZ.ld, Z.at, Z.ld, targets.Y, O,
                             targets.weight, run->factor, tile->rows, O);
}

/* Phase A: a tile of the chunk forward, its loss, and backward. */
static void loss_tile(void *context, int64_t item, int worker) {
    fnn_run *run = context;
    const fnn_engine *e = run->engine;
    const int64_t I = e->program.slots[0].width, first = item * run->tile;
    const int64_t rows = fnn_least(run->tile, run->B - first);
    fnn_tile tile = {.run = run, .worker = worker, .first = first, .rows = rows};
    tile.X = fnn_part(e, run->slots[0], first, 0);
    tile.scores = fnn_part(e, run->slots[e->program.op_count], first, 0);
    if (run->input_gradient)
        tile.dX = fnn_rows(fnn_at(e, run->input_gradient, (run->row_in_batch + first) * I), I);
    if (run->order)
        e->kernels->gather_rows(tile.X, fnn_rows(run->batch->X, I), run->order + first, rows, I);
    if (!fnn_go_on(run, worker, 0) || !fnn_forward(&tile)) return;
    loss_of(&tile);
    if (run->gradients[e->program.op_count].at) fnn_backward(&tile);
}

/* Return the penalties on the parameters, and add their gradient to the flat one. */
static double penalties(const fnn_run *run) {
    const fnn_engine *e = run->engine;
    double total = 0;
    for (int32_t n = 0; n < e->program.parameter_count; n++) {
        const fnn_parameter *p = &e->program.parameters[n];
        char *gradient = run->gradient ? fnn_find(run, run->gradient, p) : NULL;
        total += fnn_penalty(run, p, p->offset, p->rows * p->stride, gradient);
    }
    return total;
}

fnn_status fnn_batch_loss(fnn_run *run, const fnn_batch *batch, const int64_t *order, int64_t first,
                          int64_t rows, double *loss, double *hits) {
    const fnn_engine *e = run->engine;
    const int64_t I = e->program.slots[0].width;
    double total = 0, loss_sum = 0, hit_sum = 0, penalty = 0;
    run->batch = batch;
    for (int64_t r = 0; r < rows && batch->weight; r++)
        total += weight_at(e, batch->weight, order ? order[r] : first + r);
    if (!batch->weight) total = (double)rows;
    run->factor = 1 / total;
    for (int64_t at = 0; at < rows; at += run->B) {
        run->B = fnn_least(run->rows, rows - at);
        run->order = order ? order + at : NULL;
        run->first_row = first + at;
        run->row_in_batch = at;
        if (!order) run->slots[0] = fnn_rows(fnn_at(e, batch->X, run->first_row * I), I);
        fnn_parallel(run->pool, (run->B - 1) / run->tile + 1, loss_tile, run);
        if (fnn_outcome(run) != FNN_OK) return fnn_outcome(run);
        for (int64_t r = 0; r < run->B; r++) {
            const double weight =
                weight_at(e, batch->weight, order ? run->order[r] : run->first_row + r);
            loss_sum += weight * run->row_loss[r];
            hit_sum += weight * run->hits[r];
        }
        *loss = loss_sum / total;
        *hits = hit_sum / total;
        if (run->optimizer && !isfinite(*loss))
            return FNN_DIVERGED; /* before anything is updated */
        if (run->gradient || run->optimizer) penalty = fnn_gradients(run);
    }
    *loss += run->optimizer && !run->gradient ? penalty : penalties(run);
    return fnn_outcome(run);
}

fnn_status fnn_loss_and_gradient(const fnn_engine *engine, const void *parameters,
                                 const void *states, const fnn_batch *batch, bool training,
                                 uint64_t seed, uint64_t step, double *loss, double *hits,
                                 void *gradient, void *input_gradient, const fnn_poll *poll) {
    fnn_run run = {engine, (char *)parameters, (char *)states,
                   poll,   training,           seed,
                   step,   gradient,           .input_gradient = input_gradient};
    const int parts = gradient || input_gradient ? FNN_RUN_LOSS | FNN_RUN_BACKWARD : FNN_RUN_LOSS;
    fnn_status status = fnn_begin(&run, batch->rows, parts);
    if (status == FNN_OK) status = fnn_batch_loss(&run, batch, NULL, 0, batch->rows, loss, hits);
    fnn_end(&run);
    return status;
}
