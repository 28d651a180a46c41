/* weights.h - Phi_t: the rewards of a tape become the weights of grad log pi(a_t|s_t), and values their targets.
 *
 * Lanes run along environments. keep is 0 at the last step of an episode, and at the last step of the tape; what follows
 * such a step is worth bootstrap: V of the observation there, or 0 where an absorbing state was reached or nobody knows.
 */
#ifndef FPG_WEIGHTS_H
#define FPG_WEIGHTS_H

#include <math.h>

#include "base/internal.h"

/* sum_{k>=t} gamma^(k-t) r_k within the episode and the tape. */
static void fpg_reward_to_go(int32_t width, int64_t steps, float gamma, const fpg_tape *tape)
{
    float carry[FPG_TILE] = {0};
    for (int64_t t = steps - 1; t >= 0; t--) {
        float *FPG_RESTRICT weight = tape->reward + t * width;
        const float *FPG_RESTRICT keep = tape->keep + t * width;
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            weight[i] = carry[i] = weight[i] + gamma * keep[i] * carry[i];
    }
}

/* R(tau) = sum_t gamma^t r_t at every t of its episode. */
static void fpg_total_return(int32_t width, int64_t steps, const fpg_tape *tape)
{
    float carry[FPG_TILE] = {0};
    for (int64_t t = steps - 1; t >= 0; t--) {
        float *FPG_RESTRICT weight = tape->reward + t * width;
        const float *FPG_RESTRICT keep = tape->keep + t * width, *FPG_RESTRICT running = tape->running + t * width;
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            weight[i] = carry[i] = keep[i] > 0.5f ? carry[i] : running[i];
    }
}

/* sum_{k<n} gamma^k r_{t+k} + gamma^n V(s_{t+n}), shorter where the episode ends before. Forwards, since step t reads the
 * rewards of later ones. */
static void fpg_n_step_return(int32_t width, int64_t steps, float gamma, int64_t n, const fpg_tape *tape)
{
    for (int64_t t = 0; t < steps; t++) {
        const int64_t end = t + n < steps ? t + n : steps;
        float sum[FPG_TILE] = {0};
        if (end < steps)
            memcpy(sum, tape->value + end * width, (size_t)width * sizeof *sum);
        for (int64_t k = end - 1; k >= t; k--) {
            const float *FPG_RESTRICT reward = tape->reward + k * width, *FPG_RESTRICT keep = tape->keep + k * width;
            const float *FPG_RESTRICT bootstrap = tape->bootstrap + k * width;
            FPG_SIMD for (int32_t i = 0; i < width; i++)
                sum[i] = reward[i] + gamma * (keep[i] > 0.5f ? sum[i] : bootstrap[i]);
        }
        memcpy(tape->reward + t * width, sum, (size_t)width * sizeof *sum);
    }
}

/* Generalised advantages (Schulman et al., 2016, equation 16), lam = 0 being the TD residuals. Values become their
 * targets, advantage + V(s_t). */
static void fpg_advantages(int32_t width, int64_t steps, float gamma, float lam, const fpg_tape *tape)
{
    float advantage[FPG_TILE] = {0}, next[FPG_TILE] = {0};
    for (int64_t t = steps - 1; t >= 0; t--) {
        float *FPG_RESTRICT weight = tape->reward + t * width, *FPG_RESTRICT value = tape->value + t * width;
        const float *FPG_RESTRICT keep = tape->keep + t * width, *FPG_RESTRICT bootstrap = tape->bootstrap + t * width;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const float following = keep[i] > 0.5f ? next[i] : bootstrap[i];
            const float delta = weight[i] + gamma * following - value[i];
            next[i] = value[i];
            advantage[i] = delta + gamma * lam * keep[i] * advantage[i];
            weight[i] = advantage[i];
            value[i] += advantage[i];
        }
    }
}

/* The mean over the other environments' steps, all of them or those of the same row, is taken off. An environment that
 * is alone keeps its weights. */
static void fpg_subtract_mean(int32_t width, int64_t begin, int64_t end, const fpg_tape *tape)
{
    double sum[FPG_TILE] = {0}, count[FPG_TILE] = {0}, all = 0, counted = 0;
    float baseline[FPG_TILE];
    for (int64_t t = begin; t < end; t++)
        for (int32_t i = 0; i < width; i++) {
            sum[i] += tape->active[t * width + i] > 0 ? tape->reward[t * width + i] : 0.0f;
            count[i] += tape->active[t * width + i];
        }
    for (int32_t i = 0; i < width; i++)
        all += sum[i], counted += count[i];
    for (int32_t i = 0; i < width; i++)
        baseline[i] = counted > count[i] ? (float)((all - sum[i]) / (counted - count[i])) : 0.0f;
    for (int64_t t = begin; t < end; t++)
        for (int32_t i = 0; i < width; i++)
            tape->reward[t * width + i] -= baseline[i];
}

/* Rewards become weights in place. */
static void fpg_tape_weights(const fpg_pass *pass, const fpg_tape *tape, int64_t steps)
{
    const int32_t width = pass->width;
    const fpg_collect *collect = &pass->collect;
    const float gamma = (float)collect->gamma;
    memset(tape->keep + (steps - 1) * width, 0, (size_t)width * sizeof *tape->keep);
    switch (collect->form) {
    case FPG_PHI_TOTAL: fpg_total_return(width, steps, tape); break;
    case FPG_PHI_REWARD_TO_GO: fpg_reward_to_go(width, steps, gamma, tape); break;
    case FPG_PHI_Q: fpg_n_step_return(width, steps, gamma, collect->n_step, tape); break;
    case FPG_PHI_TD: fpg_advantages(width, steps, gamma, 0.0f, tape); break;
    case FPG_PHI_GAE: fpg_advantages(width, steps, gamma, (float)collect->lam, tape); break;
    }
    if (collect->baseline == FPG_BATCH_MEAN)
        fpg_subtract_mean(width, 0, steps, tape);
    else if (collect->baseline == FPG_TIMESTEP_MEAN)
        for (int64_t t = 0; t < steps; t++)
            fpg_subtract_mean(width, t, t + 1, tape);
    else if (collect->baseline == FPG_VALUE_BASELINE)
        for (int64_t k = 0; k < steps * width; k++) {
            const float target = tape->reward[k];
            tape->reward[k] -= tape->value[k];
            tape->value[k] = target;
        }
    if (collect->discount_states && collect->form != FPG_PHI_TOTAL) {
        double discount[FPG_TILE];
        for (int32_t i = 0; i < width; i++)
            discount[i] = pow(collect->gamma, tape->first_age[i]);
        for (int64_t t = 0; t < steps; t++)
            for (int32_t i = 0; i < width; i++) {
                tape->reward[t * width + i] *= (float)discount[i];
                discount[i] = tape->keep[t * width + i] > 0.5f ? discount[i] * collect->gamma : 1.0;
            }
    }
}

#endif
