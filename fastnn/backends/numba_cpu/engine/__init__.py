"""The engine: the two-phase step of src_c/engine.h, compiled by Numba.

All of it is one function, `execute`, which gets the address of a run's record and reads all else
from tables; it knows kernels by their addresses alone. So it is compiled once, for both dtypes and
every network, and a network compiles no more kernels than it uses.
"""
