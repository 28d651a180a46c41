/* gaussian.h - the diagonal Gaussian head: sampling, score, log-prob, entropy. Lanes run along rows.
 *
 * Component k is mean + std * z: the means are the network's outputs, (size, ld); log_std is one parameter each, the same for
 * every row. The scores are (2 size, ld): d log pi / d mean = z / std, then d log pi / d log_std = z^2 - 1.
 * Normals come from pairs of uniforms: Box & Muller, "A note on the generation of random normal deviates", 1958.
 */
#ifndef FPG_GAUSSIAN_H
#define FPG_GAUSSIAN_H

#include <math.h>

#include "simd/philox.h"
#include "simd/simd.h"
#include "vecmath.h"

#define FPG_LOG_SQRT_2PI 0.918938533f
#define FPG_TWO_PI_FLOAT 6.28318531f

/* What the rows share, once per parameter update: packed (3, size padded) is log_std, std and 1 / std. */
static void fpg_gaussian_pack(int32_t size, const float *log_std, float *packed)
{
    const int32_t pad = fpg_round_up(size, FPG_PAD);
    for (int32_t k = 0; k < size; k++) {
        packed[k] = log_std[k];
        packed[pad + k] = fpg_expf(log_std[k]);
        packed[2 * pad + k] = fpg_expf(-log_std[k]);
    }
}

/* sum of log_std + size / 2 * log(2 pi e), the same for every row. */
static inline float fpg_gaussian_entropy(int32_t size, const float *packed)
{
    float entropy = 0;
    for (int32_t k = 0; k < size; k++)
        entropy += packed[k] + (FPG_LOG_SQRT_2PI + 0.5f);
    return entropy;
}

/* Two independent normals for each row of a block, from the uniforms of two random words. */
FPG_INLINE void fpg_normals(const uint32_t *FPG_RESTRICT first, const uint32_t *FPG_RESTRICT second, float (*FPG_RESTRICT z)[FPG_PAD])
{
    FPG_SIMD for (int i = 0; i < FPG_PAD; i++) {
        const float radius = sqrtf(-2.0f * fpg_logf(fpg_uniform_float(first[i])));
        const float angle = FPG_TWO_PI_FLOAT * fpg_uniform_float(second[i]);
        z[0][i] = radius * fpg_cosf(angle);
        z[1][i] = radius * fpg_sinf(angle);
    }
}

/* Draws actions (size, ld) for `width` rows, component k from the words k * stride (deterministic: takes the mean). Means
 * become scores. The scores are those of the exact z: where std is small, the rounded action no longer tells it. An output
 * that is not finite shows in the entropy. */
static void fpg_gaussian_sample(int32_t size, const float *packed, int32_t width, ptrdiff_t ld, const uint32_t *words,
                                ptrdiff_t stride, int deterministic, float *outputs, float *actions, float *FPG_RESTRICT entropy)
{
    const float shared = fpg_gaussian_entropy(size, packed);
    const float *std = packed + fpg_round_up(size, FPG_PAD), *inverse = std + fpg_round_up(size, FPG_PAD);
    for (int32_t block = 0; block < width; block += FPG_PAD) {
        float z[2][FPG_PAD] = {{0}};
        for (int i = 0; i < FPG_PAD; i++)
            entropy[block + i] = shared;
        for (int32_t k = 0; k < size; k++) {
            float *FPG_RESTRICT mean = outputs + k * ld + block, *FPG_RESTRICT log_std_score = mean + size * ld;
            float *FPG_RESTRICT action = actions + k * ld + block;
            if (k % 2 == 0 && !deterministic)
                fpg_normals(words + k * stride + block, words + (k + 1) * stride + block, z);
            FPG_SIMD for (int i = 0; i < FPG_PAD; i++) {
                const float deviate = z[k % 2][i];
                action[i] = mean[i] + std[k] * deviate;
                entropy[block + i] += 0.0f * action[i];
                mean[i] = deviate * inverse[k];
                log_std_score[i] = deviate * deviate - 1.0f;
            }
        }
    }
}

/* For given actions: means become weight * score. */
static void fpg_gaussian_score(int32_t size, const float *packed, int32_t width, ptrdiff_t ld, const float *actions,
                               const float *FPG_RESTRICT weight, float *outputs)
{
    const float *inverse = packed + 2 * fpg_round_up(size, FPG_PAD);
    for (int32_t k = 0; k < size; k++) {
        float *FPG_RESTRICT mean = outputs + k * ld, *FPG_RESTRICT log_std_score = mean + size * ld;
        const float *FPG_RESTRICT action = actions + k * ld;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const float z = (action[i] - mean[i]) * inverse[k];
            mean[i] = weight[i] * (z * inverse[k]);
            log_std_score[i] = weight[i] * (z * z - 1.0f);
        }
    }
}

/* log pi(action) and the entropy of each row, which is not finite where a mean is not. */
static void fpg_gaussian_log_prob(int32_t size, const float *packed, int32_t width, ptrdiff_t ld, const float *actions,
                                  const float *means, float *FPG_RESTRICT log_prob, float *FPG_RESTRICT entropy)
{
    const float shared = fpg_gaussian_entropy(size, packed), *inverse = packed + 2 * fpg_round_up(size, FPG_PAD);
    for (int32_t i = 0; i < width; i++)
        log_prob[i] = 0, entropy[i] = shared;
    for (int32_t k = 0; k < size; k++) {
        const float *FPG_RESTRICT mean = means + k * ld, *FPG_RESTRICT action = actions + k * ld;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const float z = (action[i] - mean[i]) * inverse[k];
            log_prob[i] -= 0.5f * z * z + packed[k] + FPG_LOG_SQRT_2PI;
            entropy[i] += 0.0f * mean[i];
        }
    }
}

#endif
