/* head.h - what the network's outputs mean as a distribution of actions: sample, score, log-prob and entropy.
 *
 * Outputs are (num_outputs, ld), actions (action_size, ld): int32_t, or float of a Gaussian. Lanes run along rows. Components
 * of an action are independent: log-probs and entropies are sums, and each component's score replaces its outputs. Scores are
 * (num_scores, ld), so outputs come with room for a Gaussian's rows of log_std. An output of a categorical head is -infinity
 * where the action is not allowed: its probability, score, and share of entropy and divergence are then 0.
 */
#ifndef FPG_HEAD_H
#define FPG_HEAD_H

#include "base/sizes.h"
#include "network/layout.h"
#include "simd/philox.h"
#include "heads/bernoulli.h"
#include "heads/categorical.h"
#include "heads/gaussian.h"
#include "heads/squash.h"
#include "heads/state_std.h"

/* The random words of the four steps that `step` belongs to, (num_draws, 4, width): uniform k of an action at `step` is that of
 * words[(4 * k + step % 4) * width + i]. */
static void fpg_draw_words(const fpg_layout *layout, int32_t width, uint32_t first_env, int64_t step, uint32_t iteration,
                           uint64_t seed, uint32_t *words)
{
    for (int32_t k = 0; k < layout->num_draws; k++)
        fpg_philox_fill(width, first_env, (uint32_t)(step / 4), iteration, FPG_DRAW_ACTION | (uint32_t)k << 8, seed,
                        words + (ptrdiff_t)k * 4 * width);
}

/* Draws an action for each of `width` rows (deterministic: takes the mode). words: uniform 0's at this step. masked: outputs of a
 * categorical head may be -infinity. Outputs become scores; entropy (width,) in nats is not finite where an output is not. */
static void fpg_head_sample(const fpg_layout *layout, const float *packed, int32_t width, ptrdiff_t ld, const uint32_t *words,
                            int deterministic, int masked, float *outputs, void *action, float *FPG_RESTRICT entropy)
{
    const ptrdiff_t stride = 4 * (ptrdiff_t)width;
    switch (layout->kind) {
    case FPG_GAUSSIAN:
        if (layout->state_std)
            fpg_state_std_sample(layout->action_size, width, ld, words, stride, deterministic, outputs, action, entropy);
        else
            fpg_gaussian_sample(layout->action_size, packed + layout->log_std_packed, width, ld, words, stride, deterministic, outputs,
                                action, entropy);
        return;
    case FPG_BERNOULLI:
        fpg_bernoulli_sample(layout->action_size, width, ld, words, stride, deterministic, outputs, action, entropy);
        return;
    case FPG_CATEGORICAL:
        fpg_categorical_sample(layout->action_categories[0], width, ld, words, deterministic, masked, outputs, action, entropy);
        for (int32_t k = 1; k < layout->action_size; k++) {
            float more[FPG_CHUNK];
            outputs += layout->action_categories[k - 1] * ld;
            fpg_categorical_sample(layout->action_categories[k], width, ld, words + k * stride, deterministic, masked, outputs,
                                   (int32_t *)action + k * ld, more);
            for (int32_t i = 0; i < width; i++)
                entropy[i] += more[i];
        }
    }
}

/* For given actions: outputs become weight * score, the gradient of weight * log pi by outputs and log_std. */
static void fpg_head_score(const fpg_layout *layout, const float *packed, int32_t width, ptrdiff_t ld, const void *action,
                           const float *weight, float *outputs)
{
    switch (layout->kind) {
    case FPG_GAUSSIAN:
        if (layout->state_std)
            fpg_state_std_score(layout->action_size, width, ld, action, weight, outputs);
        else
            fpg_gaussian_score(layout->action_size, packed + layout->log_std_packed, width, ld, action, weight, outputs);
        return;
    case FPG_BERNOULLI:
        fpg_bernoulli_score(layout->action_size, width, ld, action, weight, outputs);
        return;
    case FPG_CATEGORICAL:
        for (int32_t k = 0; k < layout->action_size; k++) {
            fpg_categorical_score(layout->action_categories[k], width, ld, (const int32_t *)action + k * ld, weight, outputs);
            outputs += layout->action_categories[k] * ld;
        }
    }
}

/* log pi(action) and the entropy of each row, which is not finite where an output is not: log_prob then says nothing. Outputs are
 * consumed. */
static void fpg_head_log_prob(const fpg_layout *layout, const float *packed, int32_t width, ptrdiff_t ld, const void *action,
                              float *outputs, float *FPG_RESTRICT log_prob, float *FPG_RESTRICT entropy)
{
    switch (layout->kind) {
    case FPG_GAUSSIAN:
        if (layout->state_std)
            fpg_state_std_log_prob(layout->action_size, width, ld, action, outputs, log_prob, entropy);
        else
            fpg_gaussian_log_prob(layout->action_size, packed + layout->log_std_packed, width, ld, action, outputs, log_prob, entropy);
        if (layout->squashed)
            fpg_squash_log_prob(layout->action_size, layout->log_scale, width, ld, action, log_prob);
        return;
    case FPG_BERNOULLI:
        fpg_bernoulli_log_prob(layout->action_size, width, ld, action, outputs, log_prob, entropy);
        return;
    case FPG_CATEGORICAL:
        fpg_categorical_log_prob(layout->action_categories[0], width, ld, action, outputs, log_prob, entropy);
        for (int32_t k = 1; k < layout->action_size; k++) {
            float more[FPG_CHUNK], more_entropy[FPG_CHUNK];
            outputs += layout->action_categories[k - 1] * ld;
            fpg_categorical_log_prob(layout->action_categories[k], width, ld, (const int32_t *)action + k * ld, outputs, more,
                                     more_entropy);
            for (int32_t i = 0; i < width; i++)
                log_prob[i] += more[i], entropy[i] += more_entropy[i];
        }
    }
}

/* dscores += coefficient * d entropy / d (outputs, log_std) of each row that is active. Scores tell the probabilities: the
 * chosen action's is 1 - its score, another's minus its score; so a score that is 0 has a gradient of 0 either way. */
static void fpg_head_entropy_gradient(const fpg_layout *layout, int32_t rows, ptrdiff_t score_ld, const float *FPG_RESTRICT score,
                                      const float *FPG_RESTRICT active, float coefficient, ptrdiff_t ld, float *FPG_RESTRICT dscores)
{
    if (layout->state_std) {
        fpg_state_std_entropy_gradient(layout->action_size, rows, score_ld, score, active, coefficient, ld, dscores);
        return;
    }
    if (layout->kind == FPG_GAUSSIAN) { /* entropy is the sum of log_std, but for a constant */
        for (int32_t k = layout->action_size; k < 2 * layout->action_size; k++)
            for (int32_t i = 0; i < rows; i++)
                dscores[k * ld + i] += coefficient * active[i];
        return;
    }
    if (layout->kind == FPG_BERNOULLI) {
        for (int32_t k = 0; k < layout->action_size; k++)
            FPG_SIMD for (int32_t i = 0; i < rows; i++) {
                const float s = score[k * score_ld + i], p = s > 0 ? 1.0f - s : -s, q = 1.0f - p;
                const float gradient = p * q * (fpg_logf(q) - fpg_logf(p));
                dscores[k * ld + i] += p > 0 && q > 0 ? coefficient * gradient : 0.0f;
            }
        return;
    }
    for (int32_t k = 0; k < layout->action_size; k++) {
        const int32_t n = layout->action_categories[k];
        float entropy[FPG_CHUNK] = {0};
        for (int32_t a = 0; a < n; a++)
            FPG_SIMD for (int32_t i = 0; i < rows; i++) {
                const float s = score[a * score_ld + i], p = s > 0 ? 1.0f - s : -s;
                entropy[i] -= p > 0 ? p * fpg_logf(p) : 0.0f;
            }
        for (int32_t a = 0; a < n; a++)
            FPG_SIMD for (int32_t i = 0; i < rows; i++) {
                const float s = score[a * score_ld + i], p = s > 0 ? 1.0f - s : -s;
                dscores[a * ld + i] -= p > 0 ? coefficient * p * (fpg_logf(p) + entropy[i]) : 0.0f;
            }
        score += n * score_ld, dscores += n * ld;
    }
}

#endif
