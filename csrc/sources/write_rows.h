/* write_rows.h - a tile's steps become a shard of a batch: rows, flags, and the episodes that ended. */
#ifndef FPG_WRITE_ROWS_H
#define FPG_WRITE_ROWS_H

#include "sources/pass.h"
#include "heads/head.h"
#include "simd/transpose.h"

/* What was collected times 0, summed lane by lane: 0 as long as it is finite. */
typedef struct {
    float obs[FPG_TILE], reward[FPG_TILE];
} fpg_zeros;

static void fpg_write_obs(const fpg_pass *pass, int32_t real, const float *lanes, float *rows, fpg_zeros *zeros)
{
    const int32_t size = pass->layout->obs_size, width = pass->width;
    float *FPG_RESTRICT zero = zeros->obs;
    fpg_transpose(real, width, size, lanes, rows);
    for (int32_t d = 0; d < size; d++)
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            zero[i] += lanes[d * width + i] * 0.0f;
}

/* Step t before it is taken: what the policy saw, x (obs_size, width), and drew, not bounded yet. outputs (num_outputs, width)
 * are the network's, and consumed where log-probs are wanted. action_mask (num_outputs, width): of an environment that has one. */
static void fpg_write_draw(const fpg_pass *pass, const fpg_shard *shard, int64_t t, const float *x, const void *action,
                             const uint8_t *action_mask, float *outputs, fpg_zeros *zeros)
{
    const fpg_layout *layout = pass->layout;
    const int32_t width = pass->width, size = layout->action_size, real = shard->num_envs;
    const int64_t row = t * shard->stride;
    float log_prob[FPG_TILE], entropy[FPG_TILE];
    fpg_write_obs(pass, real, x, shard->obs + row * layout->obs_size, zeros);
    if (layout->kind == FPG_GAUSSIAN)
        fpg_transpose(real, width, size, action, (float *)shard->actions + row * size);
    else
        for (int32_t k = 0; k < size; k++) {
            const int32_t *FPG_RESTRICT from = (const int32_t *)action + k * width;
            int64_t *FPG_RESTRICT to = (int64_t *)shard->actions + row * size + k;
            if (size == 1)
                FPG_SIMD for (int32_t i = 0; i < real; i++)
                    to[i] = from[i];
            else
                for (int32_t i = 0; i < real; i++)
                    to[(int64_t)i * size] = from[i];
        }
    if (shard->action_mask) {
        const int32_t outputs = layout->num_outputs;
        uint8_t *to = shard->action_mask + row * outputs;
        for (int32_t i = 0; i < real; i++)
            for (int32_t a = 0; a < outputs; a++)
                to[i * outputs + a] = action_mask[a * width + i] != 0;
    }
    if (!shard->log_probs)
        return;
    fpg_head_log_prob(layout, pass->packed, width, width, action, outputs, log_prob, entropy);
    memcpy(shard->log_probs + row, log_prob, (size_t)real * sizeof *log_prob);
}

/* The episodes that ended with step t, before the next ones begin. obs: room for (obs_size, width). 0 if that fails. */
static int fpg_write_ends(const fpg_pass *pass, const fpg_tile *tile, fpg_shard *shard, int64_t t, const int32_t *done, const float *active,
                            float *obs, fpg_zeros *zeros)
{
    const int32_t width = pass->width, size = pass->layout->obs_size, real = shard->num_envs;
    const int64_t rows = t * shard->stride;
    fpg_ends *list = &shard->ends;
    if (!fpg_went_well(pass->control, FPG_OBSERVE, pass->env->observe(pass->env, width, tile->state, obs)))
        return 0;
    if (!fpg_ends_reserve(list, size, list->count + real)) {
        fpg_fail(pass->control, FPG_NO_MEMORY);
        return 0;
    }
    for (int32_t i = 0; i < real; i++) {
        const int has_value = shard->truncated[rows + i] && !shard->terminated[rows + i];
        if (!done[i] || active[i] == 0 || !(pass->all_ends || has_value))
            continue;
        float *row = list->obs + list->count * size;
        for (int32_t d = 0; d < size; d++)
            row[d] = obs[d * width + i], zeros->obs[i] += row[d] * 0.0f;
        list->ends[list->count++] = (fpg_end){.step = t, .env = shard->first_env + i, .length = tile->elapsed[i],
                                              .episode_return = tile->episode_return[i]};
    }
    return 1;
}

/* Step t after it was taken. */
static void fpg_write_step(const fpg_pass *pass, const fpg_tile *tile, const fpg_shard *shard, int64_t t, const float *reward,
                             const double *end, const float *active, fpg_zeros *zeros)
{
    const int32_t limit = pass->env->max_episode_steps > 0 ? pass->env->max_episode_steps : INT32_MAX;
    const int32_t real = shard->num_envs;
    const int64_t row = t * shard->stride;
    const int32_t *FPG_RESTRICT elapsed = tile->elapsed;
    uint8_t *FPG_RESTRICT out_terminated = shard->terminated + row, *FPG_RESTRICT out_truncated = shard->truncated + row;
    FPG_SIMD for (int32_t i = 0; i < pass->width; i++)
        zeros->reward[i] += reward[i] * 0.0f;
    memcpy(shard->rewards + row, reward, (size_t)real * sizeof *reward);
    for (int32_t i = 0; i < real; i++)
        out_terminated[i] = (uint8_t)fpg_is_terminated(end[i]);
    for (int32_t i = 0; i < real; i++)
        out_truncated[i] = fpg_is_truncated(end[i]) | (elapsed[i] >= limit); /* Gymnasium sets both */
    for (int32_t i = 0; shard->mask && i < real; i++)
        shard->mask[row + i] = active[i] > 0;
}

/* After the last step: what the next one would see, and whether all was finite. obs: room for (obs_size, width). */
static void fpg_write_last(const fpg_pass *pass, const fpg_tile *tile, const fpg_shard *shard, float *obs, fpg_zeros *zeros)
{
    const int32_t real = shard->num_envs;
    if (!fpg_went_well(pass->control, FPG_OBSERVE, pass->env->observe(pass->env, pass->width, tile->state, obs)))
        return;
    fpg_write_obs(pass, real, obs, shard->last_obs, zeros);
    if (!fpg_all_finite(zeros->reward, real))
        fpg_fail(pass->control, FPG_NONFINITE_REWARD);
    if (!fpg_all_finite(zeros->obs, real))
        fpg_fail(pass->control, FPG_NONFINITE_OUTPUT);
}

#endif
