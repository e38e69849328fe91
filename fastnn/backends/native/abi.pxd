"""The C ABI of the core, src_c/fastnn.h, as Cython sees it. What it all means stands there."""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

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
        FNN_OP_BATCH_NORM, FNN_OP_GATE, FNN_OP_ADD, FNN_OP_CONCAT

    ctypedef enum fnn_optimizer_kind:
        FNN_SGD, FNN_ADAM, FNN_RMSPROP, FNN_ADAGRAD, FNN_NADAM, FNN_LION

    ctypedef struct fnn_kernels:
        void (*dense_forward)(void *, const void *, const void *, const void *, fnn_function,
                              int64_t, int64_t, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*dense_backward_data)(void *, const void *, const void *, const void *, bint, int64_t,
                                    int64_t, int64_t, int64_t, int64_t, int64_t,
                                    int64_t) noexcept nogil
        void (*dense_backward_weights)(void *, void *, const void *, const void *, bint, int64_t,
                                       int64_t, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*activation_forward)(void *, const void *, fnn_function, double, int64_t, int64_t,
                                   int64_t, int64_t) noexcept nogil
        void (*activation_backward)(void *, const void *, const void *, const void *, fnn_function,
                                    double, bint, int64_t, int64_t, int64_t, int64_t, int64_t,
                                    int64_t) noexcept nogil
        void (*softmax_forward)(void *, const void *, int64_t, int64_t, int64_t,
                                int64_t) noexcept nogil
        void (*softmax_backward)(void *, const void *, const void *, bint, int64_t, int64_t,
                                 int64_t, int64_t, int64_t) noexcept nogil
        void (*dropout)(void *, const void *, double, uint64_t, uint64_t, uint64_t, uint64_t, bint,
                        int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*layer_norm_forward)(void *, void *, void *, const void *, const void *, const void *,
                                   double, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*layer_norm_backward_data)(void *, const void *, const void *, const void *,
                                         const void *, const void *, bint, int64_t, int64_t,
                                         int64_t, int64_t, int64_t) noexcept nogil
        void (*layer_norm_backward_parameters)(void *, void *, const void *, const void *,
                                               const void *, const void *, bint, int64_t, int64_t,
                                               int64_t, int64_t) noexcept nogil
        void (*batch_norm_statistics)(void *, void *, const void *, int64_t, int64_t,
                                      int64_t) noexcept nogil
        void (*batch_norm_forward)(void *, const void *, const void *, const void *, const void *,
                                   const void *, double, int64_t, int64_t, int64_t,
                                   int64_t) noexcept nogil
        void (*batch_norm_backward_data)(void *, const void *, const void *, const void *,
                                         const void *, const void *, double, bint, bint, int64_t,
                                         int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*batch_norm_backward_parameters)(void *, void *, const void *, const void *,
                                               const void *, const void *, double, bint, int64_t,
                                               int64_t, int64_t, int64_t) noexcept nogil
        void (*batch_norm_update)(void *, void *, const void *, const void *, double, int64_t,
                                  int64_t) noexcept nogil
        void (*gate_forward)(void *, const void *, const void *, fnn_function, double, int64_t,
                             int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*gate_backward)(void *, void *, const void *, const void *, const void *,
                              fnn_function, double, int64_t, int64_t, int64_t, int64_t, int64_t,
                              int64_t, int64_t) noexcept nogil
        void (*gate_backward_beta)(void *, const void *, const void *, const void *, double, bint,
                                   int64_t, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*copy)(void *, const void *, bint, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*gather_rows)(void *, const void *, const int64_t *, int64_t, int64_t, int64_t,
                            int64_t) noexcept nogil
        void (*round_bfloat16)(void *, const void *, int64_t, int64_t, int64_t,
                               int64_t) noexcept nogil
        int64_t (*first_nonfinite)(const void *, int64_t, int64_t, int64_t) noexcept nogil
        void (*loss)(double *, double *, void *, const void *, const void *, const void *, fnn_loss,
                     double, double, int64_t, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        void (*loss_labels)(double *, double *, void *, const void *, const int64_t *, const void *,
                            double, double, int64_t, int64_t, int64_t, int64_t) noexcept nogil
        double (*penalty)(void *, const void *, double, double, int64_t) noexcept nogil
        double (*sum_of_squares)(const void *, int64_t) noexcept nogil
        void (*clip)(void *, double, int64_t) noexcept nogil
        void (*scale)(void *, double, int64_t) noexcept nogil
        void (*sgd_update)(void *, void *, const void *, double, double, bint, double,
                           int64_t) noexcept nogil
        void (*adam_update)(void *, void *, void *, const void *, double, double, double, double,
                            double, bint, uint64_t, int64_t) noexcept nogil
        void (*rmsprop_update)(void *, void *, void *, const void *, double, double, double, double,
                               double, int64_t) noexcept nogil
        void (*adagrad_update)(void *, void *, const void *, double, double, double,
                               int64_t) noexcept nogil
        void (*nadam_update)(void *, void *, void *, const void *, double, double, double, double,
                             double, double, double, uint64_t, int64_t) noexcept nogil
        void (*lion_update)(void *, void *, const void *, double, double, double, double,
                            int64_t) noexcept nogil
        void (*max_norm)(void *, double, int64_t, int64_t, int64_t) noexcept nogil

    ctypedef struct fnn_bfloat16:
        void (*prepare_rows)(void *, const void *, int64_t, int64_t, int64_t,
                             int64_t) noexcept nogil
        void (*prepare_weights)(void *, const void *, int64_t, int64_t, int64_t,
                                int64_t) noexcept nogil
        void (*dense_forward)(void *, const void *, const void *, const void *, fnn_function,
                              int64_t, int64_t, int64_t, int64_t, int64_t, int64_t) noexcept nogil

    fnn_status fnn_choose_isa(const char *name)
    const fnn_kernels *fnn_kernels_of(fnn_dtype dtype)
    fnn_bfloat16 fnn_bfloat16_of(fnn_dtype dtype)
    bint fnn_has_bfloat16()
    const char *fnn_isa()
    const char *fnn_isa_reason()
    const char *fnn_isas()
    const char *fnn_compiler()

    ctypedef struct fnn_slot:
        int64_t width

    ctypedef struct fnn_parameter:
        int64_t rows, columns, offset, stride
        double l1, l2, max_norm
        bint regularized

    ctypedef struct fnn_state:
        int64_t length, offset

    ctypedef struct fnn_op:
        fnn_op_kind kind
        int32_t inputs[2]
        int32_t output
        bint accumulate[2]
        int32_t parameters[2]
        int32_t states[2]
        fnn_function function
        double constant, momentum

    ctypedef struct fnn_program:
        const fnn_slot *slots
        const fnn_parameter *parameters
        const fnn_op *ops
        const fnn_state *states
        int32_t slot_count, parameter_count, op_count, state_count
        int64_t size, state_size
        fnn_loss loss
        double loss_constant
        fnn_head head

    ctypedef struct fnn_place:
        bint trainable
        int32_t home, source, buffer

    ctypedef struct fnn_fusion:
        bint relu, masks, done_forward, done_backward

    ctypedef struct fnn_plan:
        const fnn_place *places
        const fnn_fusion *fusions
        bint couples_rows, limits_norms
        int32_t buffers
        int64_t buffer_ld, widest_input, chunk, tile, small_tile, row_work

    ctypedef struct fnn_engine:
        pass

    fnn_status fnn_engine_create(fnn_engine **engine, const fnn_program *program,
                                 const fnn_plan *plan, fnn_dtype dtype, int threads)
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
    void fnn_prepare_bfloat16(const fnn_engine *engine, void *prepared, const void *parameters)
    fnn_status fnn_loss_and_gradient(const fnn_engine *engine, const void *parameters,
                                     const void *states, const fnn_batch *batch, bint training,
                                     uint64_t seed, uint64_t step, double *loss, double *hits,
                                     void *gradient, void *input_gradient, const fnn_poll *poll)

    ctypedef struct fnn_optimizer:
        fnn_optimizer_kind kind
        double momentum
        bint nesterov
        double beta1, beta2, momentum_decay
        bint decoupled
        double decay, epsilon, weight_decay, clip_value, clip_norm
        void *moments
        uint64_t step
        double product

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

    int64_t fnn_first_outside(const int64_t *values, int64_t count, int64_t limit)
    void fnn_philox4x32(uint32_t *words, const uint32_t *counter, const uint32_t *key)
    void *fnn_alloc(int64_t count, int64_t size)
    void fnn_free(void *memory)
    void fnn_alloc_fail_after(int64_t count)
