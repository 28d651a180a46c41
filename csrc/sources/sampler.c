/* estimate.c - passes over environments: cut the tiles into slots, run them on the pool, fold. */
#include "base/internal.h"

#include <math.h>

/* The bit of the iteration that keeps an evaluation's random numbers apart from a training run's with the same seed. */
static const uint32_t FPG_EVALUATION = UINT32_C(1) << 31;

/* Environments in a tile: many enough to fill vectors, few enough that small problems still feed several threads. */
static int32_t lanes_for(int64_t num_envs)
{
    const int64_t quarter = num_envs / 4 + (num_envs % 4 > 0);
    if (num_envs >= 16 * FPG_TILE)
        return FPG_TILE;
    return (int32_t)(quarter <= 4 ? 4 : quarter <= 16 ? (quarter + 3) / 4 * 4 : quarter <= 32 ? 16 : 32);
}

fpg_sampler *fpg_sampler_new(const fpg_environment *env, const fpg_network *net, const fpg_network *value, int64_t num_envs,
                             uint64_t seed)
{
    fpg_sampler *s = fpg_calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->env = *env, s->num_envs = num_envs, s->seed = seed, s->fresh = 1;
    s->lanes = lanes_for(num_envs), s->width = fpg_round_up(s->lanes, FPG_PAD);
    s->num_tiles = (num_envs - 1) / s->lanes + 1;
    const size_t copies = fpg_times((size_t)s->num_tiles, (size_t)s->width);
    s->tiles = fpg_calloc((size_t)s->num_tiles, sizeof *s->tiles);
    s->reals = fpg_calloc(fpg_times(copies, (size_t)env->state_size + 1), sizeof *s->reals);
    s->elapsed = fpg_calloc(copies, sizeof *s->elapsed);
    if (!s->tiles || !s->reals || !s->elapsed || fpg_workspace_init(&s->ws, net, value) != FPG_OK ||
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
    for (int64_t i = 0; s->tapes && i < s->num_tiles; i++)
        fpg_tape_free(&s->tapes[i]);
    fpg_free(s->tapes);
    for (int64_t i = 0; s->ends && i < s->num_tiles; i++)
        fpg_free(s->ends[i].ends), fpg_free(s->ends[i].obs);
    fpg_free(s->ends);
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
    if (slot->moments)
        memset(slot->moments, 0, (size_t)(2 * s->ws.layout.obs_size) * sizeof *slot->moments);
    if (job->pass.want_gradient)
        memset(slot->gradient, 0, (size_t)s->ws.layout.gradient_size * sizeof(float));
    for (int64_t tile = index; tile < s->num_tiles; tile += s->ws.num_slots) {
        if (fpg_should_stop(job->pass.control, worker))
            return;
        fpg_active()->rollout(&job->pass, &s->tiles[tile], tile * s->lanes, &s->ws.workers[worker], worker, slot);
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
        sum.sum_weight += t->sum_weight, sum.sum_weight_square += t->sum_weight_square;
        sum.sum_target += t->sum_target, sum.sum_target_square += t->sum_target_square;
    }
    sum.num_trajectories += sum.num_episodes;
    return sum;
}

fpg_status fpg_sampler_run(fpg_sampler *s, const float *theta, const float *value_theta, fpg_pass *pass, fpg_tally *tally,
                           fpg_poll poll)
{
    fpg_control control;
    pass_job job = {.sampler = s};
    fpg_status status = fpg_workspace_add_workers(&s->ws, &s->env, s->width);
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
    if (!pass->out)
        pass->seed = s->seed, pass->iteration = s->iteration++ | (pass->returns ? FPG_EVALUATION : 0);
    pass->env = &s->env, pass->layout = &s->ws.layout, pass->packed = s->ws.packed;
    pass->num_envs = s->num_envs, pass->lanes = s->lanes, pass->width = s->width;
    pass->fresh = s->fresh, pass->control = &control, pass->scale = 1;
    job.pass = *pass;
    fpg_parallel_for(s->ws.num_slots, s->ws.num_workers, run_slot, &job, &control);
    status = (fpg_status)atomic_load(&control.status);
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
    return (fpg_stats){
        .num_steps = t->num_steps, .num_episodes = t->num_episodes, .num_trajectories = t->num_trajectories,
        .mean_return = n > 0 ? mean : NAN, .return_std = n > 0 ? sqrt(variance > 0 ? variance : 0) : NAN,
        .min_return = n > 0 ? t->min_return : NAN, .max_return = n > 0 ? t->max_return : NAN,
        .mean_length = n > 0 ? (double)t->sum_length / n : NAN, .entropy = t->entropy / (double)t->num_steps,
        .gradient_norm = sqrt(square), .total_steps = s->total_steps, .seconds = fpg_now() - start,
        .value_loss = NAN, .explained_variance = NAN};
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

/* ---- retained passes: first the steps and their weights, then gradients of them ----------------------------------- */

static int add_tapes(fpg_sampler *s)
{
    if (!s->tapes)
        s->tapes = fpg_calloc((size_t)s->num_tiles, sizeof *s->tapes);
    for (int64_t i = 0; s->tapes && i < s->num_tiles; i++)
        s->tiles[i].tape = &s->tapes[i];
    return s->tapes != NULL;
}

typedef struct {
    fpg_sampler *sampler;
    fpg_pass pass;
    const fpg_minibatch *minibatch; /* NULL: the policy's gradient */
} tape_job;

static void run_tape_slot(void *context, int64_t index, int worker)
{
    const tape_job *job = context;
    fpg_sampler *s = job->sampler;
    fpg_slot *slot = &s->ws.slots[index];
    const fpg_layout *layout = job->minibatch ? &s->ws.value_layout : &s->ws.layout;
    memset(slot->gradient, 0, (size_t)layout->gradient_size * sizeof(float));
    slot->rows = 0;
    for (int64_t tile = index; tile < s->num_tiles; tile += s->ws.num_slots) {
        if (fpg_should_stop(job->pass.control, worker))
            return;
        if (job->minibatch)
            fpg_active()->value_gradient(&job->pass, &s->tiles[tile], tile * s->lanes, &s->ws.workers[worker], worker, job->minibatch,
                                         slot);
        else
            fpg_active()->tape_gradient(&job->pass, &s->tiles[tile], &s->ws.workers[worker], worker, slot);
    }
}

static fpg_status run_tapes(tape_job *job, fpg_poll poll)
{
    fpg_control control;
    fpg_control_init(&control, poll);
    job->pass.control = &control;
    fpg_parallel_for(job->sampler->ws.num_slots, job->sampler->ws.num_workers, run_tape_slot, job, &control);
    return (fpg_status)atomic_load(&control.status);
}

fpg_status fpg_sampler_advantage_gradient(fpg_sampler *s, const float *theta, const float *value_theta, const fpg_collect *collect,
                                          int standardize, float *gradient, fpg_stats *stats, fpg_poll poll)
{
    const double start = fpg_now();
    fpg_pass pass = {.collect = *collect, .want_gradient = 1, .retain = 1};
    fpg_tally t;
    if (!add_tapes(s))
        return FPG_NO_MEMORY;
    fpg_status status = fpg_sampler_run(s, theta, value_theta, &pass, &t, poll);
    if (status != FPG_OK)
        return status;
    if (!isfinite(t.sum_weight_square) || !isfinite(t.sum_target_square))
        return FPG_NONFINITE_VALUE;
    const double n = (double)t.num_steps, mean = t.sum_weight / n, variance = t.sum_weight_square / n - mean * mean;
    const double target_mean = t.sum_target / n, target_variance = t.sum_target_square / n - target_mean * target_mean;
    tape_job job = {.sampler = s, .pass = pass};
    if (standardize)
        job.pass.shift = mean, job.pass.scale = 1 / (sqrt(variance > 0 ? variance : 0) + 1e-8);
    s->retained = pass;
    status = run_tapes(&job, poll);
    if (status != FPG_OK)
        return status;
    status = fold_gradient(s, collect, &t, start, gradient, stats);
    if (status != FPG_OK)
        return status;
    /* The weights are target - V(s_t). */
    stats->value_loss = t.sum_weight_square / n;
    stats->explained_variance = target_variance > 0 ? 1 - variance / target_variance : NAN;
    return FPG_OK;
}

/* ---- baselines of the caller ---------------------------------------------------------------------------------------- */

static int32_t real_lanes(const fpg_sampler *s, int64_t tile)
{
    const int64_t left = s->num_envs - tile * s->lanes;
    return (int32_t)(left < s->lanes ? left : s->lanes);
}

fpg_status fpg_sampler_record(fpg_sampler *s, const float *theta, const fpg_collect *collect, int64_t *rows, fpg_poll poll)
{
    fpg_pass pass = {.collect = *collect, .want_gradient = 1, .retain = 1, .caller_values = 1};
    s->record_start = fpg_now();
    if (!add_tapes(s))
        return FPG_NO_MEMORY;
    const fpg_status status = fpg_sampler_run(s, theta, NULL, &pass, &s->recorded, poll);
    s->retained = pass;
    *rows = 0;
    for (int64_t i = 0; i < s->num_tiles; i++)
        *rows += s->tiles[i].steps * real_lanes(s, i);
    return status;
}

void fpg_sampler_recorded(const fpg_sampler *s, float *obs, uint8_t *counts)
{
    const int32_t size = s->ws.layout.obs_size;
    int64_t row = 0;
    for (int64_t i = 0; i < s->num_tiles; i++)
        for (int64_t t = 0; t < s->tiles[i].steps; t++)
            for (int32_t k = 0; k < real_lanes(s, i); k++, row++) {
                const fpg_tape *tape = s->tiles[i].tape;
                for (int32_t d = 0; d < size; d++)
                    obs[row * size + d] = tape->obs[(t * size + d) * s->width + k];
                counts[row] = tape->active[t * s->width + k] > 0;
            }
}

fpg_status fpg_sampler_recorded_gradient(fpg_sampler *s, const float *baseline, float *gradient, fpg_stats *stats, fpg_poll poll)
{
    tape_job job = {.sampler = s, .pass = s->retained};
    int64_t row = 0;
    for (int64_t i = 0; i < s->num_tiles; i++)
        for (int64_t t = 0; t < s->tiles[i].steps; t++) {
            float *value = s->tiles[i].tape->value + t * s->width;
            memset(value, 0, (size_t)s->width * sizeof *value);
            for (int32_t k = 0; k < real_lanes(s, i); k++, row++)
                value[k] = s->tiles[i].tape->active[t * s->width + k] > 0 ? baseline[row] : 0.0f;
        }
    const fpg_status status = run_tapes(&job, poll);
    if (status != FPG_OK)
        return status;
    return fold_gradient(s, &s->retained.collect, &s->recorded, s->record_start, gradient, stats);
}

void fpg_sampler_moments(const fpg_sampler *s, double *sum, double *sum_square)
{
    const int32_t size = s->ws.layout.obs_size;
    memset(sum, 0, (size_t)size * sizeof *sum);
    memset(sum_square, 0, (size_t)size * sizeof *sum_square);
    for (int64_t i = 0; i < s->ws.num_slots; i++)
        for (int32_t d = 0; d < size; d++)
            sum[d] += s->ws.slots[i].moments[d], sum_square[d] += s->ws.slots[i].moments[size + d];
}

fpg_status fpg_sampler_value_gradient(fpg_sampler *s, const float *value_theta, const fpg_minibatch *minibatch, float *gradient,
                                      int64_t *rows, fpg_poll poll)
{
    tape_job job = {.sampler = s, .pass = s->retained, .minibatch = minibatch};
    fpg_active()->pack(&s->ws.value_layout, value_theta, s->ws.value_packed);
    const fpg_status status = run_tapes(&job, poll);
    if (status != FPG_OK)
        return status;
    *rows = 0;
    for (int64_t i = 0; i < s->ws.num_slots; i++)
        *rows += s->ws.slots[i].rows;
    const double scale = *rows > 0 ? 1.0 / (double)*rows : 0;
    const double square = fpg_active()->fold(&s->ws.value_layout, s->ws.slots, s->ws.num_slots, scale, gradient);
    return isfinite(square) ? FPG_OK : FPG_NONFINITE_GRADIENT;
}

fpg_status fpg_sampler_evaluate(fpg_sampler *s, const float *theta, int64_t episodes, int deterministic, double *returns,
                                int64_t *lengths, fpg_poll poll)
{
    fpg_pass pass = {.collect = {.episodes = episodes, .gamma = 1}, .deterministic = deterministic, .returns = returns,
                     .lengths = lengths};
    fpg_tally tally;
    return fpg_sampler_run(s, theta, NULL, &pass, &tally, poll);
}
