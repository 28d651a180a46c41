/* collect.h - a tile's steps written for the caller: rows of its time-major arrays, and the episodes that ended. */
#ifndef FPG_COLLECT_H
#define FPG_COLLECT_H

#include "base/internal.h"
#include "heads/head.h"
#include "simd/transpose.h"

/* What was collected times 0, summed lane by lane: 0 as long as it is finite. */
typedef struct {
    float obs[FPG_TILE], reward[FPG_TILE];
} fpg_zeros;

/* The tile's environments that the caller has: those before this lane. */
static int32_t fpg_real_lanes(const fpg_pass *pass, int64_t first_env)
{
    return (int32_t)(pass->num_envs - first_env < pass->lanes ? pass->num_envs - first_env : pass->lanes);
}

static void fpg_collect_obs(const fpg_pass *pass, int32_t real, const float *lanes, float *rows, fpg_zeros *zeros)
{
    const int32_t size = pass->layout->obs_size, width = pass->width;
    float *FPG_RESTRICT zero = zeros->obs;
    fpg_transpose(real, width, size, lanes, rows);
    for (int32_t d = 0; d < size; d++)
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            zero[i] += lanes[d * width + i] * 0.0f;
}

/* Step t before it is taken: what the policy saw, x (obs_size, width), and drew, not clipped yet. outputs (num_outputs, width)
 * are the network's, and consumed. */
static void fpg_collect_draw(const fpg_pass *pass, int64_t first_env, int64_t t, const float *x, const void *action, float *outputs,
                             fpg_zeros *zeros)
{
    const fpg_layout *layout = pass->layout;
    const fpg_collected *out = pass->out;
    const int32_t width = pass->width, size = layout->action_size, real = fpg_real_lanes(pass, first_env);
    const int64_t row = t * pass->num_envs + first_env;
    float log_prob[FPG_TILE], entropy[FPG_TILE];
    fpg_collect_obs(pass, real, x, out->obs + row * layout->obs_size, zeros);
    if (layout->kind == FPG_GAUSSIAN)
        fpg_transpose(real, width, size, action, (float *)out->actions + row * size);
    else
        for (int32_t k = 0; k < size; k++) {
            const int32_t *FPG_RESTRICT from = (const int32_t *)action + k * width;
            int64_t *FPG_RESTRICT to = (int64_t *)out->actions + row * size + k;
            if (size == 1)
                FPG_SIMD for (int32_t i = 0; i < real; i++)
                    to[i] = from[i];
            else
                for (int32_t i = 0; i < real; i++)
                    to[(int64_t)i * size] = from[i];
        }
    fpg_head_log_prob(layout, pass->packed, width, width, action, outputs, log_prob, entropy);
    memcpy(out->log_probs + row, log_prob, (size_t)real * sizeof *log_prob);
}

/* The episodes that ended with step t, before the next ones begin. obs: room for (obs_size, width). 0 if that fails. */
static int fpg_collect_ends(const fpg_pass *pass, fpg_tile *tile, int64_t first_env, int64_t t, const int32_t *done, float *obs,
                            fpg_zeros *zeros)
{
    const int32_t width = pass->width, size = pass->layout->obs_size, real = fpg_real_lanes(pass, first_env);
    fpg_ends *list = tile->ends;
    if (!fpg_went_well(pass->control, FPG_OBSERVE, pass->env->observe(pass->env, width, tile->state, obs)))
        return 0;
    if (!fpg_ends_reserve(list, size, list->count + real)) {
        fpg_fail(pass->control, FPG_NO_MEMORY);
        return 0;
    }
    for (int32_t i = 0; i < real; i++) {
        if (!done[i])
            continue;
        float *row = list->obs + list->count * size;
        for (int32_t d = 0; d < size; d++)
            row[d] = obs[d * width + i], zeros->obs[i] += row[d] * 0.0f;
        list->ends[list->count++] = (fpg_end){.step = t, .env = first_env + i, .length = tile->elapsed[i],
                                              .episode_return = tile->episode_return[i]};
    }
    return 1;
}

/* Step t after it was taken. */
static void fpg_collect_step(const fpg_pass *pass, const fpg_tile *tile, int64_t first_env, int64_t t, const float *reward,
                             const double *end, fpg_zeros *zeros)
{
    const int32_t limit = pass->env->max_episode_steps > 0 ? pass->env->max_episode_steps : INT32_MAX;
    const int32_t real = fpg_real_lanes(pass, first_env);
    const int64_t row = t * pass->num_envs + first_env;
    const int32_t *FPG_RESTRICT elapsed = tile->elapsed;
    uint8_t *FPG_RESTRICT out_terminated = pass->out->terminated + row, *FPG_RESTRICT out_truncated = pass->out->truncated + row;
    FPG_SIMD for (int32_t i = 0; i < pass->width; i++)
        zeros->reward[i] += reward[i] * 0.0f;
    memcpy(pass->out->rewards + row, reward, (size_t)real * sizeof *reward);
    for (int32_t i = 0; i < real; i++)
        out_terminated[i] = (uint8_t)fpg_is_terminated(end[i]);
    for (int32_t i = 0; i < real; i++)
        out_truncated[i] = fpg_is_truncated(end[i]) | (elapsed[i] >= limit); /* Gymnasium sets both */
}

/* After the last step: what the next one would see, and whether all was finite. obs: room for (obs_size, width). */
static void fpg_collect_last(const fpg_pass *pass, const fpg_tile *tile, int64_t first_env, float *obs, fpg_zeros *zeros)
{
    const int32_t real = fpg_real_lanes(pass, first_env);
    if (!fpg_went_well(pass->control, FPG_OBSERVE, pass->env->observe(pass->env, pass->width, tile->state, obs)))
        return;
    fpg_collect_obs(pass, real, obs, pass->out->last_obs + first_env * pass->layout->obs_size, zeros);
    if (!fpg_all_finite(zeros->reward, real))
        fpg_fail(pass->control, FPG_NONFINITE_REWARD);
    if (!fpg_all_finite(zeros->obs, real))
        fpg_fail(pass->control, FPG_NONFINITE_OUTPUT);
}

#endif
