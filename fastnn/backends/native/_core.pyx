# cython: language_level=3, boundscheck=False, wraparound=False, freethreading_compatible=True
"""The door to the C core: sizes are checked here, the GIL is left, one function of C is called."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stdint cimport int64_t, uint64_t, uintptr_t
from libc.string cimport memset

from fastnn.backends.native.abi cimport *

import os

from fastnn.program.plan import plan

cdef extern from *:
    """
    #ifdef __clang__
    #    define COMPILER __VERSION__
    #else
    #    define COMPILER "GCC " __VERSION__
    #endif
    """
    const char *COMPILER

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
    global _reason
    cdef bytes encoded = name.encode()
    if fnn_choose_isa(encoded) != FNN_OK:
        raise ValueError(
            f"FASTNN_ISA={name} names no code path for this processor; known are "
            f"{fnn_isas().decode()}"
        )
    _reason = "asked for by FASTNN_ISA" if name else "the best one that this processor has"


choose_isa(os.environ.get("FASTNN_ISA", ""))


def isa():
    """Return the name of the code path, and why it was chosen."""
    return fnn_isa().decode(), _reason


def compiler():
    """Return the compiler of the core, with its version."""
    return COMPILER.decode()


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


cdef fnn_slot _slot(slot, place) except *:
    return fnn_slot(
        width=slot.width, ld=place.ld, offset=place.offset, home=place.home, source=place.source,
        buffer=place.buffer, trainable=place.trainable,
    )


cdef fnn_parameter _parameter(p) except *:
    return fnn_parameter(
        rows=p.rows, columns=p.columns, offset=p.offset, stride=p.stride, l1=p.l1, l2=p.l2,
        max_norm=p.max_norm, regularized=p.regularized, penalty_per_row=p.penalty_per_row,
    )


cdef fnn_op _op(op, fusion, custom) except *:
    cdef fnn_op flat
    flat.kind = OPS[op.kind] if custom is None else FNN_OP_CUSTOM
    cdef uintptr_t forward = 0 if custom is None else custom.forward
    cdef uintptr_t backward = 0 if custom is None else custom.backward
    flat.forward = <fnn_custom_forward *>forward
    flat.backward = <fnn_custom_backward *>backward
    flat.output = op.output
    flat.function = FUNCTIONS["identity" if custom is not None else op.function or "identity"]
    flat.constant = op.constant
    flat.momentum = op.momentum
    flat.relu, flat.masks = fusion.relu, fusion.masks
    flat.done_forward, flat.done_backward = fusion.done_forward, fusion.done_backward
    for i in range(2):
        flat.inputs[i] = op.inputs[i] if i < len(op.inputs) else -1
        flat.accumulate[i] = op.accumulate[i] if i < len(op.accumulate) else False
        flat.parameters[i] = op.parameters[i] if i < len(op.parameters) else -1
        flat.states[i] = op.states[i] if i < len(op.states) else -1
    return flat


cdef fnn_block _block(b) except *:
    return fnn_block(op=b.op, first=b.first, rows=b.rows, weight=b.weight, bias=b.bias)


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
    threads : int
    activations : dict of str to CompiledActivation
        Those of the Program that are somebody's own.
    loss : CompiledLoss or None
        The loss, where it is somebody's own.

    Raises
    ------
    ValueError
        For a Program that does not fit together, as `fastnn.program.plan.plan` says.
    """

    cdef fnn_engine *engine
    cdef _Memory slots, parameters, ops, states, blocks
    cdef fnn_dtype dtype
    cdef object customs
    cdef bint takes_labels
    cdef int64_t inputs, outputs, size, state_size

    def __cinit__(self, program, str dtype, int threads, activations=None, loss=None):
        activations = activations or {}
        self.customs = activations, loss  # who owns the code
        planned = plan(program, 4 if dtype == "float32" else 8)
        self.slots = _Memory(len(program.slots), sizeof(fnn_slot))
        self.parameters = _Memory(len(program.parameters), sizeof(fnn_parameter))
        self.ops = _Memory(len(program.ops), sizeof(fnn_op))
        self.states = _Memory(len(program.states), sizeof(fnn_state))
        self.blocks = _Memory(len(planned.blocks), sizeof(fnn_block))
        for n, (slot, place) in enumerate(zip(program.slots, planned.places)):
            (<fnn_slot *>self.slots.at)[n] = _slot(slot, place)
        for n, parameter in enumerate(program.parameters):
            (<fnn_parameter *>self.parameters.at)[n] = _parameter(parameter)
        for n, (op, fusion) in enumerate(zip(program.ops, planned.fusions)):
            custom = activations.get(op.function) if op.kind == "activation" else None
            (<fnn_op *>self.ops.at)[n] = _op(op, fusion, custom)
        for n, state in enumerate(program.states):
            (<fnn_state *>self.states.at)[n] = fnn_state(length=state.length, offset=state.offset)
        for n, block in enumerate(planned.blocks):
            (<fnn_block *>self.blocks.at)[n] = _block(block)
        targets = program.loss.targets
        cdef uintptr_t rows = 0 if loss is None else loss.rows
        cdef fnn_program flat = fnn_program(
            slots=<const fnn_slot *>self.slots.at,
            parameters=<const fnn_parameter *>self.parameters.at,
            ops=<const fnn_op *>self.ops.at,
            states=<const fnn_state *>self.states.at,
            blocks=<const fnn_block *>self.blocks.at,
            slot_count=len(program.slots),
            parameter_count=len(program.parameters),
            op_count=len(program.ops),
            state_count=len(program.states),
            block_count=len(planned.blocks),
            size=program.size,
            state_size=program.state_size,
            loss=LOSSES[program.loss.loss] if loss is None else LOSS_OF_TARGETS[targets],
            loss_constant=program.loss.constant,
            custom_loss=<fnn_custom_loss *>rows,
            head=HEADS[program.loss.head],
            couples_rows=planned.couples_rows,
            limits_norms=planned.limits_norms,
            buffers=planned.buffers,
            buffer_ld=planned.buffer_ld,
            widest_input=planned.widest_input,
            slot_size=planned.slot_size,
            scratch_size=planned.scratch_size,
            chunk=planned.chunk,
            tile=planned.tile,
            prediction_tile=planned.prediction_tile,
            row_work=planned.row_work,
        )
        self.dtype = DTYPES[dtype]
        self.takes_labels = flat.loss == FNN_CROSS_ENTROPY
        _finish(fnn_engine_create(&self.engine, &flat, self.dtype, threads), [])
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


include "runs.pxi"
include "fast_road.pxi"
include "bfloat16.pxi"
include "kernels.pxi"
