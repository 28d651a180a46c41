/* linear.h - a policy without hidden layers: logits = W x + b. Lanes run along rows (or environments).
 *
 * x is (num_inputs, ld), logits and their gradients are (num_outputs, ld).
 */
#ifndef FPG_LINEAR_H
#define FPG_LINEAR_H

#include "network/layout.h"

static void fpg_linear_forward(const fpg_layer *head, const float *packed, const float *FPG_RESTRICT x, int32_t width,
                               ptrdiff_t ld, float *FPG_RESTRICT logits)
{
    const float *w = packed + head->backward, *bias = packed + head->bias;
    for (int32_t a = 0; a < head->out; a++)
        for (int32_t block = 0; block < width; block += FPG_PAD) {
            float sum[FPG_PAD];
            FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
                sum[i] = bias[a];
            for (int32_t d = 0; d < head->in; d++)
                FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
                    sum[i] += w[a * head->in_pad + d] * x[d * ld + block + i];
            FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
                logits[a * ld + block + i] = sum[i];
        }
}

FPG_INLINE float fpg_dot(const float *FPG_RESTRICT a, const float *FPG_RESTRICT b, int32_t width)
{
    float lanes[FPG_PAD] = {0}, sum = 0;
    for (int32_t block = 0; block < width; block += FPG_PAD)
        FPG_SIMD for (int i = 0; i < FPG_PAD; i++)
            lanes[i] += a[block + i] * b[block + i];
    for (int i = 0; i < FPG_PAD; i++)
        sum += lanes[i];
    return sum;
}

/* gradient += sum over rows of dlogits x^T. x ends with a row of ones for the bias; rows past the last real one carry
 * zero dlogits and finite x. */
static void fpg_linear_backward(const fpg_layer *head, const float *x, const float *dlogits, int32_t width, ptrdiff_t ld,
                                float *gradient)
{
    for (int32_t a = 0; a < head->out; a++) {
        for (int32_t d = 0; d < head->in; d++)
            gradient[head->gradient_weight + a * head->in_pad + d] += fpg_dot(dlogits + a * ld, x + d * ld, width);
        gradient[head->gradient_bias + a] += fpg_dot(dlogits + a * ld, x + head->in * ld, width);
    }
}

/* Eligibility traces make a linear policy's gradient tape-free: with z_t = decay_t z_{t-1} + grad log pi(a_t|s_t),
 *     sum_t grad log pi_t sum_{k>=t} gamma^(k-t) r_k = sum_k r_k z_k     (decay = gamma, 0 at an episode's start)
 * (Baxter & Bartlett, "Infinite-horizon policy-gradient estimation", 2001). trace and sum are
 * (num_outputs, num_inputs + 1, width), the last input being the constant 1 of the bias. */
static void fpg_linear_trace(const fpg_layer *head, const float *FPG_RESTRICT x, const float *FPG_RESTRICT score, int32_t width,
                             const float *FPG_RESTRICT decay, float *FPG_RESTRICT trace)
{
    for (int32_t a = 0; a < head->out; a++) {
        const float *s = score + a * width;
        for (int32_t d = 0; d < head->in; d++, trace += width)
            FPG_SIMD for (int32_t i = 0; i < width; i++)
                trace[i] = decay[i] * trace[i] + s[i] * x[d * width + i];
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            trace[i] = decay[i] * trace[i] + s[i];
        trace += width;
    }
}

/* sum += coefficient * trace, lane by lane. */
static void fpg_linear_accumulate(const fpg_layer *head, int32_t width, const float *FPG_RESTRICT coefficient,
                                  const float *FPG_RESTRICT trace, float *FPG_RESTRICT sum)
{
    for (int32_t k = 0; k < head->out * (head->in + 1); k++, trace += width, sum += width)
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            sum[i] += coefficient[i] * trace[i];
}

/* gradient += the lanes of sum. */
static void fpg_linear_reduce(const fpg_layer *head, int32_t width, const float *sum, float *gradient)
{
    for (int32_t a = 0; a < head->out; a++)
        for (int32_t d = 0; d <= head->in; d++, sum += width) {
            float total = 0;
            for (int32_t i = 0; i < width; i++)
                total += sum[i];
            gradient[d < head->in ? head->gradient_weight + a * head->in_pad + d : head->gradient_bias + a] += total;
        }
}

#endif
