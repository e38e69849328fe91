"""The tables of a program, a run and an optimizer, as structs that compiled code reads.

A table is an array of records. Compiled code gets its address alone, and looks at a record through
a function of this module, such as ``op_at(run.ops, 3).kind``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastnn.backends.numba_cpu.engine.lowlevel import view_of
from fastnn.backends.numba_cpu.updates import SETTINGS

__all__ = [
    "ADD",
    "ACTIVATION",
    "BATCH_NORM",
    "BLOCK",
    "BLOCKS",
    "CONCAT",
    "CUSTOM_ACTIVATION",
    "DENSE",
    "DROPOUT",
    "GATE",
    "KERNELS",
    "KINDS",
    "LAYER_NORM",
    "LOSSES",
    "OP",
    "OPTIMIZER",
    "PARAMETER",
    "PREDICTIONS",
    "RUN",
    "SETTINGS_AT",
    "SLICE",
    "SLOT",
    "SOFTMAX",
    "TILE",
    "block_at",
    "offset",
    "op_at",
    "optimizer_at",
    "parameter_at",
    "run_at",
    "slot_at",
    "tile_at",
]

KINDS = (
    "dense",
    "activation",
    "softmax",
    "dropout",
    "layer_norm",
    "batch_norm",
    "gate",
    "add",
    "concat",
    "slice",
    "custom_activation",
)
(
    DENSE,
    ACTIVATION,
    SOFTMAX,
    DROPOUT,
    LAYER_NORM,
    BATCH_NORM,
    GATE,
    ADD,
    CONCAT,
    SLICE,
    CUSTOM_ACTIVATION,
) = range(len(KINDS))


# What an item of a job is: a tile of rows to the losses, a block of a parameter, or a tile of rows
# to the predictions.
LOSSES, BLOCKS, PREDICTIONS = range(3)


def offset(dtype: np.dtype[Any], name: str) -> int:
    """Return where a field begins in a record, in bytes."""
    return int(dict(dtype.fields or {})[name][1])


def _record(integers: str, numbers: str = "") -> np.dtype[Any]:
    """Return the dtype of a record of int64 and float64, given their names."""
    fields = [(name, "i8") for name in integers.split()]
    return np.dtype(fields + [(name, "f8") for name in numbers.split()])


# What a slot is, and where its rows and their gradients stand in this run. `source` is the slot
# whose memory it uses, in this kind of run.
SLOT = _record("width ld source trainable values gradients")

PARAMETER = _record("rows columns offset stride regularized penalty_per_row", "l1 l2 max_norm")

# -1 stands for an input or parameter that is not there. `mean` and `variance` are where the running
# ones stand among the states. `forward`, `backward` and `sums` are the addresses of its kernels,
# the last one of that for the gradients of its parameters; `function` is what a dense op applies.
OP = _record(
    "number kind first second output adds_to_first adds_to_second weight bias mean variance"
    " function masks done_forward done_backward forward backward sums",
    "constant momentum",
)

BLOCK = _record("op first rows weight bias")

# An optimizer: its kernels, its moments, and its settings, which the update gets. Steps are counted
# twice, since the settings are float64.
OPTIMIZER = _record(
    "update clip sum_of_squares scale moments moment_count steps is_nadam",
    " ".join(SETTINGS) + " weight_decay clip_value clip_norm",
)
SETTINGS_AT = offset(OPTIMIZER, SETTINGS[0])

# Rows of a chunk that go through the ops together, and where they stand: the input and its gradient
# (0 where nobody wants it), and where the last op writes. Every worker has one.
TILE = _record("worker first rows X X_ld dX dX_ld scores scores_ld")

# Kernels that do not belong to an op, by the names of their fields.
KERNELS = (
    "copy",
    "gather_rows",
    "first_nonfinite",
    "round_bfloat16",
    "batch_norm_statistics",
    "batch_norm_update",
    "penalty",
    "max_norm",
)

# One call's way through the program: what is the same for all calls, the workspace, what the call
# brought, and where it is. Addresses of what is not there are 0.
RUN = _record(
    # The functions of the engine, the program, and its plan. `judge` is a loss whose hits are those
    # of a custom loss.
    "execute do_job do_tile go_back do_block slots parameters ops blocks op_count parameter_count"
    " block_count size state_size element couples_rows limits_norms most_tile"
    " loss custom_loss judge head_kernel head_is_activation " + " ".join(KERNELS) +
    # The workspace, for `capacity` rows; `row_ld` is what a row has in buffers that slots share.
    " capacity row_ld tiles saved row_loss hits Y labels weight flat statistics scratch"
    " scratch_size block_penalty kept"
    # Who works: `threads` in this run, and `active` in this step; see `jobs`.
    " shares threads active task count pending generation trial"
    # What the call brought. `training`: dropout is on, and batch norms look at the batch.
    " values states_at gradient input_gradient optimizer batch_X batch_Y batch_labels batch_weight"
    " batch_rows out order rates losses shares_of_hits count_of_steps batch_size seed"
    " training bfloat16 only_finite polls"
    # The chunk: rows of the batch, those that `chunk_order` numbers or those from first_row on.
    " step B tile first_row row_in_batch chunk_order on_the_spot taken"
    # How it stands.
    " diverged interrupted work asked_at error error_value error_traceback",
    "loss_constant factor rate mean_loss mean_hits",
)

slot_at = view_of(SLOT)
parameter_at = view_of(PARAMETER)
op_at = view_of(OP)
block_at = view_of(BLOCK)
optimizer_at = view_of(OPTIMIZER)
tile_at = view_of(TILE)
run_at = view_of(RUN)
