"""The kernel table: one row a kernel, from which tests, checks and benchmarks are generated.

A kernel is a function on arrays. Its arguments come in the order outputs, inputs, constants, and
are 2-D with unit column stride (rows may be further apart than they are long) or 1-D and
contiguous. The letters of a shape are those of `docs/architecture.md`: B batch rows, I inputs and O
outputs of a layer, N the length of a flat vector; equal letters must be equal sizes.
"""

from __future__ import annotations

from fastnn.activations import FORMULAS
from fastnn.layers import GATES
from fastnn.losses import LOSSES
from fastnn.program.signature import Argument, Kernel, changes, check_arguments, reads, sets
from fastnn.program.update_kernels import UPDATES

__all__ = ["KERNELS", "Argument", "Kernel", "check_arguments"]

ROWS = (
    # Y = f(X @ W + b)
    Kernel(
        "dense_forward",
        (sets("Y", "B,O"), reads("X", "B,I"), reads("W", "I,O"), reads("b", "O", optional=True)),
        ("function",),
        functions=("identity", "relu"),
        accumulator="real",
        tolerance="product",
        flops=lambda B, I, O: 2 * B * I * O,
        bytes=lambda B, I, O: B * I + I * O + B * O,
        saves="X",
    ),
    # Y = f(X' @ W' + b), where ' rounds to bfloat16; the products are summed in the dtype
    Kernel(
        "dense_forward_bfloat16",
        (sets("Y", "B,O"), reads("X", "B,I"), reads("W", "I,O"), reads("b", "O", optional=True)),
        ("function",),
        functions=("identity", "relu"),
        accumulator="real",
        tolerance="product",
        flops=lambda B, I, O: 2 * B * I * O,
        bytes=lambda B, I, O: B * I + I * O + B * O,
    ),
    # Y = X', the nearest number of bfloat16, 0 where it is no normal one
    Kernel(
        "round_bfloat16",
        (sets("Y", "B,O"), reads("X", "B,O")),
        alias=(("Y", "X"),),
        flops=lambda B, O: B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # dX = dY @ W.T, with what is there where it is added to, and where X = relu(.) times its slope
    Kernel(
        "dense_backward_data",
        (
            sets("dX", "B,I"),
            reads("dY", "B,O"),
            reads("W", "I,O"),
            reads("X", "B,I", optional=True),
        ),
        ("accumulate",),
        accumulator="real",
        tolerance="product",
        flops=lambda B, I, O: 2 * B * I * O,
        bytes=lambda B, I, O: B * I + I * O + B * O,
    ),
    # dW = X.T @ dY;  db = dY.sum(axis=0)
    Kernel(
        "dense_backward_weights",
        (sets("dW", "I,O"), sets("db", "O", optional=True), reads("X", "B,I"), reads("dY", "B,O")),
        ("accumulate",),
        accumulator="real",
        tolerance="product",
        flops=lambda B, I, O: 2 * B * I * O + B * O,
        bytes=lambda B, I, O: B * I + I * O + B * O,
    ),
    # Y = f(X)
    Kernel(
        "activation_forward",
        (sets("Y", "B,O"), reads("X", "B,O")),
        ("function", "constant"),
        functions=tuple(FORMULAS),
        alias=(("Y", "X"),),
        tolerance="elementwise",
        flops=lambda B, O: B * O,
        bytes=lambda B, O: 2 * B * O,
        saves="X, Y",
    ),
    # dX = dY * f'(X), where Y = f(X)
    Kernel(
        "activation_backward",
        (sets("dX", "B,O"), reads("dY", "B,O"), reads("X", "B,O"), reads("Y", "B,O")),
        ("function", "constant", "accumulate"),
        functions=tuple(FORMULAS),
        alias=(("dX", "dY"),),
        tolerance="elementwise",
        flops=lambda B, O: 2 * B * O,
        bytes=lambda B, O: 4 * B * O,
    ),
    # Y = exp(X - max) / sum(exp(X - max)) along each row
    Kernel(
        "softmax_forward",
        (sets("Y", "B,O"), reads("X", "B,O")),
        alias=(("Y", "X"),),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 4 * B * O,
        bytes=lambda B, O: 2 * B * O,
        saves="Y",
    ),
    # dX = Y * (dY - sum(dY * Y)), where Y = softmax(X)
    Kernel(
        "softmax_backward",
        (sets("dX", "B,O"), reads("dY", "B,O"), reads("Y", "B,O")),
        ("accumulate",),
        alias=(("dX", "dY"),),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 4 * B * O,
        bytes=lambda B, O: 3 * B * O,
    ),
    # Y = X * mask / (1 - rate); the same call on gradients is its backward pass
    Kernel(
        "dropout",
        (sets("Y", "B,O"), reads("X", "B,O")),
        ("rate", "seed", "step", "layer", "first_row", "accumulate"),
        alias=(("Y", "X"),),
        tolerance="elementwise",
        flops=lambda B, O: B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # Y = (X - mean) * inverse_deviation * scale + shift along each row
    Kernel(
        "layer_norm_forward",
        (
            sets("Y", "B,O"),
            sets("mean", "B"),
            sets("inverse_deviation", "B"),
            reads("X", "B,O"),
            reads("scale", "O"),
            reads("shift", "O"),
        ),
        ("epsilon",),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 8 * B * O,
        bytes=lambda B, O: 2 * B * O,
        saves="X, mean, inverse_deviation",
    ),
    Kernel(
        "layer_norm_backward_data",
        (
            sets("dX", "B,O"),
            reads("dY", "B,O"),
            reads("X", "B,O"),
            reads("mean", "B"),
            reads("inverse_deviation", "B"),
            reads("scale", "O"),
        ),
        ("accumulate",),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 10 * B * O,
        bytes=lambda B, O: 3 * B * O,
    ),
    Kernel(
        "layer_norm_backward_parameters",
        (
            sets("dscale", "O"),
            sets("dshift", "O"),
            reads("dY", "B,O"),
            reads("X", "B,O"),
            reads("mean", "B"),
            reads("inverse_deviation", "B"),
        ),
        ("accumulate",),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 5 * B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # mean = X.mean(axis=0);  variance = ((X - mean)**2).mean(axis=0)
    Kernel(
        "batch_norm_statistics",
        (sets("mean", "O"), sets("variance", "O"), reads("X", "B,O")),
        accumulator="float64",
        tolerance="reduction",
        flops=lambda B, O: 4 * B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # Y = (X - mean) / sqrt(variance + epsilon) * scale + shift along each column
    Kernel(
        "batch_norm_forward",
        (
            sets("Y", "B,O"),
            reads("X", "B,O"),
            reads("mean", "O"),
            reads("variance", "O"),
            reads("scale", "O"),
            reads("shift", "O"),
        ),
        ("epsilon",),
        tolerance="elementwise",
        flops=lambda B, O: 4 * B * O,
        bytes=lambda B, O: 2 * B * O,
        saves="X, mean, variance",
    ),
    # batch_statistics: mean and variance are those of X, and move with it; else they are constants
    Kernel(
        "batch_norm_backward_data",
        (
            sets("dX", "B,O"),
            reads("dY", "B,O"),
            reads("X", "B,O"),
            reads("mean", "O"),
            reads("variance", "O"),
            reads("scale", "O"),
        ),
        ("epsilon", "batch_statistics", "accumulate"),
        accumulator="float64",
        tolerance="reduction",
        flops=lambda B, O: 10 * B * O,
        bytes=lambda B, O: 5 * B * O,
    ),
    Kernel(
        "batch_norm_backward_parameters",
        (
            sets("dscale", "O"),
            sets("dshift", "O"),
            reads("dY", "B,O"),
            reads("X", "B,O"),
            reads("mean", "O"),
            reads("variance", "O"),
        ),
        ("epsilon", "accumulate"),
        accumulator="real",
        tolerance="reduction",
        flops=lambda B, O: 5 * B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # running = (1 - momentum) * running + momentum * that of a batch of so many rows, its variance
    # times rows / (rows - 1); one row leaves the running variance as it is
    Kernel(
        "batch_norm_update",
        (
            changes("running_mean", "O"),
            changes("running_variance", "O"),
            reads("mean", "O"),
            reads("variance", "O"),
        ),
        ("momentum", "rows"),
        tolerance="elementwise",
        flops=lambda O: 6 * O,
        bytes=lambda O: 6 * O,
    ),
    # Y = U * f(V)
    Kernel(
        "gate_forward",
        (sets("Y", "B,O"), reads("U", "B,O"), reads("V", "B,O")),
        ("function", "constant"),
        functions=tuple(GATES.values()),
        tolerance="elementwise",
        flops=lambda B, O: 2 * B * O,
        bytes=lambda B, O: 3 * B * O,
        saves="U, V",
    ),
    # dU = dY * f(V);  dV = dY * U * f'(V)
    Kernel(
        "gate_backward",
        (
            sets("dU", "B,O"),
            sets("dV", "B,O"),
            reads("dY", "B,O"),
            reads("U", "B,O"),
            reads("V", "B,O"),
        ),
        ("function", "constant"),
        functions=tuple(GATES.values()),
        tolerance="elementwise",
        flops=lambda B, O: 4 * B * O,
        bytes=lambda B, O: 5 * B * O,
    ),
    # dbeta = sum(dY * U * V**2 * s * (1 - s)) with s = sigmoid(beta * V)
    Kernel(
        "gate_backward_beta",
        (sets("dbeta", "1"), reads("dY", "B,O"), reads("U", "B,O"), reads("V", "B,O")),
        ("beta", "accumulate"),
        accumulator="float64",
        tolerance="reduction",
        flops=lambda B, O: 6 * B * O,
        bytes=lambda B, O: 3 * B * O,
    ),
    # Y = X or Y += X: residual sums, the columns of a concatenation, and their gradients
    Kernel(
        "copy",
        (sets("Y", "B,O"), reads("X", "B,O")),
        ("accumulate",),
        flops=lambda B, O: B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # Y[r] = X[index[r]]
    Kernel(
        "gather_rows",
        (sets("Y", "B,I"), reads("X", "N,I"), reads("index", "B", "int64")),
        bytes=lambda B, I, N: 2 * B * I,
    ),
    # The loss of every row of scores Z against targets T, its share of right outputs, and
    # dZ = factor * weight * d(loss)/dZ. hits is for classes and probabilities; else it is not set.
    Kernel(
        "loss",
        (
            sets("row_loss", "B", "float64"),
            sets("hits", "B", "float64", optional=True),
            sets("dZ", "B,O", optional=True),
            reads("Z", "B,O"),
            reads("T", "B,O"),
            reads("weight", "B", optional=True),
        ),
        ("function", "constant", "factor"),
        functions=tuple(LOSSES),
        accumulator="float64",
        tolerance="loss",
        flops=lambda B, O: 6 * B * O,
        bytes=lambda B, O: 3 * B * O,
    ),
    # Cross entropy against labels 0..O-1: T is one-hot at the label.
    Kernel(
        "loss_labels",
        (
            sets("row_loss", "B", "float64"),
            sets("hits", "B", "float64", optional=True),
            sets("dZ", "B,O", optional=True),
            reads("Z", "B,O"),
            reads("labels", "B", "int64"),
            reads("weight", "B", optional=True),
        ),
        ("constant", "factor"),
        accumulator="float64",
        tolerance="loss",
        flops=lambda B, O: 6 * B * O,
        bytes=lambda B, O: 2 * B * O,
    ),
    # Flat index of the first NaN or infinity in row-major order, -1 where there is none
    Kernel(
        "first_nonfinite",
        (reads("X", "B,I"),),
        returns="index",
        bytes=lambda B, I: B * I,
    ),
)

KERNELS: dict[str, Kernel] = {kernel.name: kernel for kernel in (*ROWS, *UPDATES)}
