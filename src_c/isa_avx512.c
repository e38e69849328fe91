/* Processors with AVX-512 F, DQ, BW and VL: Intel from Skylake-X (2017), AMD from Zen 4 (2022). */
#ifdef __x86_64__
#    define ISA avx512
#    define VECTOR_BYTES 64
#    include "kernels/tiles_of_32.inc"

#    include "kernels/path.inc"
#endif
