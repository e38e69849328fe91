/* The forward and the backward pass of a chunk of rows: the ops of the program, one by one. */
#include "engine.h"

/* Multiply-adds in one call of a dense kernel: a few milliseconds of plain code, so that a wide
 * layer can be interrupted. Pieces are columns or rows of the weights; the sums stay whole. */
#define PIECE_WORK (1 << 23)
#define PIECE_STEP 64 /* in numbers: whole cache lines */

/* An elementwise function takes about as long as this many multiply-adds. */
#define FUNCTION_WORK 16

static int64_t piece(int64_t B, int64_t depth) {
    const int64_t fitting = PIECE_WORK / (B * depth + 1) / PIECE_STEP * PIECE_STEP;
    return fitting < PIECE_STEP ? PIECE_STEP : fitting;
}

static int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static int64_t width(const fnn_run *run, int32_t slot) {
    return run->engine->program.slots[slot].width;
}

static const fnn_parameter *parameter_of(const fnn_run *run, const fnn_op *op, int which) {
    const int32_t number = op->parameters[which];
    return number < 0 ? NULL : &run->engine->program.parameters[number];
}

/* Where a parameter, if there is one, stands in a flat vector. */
static char *find(const fnn_run *run, const char *flat, const fnn_parameter *parameter) {
    return parameter ? fnn_at(run->engine, flat, parameter->offset) : NULL;
}

static double gate_constant(const fnn_run *run, const fnn_op *op) {
    const void *beta = find(run, run->parameters, parameter_of(run, op, 0));
    if (!beta)
        return op->constant;
    return run->engine->dtype == FNN_FLOAT32 ? *(const float *)beta : *(const double *)beta;
}

/* Mean and inverse deviation of the rows, which a layer norm keeps for its backward pass. */
static char *saved(const fnn_run *run, const fnn_op *op, int which) {
    const int64_t number = op - run->engine->program.ops;
    return fnn_at(run->engine, run->saved, (2 * number + which) * run->rows);
}

/* Mean (0) and variance (1) of the columns: those of the batch in training, else the running ones.
 */
static char *statistics(const fnn_run *run, const fnn_op *op, int which) {
    const fnn_state *state = &run->engine->program.states[op->states[which]];
    return fnn_at(run->engine, run->training ? run->statistics : run->states, state->offset);
}

static bool dense_forward(fnn_run *run, const fnn_op *op, fnn_matrix Y, fnn_matrix X) {
    const fnn_engine *e = run->engine;
    const fnn_parameter *weight = parameter_of(run, op, 0), *bias = parameter_of(run, op, 1);
    const char *W = find(run, run->parameters, weight), *b = find(run, run->parameters, bias);
    const int64_t I = weight->rows, O = weight->columns, step = piece(run->B, I);
    for (int64_t o = 0; o < O; o += step) {
        const int64_t n = least(step, O - o);
        e->kernels->dense_forward(fnn_at(e, Y.at, o), X.at, fnn_at(e, W, o),
                                  b ? fnn_at(e, b, o) : NULL, run->B, I, n, Y.ld, X.ld,
                                  weight->stride);
        if (!fnn_go_on(run, run->B * I * n))
            return false;
    }
    return true;
}

static bool dense_backward_data(fnn_run *run, const fnn_op *op, fnn_matrix dX, fnn_matrix dY) {
    const fnn_engine *e = run->engine;
    const fnn_parameter *weight = parameter_of(run, op, 0);
    const char *W = find(run, run->parameters, weight);
    const int64_t I = weight->rows, O = weight->columns, step = piece(run->B, O);
    for (int64_t i = 0; i < I; i += step) {
        const int64_t n = least(step, I - i);
        e->kernels->dense_backward_data(fnn_at(e, dX.at, i), dY.at,
                                        fnn_at(e, W, i * weight->stride), op->accumulate[0], run->B,
                                        n, O, dX.ld, dY.ld, weight->stride);
        if (!fnn_go_on(run, run->B * n * O))
            return false;
    }
    return true;
}

static bool dense_backward_weights(fnn_run *run, const fnn_op *op, fnn_matrix X, fnn_matrix dY) {
    const fnn_engine *e = run->engine;
    const fnn_parameter *weight = parameter_of(run, op, 0), *bias = parameter_of(run, op, 1);
    char *dW = find(run, run->gradient, weight), *db = find(run, run->gradient, bias);
    const int64_t I = weight->rows, O = weight->columns, step = piece(run->B, O);
    for (int64_t i = 0; i < I; i += step) {
        const int64_t n = least(step, I - i);
        e->kernels->dense_backward_weights(fnn_at(e, dW, i * weight->stride), i == 0 ? db : NULL,
                                           fnn_at(e, X.at, i), dY.at, true, run->B, n, O,
                                           weight->stride, X.ld, dY.ld);
        if (!fnn_go_on(run, run->B * n * O))
            return false;
    }
    return true;
}

static bool drops(const fnn_run *run, const fnn_op *op) {
    return run->training && op->constant > 0;
}

static bool forward(fnn_run *run, const fnn_op *op) {
    const fnn_engine *e = run->engine;
    const fnn_kernels *k = e->kernels;
    const fnn_matrix Y = run->slots[op->output], X = run->slots[op->inputs[0]];
    const fnn_matrix second = op->inputs[1] < 0 ? X : run->slots[op->inputs[1]];
    const int64_t B = run->B, I = width(run, op->inputs[0]), O = width(run, op->output);
    switch (op->kind) {
    case FNN_OP_DENSE:
        return dense_forward(run, op, Y, X);
    case FNN_OP_ACTIVATION:
        k->activation_forward(Y.at, X.at, op->function, op->constant, B, O, Y.ld, X.ld);
        break;
    case FNN_OP_SOFTMAX:
        k->softmax_forward(Y.at, X.at, B, O, Y.ld, X.ld);
        break;
    case FNN_OP_DROPOUT:
        if (drops(run, op))
            k->dropout(Y.at, X.at, op->constant, run->seed, run->step,
                       (uint64_t)(op - e->program.ops), (uint64_t)run->first_row, false, B, O, Y.ld,
                       X.ld);
        else if (op->output == e->program.op_count) /* scores may be wanted where they are */
            k->copy(Y.at, X.at, false, B, O, Y.ld, X.ld);
        else
            run->slots[op->output] = X;
        break;
    case FNN_OP_LAYER_NORM:
        k->layer_norm_forward(Y.at, saved(run, op, 0), saved(run, op, 1), X.at,
                              find(run, run->parameters, parameter_of(run, op, 0)),
                              find(run, run->parameters, parameter_of(run, op, 1)), op->constant, B,
                              O, Y.ld, X.ld);
        break;
    case FNN_OP_BATCH_NORM:
        if (run->training)
            k->batch_norm_statistics(statistics(run, op, 0), statistics(run, op, 1), X.at, B, O,
                                     X.ld);
        k->batch_norm_forward(Y.at, X.at, statistics(run, op, 0), statistics(run, op, 1),
                              find(run, run->parameters, parameter_of(run, op, 0)),
                              find(run, run->parameters, parameter_of(run, op, 1)), op->constant, B,
                              O, Y.ld, X.ld);
        break;
    case FNN_OP_GATE:
        k->gate_forward(Y.at, X.at, second.at, op->function, gate_constant(run, op), B, O, Y.ld,
                        X.ld, second.ld);
        break;
    case FNN_OP_ADD:
        k->copy(Y.at, X.at, false, B, O, Y.ld, X.ld);
        k->copy(Y.at, second.at, true, B, O, Y.ld, second.ld);
        break;
    case FNN_OP_CONCAT:
        k->copy(Y.at, X.at, false, B, I, Y.ld, X.ld);
        k->copy(fnn_at(e, Y.at, I), second.at, false, B, O - I, Y.ld, second.ld);
        break;
    }
    return fnn_go_on(run, FUNCTION_WORK * B * O);
}

/* Whether anybody asks for the gradient of a slot. */
static bool wanted(const fnn_run *run, int32_t slot) {
    return run->input_gradient || run->engine->trainable[slot];
}

static bool backward_data(fnn_run *run, const fnn_op *op) {
    const fnn_engine *e = run->engine;
    const fnn_kernels *k = e->kernels;
    const bool has_second = op->inputs[1] >= 0, adds = op->accumulate[0];
    const fnn_matrix X = run->slots[op->inputs[0]], Y = run->slots[op->output];
    const fnn_matrix dX = run->gradients[op->inputs[0]], dY = run->gradients[op->output];
    const fnn_matrix second = has_second ? run->slots[op->inputs[1]] : X;
    const fnn_matrix dsecond = has_second ? run->gradients[op->inputs[1]] : dX;
    const bool first_wanted = wanted(run, op->inputs[0]);
    const bool second_wanted = has_second && wanted(run, op->inputs[1]);
    const int64_t B = run->B, I = width(run, op->inputs[0]), O = width(run, op->output);
    if (!first_wanted && !second_wanted)
        return true;
    switch (op->kind) {
    case FNN_OP_DENSE:
        return dense_backward_data(run, op, dX, dY);
    case FNN_OP_ACTIVATION:
        k->activation_backward(dX.at, dY.at, X.at, Y.at, op->function, op->constant, adds, B, O,
                               dX.ld, dY.ld, X.ld, Y.ld);
        break;
    case FNN_OP_SOFTMAX:
        k->softmax_backward(dX.at, dY.at, Y.at, adds, B, O, dX.ld, dY.ld, Y.ld);
        break;
    case FNN_OP_DROPOUT:
        if (drops(run, op))
            k->dropout(dX.at, dY.at, op->constant, run->seed, run->step,
                       (uint64_t)(op - e->program.ops), (uint64_t)run->first_row, adds, B, O, dX.ld,
                       dY.ld);
        else
            k->copy(dX.at, dY.at, adds, B, O, dX.ld, dY.ld);
        break;
    case FNN_OP_LAYER_NORM:
        k->layer_norm_backward_data(dX.at, dY.at, X.at, saved(run, op, 0), saved(run, op, 1),
                                    find(run, run->parameters, parameter_of(run, op, 0)), adds, B,
                                    O, dX.ld, dY.ld, X.ld);
        break;
    case FNN_OP_BATCH_NORM:
        k->batch_norm_backward_data(dX.at, dY.at, X.at, statistics(run, op, 0),
                                    statistics(run, op, 1),
                                    find(run, run->parameters, parameter_of(run, op, 0)),
                                    op->constant, run->training, adds, B, O, dX.ld, dY.ld, X.ld);
        break;
    case FNN_OP_GATE:
        k->gate_backward(dX.at, dsecond.at, dY.at, X.at, second.at, op->function,
                         gate_constant(run, op), B, O, dX.ld, dsecond.ld, dY.ld, X.ld, second.ld);
        break;
    case FNN_OP_ADD:
        if (first_wanted)
            k->copy(dX.at, dY.at, adds, B, O, dX.ld, dY.ld);
        if (second_wanted)
            k->copy(dsecond.at, dY.at, op->accumulate[1], B, O, dsecond.ld, dY.ld);
        break;
    case FNN_OP_CONCAT:
        if (first_wanted)
            k->copy(dX.at, dY.at, adds, B, I, dX.ld, dY.ld);
        if (second_wanted)
            k->copy(dsecond.at, fnn_at(e, dY.at, I), op->accumulate[1], B, O - I, dsecond.ld,
                    dY.ld);
        break;
    }
    return fnn_go_on(run, FUNCTION_WORK * B * O);
}

static bool backward_parameters(fnn_run *run, const fnn_op *op) {
    const fnn_kernels *k = run->engine->kernels;
    const fnn_matrix X = run->slots[op->inputs[0]], dY = run->gradients[op->output];
    const fnn_parameter *first = parameter_of(run, op, 0), *second = parameter_of(run, op, 1);
    const int64_t B = run->B, O = width(run, op->output);
    if (!first)
        return true;
    char *d = find(run, run->gradient, first);
    if (op->kind == FNN_OP_DENSE)
        return dense_backward_weights(run, op, X, dY);
    if (op->kind == FNN_OP_LAYER_NORM) {
        k->layer_norm_backward_parameters(d, find(run, run->gradient, second), dY.at, X.at,
                                          saved(run, op, 0), saved(run, op, 1), true, B, O, dY.ld,
                                          X.ld);
    } else if (op->kind == FNN_OP_BATCH_NORM) {
        k->batch_norm_backward_parameters(d, find(run, run->gradient, second), dY.at, X.at,
                                          statistics(run, op, 0), statistics(run, op, 1),
                                          op->constant, true, B, O, dY.ld, X.ld);
    } else { /* a gate */
        const fnn_matrix V = run->slots[op->inputs[1]];
        k->gate_backward_beta(d, dY.at, X.at, V.at, gate_constant(run, op), true, B, O, dY.ld, X.ld,
                              V.ld);
    }
    return fnn_go_on(run, FUNCTION_WORK * B * O);
}

bool fnn_forward(fnn_run *run) {
    const fnn_program *program = &run->engine->program;
    for (int32_t n = 0; n < program->op_count; n++)
        if (!forward(run, &program->ops[n]))
            return false;
    return true;
}

bool fnn_backward(fnn_run *run) {
    const fnn_program *program = &run->engine->program;
    for (int32_t n = program->op_count - 1; n >= 0; n--)
        if (!backward_data(run, &program->ops[n]))
            return false;
    for (int32_t n = 0; n < program->op_count && run->gradient; n++)
        if (!backward_parameters(run, &program->ops[n]))
            return false;
    return true;
}
