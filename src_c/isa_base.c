/* The baseline: vectors of 16 bytes, which all x86-64 has, and compilers make up for others. */
#ifndef __aarch64__
#    define ISA base
#    define VECTOR_BYTES 16

/* 16 registers: 8 sums, 2 of B, 1 of A, and one for each product where none is fused. */
#    define TILE_ROWS 4
#    define ROWS_OF_ONE(X) X(1) X(2) X(3) X(4) X(6) X(8)
#    define ROWS_OF_TWO(X) X(1) X(2) X(3) X(4)
#    define ROWS_OF_FOUR(X) X(1) X(2)
#    define ROWS_OF_EIGHT(X)

#    include "kernels/path.inc"
#endif
