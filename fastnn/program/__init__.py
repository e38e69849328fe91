"""The floor that lays out: layers become one flat Program, and the table of kernels that run it."""

from fastnn.program.lowering import choose_loss, lower
from fastnn.program.program import LossHead, Op, Parameter, Program, Slot, State

__all__ = ["LossHead", "Op", "Parameter", "Program", "Slot", "State", "choose_loss", "lower"]
