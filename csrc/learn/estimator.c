/* estimator.c - a batch and what is estimated from it: memory, the batch at hand, and the gradient that all of it makes.
 *
 * estimator_shards.c and estimator_rows.c do the parts.
 */
#include "learn/estimator.h"

#include <math.h>

int fpg_estimator_init(fpg_estimator *e, const fpg_network *net, const fpg_network *value, uint64_t seed)
{
    memset(e, 0, sizeof *e);
    e->seed = seed, e->has_values = value != NULL;
    return fpg_workspace_init(&e->policy, net, NULL) == FPG_OK && (!value || fpg_workspace_init(&e->value, value, NULL) == FPG_OK);
}

static void free_shards(fpg_estimator *e)
{
    for (int64_t s = 0; e->own && s < e->max_shards; s++)
        fpg_shard_free(&e->own[s]);
    fpg_free(e->own), fpg_free(e->moments);
    fpg_free(e->all.starts), fpg_free(e->all.rows), fpg_free(e->minibatch.starts), fpg_free(e->minibatch.rows);
    e->own = NULL, e->moments = NULL, e->all = e->minibatch = (fpg_selection){NULL, NULL};
    e->max_shards = 0;
}

void fpg_estimator_free(fpg_estimator *e)
{
    fpg_workspace_free(&e->policy);
    fpg_workspace_free(&e->value);
    free_shards(e);
    fpg_free(e->floats), fpg_free(e->numbers), fpg_free(e->kept);
    memset(e, 0, sizeof *e);
}

static int reserve_shards(fpg_estimator *e, int64_t num_shards)
{
    const size_t n = (size_t)num_shards;
    if (num_shards <= e->max_shards)
        return 1;
    free_shards(e);
    e->own = fpg_calloc(n, sizeof *e->own);
    e->moments = fpg_calloc(fpg_times(n, 2 * (size_t)e->policy.layout.obs_size), sizeof *e->moments);
    e->all.starts = fpg_calloc(n + 1, sizeof(int64_t)), e->minibatch.starts = fpg_calloc(n + 1, sizeof(int64_t));
    e->all.rows = fpg_calloc(n, sizeof(int64_t *)), e->minibatch.rows = fpg_calloc(n, sizeof(int64_t *));
    if (!e->own || !e->moments || !e->all.starts || !e->minibatch.starts || !e->all.rows || !e->minibatch.rows)
        return 0;
    e->max_shards = num_shards;
    return 1;
}

/* The rows that count, in their order, and the trajectories that they make up. */
static void list_rows(fpg_shard *s)
{
    int64_t n = 0, ends = 0;
    for (int64_t t = 0; t < s->num_steps; t++) {
        const int64_t begin = t * s->stride, end = begin + s->num_envs;
        if (!s->mask)
            for (int64_t k = begin; k < end; k++)
                s->rows[n++] = k, ends += (s->terminated[k] | s->truncated[k]) != 0;
        else
            for (int64_t k = begin; k < end; k++) {
                const int counts = s->mask[k] != 0; /* any byte but 0 is true */
                s->rows[n] = k, n += counts;
                ends += counts & ((s->terminated[k] | s->truncated[k]) != 0);
            }
    }
    for (int32_t i = 0; i < s->num_envs; i++) { /* whom the last row cut */
        int64_t t = s->num_steps - 1;
        while (t >= 0 && s->mask && !s->mask[t * s->stride + i])
            t--;
        ends += t >= 0 && !(s->terminated[t * s->stride + i] | s->truncated[t * s->stride + i]);
    }
    s->num_rows = n, s->num_trajectories = ends;
}

fpg_status fpg_estimator_load(fpg_estimator *e, fpg_shard *shards, int64_t num_shards)
{
    const int64_t outputs = e->has_outputs ? e->policy.layout.num_outputs : 0;
    const int64_t arrays = (e->has_values ? 4 : 1) + (e->has_log_probs ? 1 : 0) + outputs;
    int64_t entries = 0, envs = 0;
    if (!reserve_shards(e, num_shards))
        return FPG_NO_MEMORY;
    for (int64_t s = 0; s < num_shards; s++) {
        entries += shards[s].num_steps * shards[s].num_envs;
        envs += shards[s].num_envs;
    }
    /* Shards of one array lie interleaved, so theirs do as well. */
    const int64_t floats = arrays * entries + (e->has_values ? envs : 0), numbers = 2 * entries;
    if (floats > e->max_floats) {
        fpg_free(e->floats);
        e->max_floats = 0;
        if (!(e->floats = fpg_alloc((size_t)floats, sizeof *e->floats)))
            return FPG_NO_MEMORY;
        e->max_floats = floats;
    }
    if (numbers > e->max_numbers) {
        fpg_free(e->numbers);
        e->max_numbers = 0;
        if (!(e->numbers = fpg_alloc((size_t)numbers, sizeof *e->numbers)))
            return FPG_NO_MEMORY;
        e->max_numbers = numbers;
    }
    e->shards = shards, e->num_shards = num_shards, e->num_rows = e->num_trajectories = e->num_kept = 0;
    int64_t begin = 0, first = 0;
    for (int64_t i = 0; i < num_shards; i++) {
        fpg_shard *s = &shards[i];
        const int64_t own = s->num_steps * s->num_envs, at = s->stride == s->num_envs ? begin : s->first_env;
        s->weights = e->floats + at;
        if (e->has_values) {
            s->values = e->floats + entries + at, s->final_values = e->floats + 2 * entries + at;
            s->targets = e->floats + 3 * entries + at, s->last_values = e->floats + 4 * entries + first;
        } else
            s->values = s->final_values = s->targets = s->last_values = NULL;
        float *more = e->floats + (e->has_values ? 4 * entries + envs : entries);
        s->old_log_probs = e->has_log_probs ? more + at : NULL;
        s->old_outputs = outputs > 0 ? more + entries + at * outputs : NULL;
        s->rows = e->numbers + begin, s->order = e->numbers + entries + begin;
        list_rows(s);
        e->all.rows[i] = s->rows, e->all.starts[i] = e->num_rows;
        e->num_rows += s->num_rows, e->num_trajectories += s->num_trajectories;
        begin += own, first += s->num_envs;
    }
    e->all.starts[num_shards] = e->num_rows;
    return e->num_rows > 0 ? FPG_OK : FPG_NO_ROWS;
}

fpg_status fpg_estimator_load_batch(fpg_estimator *e, const fpg_batch *b)
{
    const int64_t size = fpg_shard_size(b->num_envs), num_shards = (b->num_envs - 1) / size + 1;
    const int32_t obs_size = e->policy.layout.obs_size;
    if (!reserve_shards(e, num_shards))
        return FPG_NO_MEMORY;
    fpg_shards_of(b, &e->policy.layout, e->own);
    for (int64_t n = 0; n < b->num_finals; n++) {
        const int64_t t = b->final_rows[2 * n], env = b->final_rows[2 * n + 1], k = t * b->num_envs + env;
        fpg_ends *ends = &e->own[env / size].ends;
        if (b->terminated[k] || !b->truncated[k] || (b->mask && !b->mask[k]))
            continue;
        if (!fpg_ends_reserve(ends, obs_size, ends->count + 1))
            return FPG_NO_MEMORY;
        memcpy(ends->obs + ends->count * obs_size, b->final_obs + n * obs_size, (size_t)obs_size * sizeof(float));
        ends->ends[ends->count++] = (fpg_end){.step = t, .env = env};
    }
    return fpg_estimator_load(e, e->own, num_shards);
}

fpg_status fpg_estimator_gradient(fpg_estimator *e, const float *theta, const fpg_collect *collect, const float *baseline,
                                  float *gradient, fpg_stats *stats, fpg_poll poll)
{
    const int64_t divisor = collect->normalize == FPG_PER_TIMESTEP ? e->num_rows : e->num_trajectories;
    const int wants_entropy = isnan(stats->entropy);
    double entropy = 0;
    fpg_status status = fpg_estimator_weigh(e, collect, baseline, poll);
    if (status == FPG_OK)
        status = fpg_estimator_policy_gradient(e, theta, 0, 1, collect->entropy_coef, 1.0 / (double)divisor, gradient,
                                               &stats->gradient_norm, wants_entropy ? &entropy : NULL, poll);
    stats->num_steps = e->num_rows, stats->num_trajectories = e->num_trajectories;
    if (wants_entropy)
        stats->entropy = entropy / (double)e->num_rows;
    return status;
}

/* ---- of a caller's batch ----------------------------------------------------------------------------------------------- */

fpg_stats fpg_batch_stats(const fpg_batch *b)
{
    const double n = (double)b->num_episodes;
    double sum = 0, square = 0, least = INFINITY, most = -INFINITY, length = 0;
    for (int64_t k = 0; k < b->num_episodes; k++) {
        const double x = b->episode_returns[k];
        sum += x, square += x * x, length += (double)b->episode_lengths[k];
        least = x < least ? x : least, most = x > most ? x : most;
    }
    const double mean = sum / n, variance = square / n - mean * mean;
    fpg_stats stats = fpg_stats_unknown();
    stats.num_episodes = b->num_episodes, stats.entropy = b->entropy, stats.seconds = 0;
    if (n > 0) {
        stats.mean_return = mean, stats.return_std = sqrt(variance > 0 ? variance : 0);
        stats.min_return = least, stats.max_return = most, stats.mean_length = length / n;
    }
    return stats;
}

fpg_status fpg_batch_gradient(const fpg_network *net, const fpg_network *value, const float *theta, const float *value_theta,
                              const fpg_batch *batch, const fpg_collect *collect, const float *baseline, float *gradient,
                              fpg_stats *stats, fpg_poll poll)
{
    fpg_estimator e;
    const int ok = fpg_estimator_init(&e, net, value, 0);
    e.has_values |= baseline != NULL;
    fpg_status status = ok ? fpg_estimator_load_batch(&e, batch) : FPG_NO_MEMORY;
    *stats = fpg_batch_stats(batch);
    if (status == FPG_OK && baseline) /* the shards' values lie as the batch does */
        memcpy(e.shards[0].values, baseline, (size_t)(batch->num_steps * batch->num_envs) * sizeof *baseline);
    else if (status == FPG_OK && value_theta)
        status = fpg_estimator_values(&e, value_theta, collect, poll);
    if (status == FPG_OK)
        status = fpg_estimator_gradient(&e, theta, collect, NULL, gradient, stats, poll);
    fpg_estimator_free(&e);
    return status;
}
