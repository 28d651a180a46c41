/* estimator_shards.c - tasks over the shards of a batch: weights, moments, which rows come next. Each shard is its own; sums are
 * folded in the shards' order.
 */
#include "kernels/kernels.h"
#include "learn/estimator.h"

#include <math.h>

typedef struct {
    fpg_estimator *e;
    const fpg_collect *collect;
    const float *baseline;
    int64_t iteration, epoch;
    double gamma, *so_far;
    fpg_control control;
} shard_job;

static fpg_status run_shards(shard_job *job, fpg_task task, fpg_poll poll)
{
    fpg_control_init(&job->control, poll);
    fpg_parallel_for(job->e->num_shards, fpg_get_num_threads(), task, job, &job->control);
    return (fpg_status)atomic_load(&job->control.status);
}

static void weigh_shard(void *context, int64_t index, int worker)
{
    shard_job *job = context;
    fpg_shard *s = &job->e->shards[index];
    for (int64_t r = 0; job->baseline && r < s->num_rows; r++)
        s->values[s->rows[r]] = job->baseline[job->e->all.starts[index] + r];
    if (s->num_steps > 0 && !fpg_active()->weigh(job->collect, s, &job->control, worker))
        fpg_fail(&job->control, FPG_NO_MEMORY);
}

fpg_status fpg_estimator_weigh(fpg_estimator *e, const fpg_collect *collect, const float *baseline, fpg_poll poll)
{
    shard_job job = {.e = e, .collect = collect, .baseline = baseline};
    const fpg_status status = run_shards(&job, weigh_shard, poll);
    if (status == FPG_NONFINITE_ESTIMATE)
        return e->has_values ? FPG_NONFINITE_VALUE : FPG_NONFINITE_GRADIENT;
    return status;
}

static void add_moments(void *context, int64_t index, int worker)
{
    shard_job *job = context;
    const fpg_shard *s = &job->e->shards[index];
    const int32_t size = job->e->policy.layout.obs_size;
    double *sum = job->e->moments + index * 2 * size, *square = sum + size;
    (void)worker;
    memset(sum, 0, 2 * (size_t)size * sizeof *sum);
    for (int64_t r = 0; r < s->num_rows; r++) {
        const float *x = s->obs + s->rows[r] * size;
        for (int32_t d = 0; d < size; d++)
            sum[d] += x[d], square[d] += (double)x[d] * x[d];
    }
}

fpg_status fpg_estimator_moments(fpg_estimator *e, double *sum, double *sum_square, fpg_poll poll)
{
    const int32_t size = e->policy.layout.obs_size;
    shard_job job = {.e = e};
    const fpg_status status = run_shards(&job, add_moments, poll);
    memset(sum, 0, (size_t)size * sizeof *sum);
    memset(sum_square, 0, (size_t)size * sizeof *sum_square);
    for (int64_t s = 0; s < e->num_shards; s++)
        for (int32_t d = 0; d < size; d++)
            sum[d] += e->moments[s * 2 * size + d], sum_square[d] += e->moments[s * 2 * size + size + d];
    return status;
}

static void add_discounted(void *context, int64_t index, int worker)
{
    shard_job *job = context;
    const fpg_shard *s = &job->e->shards[index];
    double *sums = job->e->moments + index * 2 * job->e->policy.layout.obs_size, sum = 0, square = 0;
    (void)worker;
    for (int32_t i = 0; i < s->num_envs; i++)
        if (s->by_episode || (s->first_age && s->first_age[i] == 0))
            job->so_far[s->first_env + i] = 0;
    for (int64_t r = 0; r < s->num_rows; r++) {
        const int64_t k = s->rows[r];
        double *so_far = &job->so_far[s->first_env + k % s->stride];
        const double x = job->gamma * *so_far + s->rewards[k];
        sum += x, square += x * x;
        *so_far = s->terminated[k] | s->truncated[k] ? 0 : x;
    }
    sums[0] = sum, sums[1] = square;
}

fpg_status fpg_estimator_discounted(fpg_estimator *e, double gamma, double *so_far, double *sum, double *sum_square, fpg_poll poll)
{
    shard_job job = {.e = e, .gamma = gamma, .so_far = so_far};
    const fpg_status status = run_shards(&job, add_discounted, poll);
    *sum = *sum_square = 0;
    for (int64_t s = 0; s < e->num_shards; s++) {
        const double *sums = e->moments + s * 2 * e->policy.layout.obs_size;
        *sum += sums[0], *sum_square += sums[1];
    }
    return status != FPG_OK || isfinite(*sum_square) ? status : FPG_NONFINITE_REWARD;
}

/* Fisher and Yates; Durstenfeld, "Random permutation", 1964. */
static void shuffle_shard(void *context, int64_t index, int worker)
{
    const shard_job *job = context;
    fpg_shard *s = &job->e->shards[index];
    const uint64_t seed = job->e->seed;
    uint32_t words[4] = {0};
    int64_t block = -1;
    (void)worker;
    memcpy(s->order, s->rows, (size_t)s->num_rows * sizeof *s->order);
    for (int64_t j = s->num_rows - 1; j > 0; j--) {
        if (block != j / 4) {
            const uint32_t counter[4] = {(uint32_t)s->first_env, (uint32_t)(block = j / 4), (uint32_t)job->iteration,
                                         FPG_DRAW_MINIBATCH | (uint32_t)job->epoch << 8};
            fpg_active()->philox(counter, (const uint32_t[2]){(uint32_t)seed, (uint32_t)(seed >> 32)}, words);
        }
        const int64_t other = (int64_t)((uint64_t)words[j % 4] * (uint64_t)(j + 1) >> 32), row = s->order[j];
        s->order[j] = s->order[other], s->order[other] = row;
    }
}

fpg_status fpg_estimator_shuffle(fpg_estimator *e, int64_t iteration, int64_t epoch, fpg_poll poll)
{
    shard_job job = {.e = e, .iteration = iteration, .epoch = epoch};
    return run_shards(&job, shuffle_shard, poll);
}

void fpg_estimator_sums(const fpg_estimator *e, double *weight, double *weight_square, double *target, double *target_square)
{
    *weight = *weight_square = *target = *target_square = 0;
    for (int64_t i = 0; i < e->num_shards; i++) {
        const fpg_shard *s = &e->shards[i];
        if (s->num_rows == 0)
            continue;
        *weight += s->weight, *weight_square += s->weight_square;
        *target += s->target, *target_square += s->target_square;
    }
}

const fpg_selection *fpg_estimator_every(fpg_estimator *e, int64_t every, int64_t *rows)
{
    *rows = e->num_rows;
    if (every == 1)
        return &e->all;
    for (int64_t i = 0; i < e->num_shards; i++) {
        const fpg_shard *s = &e->shards[i];
        int64_t n = 0;
        for (int64_t r = 0; r < s->num_rows; r++) {
            s->order[n] = s->rows[r];
            n += s->rows[r] / s->stride % every == 0;
        }
        e->minibatch.rows[i] = s->order;
        e->minibatch.starts[i + 1] = e->minibatch.starts[i] + n;
    }
    *rows = e->minibatch.starts[e->num_shards];
    return &e->minibatch;
}

const fpg_selection *fpg_estimator_minibatch(fpg_estimator *e, int64_t index, int64_t count, int64_t *rows)
{
    *rows = e->num_rows;
    if (count == 1)
        return &e->all;
    for (int64_t i = 0; i < e->num_shards; i++) {
        const fpg_shard *s = &e->shards[i];
        const int64_t begin = s->num_rows * index / count, end = s->num_rows * (index + 1) / count;
        e->minibatch.rows[i] = s->order + begin;
        e->minibatch.starts[i + 1] = e->minibatch.starts[i] + end - begin;
    }
    *rows = e->minibatch.starts[e->num_shards];
    return &e->minibatch;
}

void fpg_estimator_chosen_sums(const fpg_estimator *e, const fpg_selection *chosen, double *weight, double *weight_square)
{
    *weight = *weight_square = 0;
    for (int64_t i = 0; i < e->num_shards; i++)
        for (int64_t r = 0; r < chosen->starts[i + 1] - chosen->starts[i]; r++) {
            const double w = e->shards[i].weights[chosen->rows[i][r]];
            *weight += w, *weight_square += w * w;
        }
}
