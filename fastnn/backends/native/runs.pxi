# The runs of an Engine on checked arrays: sizes are held against the Program, places are taken, one
# function of C is called.


cdef int _need(str name, int64_t got, int64_t wanted) except -1:
    if got != wanted:
        raise ValueError(f"{name} is {got}, expected {wanted}")
    return 0


# The position of the first value outside 0..limit-1, or -1.
cdef int64_t _first_outside(const int64_t *values, int64_t count, int64_t limit) noexcept nogil:
    cdef int64_t n
    for n in range(count):
        if values[n] < 0 or values[n] >= limit:
            return n
    return -1


cdef int _need_inside(str name, const int64_t[::1] values, int64_t limit) except -1:
    cdef int64_t at
    with nogil:
        at = _first_outside(&values[0], values.shape[0], limit)
    if at >= 0:
        raise ValueError(f"{name}[{at}] is {values[at]}, expected 0 to {limit - 1}")
    return 0


cdef int _predict(
    Engine self,
    const real[::1] parameters,
    const real[::1] states,
    const real[:, ::1] X,
    real[:, ::1] out,
) except -1:
    cdef list raised = []
    cdef fnn_poll poll = fnn_poll(ask=_ask, context=<void *>raised)
    cdef fnn_status status
    _need("the length of parameters", parameters.shape[0], self.size)
    _need("the length of states", states.shape[0], self.state_size)
    _need("the width of X", X.shape[1], self.inputs)
    _need("the number of rows of out", out.shape[0], X.shape[0])
    _need("the width of out", out.shape[1], self.outputs)
    with nogil:
        status = fnn_predict(
            self.engine, &parameters[0], &states[0], &out[0, 0], &X[0, 0], X.shape[0], False,
            False, &poll
        )
    return _finish(status, raised)


cdef fnn_batch _batch(
    Engine self,
    const real[:, ::1] X,
    const real[:, ::1] T,
    const int64_t[::1] labels,
    const real[::1] weight,
) except *:
    """Check the sizes and labels of a batch, and return where it stands."""
    cdef fnn_batch batch = fnn_batch(
        X=&X[0, 0], Y=NULL, labels=NULL, weight=NULL, rows=X.shape[0]
    )
    _need("the width of X", X.shape[1], self.inputs)
    if labels is not None:
        if not self.takes_labels:
            raise ValueError("labels go with cross_entropy only, got them for another loss")
        _need("the number of labels", labels.shape[0], X.shape[0])
        _need_inside("labels", labels, self.outputs)
        batch.labels = &labels[0]
    else:
        _need("the number of rows of Y", T.shape[0], X.shape[0])
        _need("the width of Y", T.shape[1], self.outputs)
        batch.Y = &T[0, 0]
    if weight is not None:
        _need("the number of weights", weight.shape[0], X.shape[0])
        batch.weight = &weight[0]
    return batch


cdef tuple _loss_and_gradient(
    Engine self,
    const real[::1] parameters,
    const real[::1] states,
    const real[:, ::1] X,
    const real[:, ::1] T,
    const int64_t[::1] labels,
    const real[::1] weight,
    real[::1] gradient,
    real[:, ::1] input_gradient,
    bint training,
    uint64_t seed,
    uint64_t step,
):
    cdef list raised = []
    cdef fnn_poll poll = fnn_poll(ask=_ask, context=<void *>raised)
    cdef fnn_batch batch = _batch[real](self, X, T, labels, weight)
    cdef void *flat = NULL
    cdef void *rows = NULL
    cdef double loss = 0, hits = 0
    cdef fnn_status status
    _need("the length of parameters", parameters.shape[0], self.size)
    _need("the length of states", states.shape[0], self.state_size)
    if gradient is not None:
        _need("the length of gradient", gradient.shape[0], self.size)
        flat = &gradient[0]
    if input_gradient is not None:
        _need("the number of rows of input_gradient", input_gradient.shape[0], X.shape[0])
        _need("the width of input_gradient", input_gradient.shape[1], self.inputs)
        rows = &input_gradient[0, 0]
    with nogil:
        status = fnn_loss_and_gradient(
            self.engine, &parameters[0], &states[0], &batch, training, seed, step, &loss, &hits,
            flat, rows, &poll
        )
    _finish(status, raised)
    return loss, hits


cdef int64_t _run_steps(
    Engine self,
    real[::1] parameters,
    real[::1] states,
    const real[:, ::1] X,
    const real[:, ::1] T,
    const int64_t[::1] labels,
    const real[::1] weight,
    const int64_t[::1] order,
    int64_t batch_size,
    state,
    const double[::1] rates,
    uint64_t seed,
    double[::1] losses,
    double[::1] hits,
) except -1:
    cdef list raised = []
    cdef fnn_poll poll = fnn_poll(ask=_ask, context=<void *>raised)
    cdef fnn_batch batch = _batch[real](self, X, T, labels, weight)
    cdef real[:, ::1] moments = state.moments
    cdef fnn_optimizer optimizer = _optimizer(state.optimizer)
    cdef fnn_steps steps = fnn_steps(
        order=NULL, rows=X.shape[0], batch_size=batch_size, seed=seed, rates=&rates[0],
        losses=&losses[0], hits=&hits[0], count=rates.shape[0],
    )
    cdef int64_t taken = 0
    cdef fnn_status status
    _need("the length of parameters", parameters.shape[0], self.size)
    _need("the length of states", states.shape[0], self.state_size)
    _need("the number of moments", moments.shape[0], state.optimizer.moment_count)
    _need("the length of moments", moments.shape[1], self.size)
    _need("the length of losses", losses.shape[0], rates.shape[0])
    _need("the length of hits", hits.shape[0], rates.shape[0])
    optimizer.moments = &moments[0, 0]
    optimizer.step = state.step
    optimizer.product = state.product
    if order is not None:
        _need_inside("order", order, X.shape[0])
        steps.order = &order[0]
        steps.rows = order.shape[0]
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if steps.count > (steps.rows + batch_size - 1) // batch_size:
        raise ValueError(
            f"{steps.rows} rows make fewer than {steps.count} batches of {batch_size}"
        )
    with nogil:
        status = fnn_run_steps(
            self.engine, &parameters[0], &states[0], &batch, &steps, &optimizer, &taken, &poll
        )
    state.step, state.product = optimizer.step, optimizer.product
    _finish(status, raised)
    return taken


cdef fnn_optimizer _optimizer(o) except *:
    """Return an optimizer's constants; those that it does not have stay 0."""
    return fnn_optimizer(
        kind=OPTIMIZERS[o.name],
        momentum=getattr(o, "momentum", 0),
        nesterov=getattr(o, "nesterov", False),
        beta1=getattr(o, "beta1", 0),
        beta2=getattr(o, "beta2", 0),
        momentum_decay=getattr(o, "momentum_decay", 0),
        decoupled=getattr(o, "decoupled", False),
        decay=getattr(o, "decay", 0),
        epsilon=getattr(o, "epsilon", 0),
        epsilon_hat=getattr(o, "epsilon_hat", False),
        weight_decay=o.weight_decay,
        clip_value=o.clip_value or 0,
        clip_norm=o.clip_norm or 0,
        moments=NULL,
        step=0,
        product=1,
    )


# -- the order of rows ----------------------------------------------------------------------------

# Random words drawn at once: they stay in the cache, and the call costs little beside them.
cdef int64_t WORDS_AHEAD = 1024


def shuffle(int64_t[::1] order, draw):
    """Set `order` to the numbers from 0 on, and shuffle them as NumPy does with a PCG64.

    NumPy draws again where a number is too large. No processor foretells whether it will, which is
    half of the time of a shuffle: here such a number exchanges an element with itself.

    Parameters
    ----------
    order : ndarray of int64
        Of at most 2**32 elements, above which NumPy takes whole words.
    draw : callable
        ``random_raw`` of the PCG64. Of a word, NumPy takes the lower half first.
    """
    cdef const uint64_t[::1] words
    cdef int64_t count = order.shape[0]
    cdef int64_t last = count - 1
    for i in range(count):
        order[i] = i
    while last > 0:
        words = draw(min(WORDS_AHEAD, last))
        last = _exchange(&order[0], last, &words[0], words.shape[0])


cdef int64_t _exchange(
    int64_t *order, int64_t last, const uint64_t *words, int64_t count
) noexcept nogil:
    """Go on with the shuffle of Fisher and Yates from the element `last`; return the next one."""
    cdef int64_t half = 0
    cdef int64_t mask, number, other, kept
    while last > 0 and half < 2 * count:
        mask = 1
        while mask < last:
            mask = 2 * mask + 1
        while last > mask >> 1 and half < 2 * count:
            number = words[half >> 1] >> 32 * (half & 1) & mask
            half += 1
            other = min(number, last)
            kept = order[last]
            order[last] = order[other]
            order[other] = kept
            last -= number <= last
    return last
