/* parallel.c - a persistent thread pool behind one parallel_for; the only file that knows threads and clocks.
 *
 * Workers spin for a moment after a job, because training calls again within microseconds, and then sleep. A job does
 * not wait for workers that wake too late: on a busy machine, or beside torch's spinning threads, that is milliseconds.
 * There is no OpenMP runtime: a second one beside torch's oversubscribes and hangs after fork. A forked child starts with
 * an empty pool and makes its own threads.
 */
#if !defined(_WIN32) && !defined(_GNU_SOURCE)
#  define _GNU_SOURCE
#endif
#include "base/parallel.h"

#if defined(_WIN32)
#  include <process.h>
#  include <windows.h>
typedef SRWLOCK fpg_mutex;
typedef CONDITION_VARIABLE fpg_condition;
typedef HANDLE fpg_thread;
#  define FPG_MUTEX_INIT SRWLOCK_INIT
#  define FPG_CONDITION_INIT CONDITION_VARIABLE_INIT
static void lock(fpg_mutex *m) { AcquireSRWLockExclusive(m); }
static int try_lock(fpg_mutex *m) { return TryAcquireSRWLockExclusive(m); }
static void unlock(fpg_mutex *m) { ReleaseSRWLockExclusive(m); }
static void wait_on(fpg_condition *c, fpg_mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void wake_all(fpg_condition *c) { WakeAllConditionVariable(c); }
static void yield_cpu(void) { SwitchToThread(); }
#else
#  include <pthread.h>
#  include <sched.h>
#  include <time.h>
typedef pthread_mutex_t fpg_mutex;
typedef pthread_cond_t fpg_condition;
typedef pthread_t fpg_thread;
#  define FPG_MUTEX_INIT PTHREAD_MUTEX_INITIALIZER
#  define FPG_CONDITION_INIT PTHREAD_COND_INITIALIZER
static void lock(fpg_mutex *m) { pthread_mutex_lock(m); }
static int try_lock(fpg_mutex *m) { return pthread_mutex_trylock(m) == 0; }
static void unlock(fpg_mutex *m) { pthread_mutex_unlock(m); }
static void wait_on(fpg_condition *c, fpg_mutex *m) { pthread_cond_wait(c, m); }
static void wake_all(fpg_condition *c) { pthread_cond_broadcast(c); }
static void yield_cpu(void) { sched_yield(); }
#endif

#if defined(__x86_64__) || defined(_M_X64)
#  include <immintrin.h>
static void relax(void) { _mm_pause(); }
#elif defined(__aarch64__) && defined(__GNUC__)
static void relax(void) { __asm__ volatile("yield"); }
#else
static void relax(void) {}
#endif

enum {
    MAX_WORKERS = FPG_MAX_THREADS - 1,
    SPINS = 20000,         /* some 200 us: longer than the serial part of a training iteration */
    SPINS_BEFORE_YIELD = 2000
};

#define CLOSED (1u << 31)

static const double POLL_SECONDS = 0.05;

static struct {
    fpg_mutex owner; /* held by the thread whose parallel_for is running */
    fpg_mutex mutex; /* guards sleeping */
    fpg_condition wake;
    fpg_thread threads[MAX_WORKERS];
    int num_started;       /* workers that exist: 1 .. num_started */
    atomic_uint job;       /* counts jobs; workers wait for it to change */
    unsigned first_job;    /* what workers started now have seen already */
    atomic_int num_asleep;
    atomic_uint gate;      /* CLOSED, or not, plus the workers inside: they take part in the current job */
    atomic_int quit;
    fpg_task task;
    void *context;
    int64_t count;
    int num_workers;       /* that may take part, the caller included */
    atomic_llong next;     /* the first index nobody took */
    fpg_control *control;
} pool = {.owner = FPG_MUTEX_INIT, .mutex = FPG_MUTEX_INIT, .wake = FPG_CONDITION_INIT, .gate = CLOSED};

static atomic_int num_threads = 1;
static _Thread_local int is_inside; /* of a task that the pool runs */

double fpg_now(void)
{
#if defined(_WIN32)
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (double)ticks.QuadPart / (double)frequency.QuadPart;
#else
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
#endif
}

void fpg_control_init(fpg_control *control, fpg_poll poll)
{
    control->poll = poll;
    control->next_poll = fpg_now() + POLL_SECONDS;
    atomic_init(&control->status, FPG_OK);
}

void fpg_fail(fpg_control *control, fpg_status status)
{
    int expected = FPG_OK; /* the first failure is the one reported */
    atomic_compare_exchange_strong(&control->status, &expected, (int)status);
}

int fpg_should_stop(fpg_control *control, int worker)
{
    if (worker == 0 && control->poll.function) {
        const double now = fpg_now();
        if (now >= control->next_poll) {
            control->next_poll = now + POLL_SECONDS;
            if (control->poll.function(control->poll.context))
                fpg_fail(control, FPG_INTERRUPTED);
        }
    }
    return atomic_load_explicit(&control->status, memory_order_relaxed) != FPG_OK;
}

static void work(int worker)
{
    is_inside = 1;
    for (int64_t i = atomic_fetch_add(&pool.next, 1); i < pool.count; i = atomic_fetch_add(&pool.next, 1))
        pool.task(pool.context, i, worker);
    is_inside = 0;
}

static unsigned wait_for_job(unsigned seen)
{
    unsigned job = seen;
    for (int spin = 0; spin < SPINS && job == seen; spin++) {
        relax();
        job = atomic_load_explicit(&pool.job, memory_order_acquire);
    }
    if (job != seen)
        return job;
    lock(&pool.mutex);
    atomic_fetch_add(&pool.num_asleep, 1);
    while ((job = atomic_load(&pool.job)) == seen)
        wait_on(&pool.wake, &pool.mutex);
    atomic_fetch_sub(&pool.num_asleep, 1);
    unlock(&pool.mutex);
    return job;
}

/* While the gate is open what describes the job is there, and until who is inside has left it stays. */
static int enter(void)
{
    unsigned gate = atomic_load(&pool.gate);
    do
        if (gate & CLOSED)
            return 0;
    while (!atomic_compare_exchange_weak(&pool.gate, &gate, gate + 1));
    return 1;
}

static void worker_main(int worker)
{
    unsigned seen = pool.first_job;
    for (;;) {
        seen = wait_for_job(seen);
        if (atomic_load(&pool.quit))
            return;
        if (!enter()) /* the job is done already */
            continue;
        if (worker < pool.num_workers)
            work(worker);
        atomic_fetch_sub(&pool.gate, 1);
    }
}

static void publish(void)
{
    atomic_fetch_add(&pool.job, 1);
    if (atomic_load(&pool.num_asleep) > 0) {
        lock(&pool.mutex);
        wake_all(&pool.wake);
        unlock(&pool.mutex);
    }
}

/* Lets nobody else in, and waits for those inside. */
static void close_job(fpg_control *control)
{
    atomic_fetch_or(&pool.gate, CLOSED);
    for (int spin = 0; atomic_load_explicit(&pool.gate, memory_order_acquire) != CLOSED; spin++) {
        if (spin < SPINS_BEFORE_YIELD) {
            relax();
            continue;
        }
        yield_cpu();
        if (control)
            fpg_should_stop(control, 0);
    }
}

#if defined(_WIN32)
static unsigned __stdcall thread_main(void *worker) { worker_main((int)(intptr_t)worker); return 0; }

static int start_thread(int worker)
{
    pool.threads[worker - 1] = (HANDLE)_beginthreadex(NULL, 0, thread_main, (void *)(intptr_t)worker, 0, NULL);
    return pool.threads[worker - 1] != 0;
}

static void join_thread(int worker) { WaitForSingleObject(pool.threads[worker - 1], INFINITE); CloseHandle(pool.threads[worker - 1]); }
static void watch_forks(void) {}
#else
static void *thread_main(void *worker) { worker_main((int)(intptr_t)worker); return NULL; }

static int start_thread(int worker)
{
    return pthread_create(&pool.threads[worker - 1], NULL, thread_main, (void *)(intptr_t)worker) == 0;
}

static void join_thread(int worker) { pthread_join(pool.threads[worker - 1], NULL); }

/* Threads do not survive a fork, and a lock may be held by one of them. */
static void after_fork_in_child(void)
{
    static const fpg_mutex mutex = FPG_MUTEX_INIT;
    static const fpg_condition condition = FPG_CONDITION_INIT;
    pool.owner = mutex, pool.mutex = mutex, pool.wake = condition;
    pool.num_started = 0;
    atomic_store(&pool.quit, 0);
    atomic_store(&pool.num_asleep, 0);
    atomic_store(&pool.gate, CLOSED);
}

static void watch_forks(void)
{
    static int watching = 0;
    if (!watching)
        watching = pthread_atfork(NULL, NULL, after_fork_in_child) == 0;
}
#endif

/* Called with pool.owner held. */
static void resize(int num_workers)
{
    if (pool.num_started == num_workers)
        return;
    watch_forks();
    if (pool.num_started > num_workers) {
        atomic_store(&pool.quit, 1);
        publish();
        for (int worker = 1; worker <= pool.num_started; worker++)
            join_thread(worker);
        atomic_store(&pool.quit, 0);
        pool.num_started = 0;
    }
    pool.first_job = atomic_load(&pool.job);
    while (pool.num_started < num_workers && start_thread(pool.num_started + 1))
        pool.num_started++; /* fewer threads than asked for is slower, not wrong */
}

void fpg_parallel_for(int64_t count, int num_workers, fpg_task task, void *context, fpg_control *control)
{
    if (num_workers <= 1 || count <= 1 || !try_lock(&pool.owner)) {
        for (int64_t i = 0; i < count; i++)
            task(context, i, 0);
        return;
    }
    const int wanted = fpg_get_num_threads() - 1;
    resize(wanted);
    pool.task = task, pool.context = context, pool.count = count, pool.num_workers = num_workers;
    atomic_store(&pool.next, 0);
    atomic_store(&pool.gate, 0);
    publish();
    work(0);
    close_job(control);
    unlock(&pool.owner);
}

void fpg_set_num_threads(int n) { atomic_store(&num_threads, n < 1 ? 1 : n > FPG_MAX_THREADS ? FPG_MAX_THREADS : n); }
int fpg_get_num_threads(void) { return atomic_load(&num_threads); }
int fpg_threads_here(void) { return is_inside ? 1 : fpg_get_num_threads(); }
