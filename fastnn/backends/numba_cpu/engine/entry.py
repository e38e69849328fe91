"""The two functions that the engine is compiled into."""

from __future__ import annotations

from fastnn.backends.numba_cpu.engine.blocks import run_block
from fastnn.backends.numba_cpu.engine.jobs import assist
from fastnn.backends.numba_cpu.engine.polling import FINE
from fastnn.backends.numba_cpu.engine.records import BLOCKS, run_at
from fastnn.backends.numba_cpu.engine.row_tiles import run_tile
from fastnn.backends.numba_cpu.engine.runs import predict
from fastnn.backends.numba_cpu.engine.steps import take_steps

__all__ = ["ASSIST", "PREDICT", "STEPS", "do_item", "execute"]

# What `execute` is to do.
PREDICT, STEPS, ASSIST = range(3)


def do_item(address: int, task: int, item: int, worker: int) -> int:
    """Do an item of a job of the run at an address."""
    run = run_at(address, 0)
    if task == BLOCKS:
        run_block(run, item, worker)
    else:
        run_tile(run, item, worker, task)
    return 0


def execute(command: int, address: int, worker: int, generation: int) -> int:
    """Do what is to be done with the run at an address, and return how it went."""
    run = run_at(address, 0)
    if command == PREDICT:
        return predict(run)
    if command == STEPS:
        return take_steps(run)
    assist(run, worker, generation)
    return FINE
