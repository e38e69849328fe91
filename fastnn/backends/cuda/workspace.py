"""Memory on the device for a pass over some rows, taken once and used by many passes."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.backends.cuda.device.matrix import Matrix
from fastnn.backends.cuda.device.step import PARTIALS
from fastnn.backends.cuda.memory import Device
from fastnn.program import Program
from fastnn.program.plan import Plan

__all__ = ["Workspace", "row_bytes"]


def row_bytes(program: Program, plan: Plan, element: int, *, backward: bool) -> int:
    """Return how much memory a row takes."""
    norms = sum(op.kind == "layer_norm" for op in program.ops)
    ends = program.inputs + program.outputs
    return element * (plan.slot_size * (1 + backward) + plan.widest_input + ends + 2 * norms)


class Workspace:
    """Values and gradients of all slots, and what stands beside them.

    Parameters
    ----------
    device : Device
    program : Program
    plan : Plan
    dtype : numpy.dtype
    rows : int
        The most that a pass may have.
    backward : bool
        Whether gradients are wanted.

    Attributes
    ----------
    X, T : Matrix
        Room for inputs and for targets or predictions, without gaps.
    labels : device array of int64
    slots, gradients : dict of int to Matrix
        By slot: those that have a home of their own.
    flat : device array
        Room for the gradient of the parameters, where gradients are wanted.
    saved : dict of int to pair of device arrays
        By op: mean and inverse deviation of the rows of a layer norm.
    statistics : device array
        Of batch norms, laid out as the states.
    rounded : device array
        Room for the input of any dense op.
    partials : device array of float64
        What kernels that sum over everything leave to each other.
    """

    def __init__(
        self,
        device: Device,
        program: Program,
        plan: Plan,
        dtype: np.dtype[Any],
        rows: int,
        *,
        backward: bool,
    ) -> None:
        self.rows, self.backward = rows, backward
        self.X = Matrix(device.empty(rows * program.inputs, dtype), program.inputs)
        self.T = Matrix(device.empty(rows * program.outputs, dtype), program.outputs)
        self.labels = device.empty(rows, np.int64)
        self.slots = _lay_out(device.empty(rows * plan.slot_size, dtype), plan, rows)
        self.gradients: dict[int, Matrix] = {}
        if backward:
            self.gradients = _lay_out(device.empty(rows * plan.slot_size, dtype), plan, rows)
            # What lies between the rows of weights is 0, and no kernel writes there.
            self.flat = device.zeros(program.size, dtype)
        self.saved = {
            number: (device.empty(rows, dtype), device.empty(rows, dtype))
            for number, op in enumerate(program.ops)
            if op.kind == "layer_norm"
        }
        self.statistics = device.zeros(program.state_size, dtype)
        self.rounded = device.empty(0 if backward else rows * plan.widest_input, dtype)
        self.partials = device.empty(3 * PARTIALS, np.float64)


def _lay_out(memory: Any, plan: Plan, rows: int) -> dict[int, Matrix]:
    """Return the matrices of the slots in the memory of all, by the plan."""
    return {
        number: Matrix(memory[rows * place.offset :], place.ld)
        for number, place in enumerate(plan.places)
        if number > 0 and place.home == number
    }
