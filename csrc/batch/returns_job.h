/* returns_job.h - estimates on arrays, as their kernels see them. */
#ifndef FPG_RETURNS_JOB_H
#define FPG_RETURNS_JOB_H

#include "base/parallel.h"
#include "base/sizes.h"

#define FPG_SWEEP 1024    /* the most environments that a sweep carries along; divisible by FPG_PAD */
#define FPG_COPY_WIDTH 64 /* the same where arrays have to be copied, and the rows copied at a time */
#define FPG_COPY_ROWS 16
#define FPG_POLL_ROWS 4096

typedef struct {
    fpg_transitions in;
    int in_place;                /* every array's rows have unit stride, and there are enough of them for a vector */
    int in_rows[FPG_NUM_ARRAYS]; /* this array's rows have unit stride */
    int forbid_truncated;
    int32_t block;               /* environments in a sweep at most */
    int64_t envs_per_task;
    void *levels;                /* (workers, n + 1, block) reals, for n-step returns */
    fpg_control *control;
} fpg_returns_job;

fpg_returns_job fpg_returns_job_of(const fpg_transitions *transitions, fpg_control *control);
int fpg_returns_levels(fpg_returns_job *job, int workers); /* memory for them, where they are needed; 0 if there is none */

/* Some rows of some environments, as kernels see them. */
typedef struct {
    const fpg_returns_job *job;
    const fpg_transitions *in;
    char *rows[FPG_NUM_ARRAYS];      /* the first row of each array */
    int64_t strides[FPG_NUM_ARRAYS]; /* from row to row, in bytes; 0 where the array is not given */
    int64_t count;
    int32_t width, lanes; /* width is a multiple of lanes: 16, 8 or 4 */
} fpg_chunk;

#endif
