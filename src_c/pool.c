/* The thread pool. No OpenMP: its runtime hangs in a forked child, its barriers wait for threads
 * that have lost their core, and two of its runtimes in a process clash.
 *
 * A job is cut into one share of consecutive items for each thread, and a share is one atomic
 * word: how many of its items nobody has taken yet. An item is taken by counting that word down.
 * Whoever has emptied his own share goes on with the others', so the caller itself finishes what a
 * late worker has not begun, and then waits only for workers that are in the middle of an item.
 *
 * Why a late worker is harmless: it knows nothing of a job until it has an item of it. It reads
 * only the word of its own share. If that counts no items, the worker's part of the job is over, or
 * there is none, and nothing else is touched. If it does, one compare-and-swap takes an item and
 * sets INSIDE. That succeeds only if the item was still free at that moment, so the job, whichever
 * it is by now, cannot end before this worker leaves: the caller waits until INSIDE is gone. Only
 * then are task and context read, and shares of others visited. It does not matter that the word
 * may have had the same value in an older job: nothing was read before the swap that could belong
 * to that one. So words need no tickets, and the caller may write the next job as soon as no
 * worker is INSIDE. */
#define _GNU_SOURCE /* syscall */
#include "pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <time.h>

/* How long somebody who waits stays awake. To wake a sleeper costs both sides several microseconds,
 * and the phases of a step that is worth two threads are at most this far apart. */
#define SPIN_NANOSECONDS 100000
#define SPINS_PER_LOOK 64 /* at the clock, which costs as much as a pause or two */

#define STACK_BYTES (512 * 1024)
#define LINES 128 /* two cache lines: processors fetch them in pairs, and some have such lines */

/* The word of a share: the number of free items, and what its worker does. */
#define INSIDE (1u << 31)  /* it is in the job, in this share or another's */
#define ASLEEP (1u << 30)  /* it waits for the word to change */
#define AWAITED (1u << 29) /* it is inside, and the caller waits for the word to change */
#define FREE (AWAITED - 1)

typedef void task_function(void *context, int64_t item, int worker);

typedef struct {
    int threads;
    int64_t count;
    task_function *task;
    void *context;
} job;

/* All that a worker needs to begin lies together: the fewer lines travel, the sooner it does. */
typedef struct {
    alignas(LINES) _Atomic uint32_t word;
    _Atomic int worker_cpu, caller_cpu; /* where they were last seen */
    job job;
} share;

/* The memory is static, so that taking the pool never fails for want of it. */
struct fnn_pool {
    alignas(LINES) _Atomic uintptr_t owner; /* the thread that has it, or 0 */
    bool forkable;
    int workers; /* started so far, besides the caller; the owner's, like all below */
    int threads; /* of this run */
    share shares[FNN_MAX_THREADS]; /* the caller's, then those of workers 1, 2, ... */
};

static fnn_pool pool;

/* ---- Waiting ---- */

#if defined(__linux__) && !defined(FNN_NO_FUTEX)

#    include <linux/futex.h>
#    include <sys/syscall.h>
#    include <unistd.h>

/* Sleep until woken, if the word still has this value; may return for no reason. */
static void sleep_on(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void wake(_Atomic uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static void forget_sleepers(void) {}

#else /* one condition for all words: sleepers look at their own and sleep on */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void sleep_on(_Atomic uint32_t *word, uint32_t value) {
    pthread_mutex_lock(&mutex);
    while (atomic_load(word) == value) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
}

/* The word has changed already. With the lock, nobody is between his look at it and his sleep. */
static void wake(_Atomic uint32_t *word) {
    (void)word;
    pthread_mutex_lock(&mutex);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void forget_sleepers(void) {
    mutex = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    changed = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
}

#endif

static void pause_processor(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* `yield` does nothing on most of them */
#endif
}

int64_t fnn_nanoseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int this_cpu(void) {
#ifdef __linux__
    return sched_getcpu();
#else
    return -1;
#endif
}

/* Stay awake while the word is `value`: for a short while, in which the next epoch may begin, and
 * not on the very processor where the one who is to change the word was last seen. Where all are
 * busy, workers are often woken there, and would keep the caller from it: 36 us for an empty job
 * instead of 5. */
static void spin_on(const _Atomic uint32_t *word, uint32_t value, int other_cpu) {
    int64_t now = 0, until = 0;
    if (other_cpu >= 0 && other_cpu == this_cpu()) return;
    for (int n = 1; atomic_load(word) == value && now <= until; n++) {
        pause_processor();
        if (n % SPINS_PER_LOOK == 0) now = fnn_nanoseconds();
        if (until == 0 && now > 0) until = now + SPIN_NANOSECONDS;
    }
}

/* Wait while the word is `value`, awake, then asleep: `flag` has whoever changes it wake us. */
static void wait_on(_Atomic uint32_t *word, uint32_t value, uint32_t flag, int other_cpu) {
    spin_on(word, value, other_cpu);
    if (!atomic_compare_exchange_strong(word, &value, value | flag)) return;
    while (atomic_load(word) == (value | flag)) sleep_on(word, value | flag);
}

/* ---- Jobs ---- */

/* Take a free item of the share, and set the flag with it; return how many were free, 0: none. */
static int64_t take(_Atomic uint32_t *word, uint32_t flag) {
    uint32_t value = atomic_load_explicit(word, memory_order_relaxed);
    while (value & FREE)
        if (atomic_compare_exchange_weak(word, &value, (value - 1) | flag)) return value & FREE;
    return 0;
}

/* Share s of a job is the items from share_start(s) to before share_start(s + 1). */
static int64_t share_start(const job *j, int s) { return j->count * s / j->threads; }

/* Do items of all shares as long as there are any, the own share first. `first` is what the worker
 * got when it took its first item, or 0. */
static void work(const job *j, int worker, int64_t first) {
    for (int n = 0; n < j->threads; n++, first = 0) {
        const int s = (worker + n) % j->threads;
        const int64_t end = share_start(j, s + 1);
        int64_t free = first ? first : take(&pool.shares[s].word, 0);
        for (; free; free = take(&pool.shares[s].word, 0)) j->task(j->context, end - free, worker);
    }
}

static void *run_worker(void *index) {
    const int worker = (int)(intptr_t)index;
    share *own = &pool.shares[worker];
    for (;;) {
        const int64_t first = take(&own->word, INSIDE);
        if (!first) {
            wait_on(&own->word, 0, ASLEEP, atomic_load(&own->caller_cpu));
            continue;
        }
        atomic_store_explicit(&own->worker_cpu, this_cpu(), memory_order_relaxed);
        work(&own->job, worker, first);
        if (atomic_exchange(&own->word, 0) & AWAITED) wake(&own->word);
    }
    return NULL;
}

void fnn_parallel(fnn_pool *taken, int64_t count, task_function *task, void *context) {
    const int threads = !taken ? 1 : count < taken->threads ? (int)count : taken->threads;
    if (threads <= 1 || count / threads >= FREE) {
        for (int64_t item = 0; item < count; item++) task(context, item, 0);
        return;
    }
    const job j = {threads, count, task, context};
    const int cpu = this_cpu();
    for (int s = 0; s < threads; s++) {
        share *to = &taken->shares[s];
        to->job = j;
        atomic_store_explicit(&to->caller_cpu, cpu, memory_order_relaxed);
        const int64_t items = share_start(&j, s + 1) - share_start(&j, s);
        if (atomic_exchange(&to->word, (uint32_t)items) & ASLEEP) wake(&to->word);
    }
    work(&j, 0, 0);
    for (int s = 1; s < threads; s++) {
        share *of = &taken->shares[s];
        while (atomic_load(&of->word) & INSIDE)
            wait_on(&of->word, INSIDE, AWAITED, atomic_load(&of->worker_cpu));
    }
}

/* ---- The pool ---- */

/* In a forked child the workers are gone: forget them. The pool is free as well, unless the thread
 * that forked has it, which goes on in the child. Nothing is done before the fork: to lock or to
 * stop anything there could wait for ever. */
static void forget_workers(void) {
    for (int s = 0; s < FNN_MAX_THREADS; s++) atomic_store(&pool.shares[s].word, 0);
    pool.workers = 0;
    pool.threads = 1;
    if (atomic_load(&pool.owner) != (uintptr_t)pthread_self()) atomic_store(&pool.owner, 0);
    forget_sleepers();
}

/* When the core is loaded, not when the pool is first taken: then another thread could fork just
 * before, and leave its child a pool that is taken for ever. */
__attribute__((constructor)) static void prepare_for_forks(void) {
    pool.forkable = pthread_atfork(NULL, NULL, forget_workers) == 0;
}

/* Signals go to the threads of the program: Python handles them in its main thread. */
static void start_workers(int wanted) {
    sigset_t all, before;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) return;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED); /* the exit joins nobody */
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_t thread;
    while (pool.workers < wanted && pthread_create(&thread, &attributes, run_worker,
                                                   (void *)(intptr_t)(pool.workers + 1)) == 0)
        pool.workers++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

static _Atomic int limit; /* 0: none */

void fnn_limit_threads(int threads) { atomic_store(&limit, threads); }

int fnn_thread_limit(void) { return atomic_load(&limit); }

fnn_pool *fnn_pool_begin(int threads) {
    uintptr_t nobody = 0;
    const int limited = atomic_load(&limit);
    const int most = 0 < limited && limited < FNN_MAX_THREADS ? limited : FNN_MAX_THREADS;
    const int wanted = (threads < most ? threads : most) - 1;
    if (wanted < 1 || !pool.forkable ||
        !atomic_compare_exchange_strong(&pool.owner, &nobody, (uintptr_t)pthread_self()))
        return NULL;
    if (pool.workers < wanted) start_workers(wanted);
    pool.threads = 1 + (pool.workers < wanted ? pool.workers : wanted);
    return &pool;
}

void fnn_pool_end(fnn_pool *taken) {
    if (taken) atomic_store(&taken->owner, 0);
}
