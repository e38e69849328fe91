/* Which code path runs: the best that the processor has, or the one that was asked for. */
#include "fastnn.h"

#include <string.h>

static bool always(void) { return true; }

/* The paths, the best first. */
#ifdef __x86_64__
/* The compiler's support asks the operating system too, whether it saves the wide registers. */
static bool has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static bool has_avx512(void) {
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#    define ALL(X) X(avx512, has_avx512) X(avx2, has_avx2) X(base, always)
#elif defined(__aarch64__)
#    define ALL(X) X(neon, always)
#else
#    define ALL(X) X(base, always)
#endif

#define DECLARE(isa, supported)                                                                    \
    extern const fnn_kernels fnn_kernels_float32__##isa, fnn_kernels_float64__##isa;
#define PATH(isa, supported)                                                                       \
    {#isa, &fnn_kernels_float32__##isa, &fnn_kernels_float64__##isa, supported},
#define NAME(isa, supported) ", " #isa

ALL(DECLARE)
extern const fnn_bfloat16 fnn_bfloat16__avx512; /* empty where the compiler knows none */

static const struct {
    const char *name;
    const fnn_kernels *float32, *float64;
    bool (*supported)(void);
} paths[] = {ALL(PATH)};

enum { PATHS = sizeof paths / sizeof *paths };

static int chosen = PATHS - 1;

fnn_status fnn_choose_isa(const char *name) {
    for (int n = 0; n < PATHS; n++) {
        if ((*name && strcmp(name, paths[n].name) != 0) || !paths[n].supported()) continue;
        chosen = n;
        return FNN_OK;
    }
    return FNN_UNKNOWN_ISA;
}

const fnn_kernels *fnn_kernels_of(fnn_dtype dtype) {
    return dtype == FNN_FLOAT32 ? paths[chosen].float32 : paths[chosen].float64;
}

bool fnn_has_bfloat16(void) {
#ifdef __x86_64__
    return paths[chosen].supported == has_avx512 && fnn_bfloat16__avx512.dense_forward &&
           __builtin_cpu_supports("avx512bf16");
#else
    return false;
#endif
}

fnn_bfloat16 fnn_bfloat16_of(fnn_dtype dtype) {
    const fnn_kernels *k = fnn_kernels_of(dtype);
    if (dtype == FNN_FLOAT32 && fnn_has_bfloat16()) return fnn_bfloat16__avx512;
    return (fnn_bfloat16){k->round_bfloat16, k->round_bfloat16, k->dense_forward};
}

const char *fnn_isa(void) { return paths[chosen].name; }

const char *fnn_isas(void) { return &ALL(NAME)[2]; }
