/* fastnn: the C ABI of the core. Usable without Python; nothing here allocates unless it says so.
 *
 * Letters: B rows of a batch, I inputs and O outputs of a layer, N the length of a flat vector.
 * A leading dimension `ld` counts the elements from one row to the next; what lies between rows is
 * neither read nor written. Every pointer is aligned to its element; more alignment is never
 * needed. A size of 0 is allowed wherever the result is defined without an element: nothing is
 * read, and sums are 0.
 *
 * The same bits always: every output element is one sum, in the order of the index, by one thread.
 * So a result depends neither on the rows around it nor on how the work was cut into pieces. */
#ifndef FASTNN_H
#define FASTNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { FNN_FLOAT32, FNN_FLOAT64 } fnn_dtype;

/* An allocation failed, or a size is beyond 2**63 bytes; the poll function said to stop; a loss or
 * gradient is not finite; there is no code path of this name here. */
typedef enum { FNN_OK, FNN_NO_MEMORY, FNN_INTERRUPTED, FNN_DIVERGED, FNN_UNKNOWN_ISA } fnn_status;

/* clang-format off */

/* Activation functions, with the formulas of fastnn/activations.py. */
typedef enum {
    FNN_IDENTITY, FNN_HEAVISIDE, FNN_SIGMOID, FNN_TANH, FNN_RELU, FNN_LEAKY_RELU, FNN_ELU, FNN_SELU,
    FNN_GELU, FNN_GELU_TANH, FNN_SILU, FNN_SOFTPLUS, FNN_SOFTSIGN, FNN_MISH, FNN_SINE, FNN_EXP
} fnn_function;

/* Losses, with the formulas of fastnn/losses.py. */
typedef enum {
    FNN_MSE, FNN_MAE, FNN_HUBER, FNN_QUANTILE, FNN_CROSS_ENTROPY, FNN_BINARY_CROSS_ENTROPY,
    FNN_POISSON, FNN_HINGE
} fnn_loss;

/* What turns scores into predictions. */
typedef enum { FNN_HEAD_IDENTITY, FNN_HEAD_SOFTMAX, FNN_HEAD_SIGMOID, FNN_HEAD_EXP } fnn_head;

/* Optimizers, with the formulas of fastnn/optimizers.py. */
typedef enum { FNN_SGD, FNN_ADAM, FNN_RMSPROP, FNN_ADAGRAD, FNN_NADAM, FNN_LION } fnn_optimizer_kind;

/* clang-format on */

typedef struct {
    fnn_optimizer_kind kind;
    double momentum;              /* SGD, RMSprop; else 0 */
    bool nesterov;                /* SGD */
    double beta1, beta2;          /* Adam, NAdam, Lion */
    double momentum_decay;        /* NAdam */
    bool decoupled;               /* Adam: weight decay apart from the gradient, as in AdamW */
    double decay;                 /* RMSprop */
    double epsilon;               /* all but SGD and Lion */
    bool epsilon_hat;             /* Adam: epsilon is added to the root before its correction */
    double weight_decay;          /* of regularized parameters */
    double clip_value, clip_norm; /* 0: none */
    void *moments;  /* flat vectors: 2 of Adam and NAdam, 0 of SGD, else 1; 1 more with momentum */
    uint64_t step;  /* steps taken so far; also in the key of the dropout masks */
    double product; /* NAdam: of the momenta of all steps so far, 1 before the first */
} fnn_optimizer;

/* ---- Kernels ------------------------------------------------------------------------------------
 *
 * What fastnn/program/kernels.py lists, where their formulas and shapes stand; one kernel serves
 * rows of the list that differ in an argument. Arguments come in the order outputs, inputs,
 * constants, sizes. Arrays are of the list's dtype unless their type says otherwise. Outputs are
 * set without being read; with `accumulate`, added to: the sum goes on from the old value. Outputs
 * overlap nothing else unless the definition, in src_c/kernels, allows it. */

/* Element (r, c) of a matrix stands at at[r * ld + c]; of an input, nothing is written. */
typedef struct {
    void *at;
    int64_t ld;
} fnn_matrix;

/* clang-format off */
#define FNN_KERNELS(KERNEL)                                                                        \
    KERNEL(void, dense_forward, fnn_matrix Y, fnn_matrix X, fnn_matrix W, const void *b,           \
           fnn_function function, int64_t B, int64_t I, int64_t O)                                 \
    KERNEL(void, dense_backward_data, fnn_matrix dX, fnn_matrix dY, fnn_matrix W, fnn_matrix X,    \
           bool accumulate, int64_t B, int64_t I, int64_t O)                                       \
    KERNEL(void, dense_backward_weights, fnn_matrix dW, void *db, fnn_matrix X, fnn_matrix dY,     \
           bool accumulate, int64_t B, int64_t I, int64_t O)                                       \
    KERNEL(void, activation_forward, fnn_matrix Y, fnn_matrix X, fnn_function function,            \
           double constant, int64_t B, int64_t O)                                                  \
    KERNEL(void, activation_backward, fnn_matrix dX, fnn_matrix dY, fnn_matrix X, fnn_matrix Y,    \
           fnn_function function, double constant, bool accumulate, int64_t B, int64_t O)          \
    KERNEL(void, softmax_forward, fnn_matrix Y, fnn_matrix X, int64_t B, int64_t O)                \
    KERNEL(void, softmax_backward, fnn_matrix dX, fnn_matrix dY, fnn_matrix Y, bool accumulate,    \
           int64_t B, int64_t O)                                                                   \
    KERNEL(void, dropout, fnn_matrix Y, fnn_matrix X, double rate, uint64_t seed, uint64_t step,   \
           uint64_t layer, uint64_t first_row, bool accumulate, int64_t B, int64_t O)              \
    KERNEL(void, layer_norm_forward, fnn_matrix Y, void *mean, void *inverse_deviation,            \
           fnn_matrix X, const void *scale, const void *shift, double epsilon, int64_t B,          \
           int64_t O)                                                                              \
    KERNEL(void, layer_norm_backward_data, fnn_matrix dX, fnn_matrix dY, fnn_matrix X,             \
           const void *mean, const void *inverse_deviation, const void *scale, bool accumulate,    \
           int64_t B, int64_t O)                                                                   \
    KERNEL(void, layer_norm_backward_parameters, void *dscale, void *dshift, fnn_matrix dY,        \
           fnn_matrix X, const void *mean, const void *inverse_deviation, bool accumulate,         \
           int64_t B, int64_t O)                                                                   \
    KERNEL(void, batch_norm_statistics, void *mean, void *variance, fnn_matrix X, int64_t B,       \
           int64_t O)                                                                              \
    KERNEL(void, batch_norm_forward, fnn_matrix Y, fnn_matrix X, const void *mean,                 \
           const void *variance, const void *scale, const void *shift, double epsilon, int64_t B,  \
           int64_t O)                                                                              \
    KERNEL(void, batch_norm_backward_data, fnn_matrix dX, fnn_matrix dY, fnn_matrix X,             \
           const void *mean, const void *variance, const void *scale, double epsilon,              \
           bool batch_statistics, bool accumulate, int64_t B, int64_t O)                           \
    KERNEL(void, batch_norm_backward_parameters, void *dscale, void *dshift, fnn_matrix dY,        \
           fnn_matrix X, const void *mean, const void *variance, double epsilon, bool accumulate,  \
           int64_t B, int64_t O)                                                                   \
    KERNEL(void, batch_norm_update, void *running_mean, void *running_variance, const void *mean,  \
           const void *variance, double momentum, int64_t rows, int64_t O)                         \
    KERNEL(void, gate_forward, fnn_matrix Y, fnn_matrix U, fnn_matrix V, fnn_function function,    \
           double constant, int64_t B, int64_t O)                                                  \
    KERNEL(void, gate_backward, fnn_matrix dU, fnn_matrix dV, fnn_matrix dY, fnn_matrix U,         \
           fnn_matrix V, fnn_function function, double constant, int64_t B, int64_t O)             \
    KERNEL(void, gate_backward_beta, void *dbeta, fnn_matrix dY, fnn_matrix U, fnn_matrix V,       \
           double beta, bool accumulate, int64_t B, int64_t O)                                     \
    KERNEL(void, copy, fnn_matrix Y, fnn_matrix X, bool accumulate, int64_t B, int64_t O)          \
    KERNEL(void, gather_rows, fnn_matrix Y, fnn_matrix X, const int64_t *index, int64_t B,         \
           int64_t I)                                                                              \
    KERNEL(void, round_bfloat16, fnn_matrix Y, fnn_matrix X, int64_t B, int64_t O)                 \
    KERNEL(int64_t, first_nonfinite, fnn_matrix X, int64_t B, int64_t I)                           \
    KERNEL(void, loss, double *row_loss, double *hits, fnn_matrix dZ, fnn_matrix Z, fnn_matrix T,  \
           const int64_t *labels, const void *weight, fnn_loss function, double constant,          \
           double factor, int64_t B, int64_t O)                                                    \
    KERNEL(double, penalty, void *dW, const void *W, double l1, double l2, int64_t N)              \
    KERNEL(double, sum_of_squares, const void *g, int64_t N)                                       \
    KERNEL(void, clip, void *g, double limit, int64_t N)                                           \
    KERNEL(void, scale, void *g, double factor, int64_t N)                                         \
    KERNEL(void, update, void *w, void *first, void *second, const void *g,                        \
           const fnn_optimizer *optimizer, double rate, double weight_decay, int64_t N)            \
    KERNEL(void, max_norm, fnn_matrix W, double limit, int64_t I, int64_t O)
/* clang-format on */

#define FNN_POINTER(result, name, ...) result (*name)(__VA_ARGS__);
typedef struct {
    FNN_KERNELS(FNN_POINTER)
} fnn_kernels;

/* The row dense_forward_bfloat16 of the table: factors are rounded to bfloat16, sums run in the
 * dtype. Both are prepared first, in a form of the path's own, no longer than before; but the rows
 * of X are filled up to a multiple of 16 numbers. AVX512-BF16 takes what is below the normal
 * numbers for 0; else all paths that fuse have the same bits. */
typedef struct {
    void (*prepare_rows)(fnn_matrix D, fnn_matrix X, int64_t B, int64_t I);
    void (*prepare_weights)(fnn_matrix D, fnn_matrix W, int64_t I, int64_t O);
    void (*dense_forward)(fnn_matrix Y, fnn_matrix X, fnn_matrix W, const void *b,
                          fnn_function function, int64_t B, int64_t I, int64_t O);
} fnn_bfloat16;

/* Choose the code path for the whole process: "" takes the best one of this processor. Call it
 * once, before anything else. FNN_UNKNOWN_ISA leaves the choice as it was. */
fnn_status fnn_choose_isa(const char *name);
const fnn_kernels *fnn_kernels_of(fnn_dtype dtype);
fnn_bfloat16 fnn_bfloat16_of(fnn_dtype dtype);
bool fnn_has_bfloat16(void); /* whether there are instructions for it, which make it fast */
const char *fnn_isa(void);   /* name of the chosen path */
const char *fnn_isas(void);  /* names of all paths, separated by commas */

/* ---- Programs ----------------------------------------------------------------------------------
 *
 * What fastnn/program/program.py describes, and the plan of it that fastnn/program/plan.py makes,
 * in plain structs. */
typedef struct {
    int64_t width, ld; /* of a row, and from one row to the next */
    int64_t offset;    /* in a training step: in the memory of all slots, in elements a row */
    int32_t home;      /* the slot whose memory it uses: that behind an activation in place */
    int32_t source;    /* the same in a prediction, where dropout does nothing */
    int32_t buffer;    /* in a prediction, where slots take turns; -1: none */
    bool trainable;    /* whether its numbers depend on a parameter */
} fnn_slot;

typedef struct {
    int64_t rows, columns;
    int64_t offset, stride; /* in the flat vector; what lies between rows is 0 and stays 0 */
    double l1, l2;          /* penalty: l1 * sum|w| + l2/2 * sum(w**2) */
    double max_norm;        /* largest norm of a column after an update; 0: none */
    bool regularized;       /* whether the optimizer's weight decay touches it */
    bool penalty_per_row;   /* whether the penalty is divided by the sum of a batch's weights */
} fnn_parameter;

/* A vector that training sets but the optimizer does not, such as a running mean. */
typedef struct {
    int64_t length, offset; /* in the flat vector of states; what lies between is 0 */
} fnn_state;

typedef enum {
    FNN_OP_DENSE,      /* parameters: weight, bias or -1 */
    FNN_OP_ACTIVATION, /* constant: that of the function */
    FNN_OP_SOFTMAX,
    FNN_OP_DROPOUT,    /* constant: the rate */
    FNN_OP_LAYER_NORM, /* parameters: scale, shift; constant: epsilon */
    FNN_OP_BATCH_NORM, /* the same; states: running mean, running variance */
    FNN_OP_GATE,       /* inputs: value, gate; parameters: beta or -1, else constant */
    FNN_OP_ADD,
    FNN_OP_CONCAT,
    FNN_OP_SLICE, /* constant: the first column */
    FNN_OP_CUSTOM /* an activation of one's own */
} fnn_op_kind;

/* Functions of one's own, of all elements or rows of matrices: Y = f(X); dX = dY * f'(X), or added
 * to what is there; the loss of every row, with its gradient as the kernel `loss` has it. */
typedef void fnn_custom_forward(void *Y, int64_t ldY, const void *X, int64_t ldX, int64_t B,
                                int64_t O);
typedef void fnn_custom_backward(void *dX, int64_t lddX, const void *dY, int64_t lddY,
                                 const void *X, int64_t ldX, int64_t accumulate, int64_t B,
                                 int64_t O);
typedef void fnn_custom_loss(double *row_loss, void *dZ, int64_t lddZ, const void *Z, int64_t ldZ,
                             const void *T, int64_t ldT, const void *weight, double factor,
                             int64_t B, int64_t O);

typedef struct {
    fnn_op_kind kind;
    int32_t inputs[2]; /* slots; -1 where there is no second one */
    int32_t output;
    bool accumulate[2];    /* whether the backward pass adds to the gradient of the input */
    int32_t parameters[2]; /* -1: none */
    int32_t states[2];     /* -1: none */
    fnn_function function;
    fnn_custom_forward *forward;
    fnn_custom_backward *backward;
    double constant;
    double momentum; /* of the running statistics of a batch norm */
    bool relu;       /* a dense op: the relu behind it is its own last touch */
    bool masks;      /* a dense op: the gradient of its input is that of the relu before it */
    bool done_forward, done_backward; /* an activation: another op does it */
} fnn_op;

/* Rows of an op's first parameter: one item of the work on gradients and updates. The first block
 * brings the op's second parameter along. */
typedef struct {
    int32_t op;
    int64_t first, rows;
    int64_t weight, bias; /* where the gradients stand in a worker's scratch memory */
} fnn_block;

/* Slot 0 is the input; the last op writes the scores. */
typedef struct {
    const fnn_slot *slots;
    const fnn_parameter *parameters;
    const fnn_op *ops;
    const fnn_state *states;
    const fnn_block *blocks;
    int32_t slot_count, parameter_count, op_count, state_count, block_count;
    int64_t size;       /* of the flat vector of parameters */
    int64_t state_size; /* of the flat vector of states */
    fnn_loss loss;
    double loss_constant;
    fnn_custom_loss *custom_loss; /* NULL: none; else `loss` is one with the same hits */
    fnn_head head;
    bool couples_rows;       /* whether a batch norm ties the rows of a training batch together */
    bool limits_norms;       /* whether a parameter has a max_norm */
    int32_t buffers;         /* of a prediction */
    int64_t buffer_ld;       /* wide enough for every slot that has a buffer */
    int64_t widest_input;    /* wide enough for the input of every dense op */
    int64_t slot_size;       /* of all slots of a training step but the input, in elements a row */
    int64_t scratch_size;    /* of the blocks, for every worker */
    int64_t chunk;           /* rows whose slots and gradients are kept at a time, at most */
    int64_t tile;            /* rows of an item of phase A, at most */
    int64_t prediction_tile; /* the same in a prediction */
    int64_t row_work;        /* multiply-adds of a row's forward pass */
} fnn_program;

/* A program made ready to run. Any number of calls may share it, at once too. */
typedef struct fnn_engine fnn_engine;

/* The arrays of the program stay as they are as long as the engine lives. Sets *engine on FNN_OK
 * only. Its runs use at most so many threads, at least 1, and give the same bits with any number.
 * Allocates. */
fnn_status fnn_engine_create(fnn_engine **engine, const fnn_program *program, fnn_dtype dtype,
                             int threads);
void fnn_engine_free(fnn_engine *engine); /* NULL is allowed */

/* ---- Runs --------------------------------------------------------------------------------------
 *
 * Each allocates one workspace of at most a chunk of rows before it changes anything, and nothing
 * later; with `training`, a program with batch norms takes all rows of a batch as one chunk.
 * Matrices here have no space between rows. `parameters` and `states` are the flat vectors. */

/* Called from time to time, at least every 10 ms or so of work; what is not 0 stops the run with
 * FNN_INTERRUPTED. */
typedef struct {
    int (*ask)(void *context);
    void *context;
} fnn_poll;

typedef struct {
    const void *X;         /* (rows, inputs) */
    const void *Y;         /* (rows, outputs), or NULL where there are labels */
    const int64_t *labels; /* (rows), each in 0..outputs-1, with FNN_CROSS_ENTROPY only; or NULL */
    const void *weight;    /* (rows), at least 0, or NULL: 1 for each */
    int64_t rows;
} fnn_batch;

/* Sets out (rows, outputs) to the predictions for X (rows, inputs). With `bfloat16`, factors of
 * dense ops are rounded, and the weights have gone through prepare_weights. With `only_finite`, a
 * number in X that is not finite ends it with FNN_DIVERGED, and out may be set in part. */
fnn_status fnn_predict(const fnn_engine *engine, const void *parameters, const void *states,
                       void *out, const void *X, int64_t rows, bool bfloat16, bool only_finite,
                       const fnn_poll *poll);

/* Sets *loss to the mean loss with penalties, *hits to the share of right outputs (NaN where the
 * loss has none), and, where they are not NULL, gradient to the gradient in the flat vector, and
 * input_gradient (rows, inputs) to the gradient of the loss without penalties in the inputs.
 * With `training` dropout is on, its masks keyed by seed and step, and batch norms use the
 * statistics of the batch, else the running ones. */
fnn_status fnn_loss_and_gradient(const fnn_engine *engine, const void *parameters,
                                 const void *states, const fnn_batch *batch, bool training,
                                 uint64_t seed, uint64_t step, double *loss, double *hits,
                                 void *gradient, void *input_gradient, const fnn_poll *poll);

typedef struct {
    const int64_t *order; /* (rows), numbers of rows of the batch, or NULL: as they come */
    int64_t rows;         /* to go over */
    int64_t batch_size;   /* the last batch may be smaller */
    uint64_t seed;        /* of the dropout masks */
    const double *rates;  /* (count) learning rates */
    double *losses;       /* (count) set to every batch's loss before its update */
    double *hits;         /* (count) set to its share of right outputs */
    int64_t count;        /* at most ceil(rows / batch_size) */
} fnn_steps;

/* Takes training steps. Sets *taken to how many were taken whole, also on FNN_INTERRUPTED and
 * FNN_DIVERGED; parameters, states, moments and optimizer->step stand behind the last of them. But
 * where a gradient turns out not to be finite, blocks of parameters whose own is may have moved on.
 */
fnn_status fnn_run_steps(const fnn_engine *engine, void *parameters, void *states,
                         const fnn_batch *batch, const fnn_steps *steps, fnn_optimizer *optimizer,
                         int64_t *taken, const fnn_poll *poll);

/* ---- Common code ---------------------------------------------------------------------------- */

/* NAdam's momentum of a step, counted from 1: beta1 * (1 - 0.96**(step * momentum_decay) / 2). */
double fnn_nadam_momentum(const fnn_optimizer *optimizer, uint64_t step);

/* Memory aligned to a cache line, not cleared; NULL where there is none. All of the core's memory
 * comes from here. */
void *fnn_alloc(int64_t count, int64_t size);
void fnn_free(void *memory);

/* Make the allocation after the next `count` ones fail, once; a negative count: none. For tests. */
void fnn_alloc_fail_after(int64_t count);

#endif
