# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The door to the C core: sizes are checked here, the GIL is left, one function of C is called."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint32_t, uint64_t

from fastnn.backends.native.abi cimport *

import os

ctypedef fused real:
    float
    double

include "names.pxi"


def choose_isa(name):
    """Choose the code path by its name; an empty name takes the best one.

    Raises
    ------
    ValueError
        For a path that is unknown, or that this processor does not have.
    """
    cdef bytes encoded = name.encode()
    if fnn_choose_isa(encoded) != FNN_OK:
        raise ValueError(
            f"FASTNN_ISA={name} names no code path for this processor; known are "
            f"{fnn_isas().decode()}"
        )


choose_isa(os.environ.get("FASTNN_ISA", ""))


def isa():
    """Return the name of the code path, and why it was chosen."""
    return fnn_isa().decode(), fnn_isa_reason().decode()


def compiler():
    """Return the compiler of the core, with its version."""
    return fnn_compiler().decode()


def philox4x32(counter, key):
    """Return four random words from a counter of four and a key of two, each below 2**32."""
    cdef uint32_t[4] words, c
    cdef uint32_t[2] k
    c[0], c[1], c[2], c[3] = counter
    k[0], k[1] = key
    fnn_philox4x32(words, c, k)
    return words[0], words[1], words[2], words[3]


def fail_allocation_after(int64_t count):
    """Make the allocation after the next `count` ones fail, once; -1: none. For tests."""
    fnn_alloc_fail_after(count)


# -- programs -------------------------------------------------------------------------------------

cdef class _Memory:
    """An array of C structs that lives as long as this object."""

    cdef void *at

    def __cinit__(self, int64_t count, int64_t size):
        self.at = fnn_alloc(count, size)
        if self.at is NULL:
            raise MemoryError

    def __dealloc__(self):
        fnn_free(self.at)


cdef fnn_parameter _parameter(p) except *:
    return fnn_parameter(
        rows=p.rows, columns=p.columns, offset=p.offset, stride=p.stride, l1=p.l1, l2=p.l2,
        max_norm=p.max_norm, regularized=p.regularized,
    )


cdef fnn_op _op(op) except *:
    cdef fnn_op flat
    flat.kind = OPS[op.kind]
    flat.output = op.output
    flat.function = FUNCTIONS[op.function or "identity"]
    flat.constant = op.constant
    flat.momentum = op.momentum
    for i in range(2):
        flat.inputs[i] = op.inputs[i] if i < len(op.inputs) else -1
        flat.accumulate[i] = op.accumulate[i] if i < len(op.accumulate) else False
        flat.parameters[i] = op.parameters[i] if i < len(op.parameters) else -1
        flat.states[i] = op.states[i] if i < len(op.states) else -1
    return flat


# -- interrupts -----------------------------------------------------------------------------------

cdef int _ask(void *context) noexcept with gil:
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        (<list>context).append(error)
        return 1
    return 0


cdef int _finish(fnn_status status, list raised) except -1:
    if status == FNN_NO_MEMORY:
        raise MemoryError("no memory for the workspace")
    if status == FNN_INTERRUPTED:
        raise raised[0]
    return 0


# -- runs -----------------------------------------------------------------------------------------

cdef class Engine:
    """A Program, ready to run in one dtype. Nothing in it changes, so threads may share it.

    Parameters
    ----------
    program : fastnn.program.Program
    dtype : str
        ``"float32"`` or ``"float64"``: that of all real arrays of its calls, which are contiguous.
    """

    cdef fnn_engine *engine
    cdef fnn_dtype dtype
    cdef bint takes_labels
    cdef int64_t inputs, outputs, size, state_size

    def __cinit__(self, program, str dtype, int threads):
        cdef _Memory slots = _Memory(len(program.slots), sizeof(fnn_slot))
        cdef _Memory parameters = _Memory(len(program.parameters), sizeof(fnn_parameter))
        cdef _Memory ops = _Memory(len(program.ops), sizeof(fnn_op))
        cdef _Memory states = _Memory(len(program.states), sizeof(fnn_state))
        for n, slot in enumerate(program.slots):
            (<fnn_slot *>slots.at)[n].width = slot.width
        for n, parameter in enumerate(program.parameters):
            (<fnn_parameter *>parameters.at)[n] = _parameter(parameter)
        for n, op in enumerate(program.ops):
            (<fnn_op *>ops.at)[n] = _op(op)
        for n, state in enumerate(program.states):
            (<fnn_state *>states.at)[n] = fnn_state(length=state.length, offset=state.offset)
        cdef fnn_program flat = fnn_program(
            slots=<const fnn_slot *>slots.at,
            parameters=<const fnn_parameter *>parameters.at,
            ops=<const fnn_op *>ops.at,
            states=<const fnn_state *>states.at,
            slot_count=len(program.slots),
            parameter_count=len(program.parameters),
            op_count=len(program.ops),
            state_count=len(program.states),
            size=program.size,
            state_size=program.state_size,
            loss=LOSSES[program.loss.loss],
            loss_constant=program.loss.constant,
            head=HEADS[program.loss.head],
        )
        self.dtype = DTYPES[dtype]
        self.takes_labels = flat.loss == FNN_CROSS_ENTROPY
        status = fnn_engine_create(&self.engine, &flat, self.dtype, threads)
        if status == FNN_BAD_PROGRAM:
            raise ValueError("the program names a slot or parameter that is not there or not fit")
        _finish(status, [])
        self.inputs, self.outputs = program.inputs, program.outputs
        self.size, self.state_size = program.size, program.state_size

    def __dealloc__(self):
        fnn_engine_free(self.engine)

    def predict(self, parameters, states, X, out):
        """Write the predictions for X (B, inputs) into out (B, outputs)."""
        if self.dtype == FNN_FLOAT32:
            _predict[float](self, parameters, states, X, out)
        else:
            _predict[double](self, parameters, states, X, out)

    def loss_and_gradient(
        self, parameters, states, X, Y, weight, gradient, input_gradient, training, seed, step
    ):
        """Return the mean loss and the share of right outputs; set the gradients that are there.

        Y holds labels where it has one dimension. See `fastnn.backends.base.Executable`.
        """
        labels, T = (Y, None) if Y.ndim == 1 else (None, Y)
        if self.dtype == FNN_FLOAT32:
            return _loss_and_gradient[float](
                self, parameters, states, X, T, labels, weight, gradient, input_gradient, training,
                seed, step
            )
        return _loss_and_gradient[double](
            self, parameters, states, X, T, labels, weight, gradient, input_gradient, training,
            seed, step
        )

    def run_steps(
        self, parameters, states, X, Y, weight, order, batch_size, state, rates, seed, losses, hits
    ):
        """Take training steps and return how many; `state` is an OptimizerState.

        See `fastnn.backends.base.Executable`.
        """
        labels, T = (Y, None) if Y.ndim == 1 else (None, Y)
        if self.dtype == FNN_FLOAT32:
            return _run_steps[float](
                self, parameters, states, X, T, labels, weight, order, batch_size, state, rates,
                seed, losses, hits
            )
        return _run_steps[double](
            self, parameters, states, X, T, labels, weight, order, batch_size, state, rates, seed,
            losses, hits
        )


cdef int _need(str name, int64_t got, int64_t wanted) except -1:
    if got != wanted:
        raise ValueError(f"{name} is {got}, expected {wanted}")
    return 0


cdef int _need_inside(str name, const int64_t[::1] values, int64_t limit) except -1:
    cdef int64_t at
    with nogil:
        at = fnn_first_outside(&values[0], values.shape[0], limit)
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
            self.engine, &parameters[0], &states[0], &out[0, 0], &X[0, 0], X.shape[0], False, &poll
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
        weight_decay=o.weight_decay,
        clip_value=o.clip_value or 0,
        clip_norm=o.clip_norm or 0,
        moments=NULL,
        step=0,
        product=1,
    )


include "bfloat16.pxi"
include "kernels.pxi"
