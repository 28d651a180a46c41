/* onehot.h - the first layer where observations are categories: its product with a one-hot vector is a row of the
 * weight, and the one-hot vector is never written down.
 *
 * x is (obs_size, ld) category numbers; category c of component f is input layout->offset[f] + c.
 */
#ifndef FPG_ONEHOT_H
#define FPG_ONEHOT_H

#include "network/layout.h"

FPG_INLINE int32_t fpg_hot_input(const fpg_layout *layout, int32_t f, const float *x, ptrdiff_t ld, int32_t r)
{
    return layout->offset[f] + (int32_t)x[f * ld + r];
}

/* h (R, out_pad) = bias + the weight's rows, (in, out_pad), that are hot. */
static void fpg_onehot_forward(const fpg_layout *layout, const float *packed, const float *x, int32_t rows, ptrdiff_t ld, float *h)
{
    const fpg_layer *layer = &layout->hidden[0];
    const int32_t width = layer->out_pad;
    for (int32_t r = 0; r < rows; r++) {
        float *FPG_RESTRICT to = h + (int64_t)r * width;
        memcpy(to, packed + layer->bias, (size_t)width * sizeof *to);
        for (int32_t f = 0; f < layout->obs_size; f++) {
            const float *FPG_RESTRICT w = packed + layer->forward + (int64_t)fpg_hot_input(layout, f, x, ld, r) * width;
            FPG_SIMD for (int32_t n = 0; n < width; n++)
                to[n] += w[n];
        }
    }
}

/* gradient (in, out_pad), and the bias's row after it, += the rows' dh (R, out_pad). */
static void fpg_onehot_backward(const fpg_layout *layout, const float *x, const float *dh, int32_t rows, ptrdiff_t ld, float *gradient)
{
    const fpg_layer *layer = &layout->hidden[0];
    const int32_t width = layer->out_pad;
    float *FPG_RESTRICT bias = gradient + layer->gradient_bias;
    for (int32_t r = 0; r < rows; r++) {
        const float *FPG_RESTRICT from = dh + (int64_t)r * width;
        FPG_SIMD for (int32_t n = 0; n < width; n++)
            bias[n] += from[n];
        for (int32_t f = 0; f < layout->obs_size; f++) {
            float *FPG_RESTRICT w = gradient + layer->gradient_weight + (int64_t)fpg_hot_input(layout, f, x, ld, r) * width;
            FPG_SIMD for (int32_t n = 0; n < width; n++)
                w[n] += from[n];
        }
    }
}

/* A linear policy: logits (num_outputs, ld) of `width` rows. */
static void fpg_onehot_linear_forward(const fpg_layout *layout, const float *packed, const float *FPG_RESTRICT x, int32_t width,
                                      ptrdiff_t ld, float *FPG_RESTRICT logits)
{
    const fpg_layer *head = &layout->output;
    for (int32_t a = 0; a < head->out; a++) {
        const float *FPG_RESTRICT w = packed + head->backward + (int64_t)a * head->in_pad;
        const float bias = packed[head->bias + a];
        for (int32_t i = 0; i < width; i++)
            logits[a * ld + i] = bias;
        for (int32_t f = 0; f < layout->obs_size; f++)
            FPG_SIMD for (int32_t i = 0; i < width; i++)
                logits[a * ld + i] += w[layout->offset[f] + (int32_t)x[f * ld + i]];
    }
}

static void fpg_onehot_linear_backward(const fpg_layout *layout, const float *x, const float *dlogits, int32_t rows, ptrdiff_t ld,
                                       float *gradient)
{
    const fpg_layer *head = &layout->output;
    for (int32_t a = 0; a < head->out; a++) {
        float *w = gradient + head->gradient_weight + (int64_t)a * head->in_pad, bias = 0;
        for (int32_t r = 0; r < rows; r++)
            bias += dlogits[a * ld + r];
        gradient[head->gradient_bias + a] += bias;
        for (int32_t f = 0; f < layout->obs_size; f++)
            for (int32_t r = 0; r < rows; r++)
                w[fpg_hot_input(layout, f, x, ld, r)] += dlogits[a * ld + r];
    }
}

#endif
