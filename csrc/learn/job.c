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

/* What the rows of a slot have been given. */
static void carry_rows(const fpg_rows *job, int64_t index, fpg_parcel *parcel)
{
    const int64_t begin = index * job->rows_per_slot, end = begin + job->rows_per_slot;
    for (int64_t s = 0; s < job->num_shards && job->starts[s] < end; s++) {
        const fpg_shard *shard = &job->shards[s];
        const int64_t *rows = job->rows[s];
        float *out = job->objective == FPG_NO_OBJECTIVE ? shard->values : shard->old_log_probs;
        const int64_t first = begin > job->starts[s] ? begin : job->starts[s], past = end < job->starts[s + 1] ? end : job->starts[s + 1];
        for (int64_t k = first - job->starts[s]; k < past - job->starts[s]; k++)
            fpg_carry(parcel, &out[rows ? rows[k] : k], sizeof *out);
    }
}

void fpg_carry_slot(void *context, int64_t index, fpg_parcel *parcel)
{
    const fpg_rows *job = context;
    fpg_slot *slot = &job->slots[index];
    double *const sums[] = {&slot->sum, &slot->entropy, &slot->k1, &slot->k3, &slot->num_clipped};
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        fpg_carry(parcel, sums[i], sizeof *sums[i]);
    if (job->objective < FPG_NO_OBJECTIVE)
        fpg_carry(parcel, slot->gradient, job->layout->gradient_size * (int64_t)sizeof *slot->gradient);
    if (job->objective == FPG_NO_OBJECTIVE || job->objective == FPG_LOG_PROBS)
        carry_rows(job, index, parcel);
}

/* Of rows and parameters only, so that what one objective keeps for its own slots is there for the next one's. */
int64_t fpg_work_of(const fpg_rows *job)
{
    return job->starts[job->num_shards] * job->layout->num_parameters;
}

fpg_status fpg_run_rows(fpg_workspace *ws, fpg_rows *job, fpg_poll poll, fpg_task task, int64_t num_tasks)
{
    job->layout = &ws->layout, job->packed = ws->packed, job->workers = ws->workers, job->slots = ws->slots;
    fpg_control_init(&job->control, poll);
    return fpg_share(fpg_ranks_for(ws->ranks, fpg_work_of(job)), num_tasks, ws->num_workers, task, fpg_carry_slot, 0, job, &job->control);
}
