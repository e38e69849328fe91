/* The baseline: vectors of 16 bytes, which every processor of 64 bits has. */
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

/* 16 registers: 8 sums, 2 of B, 1 of A, and one for each product where none is fused. */
#define TILE_ROWS 4
#define ROWS_OF_ONE(X) X(1) X(2) X(3) X(4) X(6) X(8)
#define ROWS_OF_TWO(X) X(1) X(2) X(3) X(4)
#define ROWS_OF_FOUR(X) X(1) X(2)
#define ROWS_OF_EIGHT(X)

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
