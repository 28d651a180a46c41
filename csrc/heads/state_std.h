/* state_std.h - the diagonal Gaussian whose standard deviations depend on the observation. Lanes run along rows.
 *
 * Outputs are (2 size, ld): the means, then every row's own log_std, held between two bounds so that neither the standard deviation
 * nor its inverse overflows. Scores replace them, as in gaussian.h; that of a log_std which is held is FPG_HELD_SCORE.
 */
#ifndef FPG_STATE_STD_H
#define FPG_STATE_STD_H

#include "heads/gaussian.h"

/* A zero that tells itself from the score of a log_std which is free: where z^2 = 1, z^2 - 1 is +0. */
#define FPG_HELD_SCORE (-0.0f)

/* NaN stays. */
static inline float fpg_held_log_std(float log_std)
{
    return log_std < FPG_LOWEST_LOG_STD ? FPG_LOWEST_LOG_STD : log_std > FPG_HIGHEST_LOG_STD ? FPG_HIGHEST_LOG_STD : log_std;
}

/* As fpg_gaussian_sample. */
static void fpg_state_std_sample(int32_t size, int32_t width, ptrdiff_t ld, const uint32_t *words, ptrdiff_t stride, int deterministic,
                                 float *outputs, float *actions, float *FPG_RESTRICT entropy)
{
    for (int32_t block = 0; block < width; block += FPG_PAD) {
        float z[2][FPG_PAD] = {{0}};
        for (int i = 0; i < FPG_PAD; i++)
            entropy[block + i] = 0;
        for (int32_t k = 0; k < size; k++) {
            float *FPG_RESTRICT mean = outputs + k * ld + block, *FPG_RESTRICT log_std = mean + size * ld;
            float *FPG_RESTRICT action = actions + k * ld + block;
            if (k % 2 == 0 && !deterministic)
                fpg_normals(words + k * stride + block, words + (k + 1) * stride + block, z);
            FPG_SIMD for (int i = 0; i < FPG_PAD; i++) {
                const float deviate = z[k % 2][i], held = fpg_held_log_std(log_std[i]);
                action[i] = mean[i] + fpg_expf(held) * deviate;
                entropy[block + i] += held + (FPG_LOG_SQRT_2PI + 0.5f) + 0.0f * (action[i] + log_std[i]);
                mean[i] = deviate * fpg_expf(-held);
                log_std[i] = held == log_std[i] ? deviate * deviate - 1.0f : FPG_HELD_SCORE;
            }
        }
    }
}

/* For given actions: outputs become weight * score. */
static void fpg_state_std_score(int32_t size, int32_t width, ptrdiff_t ld, const float *actions, const float *FPG_RESTRICT weight,
                                float *outputs)
{
    for (int32_t k = 0; k < size; k++) {
        float *FPG_RESTRICT mean = outputs + k * ld, *FPG_RESTRICT log_std = mean + size * ld;
        const float *FPG_RESTRICT action = actions + k * ld;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const float held = fpg_held_log_std(log_std[i]), inverse = fpg_expf(-held), z = (action[i] - mean[i]) * inverse;
            mean[i] = weight[i] * (z * inverse);
            log_std[i] = held == log_std[i] ? weight[i] * (z * z - 1.0f) : FPG_HELD_SCORE;
        }
    }
}

/* As fpg_gaussian_log_prob. */
static void fpg_state_std_log_prob(int32_t size, int32_t width, ptrdiff_t ld, const float *actions, const float *outputs,
                                   float *FPG_RESTRICT log_prob, float *FPG_RESTRICT entropy)
{
    for (int32_t i = 0; i < width; i++)
        log_prob[i] = 0, entropy[i] = 0;
    for (int32_t k = 0; k < size; k++) {
        const float *FPG_RESTRICT mean = outputs + k * ld, *FPG_RESTRICT log_std = mean + size * ld;
        const float *FPG_RESTRICT action = actions + k * ld;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const float held = fpg_held_log_std(log_std[i]), z = (action[i] - mean[i]) * fpg_expf(-held);
            log_prob[i] -= 0.5f * z * z + held + FPG_LOG_SQRT_2PI;
            entropy[i] += held + (FPG_LOG_SQRT_2PI + 0.5f) + 0.0f * (mean[i] + log_std[i]);
        }
    }
}

/* dscores += coefficient * d entropy / d log_std, which is 1, and 0 where it is held. score: without weights, which could turn its
 * sign; that of rows which are not active does not matter. */
static void fpg_state_std_entropy_gradient(int32_t size, int32_t rows, ptrdiff_t score_ld, const float *FPG_RESTRICT score,
                                           const float *FPG_RESTRICT active, float coefficient, ptrdiff_t ld, float *FPG_RESTRICT dscores)
{
    for (int32_t k = size; k < 2 * size; k++)
        FPG_SIMD for (int32_t i = 0; i < rows; i++) {
            const int is_held = fpg_float_bits(score[k * score_ld + i]) == fpg_float_bits(FPG_HELD_SCORE);
            dscores[k * ld + i] += is_held ? 0.0f : coefficient * active[i];
        }
}

/* F_z dz replaces the outputs z: 1 / std^2 of a mean, and 2 of a log_std that is not held. */
static void fpg_state_std_fisher(int32_t size, int32_t width, ptrdiff_t ld, const float *dz, float *outputs)
{
    for (int32_t k = 0; k < size; k++) {
        float *FPG_RESTRICT mean = outputs + k * ld, *FPG_RESTRICT log_std = mean + size * ld;
        const float *FPG_RESTRICT by_mean = dz + k * ld, *FPG_RESTRICT by_log_std = by_mean + size * ld;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const float held = fpg_held_log_std(log_std[i]);
            mean[i] = by_mean[i] * fpg_expf(-2.0f * held);
            log_std[i] = held == log_std[i] ? 2.0f * by_log_std[i] : 0.0f;
        }
    }
}

/* kl += KL(old | new) of each row. */
static void fpg_state_std_kl(int32_t size, int32_t width, ptrdiff_t ld, const float *old_outputs, const float *outputs,
                             float *FPG_RESTRICT kl)
{
    for (int32_t k = 0; k < size; k++) {
        const float *FPG_RESTRICT old_mean = old_outputs + k * ld, *FPG_RESTRICT old_log_std = old_mean + size * ld;
        const float *FPG_RESTRICT mean = outputs + k * ld, *FPG_RESTRICT log_std = mean + size * ld;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const float held = fpg_held_log_std(log_std[i]), moved = held - fpg_held_log_std(old_log_std[i]);
            const float z = (old_mean[i] - mean[i]) * fpg_expf(-held);
            kl[i] += moved + 0.5f * (fpg_expf(-2.0f * moved) - 1.0f) + 0.5f * z * z;
        }
    }
}

#endif
