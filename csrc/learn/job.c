/* job.c - rows are cut into slots, and run on all threads. */
#include "learn/job.h"

enum { ROWS_PER_SLOT = 512 };

fpg_status fpg_divide_rows(fpg_workspace *ws, fpg_rows *job, int64_t num_rows)
{
    /* Few rows are cut finer, so that two threads have something to share. */
    const int64_t per_slot = num_rows >= 2 * ROWS_PER_SLOT ? ROWS_PER_SLOT : FPG_CHUNK;
    const fpg_status status = fpg_workspace_divide(ws, (num_rows + per_slot - 1) / per_slot, NULL, 0);
    if (status != FPG_OK)
        return status;
    const int64_t rows = (num_rows + ws->num_slots - 1) / ws->num_slots;
    job->rows_per_slot = (rows + FPG_CHUNK - 1) / FPG_CHUNK * FPG_CHUNK;
    return FPG_OK;
}

fpg_status fpg_run_rows(fpg_workspace *ws, fpg_rows *job, fpg_poll poll, fpg_task task, int64_t num_tasks)
{
    job->layout = &ws->layout, job->packed = ws->packed, job->workers = ws->workers, job->slots = ws->slots;
    fpg_control_init(&job->control, poll);
    fpg_parallel_for(num_tasks, ws->num_workers, task, job, &job->control);
    return (fpg_status)atomic_load(&job->control.status);
}
