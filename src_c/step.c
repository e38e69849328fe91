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
    const int averages = o->kind == FNN_ADAM ? 2 : o->kind == FNN_RMSPROP ? 1 : 0;
    return averages + (o->kind != FNN_ADAM && o->momentum > 0);
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
        }
    }
}

/* One step; the parameters and the optimizer change last, and only together. */
static fnn_status take_step(fnn_run *run, char *parameters, const fnn_batch *batch,
                            const fnn_steps *steps, fnn_optimizer *optimizer, int64_t s) {
    const int64_t P = run->engine->program.size, first = s * steps->batch_size;
    const int64_t left = steps->rows - first;
    const int64_t rows = left < steps->batch_size ? left : steps->batch_size;
    const int64_t *order = steps->order ? steps->order + first : NULL;
    run->step = optimizer->step;
    if (!fnn_batch_loss(run, batch, order, first, rows, &steps->losses[s], &steps->hits[s]))
        return FNN_INTERRUPTED;
    if (!isfinite(steps->losses[s]) ||
        run->engine->kernels->first_nonfinite(run->gradient, 1, P, P) >= 0)
        return FNN_DIVERGED;
    clip(run, optimizer);
    optimizer->step++;
    update(run, parameters, optimizer, steps->rates[s]);
    return FNN_OK;
}

fnn_status fnn_run_steps(const fnn_engine *engine, void *parameters, const fnn_batch *batch,
                         const fnn_steps *steps, fnn_optimizer *optimizer, int64_t *taken,
                         const fnn_poll *poll) {
    fnn_run run = {.engine = engine,
                   .parameters = parameters,
                   .training = true,
                   .seed = steps->seed,
                   .poll = poll};
    const int64_t rows = steps->rows < steps->batch_size ? steps->rows : steps->batch_size;
    const int parts =
        FNN_RUN_LOSS | FNN_RUN_BACKWARD | FNN_RUN_FLAT | (steps->order ? FNN_RUN_GATHER : 0);
    fnn_status status = fnn_begin(&run, rows, parts);
    run.gradient = run.flat;
    for (*taken = 0; *taken < steps->count && status == FNN_OK;) {
        status = take_step(&run, parameters, batch, steps, optimizer, *taken);
        *taken += status == FNN_OK;
    }
    fnn_free(run.memory);
    return status;
}
