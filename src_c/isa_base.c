/* The baseline: plain C that runs on every processor, and what the other paths are judged by. */
#include "fastnn.h"

#include <math.h>
#include <string.h>

#ifdef __SSE2__
#    include <immintrin.h>
#elif defined(__aarch64__)
#    include <arm_neon.h>
#endif

#define ISA base
#define VECTOR_BYTES 16

#include "kernels/functions.inc"

#define REAL float
#define DTYPE float32
#include "kernels/all.inc"
#undef REAL
#undef DTYPE

#define REAL double
#define DTYPE float64
#include "kernels/all.inc"
#undef REAL
#undef DTYPE
