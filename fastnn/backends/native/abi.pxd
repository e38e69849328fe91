"""The C ABI of the core, src_c/fastnn.h, as Cython sees it. What it all means stands there."""

from libc.stdint cimport int32_t, int64_t, uint64_t

cdef extern from "fastnn.h" nogil:
    ctypedef enum fnn_dtype:
        FNN_FLOAT32, FNN_FLOAT64

    ctypedef enum fnn_status:
        FNN_OK, FNN_NO_MEMORY, FNN_INTERRUPTED, FNN_DIVERGED, FNN_UNKNOWN_ISA

    ctypedef enum fnn_function:
        FNN_IDENTITY, FNN_HEAVISIDE, FNN_SIGMOID, FNN_TANH, FNN_RELU, FNN_LEAKY_RELU, FNN_ELU
        FNN_SELU, FNN_GELU, FNN_GELU_TANH, FNN_SILU, FNN_SOFTPLUS, FNN_SOFTSIGN, FNN_MISH
        FNN_SINE, FNN_EXP

    ctypedef enum fnn_loss:
        FNN_MSE, FNN_MAE, FNN_HUBER, FNN_QUANTILE, FNN_CROSS_ENTROPY, FNN_BINARY_CROSS_ENTROPY
        FNN_POISSON, FNN_HINGE

    ctypedef enum fnn_head:
        FNN_HEAD_IDENTITY, FNN_HEAD_SOFTMAX, FNN_HEAD_SIGMOID, FNN_HEAD_EXP

    ctypedef enum fnn_op_kind:
        FNN_OP_DENSE, FNN_OP_ACTIVATION, FNN_OP_SOFTMAX, FNN_OP_DROPOUT, FNN_OP_LAYER_NORM
        FNN_OP_BATCH_NORM, FNN_OP_GATE, FNN_OP_ADD, FNN_OP_CONCAT, FNN_OP_SLICE, FNN_OP_CUSTOM

    ctypedef enum fnn_optimizer_kind:
        FNN_SGD, FNN_ADAM, FNN_RMSPROP, FNN_ADAGRAD, FNN_NADAM, FNN_LION

    ctypedef struct fnn_optimizer:
        fnn_optimizer_kind kind
        double momentum
        bint nesterov
        double beta1, beta2, momentum_decay
        bint decoupled
        double decay, epsilon
        bint epsilon_hat
        double weight_decay, clip_value, clip_norm
        void *moments
        uint64_t step
        double product

    ctypedef struct fnn_matrix:
        void *at
        int64_t ld

    ctypedef struct fnn_kernels:
        void (*dense_forward)(fnn_matrix, fnn_matrix, fnn_matrix, const void *, fnn_function,
                              int64_t, int64_t, int64_t) noexcept nogil
        void (*dense_backward_data)(fnn_matrix, fnn_matrix, fnn_matrix, fnn_matrix, bint, int64_t,
                                    int64_t, int64_t) noexcept nogil
        void (*dense_backward_weights)(fnn_matrix, void *, fnn_matrix, fnn_matrix, bint, int64_t,
                                       int64_t, int64_t) noexcept nogil
        void (*activation_forward)(fnn_matrix, fnn_matrix, fnn_function, double, int64_t,
                                   int64_t) noexcept nogil
        void (*activation_backward)(fnn_matrix, fnn_matrix, fnn_matrix, fnn_matrix, fnn_function,
                                    double, bint, int64_t, int64_t) noexcept nogil
        void (*softmax_forward)(fnn_matrix, fnn_matrix, int64_t, int64_t) noexcept nogil
        void (*softmax_backward)(fnn_matrix, fnn_matrix, fnn_matrix, bint, int64_t,
                                 int64_t) noexcept nogil
        void (*dropout)(fnn_matrix, fnn_matrix, double, uint64_t, uint64_t, uint64_t, uint64_t,
                        bint, int64_t, int64_t) noexcept nogil
        void (*layer_norm_forward)(fnn_matrix, void *, void *, fnn_matrix, const void *,
                                   const void *, double, int64_t, int64_t) noexcept nogil
        void (*layer_norm_backward_data)(fnn_matrix, fnn_matrix, fnn_matrix, const void *,
                                         const void *, const void *, bint, int64_t,
                                         int64_t) noexcept nogil
        void (*layer_norm_backward_parameters)(void *, void *, fnn_matrix, fnn_matrix, const void *,
                                               const void *, bint, int64_t, int64_t) noexcept nogil
        void (*batch_norm_statistics)(void *, void *, fnn_matrix, int64_t, int64_t) noexcept nogil
        void (*batch_norm_forward)(fnn_matrix, fnn_matrix, const void *, const void *, const void *,
                                   const void *, double, int64_t, int64_t) noexcept nogil
        void (*batch_norm_backward_data)(fnn_matrix, fnn_matrix, fnn_matrix, const void *,
                                         const void *, const void *, double, bint, bint, int64_t,
                                         int64_t) noexcept nogil
        void (*batch_norm_backward_parameters)(void *, void *, fnn_matrix, fnn_matrix, const void *,
                                               const void *, double, bint, int64_t,
                                               int64_t) noexcept nogil
        void (*batch_norm_update)(void *, void *, const void *, const void *, double, int64_t,
                                  int64_t) noexcept nogil
        void (*gate_forward)(fnn_matrix, fnn_matrix, fnn_matrix, fnn_function, double, int64_t,
                             int64_t) noexcept nogil
        void (*gate_backward)(fnn_matrix, fnn_matrix, fnn_matrix, fnn_matrix, fnn_matrix,
                              fnn_function, double, int64_t, int64_t) noexcept nogil
        void (*gate_backward_beta)(void *, fnn_matrix, fnn_matrix, fnn_matrix, double, bint,
                                   int64_t, int64_t) noexcept nogil
        void (*copy)(fnn_matrix, fnn_matrix, bint, int64_t, int64_t) noexcept nogil
        void (*gather_rows)(fnn_matrix, fnn_matrix, const int64_t *, int64_t,
                            int64_t) noexcept nogil
        void (*round_bfloat16)(fnn_matrix, fnn_matrix, int64_t, int64_t) noexcept nogil
        int64_t (*first_nonfinite)(fnn_matrix, int64_t, int64_t) noexcept nogil
        void (*loss)(double *, double *, fnn_matrix, fnn_matrix, fnn_matrix, const int64_t *,
                     const void *, fnn_loss, double, double, int64_t, int64_t) noexcept nogil
        double (*penalty)(void *, const void *, double, double, int64_t) noexcept nogil
        double (*sum_of_squares)(const void *, int64_t) noexcept nogil
        void (*clip)(void *, double, int64_t) noexcept nogil
        void (*scale)(void *, double, int64_t) noexcept nogil
        void (*update)(void *, void *, void *, const void *, const fnn_optimizer *, double, double,
                       int64_t) noexcept nogil
        void (*max_norm)(fnn_matrix, double, int64_t, int64_t) noexcept nogil

    ctypedef struct fnn_bfloat16:
        void (*prepare_rows)(fnn_matrix, fnn_matrix, int64_t, int64_t) noexcept nogil
        void (*prepare_weights)(fnn_matrix, fnn_matrix, int64_t, int64_t) noexcept nogil
        void (*dense_forward)(fnn_matrix, fnn_matrix, fnn_matrix, const void *, fnn_function,
                              int64_t, int64_t, int64_t) noexcept nogil

    fnn_status fnn_choose_isa(const char *name)
    const fnn_kernels *fnn_kernels_of(fnn_dtype dtype)
    fnn_bfloat16 fnn_bfloat16_of(fnn_dtype dtype)
    bint fnn_has_bfloat16()
    const char *fnn_isa()
    const char *fnn_isas()

    ctypedef struct fnn_slot:
        int64_t width, ld, offset
        int32_t home, source, buffer
        bint trainable

    ctypedef struct fnn_parameter:
        int64_t rows, columns, offset, stride
        double l1, l2, max_norm
        bint regularized, penalty_per_row

    ctypedef struct fnn_state:
        int64_t length, offset

    ctypedef void fnn_custom_forward(void *, int64_t, const void *, int64_t, int64_t,
                                     int64_t) noexcept nogil
    ctypedef void fnn_custom_backward(void *, int64_t, const void *, int64_t, const void *,
                                      int64_t, int64_t, int64_t, int64_t) noexcept nogil
    ctypedef void fnn_custom_loss(double *, void *, int64_t, const void *, int64_t, const void *,
                                  int64_t, const void *, double, int64_t,
                                  int64_t) noexcept nogil

    ctypedef struct fnn_op:
        fnn_op_kind kind
        int32_t inputs[2]
        int32_t output
        bint accumulate[2]
        int32_t parameters[2]
        int32_t states[2]
        fnn_function function
        fnn_custom_forward *forward
        fnn_custom_backward *backward
        double constant, momentum
        bint relu, masks, done_forward, done_backward

    ctypedef struct fnn_block:
        int32_t op
        int64_t first, rows, weight, bias

    ctypedef struct fnn_program:
        const fnn_slot *slots
        const fnn_parameter *parameters
        const fnn_op *ops
        const fnn_state *states
        const fnn_block *blocks
        int32_t slot_count, parameter_count, op_count, state_count, block_count
        int64_t size, state_size
        fnn_loss loss
        double loss_constant
        fnn_custom_loss *custom_loss
        fnn_head head
        bint couples_rows, limits_norms
        int32_t buffers
        int64_t buffer_ld, widest_input, slot_size, scratch_size, chunk, tile, prediction_tile
        int64_t row_work

    ctypedef struct fnn_engine:
        pass

    fnn_status fnn_engine_create(
        fnn_engine **engine, const fnn_program *program, fnn_dtype dtype, int threads
    )
    void fnn_engine_free(fnn_engine *engine)

    ctypedef struct fnn_poll:
        int (*ask)(void *context) noexcept
        void *context

    ctypedef struct fnn_batch:
        const void *X
        const void *Y
        const int64_t *labels
        const void *weight
        int64_t rows

    fnn_status fnn_predict(const fnn_engine *engine, const void *parameters, const void *states,
                           void *out, const void *X, int64_t rows, bint bfloat16,
                           bint only_finite, const fnn_poll *poll)
    fnn_status fnn_loss_and_gradient(const fnn_engine *engine, const void *parameters,
                                     const void *states, const fnn_batch *batch, bint training,
                                     uint64_t seed, uint64_t step, double *loss, double *hits,
                                     void *gradient, void *input_gradient, const fnn_poll *poll)

    ctypedef struct fnn_steps:
        const int64_t *order
        int64_t rows, batch_size
        uint64_t seed
        const double *rates
        double *losses
        double *hits
        int64_t count

    fnn_status fnn_run_steps(const fnn_engine *engine, void *parameters, void *states,
                             const fnn_batch *batch, const fnn_steps *steps,
                             fnn_optimizer *optimizer, int64_t *taken, const fnn_poll *poll)

    void *fnn_alloc(int64_t count, int64_t size)
    void fnn_free(void *memory)
    void fnn_alloc_fail_after(int64_t count)
