/* How far the functions of the core are from the truth, in units in the last place (ULP).
 *
 *     ulp_driver list
 *     ulp_driver float32|float64 SAMPLES THREADS [FUNCTION...]
 *     ulp_driver values PATH float32|float64 FUNCTION
 *
 * The second goes over so many arguments (float32: 4294967296 are all), and prints a line for every
 * function and path: its name, the path, the worst ULP, and where. The third reads arguments from
 * stdin, in binary, and writes the values of the function. Compiled with WITH_... for every path
 * that is linked. */
#include "ulp.h"

#include <float.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

/* ---- What there is ---- */

#define DECLARE(isa) extern ulp_apply fnn_ulp_apply_float32__##isa, fnn_ulp_apply_float64__##isa;
#define PATH(isa) #isa, fnn_ulp_apply_float32__##isa, fnn_ulp_apply_float64__##isa

#ifdef WITH_avx512
DECLARE(avx512)
static int has_avx512(void) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
}
#endif
#ifdef WITH_avx2
DECLARE(avx2)
static int has_avx2(void) {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#endif
#if defined(WITH_base) || defined(WITH_neon)
static int always(void) { return 1; }
#endif
#ifdef WITH_base
DECLARE(base)
#endif
#ifdef WITH_neon
DECLARE(neon)
#endif

static const struct {
    const char *name;
    ulp_apply *float32_apply, *float64_apply;
    int (*runs)(void);
} paths[] = {
#ifdef WITH_avx512
    {PATH(avx512), has_avx512},
#endif
#ifdef WITH_avx2
    {PATH(avx2), has_avx2},
#endif
#ifdef WITH_base
    {PATH(base), always},
#endif
#ifdef WITH_neon
    {PATH(neon), always},
#endif
};
enum { PATHS = sizeof paths / sizeof *paths };

/* The arguments that a function is for. Losses get no others: what is not finite is found before.
 */
typedef enum { EVERYWHERE, FINITE, NEGATIVE, UP_TO_1 } ulp_domain;

typedef struct {
    const char *name;
    int function;
    double constant;
    ulp_domain domain;
    double floor32, floor64; /* below it, errors are counted in its ULP */
} ulp_function;

/* Where a denormal number is multiplied by a score at the end, its last bit grows as much. */
#define DENORMAL 0x1p-119, 0x1p-1012

static const ulp_function functions[] = {
    {"identity", FNN_IDENTITY, 0, EVERYWHERE, 0, 0},
    {"heaviside", FNN_HEAVISIDE, 0, EVERYWHERE, 0, 0},
    {"sigmoid", FNN_SIGMOID, 0, EVERYWHERE, 0, 0},
    {"tanh", FNN_TANH, 0, EVERYWHERE, 0, 0},
    {"relu", FNN_RELU, 0, EVERYWHERE, 0, 0},
    {"leaky_relu", FNN_LEAKY_RELU, 0.01, EVERYWHERE, 0, 0},
    {"elu", FNN_ELU, 1, EVERYWHERE, 0, 0},
    {"elu_0.7", FNN_ELU, 0.7, EVERYWHERE, 0, 0},
    {"selu", FNN_SELU, 0, EVERYWHERE, 0, 0},
    {"gelu", FNN_GELU, 0, EVERYWHERE, 0, 0},
    {"gelu_tanh", FNN_GELU_TANH, 0, EVERYWHERE, DENORMAL},
    {"silu", FNN_SILU, 1, EVERYWHERE, DENORMAL},
    {"silu_1.7", FNN_SILU, 1.7, EVERYWHERE, DENORMAL},
    {"softplus", FNN_SOFTPLUS, 0, EVERYWHERE, 0, 0},
    {"softsign", FNN_SOFTSIGN, 0, EVERYWHERE, 0, 0},
    {"mish", FNN_MISH, 0, EVERYWHERE, DENORMAL},
    {"sine", FNN_SINE, 0, EVERYWHERE, 0, 0},
    {"exp", FNN_EXP, 0, EVERYWHERE, 0, 0},
    {"expm1", ULP_EXPM1, 0, NEGATIVE, 0, 0},
    {"log1p", ULP_LOG1P, 0, UP_TO_1, 0, 0},
    {"softmax", ULP_SOFTMAX, 0, FINITE, 0, 0},
    /* log(1 + e) in double has the absolute error of a double near 1 */
    {"cross_entropy", ULP_CROSS_ENTROPY, 0, FINITE, 0x1p-24, 1},
    {"binary_cross_entropy_of_0", ULP_BINARY_CROSS_ENTROPY_OF_0, 0, FINITE, 0, 0},
    {"binary_cross_entropy_of_1", ULP_BINARY_CROSS_ENTROPY_OF_1, 0, FINITE, 0, 0},
};
enum { FUNCTIONS = sizeof functions / sizeof *functions };

/* ---- The work ---- */

typedef struct {
    double ulp;
    long double x, y, truth;
} ulp_worst;

typedef struct {
    const ulp_function *function;
    int wide; /* float64 */
    const double *point;
    uint64_t points, stride, count; /* of all arguments */
    atomic_uint_fast64_t next;
    ulp_worst worst[PATHS];
    pthread_mutex_t lock;
} ulp_job;

enum { NEIGHBOURS = 33 };

/* The finalizer of SplitMix64: Steele, Lea & Flood 2014. */
static uint64_t scramble(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

#define NAMED(name) float32_##name
#define REAL float
#define WIDE double
#define UINT uint32_t
#define DIGITS FLT_MANT_DIG
#define LEAST (FLT_MIN_EXP - 1)
#define PAST FLT_MAX_EXP
#include "ulp_truth.inc"

#include "ulp_sweep.inc"
#undef NAMED
#undef REAL
#undef WIDE
#undef UINT
#undef DIGITS
#undef LEAST
#undef PAST

#define NAMED(name) float64_##name
#define REAL double
#define WIDE long double
#define UINT uint64_t
#define DIGITS DBL_MANT_DIG
#define LEAST (DBL_MIN_EXP - 1)
#define PAST DBL_MAX_EXP
#include "ulp_truth.inc"

#include "ulp_sweep.inc"

/* Where something may change: ends, branches, and the seams of the reductions of exp and sine. */
static uint64_t collect(double *point) {
    static const double special[] = {
        0,       0x1p-149, 0x1p-126, 0x1p-24, 0x1p-1074, 0x1p-1022, 0x1p-53, 0.1,     1. / 3,
        0.5,     1,        2,        3,       4,         8,         16,      17.5,    20,
        36.8,    40,       0.5493,   0.6932,  0x1p23,    0x1p24,    0x1p31,  0x1p52,  0x1p53,
        0x1p63,  1e10,     1e20,     1e30,    200,       5e4,       1e5,     1e9,     FLT_MAX,
        DBL_MAX, INFINITY, NAN,      3.25,    5,         14.5,      38.8,    13.2,    87.3365,
        88.7228, 89,       103.972,  104,     708.3964,  709.783,   710,     745.133, 746,
        18.72,   5.6,      9.01,     18.4,    0x1p-30,   0x1p-12,   0x1p-60};
    const double log2 = 0.69314718055994530942, pi = 3.14159265358979323846;
    uint64_t n = 0;
    for (size_t k = 0; k < sizeof special / sizeof *special; k++)
        point[n++] = special[k], point[n++] = -special[k];
    for (int k = -2200; k <= 2100; k++) point[n++] = k * log2 / 2;
    for (int k = -400; k <= 400; k++) point[n++] = k * pi / 4;
    return n;
}

static void *work(void *shared) {
    ulp_job *job = shared;
    ulp_worst worst[PATHS] = {{0}};
    for (;;) {
        const uint64_t first = atomic_fetch_add(&job->next, ULP_CHUNK);
        if (first >= job->count) break;
        const uint64_t left = job->count - first;
        const int64_t n = left < ULP_CHUNK ? (int64_t)left : ULP_CHUNK;
        (job->wide ? float64_chunk : float32_chunk)(job, first, n, worst);
    }
    pthread_mutex_lock(&job->lock);
    for (int p = 0; p < PATHS; p++)
        if (worst[p].ulp > job->worst[p].ulp) job->worst[p] = worst[p];
    pthread_mutex_unlock(&job->lock);
    return NULL;
}

static void sweep(const ulp_function *function, int wide, uint64_t samples, int threads) {
    static double point[8192];
    ulp_job job = {.function = function, .wide = wide, .point = point, .points = collect(point)};
    job.stride = wide ? 0 : ((uint64_t)1 << 32) / samples;
    job.count = job.points * NEIGHBOURS + samples;
    pthread_t others[256];
    int started = 0;
    pthread_mutex_init(&job.lock, NULL);
    for (int k = 1; k < threads && k < 256; k++)
        started += !pthread_create(&others[started], NULL, work, &job);
    work(&job);
    while (started > 0) pthread_join(others[--started], NULL);
    for (int p = 0; p < PATHS; p++) {
        const ulp_worst *worst = &job.worst[p];
        if (paths[p].runs())
            printf("%s %s %.4f f(%.17Lg) = %.17Lg, not %.19Lg\n", function->name, paths[p].name,
                   worst->ulp, worst->x, worst->y, worst->truth);
    }
    fflush(stdout);
}

static int values(ulp_apply *apply, size_t size, const ulp_function *function) {
    double x[ULP_CHUNK], y[ULP_CHUNK];
    for (size_t n; (n = fread(x, size, ULP_CHUNK, stdin)) > 0; fwrite(y, size, n, stdout))
        apply(y, x, (int64_t)n, function->function, function->constant);
    return 0;
}

/* ---- The arguments ---- */

static const ulp_function *find(const char *name) {
    for (int k = 0; k < FUNCTIONS; k++)
        if (!strcmp(functions[k].name, name)) return &functions[k];
    fprintf(stderr, "there is no function %s\n", name);
    exit(2);
}

int main(int count, char **told) {
    if (count == 2 && !strcmp(told[1], "list")) {
        for (int k = 0; k < FUNCTIONS; k++) puts(functions[k].name);
        return 0;
    }
    if (count == 5 && !strcmp(told[1], "values"))
        for (int p = 0; p < PATHS; p++)
            if (!strcmp(told[2], paths[p].name) && paths[p].runs())
                return strcmp(told[3], "float64")
                           ? values(paths[p].float32_apply, sizeof(float), find(told[4]))
                           : values(paths[p].float64_apply, sizeof(double), find(told[4]));
    const int wide = count > 1 && !strcmp(told[1], "float64");
    if (count < 4 || (!wide && strcmp(told[1], "float32"))) {
        fputs("see the head of ulp_driver.c\n", stderr);
        return 2;
    }
    if (wide && LDBL_MANT_DIG < 64) {
        fputs("a long double is no wider than a double here\n", stderr);
        return 3;
    }
    const uint64_t samples = strtoull(told[2], NULL, 10);
    const int threads = atoi(told[3]);
    for (int k = 0; k < (count > 4 ? count - 4 : FUNCTIONS); k++)
        sweep(count > 4 ? find(told[4 + k]) : &functions[k], wide, samples, threads);
    return 0;
}
