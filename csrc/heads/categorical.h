/* categorical.h - the softmax head: sampling, score, entropy. Lanes run along rows.
 *
 * Logits are (num_actions, ld): row i's logit of action a is logits[a * ld + i]. The score of a sampled action,
 * d log pi(action) / d logits[a] = 1[a == action] - pi(a), replaces the logits in place.
 */
#ifndef FPG_CATEGORICAL_H
#define FPG_CATEGORICAL_H

#include "simd/simd.h"
#include "vecmath.h"

/* One block of FPG_PAD rows: softmax into p, and max and log-sum-exp for whoever needs log-probs. */
typedef struct {
    float max[FPG_PAD], sum[FPG_PAD], entropy[FPG_PAD];
} fpg_softmax_block;

FPG_INLINE fpg_softmax_block fpg_softmax(const int32_t num_actions, ptrdiff_t ld, float *FPG_RESTRICT p)
{
    fpg_softmax_block s;
    float weighted[FPG_PAD]; /* sum of exp(l - max) * (l - max) */
    FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
        s.max[i] = p[i], s.sum[i] = 0, weighted[i] = 0;
    for (int32_t a = 1; a < num_actions; a++)
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            s.max[i] = p[a * ld + i] > s.max[i] ? p[a * ld + i] : s.max[i];
    for (int32_t a = 0; a < num_actions; a++)
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++) {
            const float shifted = p[a * ld + i] - s.max[i], e = fpg_expf(shifted);
            s.sum[i] += e;
            weighted[i] += e * (shifted > -1e30f ? shifted : 0.0f);
            p[a * ld + i] = e;
        }
    FPG_SIMD for (int i = 0; i < FPG_PAD; i++) {
        const float inverse = 1.0f / s.sum[i];
        s.entropy[i] = fpg_logf(s.sum[i]) - weighted[i] * inverse;
        weighted[i] = inverse;
    }
    for (int32_t a = 0; a < num_actions; a++)
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            p[a * ld + i] *= weighted[i];
    return s;
}

/* Probabilities of a block become scores. The chosen action's, 1 - pi, is the sum of the others' probabilities, which
 * keeps its relative accuracy where the policy is nearly sure. */
FPG_INLINE void fpg_score(const int32_t num_actions, ptrdiff_t ld, const int32_t *FPG_RESTRICT chosen, float *FPG_RESTRICT p)
{
    float others[FPG_PAD] = {0};
    for (int32_t a = 0; a < num_actions; a++)
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            others[i] += chosen[i] == a ? 0.0f : p[a * ld + i];
    for (int32_t a = 0; a < num_actions; a++)
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            p[a * ld + i] = chosen[i] == a ? others[i] : -p[a * ld + i];
}

/* One block of fpg_categorical_sample; num_actions is a literal where there are two. */
FPG_INLINE void fpg_sample_block(const int32_t num_actions, ptrdiff_t ld, const uint32_t *FPG_RESTRICT words, int deterministic,
                                 int masked, float *FPG_RESTRICT p, int32_t *FPG_RESTRICT action, float *FPG_RESTRICT entropy)
{
    int32_t chosen[FPG_PAD] = {0};
    if (deterministic) {
        float best[FPG_PAD];
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            best[i] = p[i];
        for (int32_t a = 1; a < num_actions; a++)
            FPG_SIMD for (int i = 0; i < FPG_PAD; i++) {
                chosen[i] = p[a * ld + i] > best[i] ? a : chosen[i];
                best[i] = p[a * ld + i] > best[i] ? p[a * ld + i] : best[i];
            }
    }
    const fpg_softmax_block s = fpg_softmax(num_actions, ld, p);
    if (!deterministic) {
        float cumulative[FPG_PAD] = {0}, u[FPG_PAD];
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            u[i] = fpg_uniform_float(words[i]);
        for (int32_t a = 0; a + 1 < num_actions; a++)
            FPG_SIMD for (int i = 0; i < FPG_PAD; i++) {
                cumulative[i] += p[a * ld + i];
                chosen[i] += u[i] > cumulative[i] ? 1 : 0;
            }
        if (masked) { /* Rounding may leave the sum of all below u: that is not to be an action that is not allowed. */
            int32_t last[FPG_PAD] = {0};
            for (int32_t a = 1; a < num_actions; a++)
                FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
                    last[i] = p[a * ld + i] > 0 ? a : last[i];
            FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
                chosen[i] = chosen[i] < last[i] ? chosen[i] : last[i];
        }
    }
    fpg_score(num_actions, ld, chosen, p);
    FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
        action[i] = chosen[i], entropy[i] = s.entropy[i];
}

/* Draws an action for each of `width` rows by inverting the cumulative distribution at the uniform of its random word
 * (deterministic: takes the most likely, the first of equals). masked: some logits are -infinity. Logits become scores; entropy
 * (width,) in nats. */
static void fpg_categorical_sample(int32_t num_actions, int32_t width, ptrdiff_t ld, const uint32_t *words, int deterministic,
                                   int masked, float *logits, int32_t *action, float *entropy)
{
    for (int32_t block = 0; block < width; block += FPG_PAD)
        if (num_actions == 2)
            fpg_sample_block(2, ld, words + block, deterministic, masked, logits + block, action + block, entropy + block);
        else
            fpg_sample_block(num_actions, ld, words + block, deterministic, masked, logits + block, action + block, entropy + block);
}

/* For given actions: logits become weight * score, the gradient of weight * log pi by the logits. */
static void fpg_categorical_score(int32_t num_actions, int32_t width, ptrdiff_t ld, const int32_t *FPG_RESTRICT action,
                                  const float *FPG_RESTRICT weight, float *FPG_RESTRICT logits)
{
    for (int32_t block = 0; block < width; block += FPG_PAD) {
        float *p = logits + block;
        fpg_softmax(num_actions, ld, p);
        fpg_score(num_actions, ld, action + block, p);
        for (int32_t a = 0; a < num_actions; a++)
            FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
                p[a * ld + i] *= weight[block + i];
    }
}

/* log pi(action) and the entropy of each row. Logits are consumed. */
static void fpg_categorical_log_prob(int32_t num_actions, int32_t width, ptrdiff_t ld, const int32_t *FPG_RESTRICT action,
                                     float *FPG_RESTRICT logits, float *FPG_RESTRICT log_prob, float *FPG_RESTRICT entropy)
{
    for (int32_t block = 0; block < width; block += FPG_PAD) {
        float chosen[FPG_PAD];
        for (int i = 0; i < FPG_PAD; i++)
            chosen[i] = logits[action[block + i] * ld + block + i];
        const fpg_softmax_block s = fpg_softmax(num_actions, ld, logits + block);
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++) {
            log_prob[block + i] = chosen[i] - s.max[i] - fpg_logf(s.sum[i]);
            entropy[block + i] = s.entropy[i];
        }
    }
}

#endif
