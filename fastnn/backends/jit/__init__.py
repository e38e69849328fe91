"""What compiles Python for all backends, by Numba: functions of users, and elementary functions."""

import numba

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set, and so Numba compiles nothing")
