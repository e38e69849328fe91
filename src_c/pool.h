/* The thread pool: workers that share the items of a job with the thread that brings the job.
 *
 * A process has one pool, and the pool serves one caller at a time. Nobody waits for it: where it
 * is taken, or has no threads, the caller does all items itself. So results must not depend on who
 * runs which item, and then they are the same bits for any number of threads and of callers. */
#ifndef FASTNN_POOL_H
#define FASTNN_POOL_H

#include <stdint.h>

/* More threads than this are not taken, the caller counted. */
#define FNN_MAX_THREADS 256

typedef struct fnn_pool fnn_pool;

/* Take the pool for a run of `threads` threads, the caller among them; NULL where the caller is
 * alone: it wants one thread, or somebody else has the pool. Starts the workers that are still
 * missing; where the system gives fewer, fewer work. Between this and the end, workers wait for the
 * next job awake for a short while; at all other times they sleep. */
fnn_pool *fnn_pool_begin(int threads);

/* Run task(context, item, worker) once for every item in 0..count-1, and return when all are done,
 * their writes visible. With pool NULL the caller runs them, in order, as worker 0. Otherwise
 * `worker`, below the number of threads of the run, tells apart who is at work at the same time:
 * the index of scratch memory. Every worker begins with its own share of consecutive items, the
 * same ones in every job of as many items, and then helps the others.
 *
 * A task may take a pool of its own (it gets NULL), but must not fork: its fellows' items would
 * never end in the child. Workers have 512 KiB of stack, and no signal is delivered to them. */
void fnn_parallel(fnn_pool *pool, int64_t count,
                  void (*task)(void *context, int64_t item, int worker), void *context);

/* Give the pool back; the workers go to sleep. NULL is allowed. */
void fnn_pool_end(fnn_pool *pool);

/* The most threads of every run that begins from now on, whatever it wants; 0: no limit, as at the
 * start. Visible outside of the library, where threadpoolctl looks for them. */
__attribute__((visibility("default"))) void fnn_limit_threads(int threads);
__attribute__((visibility("default"))) int fnn_thread_limit(void);

/* Of a clock that only goes forward. */
int64_t fnn_nanoseconds(void);

#endif
