"""The functions that the engine is compiled into: each knows the others by their addresses.

What is not compiled together is compiled sooner.
"""

from __future__ import annotations

from fastnn.backends.numba_cpu.engine.blocks import run_block
from fastnn.backends.numba_cpu.engine.jobs import assist, parallel
from fastnn.backends.numba_cpu.engine.passes import backward
from fastnn.backends.numba_cpu.engine.records import run_at, tile_at
from fastnn.backends.numba_cpu.engine.row_tiles import run_tile
from fastnn.backends.numba_cpu.engine.runs import predict
from fastnn.backends.numba_cpu.engine.steps import take_steps

__all__ = ["PREDICT", "STEPS", "do_block", "do_job", "do_tile", "execute", "go_back", "help_out"]

# What `execute` is to do.
PREDICT, STEPS = range(2)


def do_tile(address: int, task: int, item: int, worker: int) -> int:
    """Take a tile of rows as far as the task wants."""
    run_tile(run_at(address, 0), item, worker, task)
    return 0


def go_back(address: int, tile: int) -> int:
    """Take a tile of rows backward."""
    backward(run_at(address, 0), tile_at(tile, 0))
    return 0


def do_block(address: int, task: int, item: int, worker: int) -> int:
    """Work on a block of a parameter."""
    run_block(run_at(address, 0), item, worker)
    return 0


def do_job(address: int, task: int, count: int, threads: int) -> int:
    """Do all items of a job of the run at an address, on at most so many threads."""
    parallel(run_at(address, 0), task, count, threads)
    return 0


def help_out(address: int, worker: int, generation: int) -> int:
    """Work on the jobs of the run at an address, as one of its workers, until it is over."""
    assist(run_at(address, 0), worker, generation)
    return 0


def execute(address: int, command: int) -> int:
    """Do what is to be done with the run at an address, and return how it went."""
    run = run_at(address, 0)
    return predict(run) if command == PREDICT else take_steps(run)
