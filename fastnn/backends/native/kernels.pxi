# The kernels as functions on arrays: every row of fastnn/program/kernels.py, with its arguments in
# the table's order. `fastnn.backends.native.kernels` holds the arguments against the table first,
# so no size is checked here; it also names the dtype, since the first array may be None.


cdef inline const fnn_kernels *_table(real unused) noexcept nogil:
    return fnn_kernels_of(FNN_FLOAT32 if real is float else FNN_FLOAT64)


# A matrix or vector, and NULL where there is none.
cdef inline fnn_matrix _out(real[:, :] X) noexcept nogil:
    cdef fnn_matrix m = fnn_matrix(NULL, 0)
    if X is not None:
        m.at, m.ld = <void *>&X[0, 0], X.strides[0] // <int64_t>sizeof(real)
    return m


cdef inline fnn_matrix _in(const real[:, :] X) noexcept nogil:
    cdef fnn_matrix m = fnn_matrix(NULL, 0)
    if X is not None:
        m.at, m.ld = <void *>&X[0, 0], X.strides[0] // <int64_t>sizeof(real)
    return m


cdef inline void *_out1(real[:] x) noexcept nogil:
    return NULL if x is None else <void *>&x[0]


cdef inline const void *_in1(const real[:] x) noexcept nogil:
    return NULL if x is None else <void *>&x[0]


def dense_forward(
    real[:, :] Y, const real[:, :] X, const real[:, :] W, const real[:] b, str function
):
    cdef fnn_function f = FUNCTIONS[function]
    with nogil:
        _table(<real>0).dense_forward(
            _out(Y), _in(X), _in(W), _in1(b), f, Y.shape[0], X.shape[1], Y.shape[1]
        )


def dense_forward_bfloat16(
    real[:, :] Y, const real[:, :] X, const real[:, :] W, const real[:] b, str function
):
    cdef fnn_function f = FUNCTIONS[function]
    cdef fnn_bfloat16 k = fnn_bfloat16_of(FNN_FLOAT32 if real is float else FNN_FLOAT64)
    cdef int64_t B = Y.shape[0], I = X.shape[1], O = Y.shape[1]
    cdef int64_t ldx = (I + 15) // 16 * 16
    cdef _Memory rows_memory = _Memory(B * ldx + 1, sizeof(real))
    cdef _Memory weights_memory = _Memory(I * O + 1, sizeof(real))
    cdef fnn_matrix rows = fnn_matrix(rows_memory.at, ldx)
    cdef fnn_matrix weights = fnn_matrix(weights_memory.at, O)
    with nogil:
        k.prepare_rows(rows, _in(X), B, I)
        k.prepare_weights(weights, _in(W), I, O)
        k.dense_forward(_out(Y), rows, weights, _in1(b), f, B, I, O)


def round_bfloat16(real[:, :] Y, const real[:, :] X):
    with nogil:
        _table(<real>0).round_bfloat16(
            _out(Y), _in(X), Y.shape[0], Y.shape[1]
        )


def dense_backward_data(
    real[:, :] dX, const real[:, :] dY, const real[:, :] W, const real[:, :] X, bint accumulate
):
    with nogil:
        _table(<real>0).dense_backward_data(
            _out(dX), _in(dY), _in(W), _in(X), accumulate, dX.shape[0], dX.shape[1], dY.shape[1]
        )


def dense_backward_weights(
    real[:, :] dW, real[:] db, const real[:, :] X, const real[:, :] dY, bint accumulate
):
    with nogil:
        _table(<real>0).dense_backward_weights(
            _out(dW), _out1(db), _in(X), _in(dY), accumulate, X.shape[0], X.shape[1], dY.shape[1]
        )


def activation_forward(real[:, :] Y, const real[:, :] X, str function, double constant):
    cdef fnn_function f = FUNCTIONS[function]
    with nogil:
        _table(<real>0).activation_forward(
            _out(Y), _in(X), f, constant, Y.shape[0], Y.shape[1]
        )


def activation_backward(
    real[:, :] dX, const real[:, :] dY, const real[:, :] X, const real[:, :] Y, str function,
    double constant, bint accumulate
):
    cdef fnn_function f = FUNCTIONS[function]
    with nogil:
        _table(<real>0).activation_backward(
            _out(dX), _in(dY), _in(X), _in(Y), f, constant, accumulate, dX.shape[0], dX.shape[1]
        )


def softmax_forward(real[:, :] Y, const real[:, :] X):
    with nogil:
        _table(<real>0).softmax_forward(
            _out(Y), _in(X), Y.shape[0], Y.shape[1]
        )


def softmax_backward(real[:, :] dX, const real[:, :] dY, const real[:, :] Y, bint accumulate):
    with nogil:
        _table(<real>0).softmax_backward(
            _out(dX), _in(dY), _in(Y), accumulate, dX.shape[0], dX.shape[1]
        )


def dropout(
    real[:, :] Y, const real[:, :] X, double rate, uint64_t seed, uint64_t step, uint64_t layer,
    uint64_t first_row, bint accumulate
):
    with nogil:
        _table(<real>0).dropout(
            _out(Y), _in(X), rate, seed, step, layer, first_row, accumulate, Y.shape[0],
            Y.shape[1]
        )


def layer_norm_forward(
    real[:, :] Y, real[:] mean, real[:] inverse_deviation, const real[:, :] X,
    const real[:] scale, const real[:] shift, double epsilon
):
    with nogil:
        _table(<real>0).layer_norm_forward(
            _out(Y), _out1(mean), _out1(inverse_deviation), _in(X), _in1(scale), _in1(shift),
            epsilon, Y.shape[0], Y.shape[1]
        )


def layer_norm_backward_data(
    real[:, :] dX, const real[:, :] dY, const real[:, :] X, const real[:] mean,
    const real[:] inverse_deviation, const real[:] scale, bint accumulate
):
    with nogil:
        _table(<real>0).layer_norm_backward_data(
            _out(dX), _in(dY), _in(X), _in1(mean), _in1(inverse_deviation), _in1(scale),
            accumulate, dX.shape[0], dX.shape[1]
        )


def layer_norm_backward_parameters(
    real[:] dscale, real[:] dshift, const real[:, :] dY, const real[:, :] X, const real[:] mean,
    const real[:] inverse_deviation, bint accumulate
):
    with nogil:
        _table(<real>0).layer_norm_backward_parameters(
            _out1(dscale), _out1(dshift), _in(dY), _in(X), _in1(mean), _in1(inverse_deviation),
            accumulate, dY.shape[0], dY.shape[1]
        )


def batch_norm_statistics(real[:] mean, real[:] variance, const real[:, :] X):
    with nogil:
        _table(<real>0).batch_norm_statistics(
            _out1(mean), _out1(variance), _in(X), X.shape[0], X.shape[1]
        )


def batch_norm_forward(
    real[:, :] Y, const real[:, :] X, const real[:] mean, const real[:] variance,
    const real[:] scale, const real[:] shift, double epsilon
):
    with nogil:
        _table(<real>0).batch_norm_forward(
            _out(Y), _in(X), _in1(mean), _in1(variance), _in1(scale), _in1(shift), epsilon,
            Y.shape[0], Y.shape[1]
        )


def batch_norm_backward_data(
    real[:, :] dX, const real[:, :] dY, const real[:, :] X, const real[:] mean,
    const real[:] variance, const real[:] scale, double epsilon, bint batch_statistics,
    bint accumulate
):
    with nogil:
        _table(<real>0).batch_norm_backward_data(
            _out(dX), _in(dY), _in(X), _in1(mean), _in1(variance), _in1(scale), epsilon,
            batch_statistics, accumulate, dX.shape[0], dX.shape[1]
        )


def batch_norm_backward_parameters(
    real[:] dscale, real[:] dshift, const real[:, :] dY, const real[:, :] X, const real[:] mean,
    const real[:] variance, double epsilon, bint accumulate
):
    with nogil:
        _table(<real>0).batch_norm_backward_parameters(
            _out1(dscale), _out1(dshift), _in(dY), _in(X), _in1(mean), _in1(variance), epsilon,
            accumulate, dY.shape[0], dY.shape[1]
        )


def batch_norm_update(
    real[:] running_mean, real[:] running_variance, const real[:] mean, const real[:] variance,
    double momentum, int64_t rows
):
    _table(<real>0).batch_norm_update(
        _out1(running_mean), _out1(running_variance), _in1(mean), _in1(variance), momentum, rows,
        running_mean.shape[0]
    )


def gate_forward(
    real[:, :] Y, const real[:, :] U, const real[:, :] V, str function, double constant
):
    cdef fnn_function f = FUNCTIONS[function]
    with nogil:
        _table(<real>0).gate_forward(
            _out(Y), _in(U), _in(V), f, constant, Y.shape[0], Y.shape[1]
        )


def gate_backward(
    real[:, :] dU, real[:, :] dV, const real[:, :] dY, const real[:, :] U, const real[:, :] V,
    str function, double constant
):
    cdef fnn_function f = FUNCTIONS[function]
    with nogil:
        _table(<real>0).gate_backward(
            _out(dU), _out(dV), _in(dY), _in(U), _in(V), f, constant, dU.shape[0], dU.shape[1]
        )


def gate_backward_beta(
    real[:] dbeta, const real[:, :] dY, const real[:, :] U, const real[:, :] V, double beta,
    bint accumulate
):
    with nogil:
        _table(<real>0).gate_backward_beta(
            _out1(dbeta), _in(dY), _in(U), _in(V), beta, accumulate, dY.shape[0], dY.shape[1]
        )


def copy(real[:, :] Y, const real[:, :] X, bint accumulate):
    with nogil:
        _table(<real>0).copy(
            _out(Y), _in(X), accumulate, Y.shape[0], Y.shape[1]
        )


def gather_rows(real[:, :] Y, const real[:, :] X, const int64_t[::1] index):
    _need_inside("index", index, X.shape[0])
    with nogil:
        _table(<real>0).gather_rows(
            _out(Y), _in(X), &index[0], Y.shape[0], Y.shape[1]
        )


def loss(
    double[:] row_loss, double[:] hits, real[:, :] dZ, const real[:, :] Z, const real[:, :] T,
    const real[:] weight, str function, double constant, double factor
):
    cdef fnn_loss f = LOSSES[function]
    with nogil:
        _table(<real>0).loss(
            &row_loss[0], <double *>_out1(hits), _out(dZ), _in(Z), _in(T), NULL, _in1(weight), f,
            constant, factor, Z.shape[0], Z.shape[1]
        )


def loss_labels(
    double[:] row_loss, double[:] hits, real[:, :] dZ, const real[:, :] Z,
    const int64_t[::1] labels, const real[:] weight, double constant, double factor
):
    _need_inside("labels", labels, Z.shape[1])
    with nogil:
        _table(<real>0).loss(
            &row_loss[0], <double *>_out1(hits), _out(dZ), _in(Z), fnn_matrix(NULL, 0), &labels[0],
            _in1(weight), FNN_CROSS_ENTROPY, constant, factor, Z.shape[0], Z.shape[1]
        )


def penalty(real[:] dW, const real[:] W, double l1, double l2):
    return _table(<real>0).penalty(_out1(dW), _in1(W), l1, l2, W.shape[0])


def sum_of_squares(const real[:] g):
    return _table(<real>0).sum_of_squares(_in1(g), g.shape[0])


def clip(real[:] g, double limit):
    _table(<real>0).clip(_out1(g), limit, g.shape[0])


def scale(real[:] g, double factor):
    _table(<real>0).scale(_out1(g), factor, g.shape[0])


cdef inline fnn_optimizer _settings(fnn_optimizer_kind kind) noexcept nogil:
    cdef fnn_optimizer o
    memset(&o, 0, sizeof(o))
    o.kind = kind
    return o


cdef void _update(
    real[:] w, real[:] first, real[:] second, const real[:] g, fnn_optimizer *o, double rate,
    double weight_decay
):
    _table(<real>0).update(
        _out1(w), _out1(first), _out1(second), _in1(g), o, rate, weight_decay, w.shape[0]
    )


def sgd_update(
    real[:] w, real[:] velocity, const real[:] g, double rate, double momentum, bint nesterov,
    double weight_decay
):
    cdef fnn_optimizer o = _settings(FNN_SGD)
    o.momentum, o.nesterov = momentum, nesterov
    _update[real](w, velocity, None, g, &o, rate, weight_decay)


def adam_update(
    real[:] w, real[:] m, real[:] v, const real[:] g, double rate, double beta1, double beta2,
    double epsilon, bint epsilon_hat, double weight_decay, bint decoupled, uint64_t step
):
    cdef fnn_optimizer o = _settings(FNN_ADAM)
    o.beta1, o.beta2, o.epsilon, o.epsilon_hat = beta1, beta2, epsilon, epsilon_hat
    o.decoupled, o.step = decoupled, step
    _update[real](w, m, v, g, &o, rate, weight_decay)


def rmsprop_update(
    real[:] w, real[:] v, real[:] buffer, const real[:] g, double rate, double decay,
    double momentum, double epsilon, double weight_decay
):
    cdef fnn_optimizer o = _settings(FNN_RMSPROP)
    o.decay, o.momentum, o.epsilon = decay, momentum, epsilon
    _update[real](w, v, buffer, g, &o, rate, weight_decay)


def adagrad_update(
    real[:] w, real[:] v, const real[:] g, double rate, double epsilon, double weight_decay
):
    cdef fnn_optimizer o = _settings(FNN_ADAGRAD)
    o.epsilon = epsilon
    _update[real](w, v, None, g, &o, rate, weight_decay)


def nadam_update(
    real[:] w, real[:] m, real[:] v, const real[:] g, double rate, double beta1, double beta2,
    double epsilon, double momentum_decay, double weight_decay, double product, uint64_t step
):
    cdef fnn_optimizer o = _settings(FNN_NADAM)
    o.beta1, o.beta2, o.epsilon, o.step = beta1, beta2, epsilon, step
    o.momentum_decay, o.product = momentum_decay, product
    _update[real](w, m, v, g, &o, rate, weight_decay)


def lion_update(
    real[:] w, real[:] m, const real[:] g, double rate, double beta1, double beta2,
    double weight_decay
):
    cdef fnn_optimizer o = _settings(FNN_LION)
    o.beta1, o.beta2 = beta1, beta2
    _update[real](w, m, None, g, &o, rate, weight_decay)


def max_norm(real[:, :] W, double limit):
    _table(<real>0).max_norm(_out(W), limit, W.shape[0], W.shape[1])


def first_nonfinite(const real[:, :] X):
    cdef int64_t at
    with nogil:
        at = _table(<real>0).first_nonfinite(_in(X), X.shape[0], X.shape[1])
    return at
