/* The kernels of one path that compute functions, out of the sources of the core. Who compiles this
 * names the path in ISA, and its width in VECTOR_BYTES, with the flags of setup.py. */
#include "ulp.h"

#define REAL float
#define DTYPE float32
#include "ulp_kernels.inc"
#undef REAL
#undef DTYPE

#define REAL double
#define DTYPE float64
#include "ulp_kernels.inc"
#undef REAL
#undef DTYPE
