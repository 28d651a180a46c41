/* weights.h - Phi_t: rewards become the weights of grad log pi(a_t|s_t), and values their targets.
 *
 * The sums along time are those of returns.h. What they need is said here for arrays (T, envs), whether they are a shard's or a
 * tape's; entries of environments of the same step lie side by side.
 */
#ifndef FPG_WEIGHTS_H
#define FPG_WEIGHTS_H

#include <math.h>

#include "batch/returns_job.h"
#include "batch/shards.h"

typedef struct {
    int64_t num_steps, stride; /* entries from step to step */
    int32_t num_envs;
    float *rewards, *values, *final_values, *last_values; /* values: NULL without a value function; last_values (num_envs,) */
    const uint8_t *terminated, *truncated, *mask;         /* mask: NULL where every entry counts */
    const int32_t *first_age;                             /* NULL: episodes begin with the first step */
    int by_episode;                                       /* whole episodes, one after the other */
    float *weights, *targets;                             /* targets: NULL without a value function */
} fpg_weighed;

/* sum_k gamma^k r_{t+k} and its relatives, as collect->form says. 0 if memory runs out. */
static int fpg_weigh_form(const fpg_collect *collect, const fpg_weighed *w, fpg_control *control, int worker)
{
    static const fpg_returns_kind estimates[] = {
        [FPG_PHI_TOTAL] = FPG_EPISODE_RETURNS, [FPG_PHI_REWARD_TO_GO] = FPG_RETURNS, [FPG_PHI_Q] = FPG_NSTEP_RETURNS,
        [FPG_PHI_TD] = FPG_GAE, [FPG_PHI_GAE] = FPG_GAE}; /* TD residuals are generalised advantages with lam = 0 */
    const int bootstraps = collect->form >= FPG_PHI_Q, advantages = collect->form >= FPG_PHI_TD;
    const int64_t step = w->stride * (int64_t)sizeof(float);
    fpg_transitions in = {
        .kind = estimates[collect->form], .bootstrap_truncated = bootstraps, .num_steps = w->num_steps, .num_envs = w->num_envs,
        .n = collect->n_step, .gamma = collect->gamma, .lam = collect->form == FPG_PHI_TD ? 0 : collect->lam,
        .arrays = {[FPG_REWARDS] = {w->rewards, step, sizeof(float)}, [FPG_OUT] = {w->weights, step, sizeof(float)},
                   [FPG_TERMINATED] = {(void *)(uintptr_t)w->terminated, w->stride, 1},
                   [FPG_TRUNCATED] = {(void *)(uintptr_t)w->truncated, w->stride, 1},
                   [FPG_MASK] = {(void *)(uintptr_t)w->mask, w->stride, 1}}};
    if (bootstraps) {
        in.arrays[FPG_VALUES] = (fpg_array){w->values, step, sizeof(float)};
        in.arrays[FPG_FINAL_VALUES] = (fpg_array){w->final_values, step, sizeof(float)};
        in.last_values = (fpg_array){w->last_values, 0, sizeof(float)};
    }
    if (advantages)
        in.arrays[FPG_OUT_2] = (fpg_array){w->targets, step, sizeof(float)};
    fpg_returns_job job = fpg_returns_job_of(&in, control);
    if (!fpg_returns_levels(&job, 1))
        return 0;
    fpg_sweep_envs_float(&job, 0, w->num_envs, job.levels ? 0 : worker);
    fpg_free(job.levels);
    return 1;
}

static int fpg_counts(const fpg_weighed *w, int64_t k) { return !w->mask || w->mask[k] != 0; }

/* The mean over the other environments' entries of steps begin .. end - 1 is taken off. An environment that is alone keeps its
 * weights. */
static void fpg_subtract_mean(const fpg_weighed *w, int64_t begin, int64_t end)
{
    double sum[FPG_TILE] = {0}, count[FPG_TILE] = {0}, all = 0, counted = 0;
    float baseline[FPG_TILE];
    for (int64_t t = begin; t < end; t++)
        for (int32_t i = 0; i < w->num_envs; i++) {
            const int64_t k = t * w->stride + i;
            sum[i] += fpg_counts(w, k) ? w->weights[k] : 0.0f;
            count[i] += fpg_counts(w, k);
        }
    for (int32_t i = 0; i < w->num_envs; i++)
        all += sum[i], counted += count[i];
    for (int32_t i = 0; i < w->num_envs; i++)
        baseline[i] = counted > count[i] ? (float)((all - sum[i]) / (counted - count[i])) : 0.0f;
    for (int64_t t = begin; t < end; t++)
        for (int32_t i = 0; i < w->num_envs; i++) {
            const int64_t k = t * w->stride + i;
            w->weights[k] = fpg_counts(w, k) ? w->weights[k] - baseline[i] : 0.0f;
        }
}

/* The same where every environment plays whole episodes: the entries of the same step of everybody's k-th episode. */
static void fpg_subtract_episode_means(const fpg_weighed *w)
{
    int64_t at[FPG_TILE] = {0}, begin[FPG_TILE], length[FPG_TILE], longest;
    do {
        longest = 0;
        for (int32_t i = 0; i < w->num_envs; i++) {
            while (at[i] < w->num_steps && !fpg_counts(w, at[i] * w->stride + i))
                at[i]++;
            begin[i] = at[i];
            for (int goes_on = 1; goes_on && at[i] < w->num_steps; at[i]++) {
                const int64_t k = at[i] * w->stride + i;
                goes_on = !(w->terminated[k] || w->truncated[k]);
            }
            length[i] = at[i] - begin[i];
            longest = length[i] > longest ? length[i] : longest;
        }
        for (int64_t age = 0; age < longest; age++) {
            double sum = 0, count = 0;
            for (int32_t i = 0; i < w->num_envs; i++)
                if (age < length[i])
                    sum += w->weights[(begin[i] + age) * w->stride + i], count++;
            for (int32_t i = 0; i < w->num_envs; i++)
                if (age < length[i] && count > 1) {
                    float *weight = &w->weights[(begin[i] + age) * w->stride + i];
                    *weight -= (float)((sum - *weight) / (count - 1));
                }
        }
    } while (longest > 0);
}

/* Weights are multiplied by gamma^t, t being the step's number in its episode. */
static void fpg_discount_states(const fpg_collect *collect, const fpg_weighed *w)
{
    for (int32_t i = 0; i < w->num_envs; i++) {
        double discount = pow(collect->gamma, w->first_age ? w->first_age[i] : 0);
        for (int64_t t = 0; t < w->num_steps; t++) {
            const int64_t k = t * w->stride + i;
            if (!fpg_counts(w, k))
                continue;
            w->weights[k] *= (float)discount;
            discount = w->terminated[k] || w->truncated[k] ? 1.0 : discount * collect->gamma;
        }
    }
}

/* Phi_t of every entry, 0 where the mask is 0, and the targets of a value function. 0 if memory runs out. */
static int fpg_weigh(const fpg_collect *collect, const fpg_weighed *w, fpg_control *control, int worker)
{
    if (!fpg_weigh_form(collect, w, control, worker))
        return 0;
    if (collect->baseline == FPG_BATCH_MEAN)
        fpg_subtract_mean(w, 0, w->num_steps);
    else if (collect->baseline == FPG_TIMESTEP_MEAN && w->by_episode)
        fpg_subtract_episode_means(w);
    else if (collect->baseline == FPG_TIMESTEP_MEAN)
        for (int64_t t = 0; t < w->num_steps; t++)
            fpg_subtract_mean(w, t, t + 1);
    else if (collect->baseline == FPG_VALUE_BASELINE)
        for (int64_t t = 0; t < w->num_steps; t++)
            for (int64_t k = t * w->stride; k < t * w->stride + w->num_envs; k++) {
                const float target = w->weights[k];
                w->weights[k] = fpg_counts(w, k) ? target - w->values[k] : 0.0f;
                w->targets[k] = target;
            }
    if (collect->discount_states && collect->form != FPG_PHI_TOTAL)
        fpg_discount_states(collect, w);
    return 1;
}

static int fpg_weigh_shard(const fpg_collect *collect, fpg_shard *s, fpg_control *control, int worker)
{
    const fpg_weighed w = {
        .num_steps = s->num_steps, .stride = s->stride, .num_envs = s->num_envs, .rewards = s->rewards, .values = s->values,
        .final_values = s->final_values, .last_values = s->last_values, .terminated = s->terminated, .truncated = s->truncated,
        .mask = s->mask, .first_age = s->first_age, .by_episode = s->by_episode, .weights = s->weights, .targets = s->targets};
    if (!fpg_weigh(collect, &w, control, worker))
        return 0;
    s->weight = s->weight_square = s->target = s->target_square = 0;
    for (int64_t r = 0; r < s->num_rows; r++) {
        const double weight = s->weights[s->rows[r]], target = s->targets ? s->targets[s->rows[r]] : 0;
        s->weight += weight, s->weight_square += weight * weight;
        s->target += target, s->target_square += target * target;
    }
    return 1;
}

#endif
