"""One file a library: how it does the work of a case at its best.

Each has ``describe(threads)``, which sets the threads and says what is in use, and two classes.
``Trainer(case, threads, mode)`` has `data`, ``restart(steps)`` (first weights, then exactly so many
steps on consecutive batches), ``run(steps)`` (at least so many, from where it stands; it returns
how many and comes back when they are done) and ``weights()``. ``Predictor(case, threads, mode)``
has ``run(calls)`` and ``outputs()``. Both have `case` and `note`, a word on the settings, and are
warmed up when they are made.
"""

__all__ = ["Unable"]


class Unable(Exception):
    """A library cannot do the work of a case; the text says why."""
