"""The rows of the kernel table that pass over flat vectors: penalties, clipping, and optimizers."""

from __future__ import annotations

from fastnn.program.signature import Kernel, changes, reads

__all__ = ["UPDATES"]

UPDATES = (
    # Returns l1 * sum|W| + l2/2 * sum(W**2);  dW += l1 * sign(W) + l2 * W
    Kernel(
        "penalty",
        (changes("dW", "N", optional=True), reads("W", "N")),
        ("l1", "l2"),
        returns="real",
        accumulator="float64",
        tolerance="reduction",
        flops=lambda N: 6 * N,
        bytes=lambda N: 3 * N,
    ),
    Kernel(
        "sum_of_squares",
        (reads("g", "N"),),
        returns="real",
        accumulator="float64",
        tolerance="reduction",
        flops=lambda N: 2 * N,
        bytes=lambda N: N,
    ),
    # g = min(max(g, -limit), limit), NaN kept
    Kernel(
        "clip",
        (changes("g", "N"),),
        ("limit",),
        flops=lambda N: 2 * N,
        bytes=lambda N: 2 * N,
    ),
    Kernel(
        "scale",
        (changes("g", "N"),),
        ("factor",),
        tolerance="elementwise",
        flops=lambda N: N,
        bytes=lambda N: 2 * N,
    ),
    # The formulas of the updates stand in fastnn/optimizers.py; step counts from 1.
    Kernel(
        "sgd_update",
        (changes("w", "N"), changes("velocity", "N", optional=True), reads("g", "N")),
        ("rate", "momentum", "nesterov", "weight_decay"),
        tolerance="update",
        flops=lambda N: 6 * N,
        bytes=lambda N: 5 * N,
    ),
    Kernel(
        "adam_update",
        (changes("w", "N"), changes("m", "N"), changes("v", "N"), reads("g", "N")),
        ("rate", "beta1", "beta2", "epsilon", "epsilon_hat", "weight_decay", "decoupled", "step"),
        tolerance="update",
        flops=lambda N: 14 * N,
        bytes=lambda N: 7 * N,
    ),
    Kernel(
        "rmsprop_update",
        (
            changes("w", "N"),
            changes("v", "N"),
            changes("buffer", "N", optional=True),
            reads("g", "N"),
        ),
        ("rate", "decay", "momentum", "epsilon", "weight_decay"),
        tolerance="update",
        flops=lambda N: 10 * N,
        bytes=lambda N: 7 * N,
    ),
    Kernel(
        "adagrad_update",
        (changes("w", "N"), changes("v", "N"), reads("g", "N")),
        ("rate", "epsilon", "weight_decay"),
        tolerance="update",
        flops=lambda N: 8 * N,
        bytes=lambda N: 5 * N,
    ),
    # product is that of the momenta of all steps up to this one
    Kernel(
        "nadam_update",
        (changes("w", "N"), changes("m", "N"), changes("v", "N"), reads("g", "N")),
        (
            "rate",
            "beta1",
            "beta2",
            "epsilon",
            "momentum_decay",
            "weight_decay",
            "product",
            "step",
        ),
        tolerance="update",
        flops=lambda N: 17 * N,
        bytes=lambda N: 7 * N,
    ),
    Kernel(
        "lion_update",
        (changes("w", "N"), changes("m", "N"), reads("g", "N")),
        ("rate", "beta1", "beta2", "weight_decay"),
        tolerance="update",
        flops=lambda N: 10 * N,
        bytes=lambda N: 5 * N,
    ),
    # Every column of W whose norm is above the limit is scaled down to it; one that is infinite or
    # NaN stays as it is
    Kernel(
        "max_norm",
        (changes("W", "I,O"),),
        ("limit",),
        accumulator="float64",
        tolerance="reduction",
        flops=lambda I, O: 3 * I * O,
        bytes=lambda I, O: 3 * I * O,
    ),
)
