/* What this machine can do at most: fused multiply-adds, memory, and the way between two cores.
   Compiled when a benchmark starts, with -march=native, and called through ctypes. */
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* CHAINS independent sums hide the latency of the unit, and fit into 16 registers with the two
   factors. */
enum { CHAINS = 12, BURST = 2048, BURSTS = 24 };

/* GFLOP/s of the fastest burst; a multiplication and an addition count as two. */
#define DEFINE_PEAK(NAME, REAL, WIDTH)                                                             \
    double NAME(void) {                                                                            \
        typedef REAL vector __attribute__((vector_size(WIDTH)));                                   \
        volatile REAL seed = 1;                                                                    \
        vector sum[CHAINS], factor = (vector){0} + seed * (REAL)0.5, best_guard;                   \
        double best = 1e300;                                                                       \
        _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) sum[c] = factor + (REAL)c;       \
        for (int b = 0; b < BURSTS; b++) {                                                         \
            double start = now();                                                                  \
            for (int n = 0; n < BURST * 16; n++)                                                   \
                _Pragma("GCC unroll 12") for (int c = 0; c < CHAINS; c++) sum[c] =                 \
                    sum[c] * factor + factor;                                                      \
            double seconds = now() - start;                                                        \
            if (seconds < best)                                                                    \
                best = seconds;                                                                    \
        }                                                                                          \
        best_guard = sum[0];                                                                       \
        _Pragma("GCC unroll 12") for (int c = 1; c < CHAINS; c++) best_guard += sum[c];            \
        volatile REAL kept = best_guard[0];                                                        \
        (void)kept;                                                                                \
        return 2.0 * CHAINS * (WIDTH / sizeof(REAL)) * BURST * 16 / best * 1e-9;                   \
    }

DEFINE_PEAK(peak_float32_16, float, 16)
DEFINE_PEAK(peak_float64_16, double, 16)
#ifdef __AVX__
DEFINE_PEAK(peak_float32_32, float, 32)
DEFINE_PEAK(peak_float64_32, double, 32)
#endif
#ifdef __AVX512F__
DEFINE_PEAK(peak_float32_64, float, 64)
DEFINE_PEAK(peak_float64_64, double, 64)
#endif

typedef double four __attribute__((vector_size(32)));

/* a[i] = b[i] + s * c[i] over three arrays of `count` vectors of four doubles; GB/s of the fastest
   pass, counting the three arrays once each. -1 where there is no memory for them. */
double stream_triad(long count) {
    size_t bytes = sizeof(four) * (size_t)count * 3;
    four *a = aligned_alloc(sizeof(four), bytes), *b = a + count, *c = b + count;
    volatile double seed = 0.5;
    double s = seed, best = 1e300;
    if (!a)
        return -1;
    for (long i = 0; i < count; i++)
        a[i] = b[i] = c[i] = (four){s, s, s, s};
    for (int pass = 0; pass < 25; pass++) {
        double start = now();
        for (long i = 0; i < count; i++)
            a[i] = b[i] + s * c[i];
        double seconds = now() - start;
        if (seconds < best)
            best = seconds;
        s = a[count / 2][0] * 0.25; /* the next pass needs this one */
    }
    free(a);
    return (double)bytes / best * 1e-9;
}

enum { VOLLEYS = 25, VOLLEY = 500 };

static _Alignas(128) atomic_int ball;
static int partner_core;

static void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    sched_setaffinity(0, sizeof set, &set);
}

static void *partner(void *unused) {
    pin(partner_core);
    for (int n = 0; n < VOLLEYS * VOLLEY; n++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * n + 1) {
        }
        atomic_store_explicit(&ball, 2 * n + 2, memory_order_release);
    }
    return unused;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Nanoseconds, one way, for a cache line from one core to another: the median over volleys, so that
   a thread that loses its core for a moment does not count. -1 where no thread can be started. */
double ping_pong(int first, int second) {
    cpu_set_t before;
    pthread_t thread;
    double taken[VOLLEYS];
    sched_getaffinity(0, sizeof before, &before);
    partner_core = second;
    atomic_store(&ball, 0);
    pin(first);
    if (pthread_create(&thread, NULL, partner, NULL))
        return -1;
    for (int v = 0, n = 0; v < VOLLEYS; v++) {
        double start = now();
        for (int end = n + VOLLEY; n < end; n++) {
            atomic_store_explicit(&ball, 2 * n + 1, memory_order_release);
            while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * n + 2) {
            }
        }
        taken[v] = (now() - start) / VOLLEY / 2 * 1e9;
    }
    pthread_join(thread, NULL);
    sched_setaffinity(0, sizeof before, &before);
    qsort(taken, VOLLEYS, sizeof *taken, ascending);
    return taken[VOLLEYS / 2];
}
