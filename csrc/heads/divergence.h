/* divergence.h - how far two policies are apart: KL(old | new) of each row, and its Hessian, the Fisher matrix by the outputs.
 *
 * Arrays are those of head.h, (.., ld) with lanes along rows. Sums are over the components of an action.
 */
#ifndef FPG_DIVERGENCE_H
#define FPG_DIVERGENCE_H

#include "heads/head.h"

/* F_z dz replaces the outputs z: diag(p) - p p^T of a categorical component, p (1 - p) of a bit, 1 / std^2 of a mean and 2 of a
 * log_std, whose rows are written after the means. log_std_tangent (action_size,): the same for every row. */
static void fpg_head_fisher(const fpg_layout *layout, const float *packed, const float *log_std_tangent, int32_t width, ptrdiff_t ld,
                            const float *dz, float *outputs)
{
    const int32_t size = layout->action_size;
    if (layout->state_std) {
        fpg_state_std_fisher(size, width, ld, dz, outputs);
        return;
    }
    if (layout->kind == FPG_GAUSSIAN) {
        const float *inverse = packed + layout->log_std_packed + 2 * fpg_round_up(size, FPG_PAD);
        for (int32_t k = 0; k < size; k++)
            FPG_SIMD for (int32_t i = 0; i < width; i++) {
                outputs[k * ld + i] = dz[k * ld + i] * (inverse[k] * inverse[k]);
                outputs[(size + k) * ld + i] = 2.0f * log_std_tangent[k];
            }
        return;
    }
    if (layout->kind == FPG_BERNOULLI) {
        for (int32_t k = 0; k < size; k++)
            FPG_SIMD for (int32_t i = 0; i < width; i++) {
                const fpg_bit bit = fpg_bit_of(outputs[k * ld + i]);
                outputs[k * ld + i] = dz[k * ld + i] * (bit.likely * bit.unlikely);
            }
        return;
    }
    for (int32_t k = 0; k < size; k++) {
        const int32_t n = layout->action_categories[k];
        for (int32_t block = 0; block < width; block += FPG_PAD) {
            float mean[FPG_PAD] = {0}, *p = outputs + block;
            fpg_softmax(n, ld, p);
            for (int32_t a = 0; a < n; a++)
                FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
                    mean[i] += p[a * ld + i] * dz[a * ld + block + i];
            for (int32_t a = 0; a < n; a++)
                FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
                    p[a * ld + i] *= dz[a * ld + block + i] - mean[i];
        }
        outputs += n * ld, dz += n * ld;
    }
}

/* log p of each category replaces the logits of a component. */
FPG_INLINE void fpg_log_softmax(int32_t n, ptrdiff_t ld, float *FPG_RESTRICT logits)
{
    float most[FPG_PAD], sum[FPG_PAD] = {0};
    FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
        most[i] = logits[i];
    for (int32_t a = 1; a < n; a++)
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            most[i] = logits[a * ld + i] > most[i] ? logits[a * ld + i] : most[i];
    for (int32_t a = 0; a < n; a++)
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            sum[i] += fpg_expf(logits[a * ld + i] - most[i]);
    FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
        most[i] += fpg_logf(sum[i]);
    for (int32_t a = 0; a < n; a++)
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            logits[a * ld + i] -= most[i];
}

/* kl (width,) from the outputs of both; all are consumed. old_log_std (action_size,). */
static void fpg_head_kl(const fpg_layout *layout, const float *packed, const float *old_log_std, int32_t width, ptrdiff_t ld,
                        float *old_outputs, float *outputs, float *FPG_RESTRICT kl)
{
    const int32_t size = layout->action_size;
    for (int32_t i = 0; i < width; i++)
        kl[i] = 0;
    if (layout->state_std) {
        fpg_state_std_kl(size, width, ld, old_outputs, outputs, kl);
        return;
    }
    if (layout->kind == FPG_GAUSSIAN) {
        const float *log_std = packed + layout->log_std_packed, *inverse = log_std + 2 * fpg_round_up(size, FPG_PAD);
        for (int32_t k = 0; k < size; k++) {
            const float moved = log_std[k] - old_log_std[k], ratio = fpg_expf(-2.0f * moved);
            FPG_SIMD for (int32_t i = 0; i < width; i++) {
                const float z = (old_outputs[k * ld + i] - outputs[k * ld + i]) * inverse[k];
                kl[i] += moved + 0.5f * (ratio - 1.0f) + 0.5f * z * z;
            }
        }
        return;
    }
    if (layout->kind == FPG_BERNOULLI) {
        for (int32_t k = 0; k < size; k++)
            FPG_SIMD for (int32_t i = 0; i < width; i++) {
                const float a = old_outputs[k * ld + i], b = outputs[k * ld + i];
                const fpg_bit old = fpg_bit_of(a), now = fpg_bit_of(b);
                const float one = a < 0 ? old.unlikely : old.likely, zero = a < 0 ? old.likely : old.unlikely;
                const float log_one = (a < 0 ? a : 0.0f) - fpg_log1p_small(old.e) - (b < 0 ? b : 0.0f) + fpg_log1p_small(now.e);
                const float log_zero = (a > 0 ? -a : 0.0f) - fpg_log1p_small(old.e) + (b > 0 ? b : 0.0f) + fpg_log1p_small(now.e);
                kl[i] += one * log_one + zero * log_zero;
            }
        return;
    }
    for (int32_t k = 0; k < size; k++) {
        const int32_t n = layout->action_categories[k];
        for (int32_t block = 0; block < width; block += FPG_PAD) {
            float *old = old_outputs + block, *now = outputs + block;
            fpg_log_softmax(n, ld, old), fpg_log_softmax(n, ld, now);
            for (int32_t a = 0; a < n; a++)
                FPG_SIMD for (int i = 0; i < FPG_PAD; i++) {
                    const float p = fpg_expf(old[a * ld + i]);
                    kl[block + i] += p > 0 ? p * (old[a * ld + i] - now[a * ld + i]) : 0.0f;
                }
        }
        old_outputs += n * ld, outputs += n * ld;
    }
}

#endif
