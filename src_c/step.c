/* Training steps: on the spot or by a flat gradient, clipping, states, and whether threads pay. */
#include "engine.h"

#include <math.h>

#define FEW_PARAMETERS 4096

/* Count a step: updates count from 1, the masks of dropout from 0. */
static void count_step(fnn_optimizer *o) {
    o->step++;
    if (o->kind == FNN_NADAM) o->product *= fnn_nadam_momentum(o, o->step);
}

static bool is_finite(const fnn_run *run, const char *vector, int64_t length) {
    return run->engine->kernels->first_nonfinite(fnn_rows(vector, length), 1, length) < 0;
}

/* Take the statistics of a batch of `rows` rows into the running ones. */
static void update_states(const fnn_run *run, int64_t rows) {
    const fnn_engine *e = run->engine;
    const fnn_program *program = &e->program;
    for (int32_t n = 0; n < program->op_count; n++) {
        const fnn_op *op = &program->ops[n];
        if (op->kind != FNN_OP_BATCH_NORM) continue;
        const int64_t mean = program->states[op->states[0]].offset,
                      variance = program->states[op->states[1]].offset;
        e->kernels->batch_norm_update(
            fnn_at(e, run->states, mean), fnn_at(e, run->states, variance), fnn_kept(run, op, 0, 0),
            fnn_kept(run, op, 1, 0), op->momentum, rows, program->slots[op->output].width);
    }
}

/* Clip the flat gradient and update all parameters by it. */
static void update_all(fnn_run *run) {
    const fnn_engine *e = run->engine;
    const fnn_kernels *k = e->kernels;
    const int64_t P = e->program.size;
    if (run->optimizer->clip_value > 0) k->clip(run->gradient, run->optimizer->clip_value, P);
    if (run->optimizer->clip_norm > 0) {
        const double norm = sqrt(k->sum_of_squares(run->gradient, P));
        if (norm > run->optimizer->clip_norm)
            k->scale(run->gradient, run->optimizer->clip_norm / norm, P);
    }
    if (run->optimizer->weight_decay == 0 && !e->program.limits_norms) { /* all alike */
        fnn_update(run, &(fnn_parameter){0}, 0, P, run->gradient);
        return;
    }
    for (int32_t n = 0; n < e->program.parameter_count; n++) {
        const fnn_parameter *p = &e->program.parameters[n];
        fnn_update(run, p, p->offset, p->rows * p->stride, fnn_find(run, run->gradient, p));
    }
}

/* One step. `flat`: the gradient must be whole before the first update, so that parameters and
 * optimizer change last, and only together; else every block of parameters is updated as soon as
 * its gradient is known. */
static fnn_status take_step(fnn_run *run, fnn_optimizer *optimizer, bool flat,
                            const fnn_batch *batch, const int64_t *order, int64_t first,
                            int64_t rows, double *loss, double *hits) {
    const fnn_program *program = &run->engine->program;
    const fnn_optimizer before = *optimizer;
    run->gradient = flat ? run->flat : NULL;
    run->optimizer = flat ? NULL : optimizer;
    run->step = optimizer->step;
    if (!flat) count_step(optimizer);
    fnn_status status = fnn_batch_loss(run, batch, order, first, rows, loss, hits);
    if (status == FNN_OK && flat) {
        if (!isfinite(*loss) || !is_finite(run, run->gradient, program->size) ||
            !is_finite(run, run->statistics, program->state_size))
            return FNN_DIVERGED;
        count_step(optimizer);
        run->optimizer = optimizer;
        update_all(run);
    }
    if (status == FNN_OK)
        update_states(run, rows);
    else
        *optimizer = before;
    return status;
}

/* How many steps a trial has with the pool, and then alone; the least time counts. */
#define TRIES 3
#define PERIOD 512 /* steps from one trial to the next: cores of a virtual machine move */

static bool pays(const fnn_trial *trial) {
    return trial->step < TRIES || (trial->step >= 2 * TRIES && trial->best[0] <= trial->best[1]);
}

static void count(fnn_trial *trial, int64_t nanoseconds) {
    if (trial->step < 2 * TRIES) {
        int64_t *best = &trial->best[trial->step >= TRIES];
        *best = trial->step % TRIES == 0 ? nanoseconds : fnn_least(*best, nanoseconds);
    }
    trial->step = (trial->step + 1) % PERIOD;
}

fnn_status fnn_run_steps(const fnn_engine *engine, void *parameters, void *states,
                         const fnn_batch *batch, const fnn_steps *steps, fnn_optimizer *optimizer,
                         int64_t *taken, const fnn_poll *poll) {
    fnn_run run = {engine, parameters, states, poll, .training = true, .seed = steps->seed};
    const int64_t most = fnn_least(steps->rows, steps->batch_size);
    /* The norm of the gradient, and the sum over chunks, take the whole of it; and states must not
     * change where the gradient turns out not to be finite. A few parameters are quickest updated
     * by one call. */
    const bool flat = optimizer->clip_norm > 0 || most > engine->program.chunk ||
                      engine->program.couples_rows || engine->program.size <= FEW_PARAMETERS;
    fnn_status status = fnn_begin(&run, most,
                                  FNN_RUN_LOSS | FNN_RUN_BACKWARD | (flat ? FNN_RUN_FLAT : 0) |
                                      (steps->order ? FNN_RUN_GATHER : 0));
    fnn_pool *const pool = run.pool;
    fnn_trial *const trial = &((fnn_engine *)engine)->trial;
    for (*taken = 0; *taken < steps->count && status == FNN_OK;) {
        const int64_t s = *taken, first = s * steps->batch_size;
        const int64_t rows = fnn_least(steps->rows - first, steps->batch_size);
        const int64_t *order = steps->order ? steps->order + first : NULL;
        const bool tried = pool && rows == most;
        const int64_t started = tried ? fnn_nanoseconds() : 0;
        run.pool = pool && pays(trial) ? pool : NULL;
        run.rate = steps->rates[s];
        status = take_step(&run, optimizer, flat, batch, order, first, rows, &steps->losses[s],
                           &steps->hits[s]);
        *taken += status == FNN_OK;
        if (tried) count(trial, fnn_nanoseconds() - started);
    }
    run.pool = pool;
    fnn_end(&run);
    return status;
}
