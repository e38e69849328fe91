/* Processors with AVX-512 F, DQ, BW and VL: Intel from Skylake-X (2017), AMD from Zen 4 (2022). */
#ifdef __x86_64__
#    include "fastnn.h"

#    include <immintrin.h>
#    include <math.h>
#    include <string.h>

#    define ISA avx512
#    define VECTOR_BYTES 64

/* 32 registers: 28 sums, 2 of B, 1 of A. */
#    define TILE_ROWS 14
#    define ROWS_OF_ONE(X) X(1) X(2) X(3) X(4) X(6) X(8) X(10) X(12) X(14) X(16) X(20) X(24) X(28)
#    define ROWS_OF_TWO(X)                                                                         \
        X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14)
#    define ROWS_OF_FOUR(X) X(1) X(2) X(3) X(4) X(5) X(6)
#    define ROWS_OF_EIGHT(X) X(1) X(2) X(3)

#    define REAL float
#    define DTYPE float32
#    include "kernels/all.inc"
#    undef REAL
#    undef DTYPE

#    define REAL double
#    define DTYPE float64
#    include "kernels/all.inc"
#    undef REAL
#    undef DTYPE
#endif
