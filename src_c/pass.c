/* Phase A: a tile of rows through the ops, forward, and backward to the gradients of the slots. */
#include "engine.h"

/* Multiply-adds in one call of a dense kernel: some milliseconds even of the baseline, so that a
 * wide layer can be interrupted. Pieces are columns or rows of the weights; the sums stay whole. */
#define PIECE_WORK (1 << 26)
#define PIECE_STEP 64 /* in numbers: whole cache lines */

/* An elementwise function takes about as long as this many multiply-adds. */
#define FUNCTION_WORK 16

static int64_t piece(int64_t B, int64_t depth) {
    const int64_t fitting = PIECE_WORK / (B * depth + 1) / PIECE_STEP * PIECE_STEP;
    return fitting < PIECE_STEP ? PIECE_STEP : fitting;
}

static int64_t width(const fnn_tile *tile, int32_t slot) {
    return tile->run->engine->program.slots[slot].width;
}

static fnn_matrix rows_of(const fnn_tile *tile, fnn_matrix m) {
    const int64_t apart = tile->run->row_ld ? tile->run->row_ld : m.ld;
    return fnn_rows(fnn_at(tile->run->engine, m.at, tile->first * apart), m.ld);
}

static fnn_matrix slot(const fnn_tile *tile, int32_t number) {
    const int32_t source = fnn_source(tile->run->engine, tile->run->training, number);
    if (source == 0) return tile->X;
    return source == tile->run->engine->program.op_count ? tile->scores
                                                         : rows_of(tile, tile->run->slots[source]);
}

static fnn_matrix gradient(const fnn_tile *tile, int32_t number) {
    return number == 0 ? tile->dX : rows_of(tile, tile->run->gradients[number]);
}

double fnn_gate_constant(const fnn_run *run, const fnn_op *op) {
    const void *beta = fnn_value(run, op, 0);
    if (!beta) return op->constant;
    return run->engine->dtype == FNN_FLOAT32 ? *(const float *)beta : *(const double *)beta;
}

static bool dense_forward(const fnn_tile *tile, const fnn_op *op, fnn_matrix Y, fnn_matrix X) {
    fnn_run *run = tile->run;
    const fnn_engine *e = run->engine;
    const fnn_function function = op->relu ? FNN_RELU : FNN_IDENTITY;
    const fnn_parameter *p = fnn_parameter_of(run, op, 0);
    const fnn_matrix W = {fnn_value(run, op, 0), p->stride};
    const char *b = fnn_value(run, op, 1);
    const int64_t I = p->rows, O = p->columns, step = piece(tile->rows, I);
    if (run->bfloat16) {
        const fnn_matrix D = {fnn_at(e, run->scratch, tile->worker * run->scratch_size),
                              e->program.slots[op->inputs[0]].ld};
        run->bfloat16->prepare_rows(D, X, tile->rows, I);
        X = D;
    }
    for (int64_t o = 0; o < O; o += step) {
        const int64_t n = fnn_least(step, O - o);
        (run->bfloat16 ? run->bfloat16->dense_forward : e->kernels->dense_forward)(
            fnn_part(e, Y, 0, o), X, fnn_part(e, W, 0, o), b ? fnn_at(e, b, o) : NULL, function,
            tile->rows, I, n);
        if (!fnn_go_on(run, tile->worker, tile->rows * I * n)) return false;
    }
    return true;
}

static bool dense_backward_data(const fnn_tile *tile, const fnn_op *op, fnn_matrix dX,
                                fnn_matrix dY, fnn_matrix X) {
    fnn_run *run = tile->run;
    const fnn_engine *e = run->engine;
    const fnn_parameter *p = fnn_parameter_of(run, op, 0);
    const fnn_matrix W = {fnn_value(run, op, 0), p->stride}, none = {NULL, 0};
    const int64_t I = p->rows, O = p->columns, step = piece(tile->rows, O);
    for (int64_t i = 0; i < I; i += step) {
        const int64_t n = fnn_least(step, I - i);
        e->kernels->dense_backward_data(fnn_part(e, dX, 0, i), dY, fnn_part(e, W, i, 0),
                                        op->masks ? fnn_part(e, X, 0, i) : none, op->accumulate[0],
                                        tile->rows, n, O);
        if (!fnn_go_on(run, tile->worker, tile->rows * n * O)) return false;
    }
    return true;
}

/* What a dropout does, forward and backward. */
static void drop(const fnn_tile *tile, const fnn_op *op, fnn_matrix Y, fnn_matrix X, bool adds,
                 int64_t O) {
    const fnn_run *run = tile->run;
    const fnn_kernels *k = run->engine->kernels;
    const uint64_t layer = (uint64_t)(op - run->engine->program.ops);
    if (run->training && op->constant > 0)
        k->dropout(Y, X, op->constant, run->seed, run->step, layer,
                   (uint64_t)(run->row_in_batch + tile->first), adds, tile->rows, O);
    else if (Y.at != X.at)
        k->copy(Y, X, adds, tile->rows, O);
}

static bool forward(const fnn_tile *tile, const fnn_op *op) {
    fnn_run *run = tile->run;
    const fnn_engine *e = run->engine;
    const fnn_kernels *k = e->kernels;
    const fnn_matrix Y = slot(tile, op->output), X = slot(tile, op->inputs[0]);
    const fnn_matrix second = op->inputs[1] < 0 ? X : slot(tile, op->inputs[1]);
    const char *const p = fnn_value(run, op, 0), *const q = fnn_value(run, op, 1);
    const int64_t B = tile->rows, I = width(tile, op->inputs[0]), O = width(tile, op->output);
    char *mean, *spread;
    switch (op->kind) {
    case FNN_OP_DENSE: return dense_forward(tile, op, Y, X);
    case FNN_OP_ACTIVATION: k->activation_forward(Y, X, op->function, op->constant, B, O); break;
    case FNN_OP_SOFTMAX: k->softmax_forward(Y, X, B, O); break;
    case FNN_OP_DROPOUT: drop(tile, op, Y, X, false, O); break;
    case FNN_OP_LAYER_NORM:
        mean = fnn_kept(run, op, 0, tile->first), spread = fnn_kept(run, op, 1, tile->first);
        k->layer_norm_forward(Y, mean, spread, X, p, q, op->constant, B, O);
        break;
    case FNN_OP_BATCH_NORM:
        mean = fnn_kept(run, op, 0, 0), spread = fnn_kept(run, op, 1, 0);
        if (run->training) k->batch_norm_statistics(mean, spread, X, B, O);
        k->batch_norm_forward(Y, X, mean, spread, p, q, op->constant, B, O);
        break;
    case FNN_OP_GATE:
        k->gate_forward(Y, X, second, op->function, fnn_gate_constant(run, op), B, O);
        break;
    case FNN_OP_ADD:
        k->copy(Y, X, false, B, O);
        k->copy(Y, second, true, B, O);
        break;
    case FNN_OP_CONCAT:
        k->copy(Y, X, false, B, I);
        k->copy(fnn_part(e, Y, 0, I), second, false, B, O - I);
        break;
    case FNN_OP_SLICE: k->copy(Y, fnn_part(e, X, 0, (int64_t)op->constant), false, B, O); break;
    case FNN_OP_CUSTOM: op->forward(Y.at, Y.ld, X.at, X.ld, B, O); break;
    }
    return fnn_go_on(run, tile->worker, FUNCTION_WORK * B * O);
}

/* Whether anybody asks for the gradient of a slot. */
static bool wanted(const fnn_tile *tile, int32_t number) {
    if (number == 0) return tile->dX.at != NULL;
    return tile->run->input_gradient || tile->run->engine->program.slots[number].trainable;
}

static bool backward(const fnn_tile *tile, const fnn_op *op) {
    fnn_run *run = tile->run;
    const fnn_engine *e = run->engine;
    const fnn_kernels *k = e->kernels;
    const bool has_second = op->inputs[1] >= 0, adds = op->accumulate[0];
    const fnn_matrix X = slot(tile, op->inputs[0]), Y = slot(tile, op->output);
    const fnn_matrix dX = gradient(tile, op->inputs[0]), dY = gradient(tile, op->output);
    const fnn_matrix second = has_second ? slot(tile, op->inputs[1]) : X;
    const fnn_matrix dsecond = has_second ? gradient(tile, op->inputs[1]) : dX;
    const bool first_wanted = wanted(tile, op->inputs[0]);
    const bool second_wanted = has_second && wanted(tile, op->inputs[1]);
    const int64_t B = tile->rows, I = width(tile, op->inputs[0]), O = width(tile, op->output);
    const bool concat = op->kind == FNN_OP_CONCAT;
    const char *const p = fnn_value(run, op, 0);
    if (!first_wanted && !second_wanted) return true;
    switch (op->kind) {
    case FNN_OP_DENSE: return dense_backward_data(tile, op, dX, dY, X);
    case FNN_OP_ACTIVATION:
        k->activation_backward(dX, dY, X, Y, op->function, op->constant, adds, B, O);
        break;
    case FNN_OP_SOFTMAX: k->softmax_backward(dX, dY, Y, adds, B, O); break;
    case FNN_OP_DROPOUT: drop(tile, op, dX, dY, adds, O); break;
    case FNN_OP_LAYER_NORM:
        k->layer_norm_backward_data(dX, dY, X, fnn_kept(run, op, 0, tile->first),
                                    fnn_kept(run, op, 1, tile->first), p, adds, B, O);
        break;
    case FNN_OP_BATCH_NORM:
        k->batch_norm_backward_data(dX, dY, X, fnn_kept(run, op, 0, 0), fnn_kept(run, op, 1, 0), p,
                                    op->constant, run->training, adds, B, O);
        break;
    case FNN_OP_GATE:
        k->gate_backward(dX, dsecond, dY, X, second, op->function, fnn_gate_constant(run, op), B,
                         O);
        break;
    case FNN_OP_ADD:
    case FNN_OP_CONCAT: /* the inputs share the gradient, or have a part of it each */
        if (first_wanted) k->copy(dX, dY, adds, B, concat ? I : O);
        if (second_wanted)
            k->copy(dsecond, fnn_part(e, dY, 0, concat ? I : 0), op->accumulate[1], B,
                    concat ? O - I : O);
        break;
    case FNN_OP_SLICE: k->copy(fnn_part(e, dX, 0, (int64_t)op->constant), dY, adds, B, O); break;
    case FNN_OP_CUSTOM: op->backward(dX.at, dX.ld, dY.at, dY.ld, X.at, X.ld, adds, B, O); break;
    }
    return fnn_go_on(run, tile->worker, FUNCTION_WORK * B * O);
}

bool fnn_forward(const fnn_tile *tile) {
    const fnn_engine *e = tile->run->engine;
    for (int32_t n = 0; n < e->program.op_count; n++)
        if (!e->program.ops[n].done_forward && !forward(tile, &e->program.ops[n])) return false;
    return true;
}

bool fnn_backward(const fnn_tile *tile) {
    const fnn_engine *e = tile->run->engine;
    for (int32_t n = e->program.op_count - 1; n >= 0; n--)
        if (!e->program.ops[n].done_backward && !backward(tile, &e->program.ops[n])) return false;
    return true;
}
