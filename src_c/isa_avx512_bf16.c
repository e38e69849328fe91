/* Products of bfloat16, for processors with AVX512-BF16: Intel from Cooper Lake (2020), AMD from
 * Zen 4 (2022). Two neighbours in the order of k share a word of 32 bits, the first in its upper
 * half: the instruction adds the product of the upper halves first, and rounds twice, so a sum has
 * the bits of one product after another. */
#include "fastnn.h"

extern const fnn_bfloat16 fnn_bfloat16__avx512; /* empty where the compiler has no such flag */

#ifdef __AVX512BF16__
#    pragma GCC diagnostic ignored "-Wunused-function" /* transposes are for other products */
#    define VECTOR_BYTES 64
#    define KERNEL_(op) fnn_##op##_float32__avx512_bf16
#    define KERNEL(op) KERNEL_(op)
#    define REAL float
#    define DTYPE float32

#    include "kernels/tiles_of_32.inc"

#    define FACTOR int32_t
#    define FACTORS __m512i
#    define LOAD_FACTORS(p) _mm512_loadu_si512(p)
#    define LOAD_FIRST_FACTORS(p, n) _mm512_maskz_loadu_epi32((__mmask16)((1u << (n)) - 1), p)
#    define SPLAT_FACTOR(x) _mm512_set1_epi32(x)
#    define MULTIPLY_ADD(a, b, c) ((vec)_mm512_dpbf16_ps(c, (__m512bh)(a), (__m512bh)(b)))
#    define FACTORS_OF(depth) (((depth) + 1) / 2)
#    define BY_COLUMNS(...)

#    include "kernels/vector.inc"
#    include "kernels/gemm.inc"

/* The numbers of two vectors in the order of memory. */
#    define NEIGHBOURS(a, b) ((vec)_mm512_rol_epi32((__m512i)_mm512_cvtne2ps_pbh(b, a), 16))

/* D (B, (I + 1) / 2) = pairs of neighbours in the rows of X (B, I), 0 behind the last. */
static void prepare_rows(fnn_matrix D, fnn_matrix X, int64_t B, int64_t I) {
    const int64_t even = I / 32 * 32, left = I - even, first = left < 16 ? left : 16;
    for (int64_t r = 0; r < B; r++) {
        float *d = ROW(D, r), *x = ROW(X, r);
        for (int64_t i = 0; i < even; i += 32)
            STORE(d + i / 2, NEIGHBOURS(LOAD(x + i), LOAD(x + i + 16)));
        if (left) {
            const vec a = LOAD_FIRST(x + even, first), b = LOAD_FIRST(x + even + 16, left - first);
            STORE(d + even / 2, NEIGHBOURS(a, b));
        }
    }
}

/* D ((I + 1) / 2, O) = pairs of neighbours in the columns of W (I, O). Behind the last stands -0:
 * its product with 0 changes no sum, not even the sign of a 0. */
static void prepare_weights(fnn_matrix D, fnn_matrix W, int64_t I, int64_t O) {
    for (int64_t i = 0; i < I; i += 2)
        ALONG(O, {
            const vec first = READ(ROW(W, i) + o, n);
            const vec next = i + 1 < I ? READ(ROW(W, i + 1) + o, n) : SPLAT(-0.0);
            const __m512i upper = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(first));
            const __m512i lower = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(next));
            WRITE(ROW(D, i / 2) + o, (vec)(_mm512_slli_epi32(upper, 16) | lower), n);
        });
}

const fnn_bfloat16 fnn_bfloat16__avx512 = {prepare_rows, prepare_weights, KERNEL(dense_forward)};
#else
const fnn_bfloat16 fnn_bfloat16__avx512 = {0};
#endif
