# The fast road: calls on arrays that fit as they are, at a cost that a network of a few neurons
# feels. An array is looked at through the buffer protocol, so that the build needs no NumPy. What
# does not fit is left to the thorough road, which converts it or names what is wrong with it.

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_RECORDS_RO, PyBUF_WRITABLE, PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.stdint cimport uintptr_t
from libc.string cimport memcmp, memcpy, memset

from numpy import empty as _empty, ndarray as _ndarray

# Bound here, so that a call needs no look-up.
cdef object empty = _empty
cdef object ndarray = _ndarray

# Below this many multiply-adds, some ten microseconds, a call keeps the GIL and does not ask for
# Ctrl-C: to let go of it costs as much as a small network, and threads wait 5 ms for it anyway.
cdef int64_t WORK_WITH_GIL = 200_000

# An element of a slot costs about as much as so many multiply-adds, as in fastnn/program/plan.py.
cdef int64_t WORK_OF_ELEMENT = 16

# The backward pass takes two products for every one of the forward pass.
cdef int64_t PASSES_OF_STEP = 3

# The formats of int64: it is C's long on some platforms, and long long on others.
cdef const char *INT64 = "lq"
cdef const char *FLOAT32 = "f"
cdef const char *FLOAT64 = "d"


cdef class _Held:
    """An array of one block that stays where it is as long as this object lives."""

    cdef Py_buffer view
    cdef object array

    def __cinit__(self, array):
        PyObject_GetBuffer(array, &self.view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        self.array = array

    def __dealloc__(self):
        PyBuffer_Release(&self.view)


cdef bint _has_format(const Py_buffer *view, const char *formats) noexcept:
    """Tell whether the elements are of a format, one letter of `formats`.

    NumPy writes a sign before the letter where bytes are swapped or elements not aligned.
    """
    while formats[0]:
        if view.format[0] == formats[0] and view.format[1] == 0:
            return True
        formats += 1
    return False


cdef bint _is_plain(
    const Py_buffer *view, const char *formats, int64_t rows, int64_t width
) noexcept:
    """Tell whether a buffer is an aligned block of `rows` rows, where 0 is any number but 0.

    A width of 0 stands for a buffer of one dimension.
    """
    cdef Py_ssize_t size = view.itemsize
    if view.ndim != (2 if width else 1) or not _has_format(view, formats):
        return False
    if view.shape[0] != rows if rows else view.shape[0] < 1:
        return False
    if width and (view.shape[1] != width or view.strides[1] != size):
        return False
    return view.strides[0] == (width or 1) * size and <uintptr_t>view.buf % size == 0


cdef bint _open(
    object array, Py_buffer *view, const char *formats, int64_t rows, int64_t width
) except -1:
    """Take the buffer of an array that fits; else there is nothing to release."""
    if type(array) is not ndarray:
        return False
    try:
        PyObject_GetBuffer(array, view, PyBUF_RECORDS_RO)
    except ValueError:  # of a dtype that the buffer protocol does not know
        return False
    if _is_plain(view, formats, rows, width):
        return True
    PyBuffer_Release(view)
    return False


cdef bint _overlap(const Py_buffer *a, const Py_buffer *b) noexcept:
    cdef const char *x = <const char *>a.buf
    cdef const char *y = <const char *>b.buf
    return x < y + b.len and y < x + a.len


def first_nonfinite_of(array):
    """Return the position of the first NaN or infinity in an array of one block, or -1.

    Parameters
    ----------
    array : ndarray of float32 or float64, C-contiguous and aligned
    """
    cdef Py_buffer view
    cdef const fnn_kernels *kernels
    cdef int64_t count, found
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
    try:
        count = view.len // view.itemsize
        if <uintptr_t>view.buf % view.itemsize or not (
            _has_format(&view, FLOAT32) or _has_format(&view, FLOAT64)
        ):
            raise ValueError("expected an aligned array of float32 or float64")
        kernels = fnn_kernels_of(FNN_FLOAT32 if view.itemsize == 4 else FNN_FLOAT64)
        if count < WORK_WITH_GIL:
            return kernels.first_nonfinite(fnn_matrix(view.buf, count), 1, count)
        with nogil:
            found = kernels.first_nonfinite(fnn_matrix(view.buf, count), 1, count)
        return found
    finally:
        PyBuffer_Release(&view)


cdef class PreparedOptimizer:
    """The constants of an optimizer, as C takes them, and the place of its moments."""

    cdef fnn_optimizer constants
    cdef _Held moments
    cdef object optimizer

    def __cinit__(self, optimizer, moments):
        self.optimizer, self.moments = optimizer, _Held(moments)
        self.constants = _optimizer(optimizer)
        self.constants.moments = self.moments.view.buf


cdef class FastRoad:
    """Predictions and single steps of an Engine. Nothing in it changes, so threads may share it.

    Parameters
    ----------
    engine : Engine
    program : fastnn.program.Program
    parameters, states : ndarray
        Those of the Executable. A call with others takes the thorough road.
    bfloat16 : bool
        Whether the parameters are prepared for `predict_bfloat16`: then there are no steps.
    """

    cdef Engine engine
    cdef _Held parameters, states
    cdef const char *format
    cdef object real
    cdef bint takes_labels, takes_values, at_least_0, at_most_1, bfloat16
    cdef int64_t few_rows

    def __cinit__(self, Engine engine, program, parameters, states, bint bfloat16=False):
        self.engine, self.bfloat16 = engine, bfloat16
        self.parameters, self.states = _Held(parameters), _Held(states)
        self.format = FLOAT32 if engine.dtype == FNN_FLOAT32 else FLOAT64
        self.real = parameters.dtype
        self.takes_labels = program.loss.targets == "classes"
        # Signs are rewritten, and the sums of rows of class probabilities are looked at.
        self.takes_values = program.loss.targets in ("values", "counts", "probabilities")
        self.at_least_0 = program.loss.targets in ("counts", "probabilities")
        self.at_most_1 = program.loss.targets == "probabilities"
        elements = sum(slot.width for slot in program.slots)
        self.few_rows = WORK_WITH_GIL // (program.size + WORK_OF_ELEMENT * <int64_t>elements)

    def predict(self, parameters, states, X, out):
        """Return the predictions, written into `out` if there is one; None to leave it alone."""
        cdef Py_buffer x, y
        if parameters is not self.parameters.array or states is not self.states.array:
            return None
        if not _open(X, &x, self.format, 0, self.engine.inputs):
            return None
        try:
            into = empty((x.shape[0], self.engine.outputs), self.real) if out is None else out
            if not _open(into, &y, self.format, x.shape[0], self.engine.outputs):
                return None
            try:
                if y.readonly or _overlap(&x, &y) or not _predict_plain(
                    self, &x, &y, out is None
                ):
                    return None
                return into
            finally:
                PyBuffer_Release(&y)
        finally:
            PyBuffer_Release(&x)

    def step(self, parameters, states, X, y, state, double rate, uint64_t seed):
        """Take a training step, and return its loss and whether all is finite; or None.

        See `fastnn.backends.base.Executable.try_step`.
        """
        cdef Py_buffer x, t
        cdef bint opened
        if parameters is not self.parameters.array or states is not self.states.array:
            return None
        prepared = state.prepared
        if type(prepared) is not PreparedOptimizer:
            return None
        if (<PreparedOptimizer>prepared).moments.array is not state.moments:
            return None
        if (<PreparedOptimizer>prepared).optimizer is not state.optimizer:
            return None
        if not _open(X, &x, self.format, 0, self.engine.inputs):
            return None
        try:
            if self.takes_labels:
                opened = _open(y, &t, INT64, x.shape[0], 0)
            else:
                opened = self.takes_values and (
                    _open(y, &t, self.format, x.shape[0], self.engine.outputs)
                    or self.engine.outputs == 1 and _open(y, &t, self.format, x.shape[0], 0)
                )
            if not opened:
                return None
            try:
                return _step_plain(self, &x, &t, <PreparedOptimizer>prepared, state, rate, seed)
            finally:
                PyBuffer_Release(&t)
        finally:
            PyBuffer_Release(&x)


# -- the buffers fit, their values are not known yet ----------------------------------------------

cdef bint _is_finite(fnn_dtype dtype, const Py_buffer *view) noexcept nogil:
    cdef int64_t count = view.len // view.itemsize
    return fnn_kernels_of(dtype).first_nonfinite(fnn_matrix(view.buf, count), 1, count) < 0


cdef bint _predict_plain(
    FastRoad self, const Py_buffer *x, const Py_buffer *y, bint is_ours
) except -1:
    """Write the predictions, or return False where X is not finite.

    Many rows are looked at a tile at a time, while they are in the cache, unless the output is the
    caller's, who finds nothing of predictions in it that ended in an error.
    """
    cdef Engine engine = self.engine
    cdef const void *parameters = self.parameters.view.buf
    cdef const void *states = self.states.view.buf
    cdef int64_t rows = x.shape[0]
    cdef list raised = None
    cdef fnn_poll poll
    cdef bint finite = True
    cdef fnn_status status = FNN_OK
    if rows <= self.few_rows:
        finite = _is_finite(engine.dtype, x)
        if finite:
            status = fnn_predict(
                engine.engine, parameters, states, y.buf, x.buf, rows, self.bfloat16, False, NULL
            )
    else:
        raised = []
        poll = fnn_poll(ask=_ask, context=<void *>raised)
        with nogil:
            if not is_ours:
                finite = _is_finite(engine.dtype, x)
            if finite:
                status = fnn_predict(
                    engine.engine, parameters, states, y.buf, x.buf, rows, self.bfloat16, is_ours,
                    &poll
                )
    _finish(status, raised)
    return finite and status != FNN_DIVERGED


# A step, and what it changes.
cdef struct _training:
    const fnn_engine *engine
    fnn_dtype dtype
    const Py_buffer *parameters
    const Py_buffer *states
    const Py_buffer *moments
    fnn_optimizer optimizer
    double loss
    bint finite


cdef object _step_plain(
    FastRoad self,
    const Py_buffer *x,
    const Py_buffer *t,
    PreparedOptimizer prepared,
    state,
    double rate,
    uint64_t seed,
):
    cdef Engine engine = self.engine
    cdef int64_t rows = x.shape[0]
    cdef fnn_batch batch = fnn_batch(X=x.buf, Y=t.buf, labels=NULL, weight=NULL, rows=rows)
    cdef double hits
    cdef fnn_steps steps = fnn_steps(
        order=NULL, rows=rows, batch_size=rows, seed=seed, rates=&rate, losses=NULL, hits=&hits,
        count=1,
    )
    cdef _training run
    cdef list raised = None
    cdef fnn_poll poll
    cdef bint sound
    cdef fnn_status status = FNN_OK
    run.engine, run.dtype = engine.engine, engine.dtype
    run.parameters, run.states = &self.parameters.view, &self.states.view
    run.moments = &prepared.moments.view
    run.optimizer = prepared.constants
    run.optimizer.step, run.optimizer.product = state.step, state.product
    steps.losses = &run.loss
    if self.takes_labels:
        batch.Y, batch.labels = NULL, <const int64_t *>t.buf
    if rows <= self.few_rows // PASSES_OF_STEP:
        sound = _is_finite(run.dtype, x) and _is_target(self, t)
        if sound:
            status = _take_step(&run, &batch, &steps, NULL)
    else:
        raised = []
        poll = fnn_poll(ask=_ask, context=<void *>raised)
        with nogil:
            sound = _is_finite(run.dtype, x) and _is_target(self, t)
            if sound:
                status = _take_step(&run, &batch, &steps, &poll)
    if not sound:
        return None
    state.step, state.product = run.optimizer.step, run.optimizer.product
    _finish(status, raised)
    return run.loss, run.finite


cdef bint _is_target(FastRoad self, const Py_buffer *t) noexcept nogil:
    """Tell whether all targets are what the loss takes."""
    cdef fnn_dtype dtype = self.engine.dtype
    if self.takes_labels:
        return _first_outside(<const int64_t *>t.buf, t.shape[0], self.engine.outputs) < 0
    return _is_finite(dtype, t) and (not self.at_least_0 or _is_cut(dtype, t, self.at_most_1))


cdef bint _is_cut(fnn_dtype dtype, const Py_buffer *t, bint at_most_1) noexcept nogil:
    """Tell whether no target is below 0, or above 1: whether cutting them there changes none.

    A target of -0.0 is changed; so is none where there is no memory. The thorough road follows.
    """
    cdef const fnn_kernels *kernels = fnn_kernels_of(dtype)
    cdef int64_t count = t.len // t.itemsize
    cdef void *cut = fnn_alloc(t.len, 1)
    cdef bint same = False
    if cut is not NULL:
        kernels.activation_forward(
            fnn_matrix(cut, count), fnn_matrix(t.buf, count), FNN_RELU, 0, 1, count
        )
        if at_most_1:
            kernels.clip(cut, 1, count)
        same = memcmp(cut, t.buf, t.len) == 0
        fnn_free(cut)
    return same


cdef fnn_status _take_step(
    _training *run, const fnn_batch *batch, const fnn_steps *steps, const fnn_poll *poll
) noexcept nogil:
    """Take the step. Where anything is not finite behind it, parameters and states become what they
    were, and moments that are not finite become 0.
    """
    cdef int64_t size = run.parameters.len
    cdef int64_t taken = 0
    cdef bint finite = True
    cdef char *kept = <char *>fnn_alloc(size + run.states.len, 1)
    cdef fnn_status status
    if kept is NULL:
        return FNN_NO_MEMORY
    memcpy(kept, run.parameters.buf, size)
    memcpy(kept + size, run.states.buf, run.states.len)
    status = fnn_run_steps(
        run.engine, run.parameters.buf, run.states.buf, batch, steps, &run.optimizer, &taken, poll
    )
    run.finite = taken == 1
    if status == FNN_OK or status == FNN_DIVERGED:
        finite = _is_finite(run.dtype, run.moments)
        run.finite = (
            run.finite
            and finite
            and _is_finite(run.dtype, run.parameters)
            and _is_finite(run.dtype, run.states)
        )
        if not run.finite:  # some blocks may be updated, and others not
            memcpy(run.parameters.buf, kept, size)
            memcpy(run.states.buf, kept + size, run.states.len)
        if not finite:
            memset(run.moments.buf, 0, run.moments.len)
    fnn_free(kept)
    return status
