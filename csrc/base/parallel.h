/* parallel.h - tasks on all threads; parallel.c is the only file that knows these. */
#ifndef FPG_PARALLEL_H
#define FPG_PARALLEL_H

#include <stdatomic.h>
#include "fastpg.h"

/* Shared by the tasks of one call: the caller's poll, and the first thing that went wrong. */
typedef struct {
    fpg_poll poll;
    double next_poll;
    atomic_int status; /* fpg_status; nonzero asks every task to return early */
} fpg_control;

typedef void (*fpg_task)(void *context, int64_t index, int worker);

void fpg_control_init(fpg_control *control, fpg_poll poll);
void fpg_fail(fpg_control *control, fpg_status status);
/* What a function of the environment returned, as a failure of the call; 1 if it was none. */
static inline int fpg_went_well(fpg_control *control, fpg_function function, int32_t returned)
{
    if (returned != 0)
        fpg_fail(control, FPG_ENVIRONMENT_STATUS(function, returned));
    return returned == 0;
}
/* Nonzero if the task should return. Cheap enough for every few microseconds; worker 0 is the calling thread and polls. */
int fpg_should_stop(fpg_control *control, int worker);
/* Runs task(context, i, worker) for 0 <= i < count with worker < num_workers, the number of threads to use at most.
 * Which thread runs which i is left open. A call from inside a task, or while another thread holds the pool, is serial. */
void fpg_parallel_for(int64_t count, int num_workers, fpg_task task, void *context, fpg_control *control);
/* How many threads a call from here may get: memory for more of them is never used. */
int fpg_threads_here(void);

#endif
