"""A Program and its plan as the tables of the engine, and an optimizer as its record."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from fastnn.activations import FORMULAS
from fastnn.backends.base import Executable, OptimizerState
from fastnn.backends.jit.functions import compile_activation, compile_loss
from fastnn.backends.numba_cpu.engine.compiling import engine_address
from fastnn.backends.numba_cpu.engine.records import (
    BLOCK,
    CUSTOM_ACTIVATION,
    KINDS,
    OP,
    OPTIMIZER,
    PARAMETER,
    RUN,
    SLOT,
)
from fastnn.backends.numba_cpu.table import address
from fastnn.backends.numba_cpu.updates import SETTINGS
from fastnn.optimizers import OPTIMIZERS, Optimizer
from fastnn.program import Program
from fastnn.program.plan import Plan
from fastnn.program.program import Op

__all__ = ["PreparedOptimizer", "Tables", "rounded"]

Record = npt.NDArray[Any]

RELU = list(FORMULAS).index("relu")

# The kernel for the gradients of the parameters of an op, by its kind.
SUMS = {
    "dense": "dense_backward_weights",
    "layer_norm": "layer_norm_backward_parameters",
    "batch_norm": "batch_norm_backward_parameters",
    "gate": "gate_backward_beta",
}
# Kinds whose kernels for the two passes are called otherwise than their name says, or that have
# none of their own.
FORWARD = {"dropout": "dropout", "add": "", "concat": "", "slice": ""}
BACKWARD = {
    "dense": "dense_backward_data",
    "dropout": "dropout",
    "layer_norm": "layer_norm_backward_data",
    "batch_norm": "batch_norm_backward_data",
    "add": "",
    "concat": "",
    "slice": "",
}
# The update of every optimizer.
UPDATES = {name: "adam" if name == "adamw" else name for name in OPTIMIZERS}
# By what the targets are: a loss that tells right outputs from wrong ones, for a custom loss.
JUDGES = {"probabilities": "binary_cross_entropy", "signs": "hinge"}
# Kernels that belong to no op, and go with predictions.
FOR_PREDICTIONS = ("copy", "first_nonfinite")


class Tables:
    """The tables of a Program.

    Parameters
    ----------
    executable : Executable
        Its program, dtype and custom functions count.
    plan : Plan

    Attributes
    ----------
    slots, parameters, ops, blocks : ndarray
        Of a run, a copy of the slots: it says there where they stand.
    run : ndarray, shape (1,)
        What the records of all runs have in common.
    """

    def __init__(self, executable: Executable, plan: Plan) -> None:
        self.program, self.dtype, self.plan = executable.program, executable.dtype, plan
        self._functions = {
            name: compile_activation(custom, self.dtype)
            for name, custom in executable.custom_activations.items()
        }
        self._custom_loss, program = executable.custom_loss, self.program
        self.slots = _slots(program, plan)
        self.parameters = _parameters(program)
        self.ops = _ops(program, plan)
        self.blocks = np.array([tuple(block) for block in plan.blocks], BLOCK)
        self.run = self._run()
        self._find_forward()

    def _run(self) -> Record:
        program, plan = self.program, self.plan
        run = np.zeros(1, RUN)
        for name in ("execute", "do_job", "do_tile"):
            run[name] = engine_address(name)
        for name in ("parameters", "ops", "blocks"):
            run[name] = getattr(self, name).ctypes.data
        run["op_count"], run["parameter_count"] = len(program.ops), len(program.parameters)
        run["block_count"] = len(plan.blocks)
        run["size"], run["state_size"] = program.size, program.state_size
        run["element"] = self.dtype.itemsize
        run["couples_rows"], run["limits_norms"] = plan.couples_rows, plan.limits_norms
        run["loss_constant"] = program.loss.constant
        head = program.loss.head
        if head == "softmax":
            run["head_kernel"] = self._address("softmax_forward")
        elif head != "identity":
            run["head_kernel"] = self._address("activation_forward", head)
            run["head_is_activation"] = 1
        for name in FOR_PREDICTIONS:
            run[name] = self._address(name)
        return run

    def _address(self, kernel: str, choice: str = "") -> int:
        return address(kernel, self.dtype, choice) if kernel else 0

    def _find_forward(self) -> None:
        """Compile or load the kernels of the forward pass."""
        for op, record in zip(self.program.ops, self.ops, strict=True):
            if op.function in self._functions:
                custom = self._functions[op.function]
                record["kind"] = CUSTOM_ACTIVATION
                record["forward"], record["backward"] = custom.forward, custom.backward
                continue
            name = FORWARD.get(op.kind, f"{op.kind}_forward")
            record["forward"] = self._address(name, _choice(op))

    def measure(self) -> None:
        """Get ready to measure the loss."""
        run, head, custom = self.run, self.program.loss, self._custom_loss
        if run["loss"][0] or run["custom_loss"][0]:
            return
        run["penalty"] = self._address("penalty") if self.program.penalized else 0
        if custom is None:
            run["loss"] = self._address("loss", head.loss)
            return
        if head.targets in JUDGES:
            run["judge"] = self._address("loss", JUDGES[head.targets])
        self._compiled_loss = compile_loss(custom, self.dtype)
        run["custom_loss"] = self._compiled_loss.rows

    def train(self) -> None:
        """Get ready to train."""
        self.measure()
        if self.run["gather_rows"][0]:
            return
        for op, record in zip(self.program.ops, self.ops, strict=True):
            if op.function in self._functions:
                continue
            name = BACKWARD.get(op.kind, f"{op.kind}_backward")
            record["backward"] = self._address(name, _choice(op))
            if op.parameters:
                record["sums"] = self._address(SUMS[op.kind])
        for name in ("go_back", "do_block"):
            self.run[name] = engine_address(name)
        if self.plan.couples_rows:
            for name in ("batch_norm_statistics", "batch_norm_update"):
                self.run[name] = self._address(name)
        if self.plan.limits_norms:
            self.run["max_norm"] = self._address("max_norm")
        self.run["gather_rows"] = self._address("gather_rows")  # the last: now all is there

    def round(self) -> None:
        """Get ready to predict by factors of bfloat16."""
        self.run["round_bfloat16"] = self._address("round_bfloat16")


def _choice(op: Op) -> str:
    return op.function if op.kind in ("activation", "gate") else ""


def _slots(program: Program, plan: Plan) -> Record:
    slots = np.zeros(len(program.slots), SLOT)
    for record, slot, place in zip(slots, program.slots, plan.places, strict=True):
        record["width"], record["ld"], record["trainable"] = slot.width, place.ld, place.trainable
    return slots


def _parameters(program: Program) -> Record:
    parameters = np.zeros(len(program.parameters), PARAMETER)
    for record, p in zip(parameters, program.parameters, strict=True):
        for name in PARAMETER.names or ():
            record[name] = getattr(p, name)
    return parameters


def _ops(program: Program, plan: Plan) -> Record:
    ops = np.zeros(len(program.ops), OP)
    for number, (record, op, fusion) in enumerate(zip(ops, program.ops, plan.fusions, strict=True)):
        record["number"], record["kind"] = number, KINDS.index(op.kind)
        record["first"], record["second"] = (*op.inputs, -1)[:2]
        record["output"] = op.output
        record["adds_to_first"], record["adds_to_second"] = (*op.accumulate, False)[:2]
        record["weight"], record["bias"] = (*op.parameters, -1, -1)[:2]
        record["mean"], record["variance"] = _state_offsets(program, op)
        record["function"] = RELU if fusion.relu else 0
        for name in ("masks", "done_forward", "done_backward"):
            record[name] = getattr(fusion, name)
        record["constant"], record["momentum"] = op.constant, op.momentum
    return ops


def _state_offsets(program: Program, op: Op) -> tuple[int, int]:
    if not op.states:
        return 0, 0
    mean, variance = (program.states[state].offset for state in op.states)
    return mean, variance


def rounded(program: Program, parameters: Record, into: Record) -> None:
    """Copy parameters, and round the weights of dense ops to bfloat16.

    All of the rows are rounded: what lies between them is 0, which is rounded to 0.
    """
    into[:] = parameters
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 6)
    round_bfloat16 = function(address("round_bfloat16", parameters.dtype))
    for op in program.ops:
        if op.kind == "dense":
            p = program.parameters[op.parameters[0]]
            at = into.ctypes.data + p.offset * into.itemsize
            round_bfloat16(at, p.stride, at, p.stride, p.rows, p.columns)


# -- optimizers -----------------------------------------------------------------------------------


class PreparedOptimizer:
    """The record of an optimizer.

    Parameters
    ----------
    optimizer : Optimizer
    moments : ndarray, shape (moment_count, P)

    Attributes
    ----------
    record : ndarray, shape (1,)
        Constants that the optimizer does not have stay 0.
    address : int
        Where the record stands.
    """

    def __init__(self, optimizer: Optimizer, moments: npt.NDArray[Any]) -> None:
        self.optimizer, self.moments = optimizer, moments
        self.record = record = np.zeros(1, OPTIMIZER)
        self.address = int(record.ctypes.data)
        name = UPDATES[optimizer.name]
        record["update"] = address("update", moments.dtype, name)
        if optimizer.clip_value:
            record["clip"] = address("clip", moments.dtype)
        if optimizer.clip_norm:
            for kernel in ("sum_of_squares", "scale"):
                record[kernel] = address(kernel, moments.dtype)
        record["moments"], record["moment_count"] = moments.ctypes.data, optimizer.moment_count
        record["is_nadam"] = name == "nadam"
        for setting in (*SETTINGS, "weight_decay", "clip_value", "clip_norm"):
            record[setting] = getattr(optimizer, setting, 0) or 0

    def serves(self, state: OptimizerState) -> bool:
        """Tell whether this is what a state needs, whose parts may have been exchanged."""
        return self.optimizer is state.optimizer and self.moments is state.moments

    def begin(self, state: OptimizerState) -> None:
        """Take from a state where it stands."""
        self.record["steps"], self.record["product"] = state.step, state.product

    def end(self, state: OptimizerState) -> None:
        """Note in a state where it stands now."""
        state.step, state.product = int(self.record["steps"][0]), float(self.record["product"][0])
