/* Processors with AVX2 and FMA: Intel from Haswell (2013), AMD from Zen (2017). */
#ifdef __x86_64__
#    define ISA avx2
#    define VECTOR_BYTES 32

/* 16 registers: 12 sums, 2 of B, 1 of A. */
#    define TILE_ROWS 6
#    define ROWS_OF_ONE(X) X(1) X(2) X(3) X(4) X(6) X(8) X(10) X(12)
#    define ROWS_OF_TWO(X) X(1) X(2) X(3) X(4) X(5) X(6)
#    define ROWS_OF_FOUR(X) X(1) X(2) X(3)
#    define ROWS_OF_EIGHT(X) X(1)

#    include "kernels/path.inc"
#endif
