/* Processors with AVX-512 F, DQ, BW and VL: Intel from Skylake-X (2017), AMD from Zen 4 (2022). */
#ifdef __x86_64__
#    include "fastnn.h"

#    include <immintrin.h>
#    include <math.h>
#    include <string.h>

#    define ISA avx512
#    define VECTOR_BYTES 64

#    include "kernels/avx512_tiles.inc"

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
