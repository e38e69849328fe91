/* What the parts of the engine share; not part of the ABI. */
#ifndef FASTNN_ENGINE_H
#define FASTNN_ENGINE_H

#include "fastnn.h"

struct fnn_engine {
    fnn_program program; /* its arrays are copies in the same block of memory */
    bool *trainable;     /* by slot: whether it depends on a parameter */
    bool couples_rows;   /* whether a batch norm ties the rows of a training batch together */
    const fnn_kernels *kernels;
    fnn_dtype dtype;
    int64_t element; /* bytes of a number */
    int64_t chunk;   /* rows that go through the network together */
};

/* One block of memory, carved into arrays. With memory NULL it only measures: the same code first
 * counts the bytes, then hands them out. */
typedef struct {
    char *memory;
    int64_t used; /* -1 after an overflow */
} fnn_arena;

/* Returns NULL while it measures. */
void *fnn_carve(fnn_arena *arena, int64_t count, int64_t size);

typedef struct {
    char *at;
    int64_t ld;
} fnn_matrix;

/* One call's way through the program: its workspace, and the chunk of rows that it is at. */
typedef struct {
    const fnn_engine *engine;
    const char *parameters;
    const char *states;
    char *gradient; /* the flat vector, or NULL */
    char *input_gradient;
    bool training; /* whether dropout is on, and batch norms look at the batch */
    uint64_t seed, step;

    /* The workspace, for at most `rows` rows. */
    void *memory;
    int64_t rows;
    fnn_matrix *slots, *gradients; /* by slot */
    char *saved;                   /* by op, two numbers a row, of layer norms only */
    double *row_loss, *hits;
    char *X, *Y, *weight; /* where rows are gathered */
    int64_t *labels;
    char *flat;       /* the gradient of a training step */
    char *statistics; /* of the batch, laid out as the states; 0 between */

    /* The chunk. */
    int64_t B, first_row;

    const fnn_poll *poll;
    int64_t work;     /* since the clock was last read */
    int64_t asked_at; /* nanoseconds */
} fnn_run;

/* Count work, in multiply-adds or as long; false when the poll function wants to stop. */
bool fnn_go_on(fnn_run *run, int64_t work);

/* Run the ops over the chunk; false when interrupted. The backward pass starts from the gradient of
 * the scores: first the gradients of all slots that need one, then those of the parameters. */
bool fnn_forward(fnn_run *run);
bool fnn_backward(fnn_run *run);

/* What a run needs of the workspace, beside the slots. */
enum { FNN_RUN_LOSS = 1, FNN_RUN_BACKWARD = 2, FNN_RUN_GATHER = 4, FNN_RUN_FLAT = 8 };

/* Plan a run over batches of at most `rows` rows: all the memory that it will need. */
fnn_status fnn_begin(fnn_run *run, int64_t rows, int parts);

/* Set loss, hits and the gradients that are wanted, of `rows` rows of the batch: those that `order`
 * numbers, or without one those from `first` on. False when interrupted. */
bool fnn_batch_loss(fnn_run *run, const fnn_batch *batch, const int64_t *order, int64_t first,
                    int64_t rows, double *loss, double *hits);

/* Like strchr, it takes what must not be written and what may be. */
static inline char *fnn_at(const fnn_engine *engine, const char *base, int64_t elements) {
    return (char *)base + elements * engine->element;
}

/* Rows of slots begin on a cache line. */
static inline int64_t fnn_leading_dimension(int64_t width) {
    return (width + 15) / 16 * 16;
}

#endif
