/* sampler.c - passes over environments: cut the tiles into slots, run them on the pool, fold. A tile is a shard's environments. */
#include "sources/sampler.h"
#include "kernels/kernels.h"

#include <math.h>

/* The bit of the iteration that keeps an evaluation's random numbers apart from a training run's with the same seed. */
static const uint32_t FPG_EVALUATION = UINT32_C(1) << 31;

fpg_sampler *fpg_sampler_new(const fpg_environment *env, const fpg_network *net, const fpg_network *value, int64_t num_envs,
                             uint64_t seed)
{
    fpg_sampler *s = fpg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->env = *env, s->net = *net, s->num_envs = num_envs, s->seed = seed, s->fresh = 1;
    s->lanes = fpg_shard_size(num_envs), s->width = fpg_round_up(s->lanes, FPG_PAD);
    s->num_tiles = (num_envs - 1) / s->lanes + 1;
    const size_t copies = fpg_times((size_t)s->num_tiles, (size_t)s->width);
    s->tiles = fpg_calloc((size_t)s->num_tiles, sizeof *s->tiles);
    s->reals = fpg_calloc(fpg_times(copies, (size_t)env->state_size + 1), sizeof *s->reals);
    s->elapsed = fpg_calloc(copies, sizeof *s->elapsed);
    s->shards = fpg_calloc((size_t)s->num_tiles, sizeof *s->shards);
    if (!s->tiles || !s->reals || !s->elapsed || !s->shards || fpg_workspace_init(&s->ws, net, value) != FPG_OK ||
        fpg_workspace_divide(&s->ws, s->num_tiles, env, s->width) != FPG_OK) {
        fpg_sampler_free(s);
        return NULL;
    }
    for (int64_t i = 0; i < s->num_tiles; i++) {
        s->tiles[i].state = s->reals + i * s->width * (env->state_size + 1);
        s->tiles[i].episode_return = s->tiles[i].state + (int64_t)s->width * env->state_size;
        s->tiles[i].elapsed = s->elapsed + i * s->width;
    }
    return s;
}

void fpg_sampler_free(fpg_sampler *s)
{
    if (!s)
        return;
    fpg_workspace_free(&s->ws);
    for (int64_t i = 0; s->shards && i < s->num_tiles; i++)
        fpg_shard_free(&s->shards[i]);
    fpg_free(s->shards);
    fpg_free(s->streams);
    fpg_free(s->tiles);
    fpg_free(s->reals);
    fpg_free(s->elapsed);
    fpg_free(s);
}

typedef struct {
    fpg_sampler *sampler;
    fpg_pass pass;
} pass_job;

static void run_slot(void *context, int64_t index, int worker)
{
    pass_job *job = context;
    fpg_sampler *s = job->sampler;
    fpg_slot *slot = &s->ws.slots[index];
    memset(&slot->tally, 0, sizeof slot->tally);
    if (job->pass.want_gradient)
        memset(slot->gradient, 0, (size_t)s->ws.layout.gradient_size * sizeof(float));
    for (int64_t tile = index; tile < s->num_tiles; tile += s->ws.num_slots) {
        if (fpg_should_stop(job->pass.control, worker))
            return;
        fpg_active()->rollout(&job->pass, &s->tiles[tile], tile * s->lanes, &s->ws.workers[worker], worker, slot);
    }
}

/* The slot's sums; where its tiles' environments stand, and what they have written. */
static void carry_pass(void *context, int64_t index, fpg_parcel *parcel)
{
    pass_job *job = context;
    fpg_sampler *s = job->sampler;
    fpg_slot *slot = &s->ws.slots[index];
    fpg_carry(parcel, &slot->tally, sizeof slot->tally);
    if (job->pass.want_gradient)
        fpg_carry(parcel, slot->gradient, s->ws.layout.gradient_size * (int64_t)sizeof *slot->gradient);
    for (int64_t tile = index; tile < s->num_tiles; tile += s->ws.num_slots) {
        fpg_carry(parcel, s->tiles[tile].state, (int64_t)s->width * (s->env.state_size + 1) * (int64_t)sizeof *s->reals);
        fpg_carry(parcel, s->tiles[tile].elapsed, (int64_t)s->width * (int64_t)sizeof *s->elapsed);
        if (job->pass.shards)
            fpg_carry_shard(&s->shards[tile], &s->ws.layout, parcel);
    }
}

static fpg_tally fold_tallies(const fpg_workspace *ws)
{
    fpg_tally sum = {0};
    for (int64_t s = 0; s < ws->num_slots; s++) {
        const fpg_tally *t = &ws->slots[s].tally;
        if (t->num_episodes > 0) {
            sum.min_return = sum.num_episodes == 0 || t->min_return < sum.min_return ? t->min_return : sum.min_return;
            sum.max_return = sum.num_episodes == 0 || t->max_return > sum.max_return ? t->max_return : sum.max_return;
        }
        sum.num_steps += t->num_steps, sum.num_episodes += t->num_episodes, sum.num_trajectories += t->num_trajectories;
        sum.sum_length += t->sum_length, sum.sum_return += t->sum_return, sum.sum_square += t->sum_square;
        sum.entropy += t->entropy;
    }
    sum.num_trajectories += sum.num_episodes;
    return sum;
}

fpg_status fpg_sampler_run(fpg_sampler *s, const float *theta, const float *value_theta, fpg_pass *pass, fpg_tally *tally,
                           fpg_poll poll)
{
    fpg_control control;
    pass_job job = {.sampler = s};
    fpg_status status = fpg_workspace_add_workers(&s->ws, &s->env, s->width, s->ws.num_slots);
    if (status != FPG_OK)
        return status;
    if ((status = fpg_check_theta(&s->ws.layout, theta)) != FPG_OK)
        return status;
    if (value_theta && fpg_check_theta(&s->ws.value_layout, value_theta) != FPG_OK)
        return FPG_NONFINITE_VALUE_THETA;
    fpg_control_init(&control, poll);
    fpg_active()->pack(&s->ws.layout, theta, s->ws.packed);
    if (value_theta) {
        fpg_active()->pack(&s->ws.value_layout, value_theta, s->ws.value_packed);
        pass->value_layout = &s->ws.value_layout, pass->value_packed = s->ws.value_packed;
    }
    if (!pass->caller_draws)
        pass->seed = s->seed, pass->iteration = (uint32_t)s->iteration++ | (pass->returns ? FPG_EVALUATION : 0);
    pass->env = &s->env, pass->layout = &s->ws.layout, pass->packed = s->ws.packed;
    pass->num_envs = s->num_envs, pass->lanes = s->lanes, pass->width = s->width;
    pass->fresh = (int)s->fresh, pass->control = &control;
    job.pass = *pass;
    status = fpg_share(s->ws.ranks, s->ws.num_slots, s->ws.num_workers, run_slot, carry_pass, pass->shards != NULL, &job, &control);
    if (status == FPG_NONFINITE_ESTIMATE) /* what is summed up along time */
        status = value_theta ? FPG_NONFINITE_VALUE : FPG_NONFINITE_GRADIENT;
    /* After an interrupted pass the tiles stand at different times, and after whole episodes they stand idle. */
    s->fresh = status != FPG_OK || pass->collect.episodes > 0;
    if (status != FPG_OK)
        return status;
    *tally = fold_tallies(&s->ws);
    s->total_steps += tally->num_steps;
    if (!isfinite(tally->entropy))
        return FPG_NONFINITE_OUTPUT;
    return isfinite(tally->sum_return) ? FPG_OK : FPG_NONFINITE_REWARD;
}

fpg_stats fpg_stats_of(const fpg_sampler *s, const fpg_tally *t, double square, double start)
{
    const double n = (double)t->num_episodes, mean = t->sum_return / n, variance = t->sum_square / n - mean * mean;
    fpg_stats stats = fpg_stats_unknown();
    stats.num_steps = t->num_steps, stats.num_episodes = t->num_episodes, stats.num_trajectories = t->num_trajectories;
    if (n > 0) {
        stats.mean_return = mean, stats.return_std = sqrt(variance > 0 ? variance : 0);
        stats.min_return = t->min_return, stats.max_return = t->max_return, stats.mean_length = (double)t->sum_length / n;
    }
    stats.entropy = t->entropy / (double)t->num_steps, stats.gradient_norm = sqrt(square);
    stats.total_steps = s->total_steps, stats.seconds = fpg_now() - start;
    return stats;
}

/* The slots' policy gradients, normalised, and what is known of the pass. */
static fpg_status fold_gradient(fpg_sampler *s, const fpg_collect *collect, const fpg_tally *t, double start, float *gradient,
                                fpg_stats *stats)
{
    const int64_t divisor = collect->normalize == FPG_PER_TIMESTEP ? t->num_steps : t->num_trajectories;
    const double square = fpg_active()->fold(&s->ws.layout, s->ws.slots, s->ws.num_slots, 1.0 / (double)divisor, gradient);
    if (!isfinite(square))
        return FPG_NONFINITE_GRADIENT;
    *stats = fpg_stats_of(s, t, square, start);
    return FPG_OK;
}

fpg_status fpg_sampler_gradient(fpg_sampler *s, const float *theta, const float *value_theta, const fpg_collect *collect,
                                float *gradient, fpg_stats *stats, fpg_poll poll)
{
    const double start = fpg_now();
    fpg_pass pass = {.collect = *collect, .want_gradient = 1};
    fpg_tally t;
    fpg_status status = fpg_sampler_run(s, theta, value_theta, &pass, &t, poll);
    if (status != FPG_OK)
        return status;
    return fold_gradient(s, collect, &t, start, gradient, stats);
}

/* ---- passes whose steps are written -------------------------------------------------------------------------------------- */

fpg_status fpg_sampler_fill(fpg_sampler *s, const float *theta, const fpg_collect *collect, fpg_stats *stats, fpg_poll poll)
{
    enum { STEPS = 128 }; /* to begin with, where only the episodes will tell */
    const double start = fpg_now();
    fpg_pass pass = {.collect = *collect, .shards = s->shards};
    fpg_tally tally;
    const fpg_layout *layout = &s->ws.layout;
    const size_t activations = fpg_times(fpg_times((size_t)layout->hidden_floats, sizeof(float)), (size_t)s->num_envs);
    const int keeps = !s->ws.ranks && /* of a rank's own rows only, they are not worth their memory */
                      collect->horizon > 0 && layout->num_hidden > 0 && fpg_times(activations, (size_t)collect->horizon) <= FPG_TAPE_BYTES;
    for (int64_t i = 0; i < s->num_tiles; i++) {
        fpg_shard *shard = &s->shards[i];
        const int64_t left = s->num_envs - i * s->lanes;
        if (shard->capacity == 0)
            fpg_shard_free(shard);
        shard->by_episode = collect->episodes > 0, shard->masks_actions = s->env.mask != NULL;
        shard->first_env = i * s->lanes, shard->num_envs = (int32_t)(left < s->lanes ? left : s->lanes);
        if (!fpg_shard_reserve(shard, layout, collect->horizon > 0 ? collect->horizon : STEPS) ||
            !fpg_shard_keep_hidden(shard, layout, keeps ? collect->horizon : 0))
            return FPG_NO_MEMORY;
        shard->mask = shard->by_episode ? shard->own_mask : NULL;
    }
    const fpg_status status = fpg_sampler_run(s, theta, NULL, &pass, &tally, poll);
    if (status == FPG_OK)
        *stats = fpg_stats_of(s, &tally, NAN, start);
    return status;
}

int32_t fpg_sampler_state(fpg_sampler *s, fpg_entry *entries)
{
    const int64_t copies = s->num_tiles * s->width;
    const fpg_entry all[] = {
        {"environments.state", FPG_ENTRY_DOUBLE, copies * (s->env.state_size + 1), s->reals},
        {"environments.elapsed", FPG_ENTRY_INT32, copies, s->elapsed},
        {"environments.iteration", FPG_ENTRY_INT64, 1, &s->iteration},
        {"environments.fresh", FPG_ENTRY_INT64, 1, &s->fresh},
        {"environments.total_steps", FPG_ENTRY_INT64, 1, &s->total_steps},
    };
    memcpy(entries, all, sizeof all);
    return (int32_t)(sizeof all / sizeof *all);
}

fpg_status fpg_sampler_evaluate(fpg_sampler *s, const float *theta, int64_t episodes, int deterministic, double *returns,
                                int64_t *lengths, fpg_poll poll)
{
    fpg_pass pass = {.collect = {.episodes = episodes, .gamma = 1}, .deterministic = deterministic, .returns = returns,
                     .lengths = lengths};
    fpg_tally tally;
    return fpg_sampler_run(s, theta, NULL, &pass, &tally, poll);
}
