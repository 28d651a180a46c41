/* bernoulli.h - independent bits, each 1 with the probability p = sigmoid(logit): sampling, score, log-prob, entropy.
 *
 * Logits are (size, ld), lanes along rows. The score, d log pi / d logit = bit - p, replaces the logit. Everything is written
 * in e = exp(-|logit|), which cannot overflow: the less likely value has the probability e / (1 + e), the other 1 / (1 + e).
 */
#ifndef FPG_BERNOULLI_H
#define FPG_BERNOULLI_H

#include "simd/philox.h"
#include "simd/simd.h"
#include "vecmath.h"

typedef struct {
    float magnitude, e, likely, unlikely;
} fpg_bit;

static inline fpg_bit fpg_bit_of(float logit)
{
    fpg_bit bit;
    bit.magnitude = logit < 0 ? -logit : logit;
    bit.e = fpg_expf(-bit.magnitude);
    bit.likely = 1.0f / (1.0f + bit.e);
    bit.unlikely = bit.e * bit.likely;
    return bit;
}

/* The probability of the value that did not happen, with the sign of bit - p: it keeps its relative accuracy. */
static inline float fpg_bit_score(fpg_bit bit, float logit, int32_t value)
{
    const float p = logit < 0 ? bit.unlikely : bit.likely, other = logit < 0 ? bit.likely : bit.unlikely;
    return value ? other : -p;
}

/* log(1 + e) for e in [0, 1], where 1 + e rounds: Kahan's correction. */
static inline float fpg_log1p_small(float e)
{
    const float sum = 1.0f + e, kept = sum - 1.0f;
    return kept == 0 ? e : fpg_logf(sum) * (e / kept);
}

static inline float fpg_bit_entropy(fpg_bit bit) { return fpg_log1p_small(bit.e) + bit.magnitude * bit.unlikely; }

/* Draws bits (size, ld) for `width` rows, component k from the words k * stride: 1 where the uniform is above 1 - p
 * (deterministic: takes the more likely, 0 of equals). Logits become scores. */
static void fpg_bernoulli_sample(int32_t size, int32_t width, ptrdiff_t ld, const uint32_t *words, ptrdiff_t stride,
                                 int deterministic, float *logits, int32_t *actions, float *FPG_RESTRICT entropy)
{
    memset(entropy, 0, (size_t)width * sizeof *entropy);
    for (int32_t k = 0; k < size; k++) {
        float *FPG_RESTRICT p = logits + k * ld;
        int32_t *FPG_RESTRICT action = actions + k * ld;
        const uint32_t *FPG_RESTRICT word = words + k * stride;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const fpg_bit bit = fpg_bit_of(p[i]);
            const float zero = p[i] < 0 ? bit.likely : bit.unlikely;
            const int32_t drawn = fpg_uniform_float(word[i]) > zero ? 1 : 0, best = p[i] > 0 ? 1 : 0;
            action[i] = deterministic ? best : drawn;
            entropy[i] += fpg_bit_entropy(bit);
            p[i] = fpg_bit_score(bit, p[i], action[i]);
        }
    }
}

/* For given actions: logits become weight * score. */
static void fpg_bernoulli_score(int32_t size, int32_t width, ptrdiff_t ld, const int32_t *actions, const float *FPG_RESTRICT weight,
                                float *logits)
{
    for (int32_t k = 0; k < size; k++) {
        float *FPG_RESTRICT p = logits + k * ld;
        const int32_t *FPG_RESTRICT action = actions + k * ld;
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            p[i] = weight[i] * fpg_bit_score(fpg_bit_of(p[i]), p[i], action[i]);
    }
}

/* log pi(action) and the entropy of each row. */
static void fpg_bernoulli_log_prob(int32_t size, int32_t width, ptrdiff_t ld, const int32_t *actions, const float *logits,
                                   float *FPG_RESTRICT log_prob, float *FPG_RESTRICT entropy)
{
    memset(log_prob, 0, (size_t)width * sizeof *log_prob);
    memset(entropy, 0, (size_t)width * sizeof *entropy);
    for (int32_t k = 0; k < size; k++) {
        const float *FPG_RESTRICT p = logits + k * ld;
        const int32_t *FPG_RESTRICT action = actions + k * ld;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const fpg_bit bit = fpg_bit_of(p[i]);
            const float toward = action[i] ? p[i] : -p[i];
            log_prob[i] += (toward < 0 ? toward : 0.0f) - fpg_log1p_small(bit.e);
            entropy[i] += fpg_bit_entropy(bit);
        }
    }
}

#endif
