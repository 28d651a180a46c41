/* returns.c - estimates on arrays that the caller has: how they are cut into tasks for the pool.
 *
 * Environments do not meet, so tasks are neighbouring environments, and results are the same bits for any number of threads.
 */
#include "batch/returns_job.h"
#include "kernels/kernels.h"

/* Entries per task at least, read in place: about half a millisecond, which is what waking a thread can cost on a machine that
 * has other work. Entries that have to be copied cost several times as much. */
static const int64_t MIN_ENTRIES = 1 << 20, COST_OF_COPY = 8;
/* Entries of the n-step kernel's levels that stay in the first-level cache. */
static const int64_t MAX_LEVEL_ENTRIES = 4096;

static void run_task(void *context, int64_t index, int worker)
{
    fpg_returns_job *job = context;
    const int64_t begin = index * job->envs_per_task, next = begin + job->envs_per_task;
    /* The last task has the remainder too, so that none has fewer environments than a vector has lanes. */
    const int64_t end = job->in.num_envs - next < job->envs_per_task ? job->in.num_envs : next;
    if (job->in.is_double)
        fpg_active()->returns_double(job, begin, end, worker);
    else
        fpg_active()->returns_float(job, begin, end, worker);
}

static int is_aligned(const fpg_array *array, int64_t size)
{
    return (int64_t)((uintptr_t)array->data % (uintptr_t)size) == 0 && array->step_stride % size == 0;
}

fpg_returns_job fpg_returns_job_of(const fpg_transitions *transitions, fpg_control *control)
{
    fpg_returns_job job = {.in = *transitions, .control = control};
    fpg_transitions *in = &job.in;
    const int64_t real_size = in->is_double ? sizeof(double) : sizeof(float);
    if (!in->bootstrap_truncated)
        in->arrays[FPG_FINAL_VALUES].data = NULL;
    job.forbid_truncated = in->bootstrap_truncated && !in->arrays[FPG_FINAL_VALUES].data && in->kind != FPG_EPISODE_RETURNS;
    if (in->kind == FPG_NSTEP_RETURNS && in->n >= in->num_steps) {
        in->kind = FPG_RETURNS; /* the window never closes before the last row */
        in->arrays[FPG_VALUES].data = NULL;
    }
    job.in_place = in->num_envs >= 4;
    for (int which = 0; which < FPG_NUM_ARRAYS; which++) {
        const int64_t size = which < FPG_NUM_REAL_ARRAYS ? real_size : 1;
        job.in_rows[which] = in->arrays[which].env_stride == size && is_aligned(&in->arrays[which], size);
        job.in_place &= job.in_rows[which] || !in->arrays[which].data;
    }
    job.block = FPG_SWEEP;
    if (in->kind == FPG_NSTEP_RETURNS) {
        const int64_t fits = MAX_LEVEL_ENTRIES / (in->n + 1) / FPG_PAD * FPG_PAD;
        job.block = (int32_t)(fits < FPG_PAD ? FPG_PAD : fits > FPG_SWEEP ? FPG_SWEEP : fits);
    }
    return job;
}

int fpg_returns_levels(fpg_returns_job *job, int workers)
{
    const size_t real_size = job->in.is_double ? sizeof(double) : sizeof(float);
    if (job->in.kind == FPG_NSTEP_RETURNS)
        job->levels = fpg_alloc(fpg_times((size_t)workers * (size_t)job->block, (size_t)job->in.n + 1), real_size);
    return job->in.kind != FPG_NSTEP_RETURNS || job->levels;
}

fpg_status fpg_returns_on_arrays(const fpg_transitions *transitions, fpg_poll poll)
{
    fpg_control control;
    fpg_control_init(&control, poll);
    fpg_returns_job job = fpg_returns_job_of(transitions, &control);
    const fpg_transitions *in = &job.in;
    const int64_t cost = (job.in_place ? 1 : COST_OF_COPY) + (in->kind == FPG_NSTEP_RETURNS ? in->n / 8 : 0);
    int64_t tasks = in->num_envs / FPG_COPY_WIDTH;
    const double most = (double)in->num_steps * (double)in->num_envs * (double)cost / (double)MIN_ENTRIES;
    tasks = (double)tasks < most ? tasks : (int64_t)most;
    int workers = fpg_get_num_threads();
    if (tasks < 2 || workers < 2)
        tasks = 1, workers = 1;
    else if (tasks > 4 * workers)
        tasks = 4 * workers;
    job.envs_per_task = in->num_envs / tasks / FPG_PAD * FPG_PAD;
    if (tasks == 1)
        job.envs_per_task = in->num_envs;
    else
        tasks = in->num_envs / job.envs_per_task;
    if (!fpg_returns_levels(&job, workers))
        return FPG_NO_MEMORY;
    fpg_parallel_for(tasks, workers, run_task, &job, &control);
    fpg_free(job.levels);
    return (fpg_status)atomic_load(&control.status);
}
