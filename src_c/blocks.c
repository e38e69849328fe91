/* Phase B: the gradients of the parameters, block by block, and their updates on the spot. */
#include "engine.h"

#include <math.h>

/* A moment of the optimizer, or NULL where it has fewer. */
static char *moment(const fnn_run *run, int which, int64_t offset) {
    const fnn_engine *e = run->engine;
    const fnn_optimizer *o = run->optimizer;
    const bool two = o->kind == FNN_ADAM || o->kind == FNN_NADAM;
    const int averages = two ? 2 : o->kind == FNN_SGD ? 0 : 1;
    const int count = averages + (o->momentum > 0); /* of SGD and RMSprop */
    return which < count ? fnn_at(e, o->moments, which * e->program.size + offset) : NULL;
}

void fnn_update(const fnn_run *run, const fnn_parameter *p, int64_t offset, int64_t N, void *g) {
    const fnn_kernels *k = run->engine->kernels;
    const fnn_optimizer *o = run->optimizer;
    char *w = fnn_at(run->engine, run->parameters, offset);
    k->update(w, moment(run, 0, offset), moment(run, 1, offset), g, o, run->rate,
              p->regularized ? o->weight_decay : 0, N);
    if (p->max_norm > 0) /* then the part is the whole of it */
        k->max_norm(fnn_rows(w, p->stride), p->max_norm, p->rows, p->columns);
}

double fnn_penalty(const fnn_run *run, const fnn_parameter *p, int64_t offset, int64_t N, void *g) {
    const fnn_engine *e = run->engine;
    const double share = p->penalty_per_row ? run->factor : 1;
    if (p->l1 == 0 && p->l2 == 0) return 0;
    return e->kernels->penalty(g, fnn_at(e, run->parameters, offset), share * p->l1, share * p->l2,
                               N);
}

double fnn_nadam_momentum(const fnn_optimizer *o, uint64_t step) {
    return o->beta1 * (1 - 0.5 * pow(0.96, (double)step * o->momentum_decay));
}

/* Penalty, clipping and update of a part of a parameter whose gradient is complete. Returns the
 * penalty. Nothing is updated by a gradient that is not finite. */
static double finish(fnn_run *run, const fnn_parameter *p, int64_t offset, int64_t N, void *g) {
    const fnn_engine *e = run->engine;
    const double penalty = fnn_penalty(run, p, offset, N, g);
    if (e->kernels->first_nonfinite(fnn_rows(g, N), 1, N) >= 0) {
        atomic_store(&run->diverged, true);
        return penalty;
    }
    if (run->optimizer->clip_value > 0) e->kernels->clip(g, run->optimizer->clip_value, N);
    fnn_update(run, p, offset, N, g);
    return penalty;
}

static void run_block(void *context, int64_t item, int worker) {
    fnn_run *run = context;
    const fnn_engine *e = run->engine;
    const fnn_kernels *k = e->kernels;
    const fnn_block block = e->program.blocks[item];
    const fnn_op *op = &e->program.ops[block.op];
    const fnn_parameter *p = fnn_parameter_of(run, op, 0), *q = fnn_parameter_of(run, op, 1);
    const fnn_matrix X = run->slots[fnn_source(e, run->training, op->inputs[0])],
                     dY = run->gradients[op->output];
    const int64_t B = run->B, O = e->program.slots[op->output].width;
    const int64_t start = block.first * p->stride, N = block.rows * p->stride;
    const bool on_the_spot = !run->gradient, adds = run->row_in_batch > 0;
    const char *scratch = fnn_at(e, run->scratch, worker * run->scratch_size);
    char *g = fnn_at(e, scratch, block.weight), *h = q ? fnn_at(e, scratch, block.bias) : NULL;
    if (!on_the_spot) {
        g = fnn_at(e, fnn_find(run, run->gradient, p), start);
        h = fnn_find(run, run->gradient, q);
    }
    if (!fnn_go_on(run, worker, 0)) return;
    if (op->kind == FNN_OP_DENSE) {
        k->dense_backward_weights(fnn_rows(g, p->stride), block.first == 0 ? h : NULL,
                                  fnn_part(e, X, 0, block.first), dY, adds, B, block.rows, O);
    } else if (op->kind == FNN_OP_LAYER_NORM) {
        k->layer_norm_backward_parameters(g, h, dY, X, fnn_kept(run, op, 0, 0),
                                          fnn_kept(run, op, 1, 0), adds, B, O);
    } else if (op->kind == FNN_OP_BATCH_NORM) {
        k->batch_norm_backward_parameters(g, h, dY, X, fnn_kept(run, op, 0, 0),
                                          fnn_kept(run, op, 1, 0), op->constant, adds, B, O);
    } else { /* a gate */
        k->gate_backward_beta(g, dY, X, run->slots[fnn_source(e, run->training, op->inputs[1])],
                              fnn_gate_constant(run, op), adds, B, O);
    }
    if (!on_the_spot) {
        fnn_go_on(run, worker, B * block.rows * O);
        return;
    }
    run->block_penalty[item] = finish(run, p, p->offset + start, N, g);
    if (q && block.first == 0) run->block_penalty[item] += finish(run, q, q->offset, q->stride, h);
}

double fnn_gradients(fnn_run *run) {
    fnn_parallel(run->pool, run->engine->program.block_count, run_block, run);
    double penalty = 0;
    for (int32_t n = 0; n < run->engine->program.block_count && !run->gradient; n++)
        penalty += run->block_penalty[n];
    return penalty;
}
