/* Training steps: gradient, clipping, and the update of parameters and moments. */
#include "engine.h"

#include <math.h>

/* Clip the gradient: its elements, then its norm over all parameters. */
static void clip(const fnn_run *run, const fnn_optimizer *optimizer) {
    const fnn_kernels *k = run->engine->kernels;
    const int64_t P = run->engine->program.size;
    if (optimizer->clip_value > 0)
        k->clip(run->gradient, optimizer->clip_value, P);
    if (optimizer->clip_norm > 0) {
        const double norm = sqrt(k->sum_of_squares(run->gradient, P));
        if (norm > optimizer->clip_norm)
            k->scale(run->gradient, optimizer->clip_norm / norm, P);
    }
}

/* How many flat vectors the optimizer remembers. */
static int moment_count(const fnn_optimizer *o) {
    const bool two = o->kind == FNN_ADAM || o->kind == FNN_NADAM;
    const int averages = two ? 2 : o->kind == FNN_SGD ? 0 : 1;
    return averages + ((o->kind == FNN_SGD || o->kind == FNN_RMSPROP) && o->momentum > 0);
}

static char *moment(const fnn_run *run, const fnn_optimizer *o, int which, const fnn_parameter *p) {
    const fnn_engine *e = run->engine;
    return which < moment_count(o) ? fnn_at(e, o->moments, which * e->program.size + p->offset)
                                   : NULL;
}

static void update(const fnn_run *run, char *parameters, const fnn_optimizer *o, double rate) {
    const fnn_engine *e = run->engine;
    const fnn_kernels *k = e->kernels;
    for (int32_t n = 0; n < e->program.parameter_count; n++) {
        const fnn_parameter *p = &e->program.parameters[n];
        const int64_t N = p->rows * p->stride;
        const double weight_decay = p->regularized ? o->weight_decay : 0;
        char *w = fnn_at(e, parameters, p->offset), *g = fnn_at(e, run->gradient, p->offset);
        char *first = moment(run, o, 0, p), *second = moment(run, o, 1, p);
        switch (o->kind) {
        case FNN_SGD:
            k->sgd_update(w, first, g, rate, o->momentum, o->nesterov, weight_decay, N);
            break;
        case FNN_ADAM:
            k->adam_update(w, first, second, g, rate, o->beta1, o->beta2, o->epsilon, weight_decay,
                           o->decoupled, o->step, N);
            break;
        case FNN_RMSPROP:
            k->rmsprop_update(w, first, second, g, rate, o->decay, o->momentum, o->epsilon,
                              weight_decay, N);
            break;
        case FNN_ADAGRAD:
            k->adagrad_update(w, first, g, rate, o->epsilon, weight_decay, N);
            break;
        case FNN_NADAM:
            k->nadam_update(w, first, second, g, rate, o->beta1, o->beta2, o->epsilon,
                            o->momentum_decay, weight_decay, o->product, o->step, N);
            break;
        case FNN_LION:
            k->lion_update(w, first, g, rate, o->beta1, o->beta2, weight_decay, N);
            break;
        }
        if (p->max_norm > 0)
            k->max_norm(w, p->max_norm, p->rows, p->columns, p->stride);
    }
}

/* Take the statistics of a batch of `rows` rows into the running ones. */
static void update_states(const fnn_run *run, char *states, int64_t rows) {
    const fnn_engine *e = run->engine;
    const fnn_program *program = &e->program;
    for (int32_t n = 0; n < program->op_count; n++) {
        const fnn_op *op = &program->ops[n];
        if (op->kind != FNN_OP_BATCH_NORM)
            continue;
        const fnn_state *mean = &program->states[op->states[0]];
        const fnn_state *variance = &program->states[op->states[1]];
        e->kernels->batch_norm_update(
            fnn_at(e, states, mean->offset), fnn_at(e, states, variance->offset),
            fnn_at(e, run->statistics, mean->offset), fnn_at(e, run->statistics, variance->offset),
            op->momentum, rows, mean->length);
    }
}

double fnn_nadam_momentum(double beta1, double momentum_decay, uint64_t step) {
    return beta1 * (1 - 0.5 * pow(0.96, (double)step * momentum_decay));
}

static bool is_finite(const fnn_run *run, const char *vector, int64_t length) {
    return run->engine->kernels->first_nonfinite(vector, 1, length, length) < 0;
}

/* One step; the parameters, states and the optimizer change last, and only together. */
static fnn_status take_step(fnn_run *run, char *parameters, char *states, const fnn_batch *batch,
                            const fnn_steps *steps, fnn_optimizer *optimizer, int64_t s) {
    const fnn_program *program = &run->engine->program;
    const int64_t first = s * steps->batch_size, left = steps->rows - first;
    const int64_t rows = left < steps->batch_size ? left : steps->batch_size;
    const int64_t *order = steps->order ? steps->order + first : NULL;
    run->step = optimizer->step;
    if (!fnn_batch_loss(run, batch, order, first, rows, &steps->losses[s], &steps->hits[s]))
        return FNN_INTERRUPTED;
    if (!isfinite(steps->losses[s]) || !is_finite(run, run->gradient, program->size) ||
        !is_finite(run, run->statistics, program->state_size))
        return FNN_DIVERGED;
    clip(run, optimizer);
    optimizer->step++;
    if (optimizer->kind == FNN_NADAM)
        optimizer->product *=
            fnn_nadam_momentum(optimizer->beta1, optimizer->momentum_decay, optimizer->step);
    update(run, parameters, optimizer, steps->rates[s]);
    update_states(run, states, rows);
    return FNN_OK;
}

fnn_status fnn_run_steps(const fnn_engine *engine, void *parameters, void *states,
                         const fnn_batch *batch, const fnn_steps *steps, fnn_optimizer *optimizer,
                         int64_t *taken, const fnn_poll *poll) {
    fnn_run run = {.engine = engine,
                   .parameters = parameters,
                   .states = states,
                   .training = true,
                   .seed = steps->seed,
                   .poll = poll};
    const int64_t rows = steps->rows < steps->batch_size ? steps->rows : steps->batch_size;
    const int parts =
        FNN_RUN_LOSS | FNN_RUN_BACKWARD | FNN_RUN_FLAT | (steps->order ? FNN_RUN_GATHER : 0);
    fnn_status status = fnn_begin(&run, rows, parts);
    run.gradient = run.flat;
    for (*taken = 0; *taken < steps->count && status == FNN_OK;) {
        status = take_step(&run, parameters, states, batch, steps, optimizer, *taken);
        *taken += status == FNN_OK;
    }
    fnn_free(run.memory);
    return status;
}
