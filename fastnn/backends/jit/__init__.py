"""What compiles Python for all backends, by Numba: functions of users, and elementary functions."""
