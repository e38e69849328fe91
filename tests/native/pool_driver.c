/* Drives the thread pool without Python: `pool_driver CLAIM [N]` exits with 0 where the claim
 * holds, and says on the error stream why it does not. `pool_driver measure` prints figures. */
#define _GNU_SOURCE
#include "pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#    include <dirent.h>
#    include <sched.h>
#    include <sys/syscall.h>
#endif

#define CHECK(claim)                                                                               \
    do {                                                                                           \
        if (!(claim)) {                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim);                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static int64_t nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void work_for(int64_t duration) {
    for (const int64_t until = nanoseconds() + duration; nanoseconds() < until;);
}

static void nap(int64_t duration) {
    nanosleep(&(struct timespec){duration / 1000000000, duration % 1000000000}, NULL);
}

/* ---- A job that notices what goes wrong ---- */

/* Nothing in it is atomic: two threads with one index, an item done twice at a time, or a write
 * that is not visible in the end are data races as well, which ThreadSanitizer would report. */
typedef struct {
    int64_t count, duration;
    int threads;
    uint8_t *done;                      /* times, by item */
    int64_t by_worker[FNN_MAX_THREADS]; /* items */
} job;

static void do_item(void *context, int64_t item, int worker) {
    job *j = context;
    CHECK(0 <= item && item < j->count);
    CHECK(0 <= worker && worker < j->threads);
    j->by_worker[worker]++;
    if (j->duration) work_for(j->duration);
    j->done[item]++;
}

static void run_job(fnn_pool *pool, job *j) {
    memset(j->done, 0, (size_t)j->count);
    memset(j->by_worker, 0, sizeof j->by_worker);
    fnn_parallel(pool, j->count, do_item, j);
    int64_t total = 0;
    for (int worker = 0; worker < j->threads; worker++) total += j->by_worker[worker];
    CHECK(total == j->count);
    for (int64_t item = 0; item < j->count; item++) CHECK(j->done[item] == 1);
}

/* Run jobs of up to `most` items. Each has another context than the one before, and scribbles over
 * it in the end: a worker who still used it would notice. Return how many items others than the
 * caller did. */
static int64_t run_jobs(int64_t count, int threads, uint32_t most, int64_t duration) {
    job jobs[2];
    uint8_t done[64];
    int64_t helped = 0;
    uint32_t random = 1;
    fnn_pool *pool = fnn_pool_begin(threads);
    for (int64_t n = 0; n < count; n++) {
        job *j = &jobs[n % 2];
        random = random * 1664525 + 1013904223;
        *j = (job){1 + (random >> 8) % most, duration, pool ? threads : 1, done, {0}};
        run_job(pool, j);
        helped += j->count - j->by_worker[0];
        memset(j, 0xff, sizeof *j);
    }
    fnn_pool_end(pool);
    return helped;
}

/* ---- Claims ---- */

static void every_item_once(int64_t jobs) {
    const int threads[] = {0, 1, 2, 3, 7, 16, 100, FNN_MAX_THREADS, FNN_MAX_THREADS + 1};
    const int64_t counts[] = {0, 1, 2, 3, 5, 16, 255, 1000, 100003};
    uint8_t *done = malloc(100003);
    for (size_t t = 0; t < sizeof threads / sizeof *threads; t++) {
        const int most = threads[t] < 1                 ? 1
                         : threads[t] > FNN_MAX_THREADS ? FNN_MAX_THREADS
                                                        : threads[t];
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            fnn_pool *pool = fnn_pool_begin(threads[t]);
            CHECK((pool == NULL) == (threads[t] <= 1));
            job j = {counts[c], 0, most, done, {0}};
            for (int again = 0; again < 3; again++) run_job(pool, &j);
            fnn_pool_end(pool);
        }
    }
    free(done);
    CHECK(run_jobs(jobs, 2, 4, 0) >= 0);
    CHECK(run_jobs(jobs / 20, 5, 12, 0) >= 0);
    CHECK(run_jobs(jobs / 100, 5, 12, 10000) >= 0);
}

static void workers_help(void) {
    run_jobs(1, 4, 8, 0);
    nap(50000000); /* they are there, and sleep */
    CHECK(run_jobs(20, 2, 8, 1000000) > 0);
    CHECK(run_jobs(20, 4, 8, 1000000) > 0);
}

/* The third thread comes to the older job in time or not; the newer one is none of its business. */
static void late_workers_stay_out_of_newer_jobs(void) {
    for (int n = 0; n < 100; n++) {
        uint8_t older_done[3], newer_done[20];
        job older = {3, 0, 3, older_done, {0}}, newer = {20, 50000, 2, newer_done, {0}};
        fnn_pool *pool = fnn_pool_begin(3);
        run_job(pool, &older);
        fnn_pool_end(pool);
        memset(&older, 0xff, sizeof older); /* no item is below this count */
        pool = fnn_pool_begin(2);
        run_job(pool, &newer);
        fnn_pool_end(pool);
    }
}

static void count_item(void *context, int64_t item, int worker) {
    (void)worker;
    _Atomic int64_t *total = context;
    *total += item;
}

static void take_pool_inside(void *context, int64_t item, int worker) {
    fnn_pool *pool = fnn_pool_begin(2);
    CHECK(pool == NULL);
    fnn_parallel(pool, 3, count_item, context);
    fnn_pool_end(pool);
    (void)item, (void)worker;
}

static void a_task_may_run_a_job(void) {
    _Atomic int64_t total = 0;
    fnn_pool *pool = fnn_pool_begin(3);
    CHECK(pool != NULL);
    fnn_parallel(pool, 100, take_pool_inside, &total);
    fnn_pool_end(pool);
    CHECK(total == 300);
}

static void *run_jobs_in_thread(void *jobs) {
    run_jobs(*(int64_t *)jobs, 2, 8, 0);
    run_jobs(*(int64_t *)jobs / 100, 3, 8, 20000);
    return NULL;
}

static void callers_at_once(int64_t jobs) {
    pthread_t threads[8];
    for (int n = 0; n < 8; n++)
        CHECK(pthread_create(&threads[n], NULL, run_jobs_in_thread, &jobs) == 0);
    for (int n = 0; n < 8; n++) CHECK(pthread_join(threads[n], NULL) == 0);
}

/* What a child does: use the pool, with workers of its own, from its first and from a new thread.
 */
static void use_pool_in_child(void) {
    alarm(20);
    fnn_pool *pool = fnn_pool_begin(2);
    CHECK(pool != NULL);
    fnn_pool_end(pool);
    CHECK(run_jobs(10, 2, 8, 0) >= 0);
    int64_t jobs = 10, helped = 0;
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run_jobs_in_thread, &jobs) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    for (int tries = 0; tries < 100 && !helped; tries++) helped = run_jobs(4, 2, 8, 200000);
    CHECK(helped > 0);
}

static void expect_success(pid_t child) {
    int status;
    CHECK(child > 0);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void forks_after_use(int64_t forks) {
    for (int64_t n = 0; n < forks; n++) {
        run_jobs(3, 3, 8, 0);
        const pid_t child = fork();
        if (child == 0) {
            use_pool_in_child();
            exit(0);
        }
        expect_success(child);
    }
}

static _Atomic bool stop;

static void *run_jobs_until_stop(void *ignored) {
    while (!stop) {
        run_jobs(100, 3, 8, 0);
        run_jobs(10, 3, 8, 100000);
    }
    return ignored;
}

static void forks_in_use(int64_t forks) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, run_jobs_until_stop, NULL) == 0);
    for (int64_t n = 0; n < forks; n++) {
        nap(n % 10 * 100000);
        const pid_t child = fork();
        if (child == 0) {
            use_pool_in_child();
            exit(0);
        }
        expect_success(child);
    }
    stop = true;
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Python's signal handlers may fork between two jobs of a run, and the run goes on in the child. */
static void forks_of_the_owner(int64_t forks) {
    uint8_t done[64];
    for (int64_t n = 0; n < forks; n++) {
        job j = {64, 0, 3, done, {0}};
        fnn_pool *pool = fnn_pool_begin(3);
        CHECK(pool != NULL);
        run_job(pool, &j);
        const pid_t child = fork();
        run_job(pool, &j);
        if (child == 0) CHECK(j.by_worker[0] == 64); /* nobody else is there */
        fnn_pool_end(pool);
        if (child == 0) {
            use_pool_in_child();
            exit(0);
        }
        expect_success(child);
    }
}

static pthread_t main_thread;
static volatile sig_atomic_t signals, astray;

static void handle(int number) {
    (void)number;
    signals++;
    astray += !pthread_equal(pthread_self(), main_thread);
}

static void signals_reach_the_main_thread(void) {
    main_thread = pthread_self();
    sigset_t usr1, before;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    CHECK(signal(SIGUSR1, handle) != SIG_ERR);
    run_jobs(1, 4, 8, 0);
    /* While the main thread blocks it, a signal would go to any other thread that does not. */
    pthread_sigmask(SIG_BLOCK, &usr1, &before);
    for (int n = 0; n < 10; n++) {
        kill(getpid(), SIGUSR1);
        run_jobs(1, 4, 8, 500000);
        nap(5000000);
    }
    CHECK(signals == 0);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    CHECK(signals > 0 && astray == 0);
}

#ifdef __linux__

static void fewer_workers_where_there_are_no_more(void) {
    const struct rlimit none = {1, RLIM_INFINITY};
    struct rlimit before;
    CHECK(getrlimit(RLIMIT_AS, &before) == 0);
    CHECK(setrlimit(RLIMIT_AS, &none) == 0); /* no memory for a stack */
    run_jobs(100, 8, 32, 0);
    CHECK(setrlimit(RLIMIT_AS, &before) == 0);
    run_jobs(100, 8, 32, 0);
    CHECK(run_jobs(20, 2, 8, 1000000) > 0);
}

/* Let the system run all threads but this one at one processor, and there only when nobody else
 * wants it. */
static void make_workers_late(int cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    DIR *threads = opendir("/proc/self/task");
    CHECK(threads != NULL);
    for (struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        const pid_t thread = atoi(entry->d_name);
        if (thread <= 0 || thread == getpid()) continue;
        /* The system's own call: not every C library has it. */
        CHECK(syscall(SYS_sched_setscheduler, thread, SCHED_IDLE, &(struct sched_param){0}) == 0);
        CHECK(sched_setaffinity(thread, sizeof one, &one) == 0);
    }
    closedir(threads);
}

static void *compute_until_stop(void *cpu) {
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(*(int *)cpu, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    while (!stop);
    return NULL;
}

/* Workers that hardly ever run. A caller who waited for each of them to come, or just to say that
 * it found nothing, would need tenths of a second for each job; now and then one is caught in the
 * middle of an item, and that has to be waited for. */
static void late_workers_are_not_waited_for(void) {
    cpu_set_t ours;
    int cpu = 0;
    pthread_t thread;
    CHECK(sched_getaffinity(0, sizeof ours, &ours) == 0);
    while (!CPU_ISSET(cpu, &ours)) cpu++;
    run_jobs(1, 3, 8, 0);
    make_workers_late(cpu);
    CHECK(pthread_create(&thread, NULL, compute_until_stop, &cpu) == 0);
    CPU_CLR(cpu, &ours);
    if (CPU_COUNT(&ours) > 0) CHECK(sched_setaffinity(0, sizeof ours, &ours) == 0);
    const int64_t start = nanoseconds();
    run_jobs(400, 3, 8, 20000); /* 32 ms of work */
    CHECK(nanoseconds() - start < 10 * (int64_t)1000000000);
    stop = true;
    CHECK(pthread_join(thread, NULL) == 0);
}

#endif

/* The exit handlers run, and the process ends, whatever the workers do. */
static void exit_while_they_spin(void) {
    uint8_t done[64];
    job j = {64, 0, 4, done, {0}};
    run_job(fnn_pool_begin(4), &j);
    exit(0);
}

static void exit_while_they_sleep(void) {
    run_jobs(3, 4, 8, 0);
    nap(5000000);
    exit(0);
}

static int64_t cpu_time(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * (int64_t)1000000000 +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * (int64_t)1000;
}

static void workers_sleep_when_idle(void) {
    run_jobs(100, 4, 8, 0);
    int64_t before = cpu_time();
    nap(200000000);
    CHECK(cpu_time() - before < 20000000); /* after a run */
    fnn_pool *pool = fnn_pool_begin(4);
    uint8_t done[64];
    job j = {64, 0, 4, done, {0}};
    run_job(pool, &j);
    before = cpu_time();
    nap(200000000);
    CHECK(cpu_time() - before < 20000000); /* and in the middle of one that takes its time */
    fnn_pool_end(pool);
}

/* ---- Figures ---- */

static int compare(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *what, int64_t *times, int count) {
    qsort(times, (size_t)count, sizeof *times, compare);
    printf("%-52s median %10.3f us   99 %% %10.3f   worst %10.3f\n", what,
           (double)times[count / 2] / 1e3, (double)times[count - 1 - count / 100] / 1e3,
           (double)times[count - 1] / 1e3);
}

static void nothing(void *context, int64_t item, int worker) {
    (void)context, (void)item, (void)worker;
}

static void spend(void *context, int64_t item, int worker) {
    (void)item, (void)worker;
    work_for(*(int64_t *)context);
}

/* One way of a cache line between two threads: what the figures of two threads stand beside. */
static _Atomic int64_t ball;
static const int64_t rallies = 20000;

static void *return_ball(void *ignored) {
    for (int64_t n = 1; n < 2 * rallies; n += 2) {
        while (ball != n);
        ball = n + 1;
    }
    return ignored;
}

static void print_ping_pong(void) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, return_ball, NULL) == 0);
    ball = 0;
    int64_t start = 0;
    for (int64_t n = 0; n < 2 * rallies; n += 2) {
        if (n == rallies) start = nanoseconds();
        ball = n + 1;
        while (ball != n + 2);
    }
    printf("cache line, one way: %.0f ns\n", (double)(nanoseconds() - start) / (double)rallies);
    pthread_join(thread, NULL);
}

enum { SAMPLES = 2000 };

static void print_jobs(const char *what, int threads, int64_t items, int64_t duration, int samples,
                       bool one_run, int64_t pause) {
    static int64_t times[SAMPLES];
    void (*task)(void *, int64_t, int) = duration ? spend : nothing;
    fnn_pool *pool = one_run ? fnn_pool_begin(threads) : NULL;
    const int batch = duration || !one_run ? 1 : 100; /* too short for the clock */
    for (int n = 0; n < samples; n++) {
        if (pause) nap(pause);
        const int64_t start = nanoseconds();
        for (int b = 0; b < batch; b++) {
            if (!one_run) pool = fnn_pool_begin(threads);
            fnn_parallel(pool, items, task, &duration);
            if (!one_run) fnn_pool_end(pool);
        }
        times[n] = (nanoseconds() - start) / batch;
    }
    if (one_run) fnn_pool_end(pool);
    print_times(what, times, samples);
}

static void measure(void) {
    const int few = SAMPLES / 10;
    print_ping_pong();
    print_jobs("1 thread, 2 items of nothing", 1, 2, 0, SAMPLES, true, 0);
    print_jobs("2 threads, 2 items of nothing", 2, 2, 0, SAMPLES, true, 0);
    print_jobs("2 threads, 16 items of nothing", 2, 16, 0, SAMPLES, true, 0);
    print_jobs("8 threads, 16 items of nothing", 8, 16, 0, SAMPLES, true, 0);
    print_jobs("2 threads, 2 items of 2 us", 2, 2, 2000, SAMPLES, true, 0);
    print_jobs("2 threads, 2 items of 10 us", 2, 2, 10000, SAMPLES, true, 0);
    print_jobs("2 threads, 8 items of 10 us", 2, 8, 10000, SAMPLES, true, 0);
    print_jobs("2 threads, asleep, 2 items of nothing", 2, 2, 0, few, false, 1000000);
    print_jobs("2 threads, asleep, 2 items of 100 us", 2, 2, 100000, few, false, 1000000);
    print_jobs("2 threads, asleep, 16 items of 100 us", 2, 16, 100000, few, false, 1000000);
    print_jobs("2 threads, 2 items of 1 ms", 2, 2, 1000000, few, true, 0);
    print_jobs("2 threads, 8 items of 1 ms", 2, 8, 1000000, few, true, 0);
    print_ping_pong();
}

/* With `processes` that only compute beside us. */
static void measure_busy(int64_t processes) {
    const int few = SAMPLES / 5;
    pid_t busy[64];
    print_jobs("quiet: 2 threads, 2 items of 1 ms", 2, 2, 1000000, few, true, 0);
    print_jobs("quiet: 2 threads, 8 items of 1 ms", 2, 8, 1000000, few, true, 0);
    print_jobs("quiet: 1 thread, 2 items of 1 ms", 1, 2, 1000000, few, true, 0);
    for (int64_t n = 0; n < processes; n++) {
        busy[n] = fork();
        CHECK(busy[n] >= 0);
        if (busy[n] == 0) {
            alarm(60);
            for (;;) work_for(1000000);
        }
    }
    nap(200000000);
    print_jobs("busy: 2 threads, 2 items of 1 ms", 2, 2, 1000000, few, true, 0);
    print_jobs("busy: 2 threads, 8 items of 1 ms", 2, 8, 1000000, few, true, 0);
    print_jobs("busy: 1 thread, 2 items of 1 ms", 1, 2, 1000000, few, true, 0);
    for (int64_t n = 0; n < processes; n++) {
        kill(busy[n], SIGKILL);
        waitpid(busy[n], NULL, 0);
    }
}

int main(int argument_count, char **arguments) {
    const char *claim = argument_count > 1 ? arguments[1] : "";
    const int64_t n = argument_count > 2 ? atoll(arguments[2]) : 100;
    const struct {
        const char *name;
        void (*counted)(int64_t), (*plain)(void);
    } claims[] = {
        {"every_item_once", every_item_once, NULL},
        {"workers_help", NULL, workers_help},
        {"late_workers_stay_out_of_newer_jobs", NULL, late_workers_stay_out_of_newer_jobs},
        {"a_task_may_run_a_job", NULL, a_task_may_run_a_job},
        {"callers_at_once", callers_at_once, NULL},
        {"forks_after_use", forks_after_use, NULL},
        {"forks_in_use", forks_in_use, NULL},
        {"forks_of_the_owner", forks_of_the_owner, NULL},
#ifdef __linux__
        {"fewer_workers_where_there_are_no_more", NULL, fewer_workers_where_there_are_no_more},
        {"late_workers_are_not_waited_for", NULL, late_workers_are_not_waited_for},
#endif
        {"signals_reach_the_main_thread", NULL, signals_reach_the_main_thread},
        {"exit_while_they_spin", NULL, exit_while_they_spin},
        {"exit_while_they_sleep", NULL, exit_while_they_sleep},
        {"workers_sleep_when_idle", NULL, workers_sleep_when_idle},
        {"measure", NULL, measure},
        {"measure_busy", measure_busy, NULL},
    };
    for (size_t c = 0; c < sizeof claims / sizeof *claims; c++)
        if (strcmp(claim, claims[c].name) == 0) {
            if (claims[c].counted)
                claims[c].counted(n);
            else
                claims[c].plain();
            return 0;
        }
    fprintf(stderr, "no claim of this name: %s\n", claim);
    return 2;
}
