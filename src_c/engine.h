/* What the parts of the engine share; not part of the ABI.
 *
 * A step has two phases. In phase A each item is a tile of rows, which one thread takes through all
 * ops forward, the loss, and backward to the gradients of all slots: rows are independent, so there
 * is no barrier between layers. In phase B each item is a block of one parameter: its gradient is
 * summed over all rows in their order, and its update is made on the spot while it is in the cache.
 * Every number is one sum by one thread, so the bits depend on no tile, block or thread. */
#ifndef FASTNN_ENGINE_H
#define FASTNN_ENGINE_H

#include "fastnn.h"
#include "pool.h"

#include <stdatomic.h>

/* The head of memory of a run that is over, for the next one. */
typedef struct {
    _Alignas(64) int64_t bytes; /* behind the head */
} fnn_spare;

/* Whether threads pay, as tried out: cores may be so far from each other that a small step is
 * quicker alone. Only the owner of the pool looks at it. */
typedef struct {
    int64_t best[2]; /* nanoseconds of a step with the pool, and alone */
    int32_t step;    /* in the period */
} fnn_trial;

struct fnn_engine {
    fnn_program program;
    const fnn_kernels *kernels;
    fnn_bfloat16 bfloat16;
    fnn_dtype dtype;
    int64_t element; /* bytes of a number */
    int threads;
    _Atomic(fnn_spare *) spare; /* memory that no run uses, or NULL */
    fnn_trial trial;            /* this and the spare memory are all that ever changes here */
};

/* One block of memory, carved into arrays. With memory NULL it only measures: the same code first
 * counts the bytes, then hands them out. */
typedef struct {
    char *memory;
    int64_t used; /* -1 after an overflow */
} fnn_arena;

/* Returns NULL while it measures. */
void *fnn_carve(fnn_arena *arena, int64_t count, int64_t size);

/* One call's way through the program: its workspace, and the chunk of rows that it is at. */
typedef struct {
    const fnn_engine *engine;
    char *parameters, *states;
    const fnn_poll *poll;
    bool training; /* whether dropout is on, and batch norms look at the batch */
    uint64_t seed, step;
    char *gradient, *input_gradient; /* the flat vector, and that of X; or NULL */
    const fnn_bfloat16 *bfloat16;    /* NULL unless the parameters are prepared for it */
    fnn_pool *pool;
    void *out; /* of a prediction */
    bool only_finite;

    /* The workspace, for at most `rows` rows. */
    fnn_spare *memory;
    int64_t rows, tile;
    int64_t row_ld; /* where slots share buffers: what a row has there, of any width; else 0 */
    fnn_matrix *slots, *gradients; /* by slot */
    char *saved;                   /* by op, two numbers a row, of layer norms only */
    double *row_loss, *hits;       /* hits stay NaN where the loss knows nothing of them */
    char *Y, *weight;              /* where targets are gathered */
    int64_t *labels;
    char *flat;       /* the gradient of a training step that cannot be updated on the spot */
    char *statistics; /* of the batch, laid out as the states */
    char *scratch;
    int64_t scratch_size; /* of a worker, in elements */
    double *block_penalty;
    int workers;

    /* The chunk: rows of the batch, those that `order` numbers or those from first_row on. */
    const fnn_batch *batch;
    const int64_t *order;
    int64_t B, first_row, row_in_batch;
    double factor; /* 1 over the sum of the weights */

    /* What phase B does with a gradient. */
    fnn_optimizer *optimizer; /* update on the spot, or NULL: keep it in `gradient` */
    double rate;
    atomic_bool diverged, interrupted;
    int64_t work;     /* since the clock was last read; the caller's thread only */
    int64_t asked_at; /* nanoseconds */
} fnn_run;

/* Rows of a chunk that go through the ops together, and where they stand. */
typedef struct {
    fnn_run *run;
    int worker;
    int64_t first, rows; /* in the workspace */
    fnn_matrix X, dX;    /* the input and its gradient; dX.at is NULL where nobody wants it */
    fnn_matrix scores;   /* where the last op writes */
} fnn_tile;

/* Count work, in multiply-adds or as long; false when the run is to stop. Only the caller's thread
 * asks, the others hear of it. */
bool fnn_go_on(fnn_run *run, int worker, int64_t work);

/* How a run stands: FNN_OK, FNN_INTERRUPTED or FNN_DIVERGED. */
static inline fnn_status fnn_outcome(const fnn_run *run) {
    if (atomic_load(&run->interrupted)) return FNN_INTERRUPTED;
    return atomic_load(&run->diverged) ? FNN_DIVERGED : FNN_OK;
}

/* Take a tile forward, and backward to the gradients of the slots; false when interrupted. The
 * backward pass starts from the gradient of the scores. */
bool fnn_forward(const fnn_tile *tile);
bool fnn_backward(const fnn_tile *tile);

/* What a run needs of the workspace, beside the slots. */
enum {
    FNN_RUN_LOSS = 1,     /* row_loss and hits */
    FNN_RUN_BACKWARD = 2, /* gradients of slots, and blocks */
    FNN_RUN_GATHER = 4,   /* rows of the input and targets */
    FNN_RUN_FLAT = 8,     /* a flat gradient */
    FNN_RUN_TILES = 16    /* a tile for every worker, not the rows of a chunk */
};

/* Plan a run over batches of at most `rows` rows: all the memory that it will need, and threads
 * where the work of `rows` rows is worth them. fnn_end gives back what there is, also where this
 * fails. */
fnn_status fnn_begin(fnn_run *run, int64_t rows, int parts);
void fnn_end(fnn_run *run);

/* Set loss, hits and the gradients that are wanted, of `rows` rows of the batch: those that `order`
 * numbers, or without one those from `first` on. With an optimizer, update the parameters too. */
fnn_status fnn_batch_loss(fnn_run *run, const fnn_batch *batch, const int64_t *order, int64_t first,
                          int64_t rows, double *loss, double *hits);

/* Phase B over the chunk: with an optimizer the gradients and the updates, and the penalties are
 * returned; without one the gradients are added to the flat one. */
double fnn_gradients(fnn_run *run);

/* Returns the penalty on the elements [offset, offset + N) of a parameter, and adds its gradient to
 * their gradient g, unless that is NULL. */
double fnn_penalty(const fnn_run *run, const fnn_parameter *p, int64_t offset, int64_t N, void *g);

/* Update the elements [offset, offset + N) of a parameter by their gradient g. */
void fnn_update(const fnn_run *run, const fnn_parameter *p, int64_t offset, int64_t N, void *g);

static inline int64_t fnn_least(int64_t a, int64_t b) { return a < b ? a : b; }

static inline const fnn_parameter *fnn_parameter_of(const fnn_run *run, const fnn_op *op,
                                                    int which) {
    const int32_t number = op->parameters[which];
    return number < 0 ? NULL : &run->engine->program.parameters[number];
}

/* Like strchr, these take what must not be written and what may be: an element of a vector; what
 * begins at row r and column c of a matrix; a vector as a matrix. */
static inline char *fnn_at(const fnn_engine *engine, const void *base, int64_t elements) {
    return (char *)base + elements * engine->element;
}

static inline fnn_matrix fnn_part(const fnn_engine *engine, fnn_matrix m, int64_t r, int64_t c) {
    return (fnn_matrix){fnn_at(engine, m.at, r * m.ld + c), m.ld};
}

static inline fnn_matrix fnn_rows(const void *at, int64_t ld) {
    return (fnn_matrix){(void *)at, ld};
}

/* The slot that holds what a slot would. */
static inline int32_t fnn_source(const fnn_engine *engine, bool training, int32_t slot) {
    const fnn_slot *of = &engine->program.slots[slot];
    return training ? of->home : of->source;
}

/* Where a parameter, if there is one, stands in a flat vector. */
static inline char *fnn_find(const fnn_run *run, const char *flat, const fnn_parameter *p) {
    return p ? fnn_at(run->engine, flat, p->offset) : NULL;
}

/* The same of a parameter of an op. */
static inline char *fnn_value(const fnn_run *run, const fnn_op *op, int which) {
    return fnn_find(run, run->parameters, fnn_parameter_of(run, op, which));
}

/* The beta of a gate, or its constant. */
double fnn_gate_constant(const fnn_run *run, const fnn_op *op);

/* What a norm keeps: of a layer norm mean (0) and inverse deviation (1) of the rows from `first`
 * on, of a batch norm mean and variance of the columns: of the batch in training, else the running
 * ones. */
static inline char *fnn_kept(const fnn_run *run, const fnn_op *op, int which, int64_t first) {
    const fnn_program *p = &run->engine->program;
    if (op->kind == FNN_OP_LAYER_NORM)
        return fnn_at(run->engine, run->saved, (2 * (op - p->ops) + which) * run->rows + first);
    return fnn_at(run->engine, run->training ? run->statistics : run->states,
                  p->states[op->states[which]].offset);
}

#endif
