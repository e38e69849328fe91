# Predictions by factors of bfloat16; see fnn_bfloat16 in src_c/fastnn.h. All arrays are float32.


def prepare_bfloat16(program, float[::1] prepared, const float[::1] parameters):
    """Lay out parameters for `predict_bfloat16`."""
    cdef fnn_bfloat16 k = fnn_bfloat16_of(FNN_FLOAT32)
    cdef int64_t offset, rows, columns, stride
    _need("the length of prepared", prepared.shape[0], program.size)
    _need("the length of parameters", parameters.shape[0], program.size)
    prepared[:] = parameters
    for op in program.ops:
        if op.kind == "dense":
            weight = program.parameters[op.parameters[0]]
            offset, rows, columns = weight.offset, weight.rows, weight.columns
            stride = weight.stride
            with nogil:
                k.prepare_weights(
                    fnn_matrix(&prepared[offset], stride),
                    fnn_matrix(<void *>&parameters[offset], stride), rows, columns
                )


def predict_bfloat16(
    Engine engine, const float[::1] prepared, const float[::1] states, const float[:, ::1] X,
    float[:, ::1] out
):
    """Write the predictions for X (B, inputs) into out (B, outputs)."""
    cdef list raised = []
    cdef fnn_poll poll = fnn_poll(ask=_ask, context=<void *>raised)
    cdef fnn_status status
    _need("the dtype", engine.dtype, FNN_FLOAT32)
    _need("the length of prepared", prepared.shape[0], engine.size)
    _need("the length of states", states.shape[0], engine.state_size)
    _need("the width of X", X.shape[1], engine.inputs)
    _need("the number of rows of out", out.shape[0], X.shape[0])
    _need("the width of out", out.shape[1], engine.outputs)
    with nogil:
        status = fnn_predict(
            engine.engine, &prepared[0], &states[0], &out[0, 0], &X[0, 0], X.shape[0], True,
            False, &poll
        )
    _finish(status, raised)


def has_bfloat16():
    """Tell whether the processor and the path have instructions for it, which make it fast."""
    return bool(fnn_has_bfloat16())
