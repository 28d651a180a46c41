/* mlp.h - multilayer perceptrons of 0 to 3 hidden layers: pack, forward, backward.
 *
 * A chunk is R rows. Inputs and outputs are transposed, x (obs_size, ld) and logits (num_outputs, ld), because
 * environments and the softmax run along rows; hidden activations are rows, (R, out_pad), lanes along units.
 * All matrix products are gemm.h.
 */
#ifndef FPG_MLP_H
#define FPG_MLP_H

#include "network/layout.h"
#include "vecmath.h"
#include "heads/gaussian.h"
#include "simd/gemm.h"
#include "network/linear.h"
#include "network/onehot.h"

/* The packed copy of theta; once per parameter update. */
static void fpg_pack(const fpg_layout *layout, const float *theta, float *packed)
{
    memset(packed, 0, (size_t)layout->packed_size * sizeof *packed);
    for (int32_t l = 0; l <= layout->num_hidden; l++) {
        const int is_head = l == layout->num_hidden;
        const fpg_layer *layer = is_head ? &layout->output : &layout->hidden[l];
        const float *w = theta + layer->theta_weight;
        if (!is_head)
            for (int32_t o = 0; o < layer->out; o++)
                for (int32_t i = 0; i < layer->in; i++)
                    packed[layer->forward + (int64_t)i * layer->out_pad + o] = w[(int64_t)o * layer->in + i];
        if (is_head || l > 0)
            for (int32_t o = 0; o < layer->out; o++)
                memcpy(packed + layer->backward + (int64_t)o * layer->in_pad, w + (int64_t)o * layer->in,
                       (size_t)layer->in * sizeof *w);
        memcpy(packed + layer->bias, theta + layer->theta_bias, (size_t)layer->out * sizeof *w);
    }
    if (layout->kind == FPG_GAUSSIAN && !layout->state_std)
        fpg_gaussian_pack(layout->action_size, theta + layout->log_std_theta, packed + layout->log_std_packed);
}

/* The padded gradient in theta's order. */
static void fpg_unpack_gradient(const fpg_layout *layout, const float *gradient, float *out)
{
    for (int32_t l = 0; l <= layout->num_hidden; l++) {
        const int is_head = l == layout->num_hidden;
        const fpg_layer *layer = is_head ? &layout->output : &layout->hidden[l];
        const float *w = gradient + layer->gradient_weight;
        for (int32_t o = 0; o < layer->out; o++)
            for (int32_t i = 0; i < layer->in; i++)
                out[layer->theta_weight + (int64_t)o * layer->in + i] =
                    !is_head && l == 0 ? w[(int64_t)i * layer->out_pad + o] : w[(int64_t)o * layer->in_pad + i];
        memcpy(out + layer->theta_bias, gradient + layer->gradient_bias, (size_t)layer->out * sizeof *out);
    }
    memcpy(out + layout->log_std_theta, gradient + layout->log_std_gradient,
           (size_t)(layout->num_parameters - layout->log_std_theta) * sizeof *out);
}

static void fpg_activate(fpg_activation activation, int64_t n, float *h)
{
    if (activation == FPG_TANH)
        FPG_SIMD for (int64_t i = 0; i < n; i++)
            h[i] = fpg_tanhf(h[i]);
    else
        FPG_SIMD for (int64_t i = 0; i < n; i++)
            h[i] = h[i] < 0 ? 0 : h[i]; /* keeps NaN */
}

#if FPG_LANES == 16
#  define FPG_EVENS 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#  define FPG_ODDS 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif FPG_LANES == 8
#  define FPG_EVENS 0, 2, 4, 6, 8, 10, 12, 14
#  define FPG_ODDS 1, 3, 5, 7, 9, 11, 13, 15
#elif FPG_LANES == 4
#  define FPG_EVENS 0, 2, 4, 6
#  define FPG_ODDS 1, 3, 5, 7
#endif

/* Sums each of FPG_LANES vectors: lane j of the result is the sum of v[j]. Every round adds neighbours and halves the
 * number of vectors; the rounds are written out, because a loop over them would keep v in memory. */
#if FPG_LANES > 1
FPG_INLINE void fpg_add_neighbours(fpg_vec *v, const int n)
{
    FPG_UNROLL for (int j = 0; j < n; j++)
        v[j] = __builtin_shufflevector(v[2 * j], v[2 * j + 1], FPG_EVENS) +
               __builtin_shufflevector(v[2 * j], v[2 * j + 1], FPG_ODDS);
}
#endif

FPG_INLINE fpg_vec fpg_sum_each(fpg_vec *v)
{
#if FPG_LANES >= 16
    fpg_add_neighbours(v, 8);
#endif
#if FPG_LANES >= 8
    fpg_add_neighbours(v, 4);
#endif
#if FPG_LANES >= 4
    fpg_add_neighbours(v, 2);
    fpg_add_neighbours(v, 1);
#endif
    return v[0];
}

/* Rows R up to the next multiple of FPG_PAD become copies of row R - 1. */
static void fpg_repeat_last(int32_t outputs, int32_t rows, ptrdiff_t ld, float *logits)
{
    for (int32_t a = 0; a < outputs && rows % FPG_PAD; a++, logits += ld)
        for (int32_t r = rows; r < fpg_round_up(rows, FPG_PAD); r++)
            logits[r] = logits[rows - 1];
}

/* Logits of FPG_LANES rows from h on; those after row `last` repeat it. `last` is a literal for a full block. adds: to what is
 * there, instead of to the bias. */
FPG_INLINE void fpg_output_block(const fpg_layer *head, const float *packed, const float *h, const int32_t last, const int adds,
                                 ptrdiff_t ld, float *logits)
{
    for (int32_t a = 0; a < head->out; a++) {
        const float *w = packed + head->backward + (int64_t)a * head->in_pad;
        fpg_vec sum[FPG_LANES];
        FPG_UNROLL for (int j = 0; j < FPG_LANES; j++)
            sum[j] = fpg_broadcast(0.0f);
        for (int32_t k = 0; k < head->in_pad; k += FPG_LANES) {
            const fpg_vec wk = fpg_load(w + k);
            FPG_UNROLL for (int j = 0; j < FPG_LANES; j++)
                sum[j] += wk * fpg_load(h + (ptrdiff_t)(j < last ? j : last) * head->in_pad + k);
        }
        fpg_store(logits + a * ld, fpg_sum_each(sum) + (adds ? fpg_load(logits + a * ld) : fpg_broadcast(packed[head->bias + a])));
    }
}

/* logits (num_outputs, ld) of rows of hidden activations: few outputs, so dot products, FPG_LANES rows at a time. */
static void fpg_output_forward(const fpg_layer *head, const float *packed, const float *h, int32_t rows, ptrdiff_t ld, float *logits)
{
    int32_t r = 0;
    for (; r + FPG_LANES <= rows; r += FPG_LANES)
        fpg_output_block(head, packed, h + (int64_t)r * head->in_pad, FPG_LANES - 1, 0, ld, logits + r);
    if (r < rows)
        fpg_output_block(head, packed, h + (int64_t)r * head->in_pad, rows - 1 - r, 0, ld, logits + r);
}

/* logits += h W^T. */
static void fpg_output_add(const fpg_layer *head, const float *packed, const float *h, int32_t rows, ptrdiff_t ld, float *logits)
{
    int32_t r = 0;
    for (; r + FPG_LANES <= rows; r += FPG_LANES)
        fpg_output_block(head, packed, h + (int64_t)r * head->in_pad, FPG_LANES - 1, 1, ld, logits + r);
    if (r < rows)
        fpg_output_block(head, packed, h + (int64_t)r * head->in_pad, rows - 1 - r, 1, ld, logits + r);
}

/* The last layer of a network that has others. */
static void fpg_outputs(const fpg_layout *layout, const float *packed, const float *h, int32_t rows, ptrdiff_t ld, float *logits)
{
    fpg_output_forward(&layout->output, packed, h, rows, ld, logits);
    fpg_repeat_last(layout->num_outputs, rows, ld, logits);
}

/* hidden[l] (R, out_pad) and logits (num_outputs, ld); ld >= R rounded up to FPG_PAD, and up to there logits repeat row R - 1:
 * padding that acts on them does what a row might do. x is read up to there where the network is linear. */
static void fpg_mlp_forward(const fpg_layout *layout, const float *packed, const float *x, int32_t rows, ptrdiff_t ld,
                            float *const *hidden, float *logits)
{
    if (layout->num_hidden == 0) {
        if (layout->one_hot)
            fpg_onehot_linear_forward(layout, packed, x, rows, ld, logits);
        else
            fpg_linear_forward(&layout->output, packed, x, rows, ld, logits);
        fpg_repeat_last(layout->num_outputs, rows, ld, logits);
        return;
    }
    for (int32_t l = 0; l < layout->num_hidden; l++) {
        const fpg_layer *layer = &layout->hidden[l];
        if (l == 0 && layout->one_hot) {
            fpg_onehot_forward(layout, packed, x, rows, ld, hidden[0]);
            fpg_activate(layout->activation, (int64_t)rows * layer->out_pad, hidden[0]);
            continue;
        }
        const fpg_gemm_args product = {
            .a = l ? hidden[l - 1] : x, .a_m = l ? layer->in_pad : 1, .a_k = l ? 1 : ld,
            .b = packed + layer->forward, .b_k = layer->out_pad, .c = hidden[l], .c_m = layer->out_pad,
            .row = packed + layer->bias, .depth = layer->in, .start = FPG_START_ROW};
        fpg_gemm(&product, rows, layer->out_pad);
        fpg_activate(layout->activation, (int64_t)rows * layer->out_pad, hidden[l]);
    }
    fpg_outputs(layout, packed, hidden[layout->num_hidden - 1], rows, ld, logits);
}

static void fpg_multiply_slope(fpg_activation activation, int64_t n, const float *FPG_RESTRICT h, float *FPG_RESTRICT dh)
{
    if (activation == FPG_TANH)
        FPG_SIMD for (int64_t i = 0; i < n; i++)
            dh[i] *= 1.0f - h[i] * h[i];
    else
        FPG_SIMD for (int64_t i = 0; i < n; i++)
            dh[i] = h[i] > 0 ? dh[i] : 0.0f;
}

/* How the outputs change along a direction in the parameters: d/de of them at theta + e * tangent, dz (num_outputs, ld). `tangent`
 * is packed as theta is; hidden are the activations at theta. scratch: 2 * R * max_width floats. */
static void fpg_mlp_tangent(const fpg_layout *layout, const float *packed, const float *tangent, const float *x, int32_t rows,
                            ptrdiff_t ld, float *const *hidden, float *scratch, float *dz)
{
    const fpg_gemm_end slope = layout->activation == FPG_TANH ? FPG_END_TANH_SLOPE : FPG_END_RELU_SLOPE;
    if (layout->num_hidden == 0) {
        fpg_mlp_forward(layout, tangent, x, rows, ld, NULL, dz);
        return;
    }
    float *dh = scratch, *dh_below = scratch + (int64_t)rows * layout->max_width;
    for (int32_t l = 0; l < layout->num_hidden; l++) {
        const fpg_layer *layer = &layout->hidden[l];
        float *swap = dh;
        dh = dh_below, dh_below = swap;
        if (l == 0 && layout->one_hot) {
            fpg_onehot_forward(layout, tangent, x, rows, ld, dh);
            fpg_multiply_slope(layout->activation, (int64_t)rows * layer->out_pad, hidden[0], dh);
            continue;
        }
        const fpg_gemm_args by_weights = {
            .a = l ? hidden[l - 1] : x, .a_m = l ? layer->in_pad : 1, .a_k = l ? 1 : ld,
            .b = tangent + layer->forward, .b_k = layer->out_pad, .c = dh, .c_m = layer->out_pad,
            .row = tangent + layer->bias, .depth = layer->in, .start = FPG_START_ROW, .h = hidden[l], .end = l ? FPG_END_NONE : slope};
        fpg_gemm(&by_weights, rows, layer->out_pad);
        if (l == 0)
            continue;
        const fpg_gemm_args by_input = {
            .a = dh_below, .a_m = layer->in_pad, .a_k = 1, .b = packed + layer->forward, .b_k = layer->out_pad, .c = dh,
            .c_m = layer->out_pad, .depth = layer->in, .start = FPG_START_ACCUMULATE, .h = hidden[l], .end = slope};
        fpg_gemm(&by_input, rows, layer->out_pad);
    }
    fpg_output_forward(&layout->output, tangent, hidden[layout->num_hidden - 1], rows, ld, dz);
    fpg_output_add(&layout->output, packed, dh, rows, ld, dz);
    fpg_repeat_last(layout->num_outputs, rows, ld, dz);
}

/* Rows R up to the next multiple of FPG_PAD of a chunk (size, FPG_CHUNK) become 0, as backward passes want it: what padding
 * holds may be infinite or NaN, which no weight makes 0. */
static void fpg_clear_padding(int32_t size, int32_t rows, float *chunk)
{
    for (int32_t k = 0; k < size; k++)
        memset(chunk + k * FPG_CHUNK + rows, 0, (size_t)(fpg_round_up(rows, FPG_PAD) - rows) * sizeof *chunk);
}

/* gradient (m, n) += a^T b over rows: a layer's weight gradient dy^T input. n is the padded number of columns. */
FPG_INLINE void fpg_weight_gradient(const float *a, ptrdiff_t a_m, ptrdiff_t a_k, int32_t m, const float *b, int32_t n,
                                    int32_t rows, float *gradient)
{
    const fpg_gemm_args product = {.a = a, .a_m = a_m, .a_k = a_k, .b = b, .b_k = n, .c = gradient, .c_m = n,
                                   .depth = rows, .start = FPG_START_ACCUMULATE};
    fpg_gemm(&product, m, n);
}

/* gradient += sum over rows of d(sum dlogits * logits) / d theta. x (obs_size + 1, ld) ends with a row of ones; dlogits
 * (num_scores, ld) is zero past the last row, up to FPG_PAD; log_std's rows are its gradient already. scratch: 2 * R * max_width floats. */
static void fpg_mlp_backward(const fpg_layout *layout, const float *packed, const float *x, const float *dlogits, int32_t rows,
                             ptrdiff_t ld, float *const *hidden, float *scratch, float *gradient)
{
    static const float one = 1.0f;
    const fpg_layer *head = &layout->output;
    const int32_t width = fpg_round_up(rows, FPG_PAD);
    const fpg_gemm_end slope = layout->activation == FPG_TANH ? FPG_END_TANH_SLOPE : FPG_END_RELU_SLOPE;
    for (int32_t k = head->out; k < layout->num_scores; k++)
        gradient[layout->log_std_gradient + k - head->out] += fpg_dot(dlogits + k * ld, x + layout->obs_size * ld, width);
    if (layout->num_hidden == 0) {
        if (layout->one_hot)
            fpg_onehot_linear_backward(layout, x, dlogits, rows, ld, gradient);
        else
            fpg_linear_backward(head, x, dlogits, width, ld, gradient);
        return;
    }
    const int32_t top = layout->num_hidden - 1;
    float *dh = scratch, *dh_below = scratch + (int64_t)rows * layout->max_width;
    fpg_weight_gradient(dlogits, ld, 1, head->out, hidden[top], head->in_pad, rows, gradient + head->gradient_weight);
    for (int32_t a = 0; a < head->out; a++)
        gradient[head->gradient_bias + a] += fpg_dot(dlogits + a * ld, x + layout->obs_size * ld, width);
    const fpg_gemm_args into_top = {.a = dlogits, .a_m = 1, .a_k = ld, .b = packed + head->backward, .b_k = head->in_pad,
                                    .c = dh, .c_m = head->in_pad, .depth = head->out, .h = hidden[top], .end = slope};
    fpg_gemm(&into_top, rows, head->in_pad);
    for (int32_t l = top; l > 0; l--) {
        const fpg_layer *layer = &layout->hidden[l];
        fpg_weight_gradient(&one, 0, 0, 1, dh, layer->out_pad, rows, gradient + layer->gradient_bias);
        fpg_weight_gradient(dh, 1, layer->out_pad, layer->out, hidden[l - 1], layer->in_pad, rows,
                            gradient + layer->gradient_weight);
        const fpg_gemm_args below = {.a = dh, .a_m = layer->out_pad, .a_k = 1, .b = packed + layer->backward,
                                     .b_k = layer->in_pad, .c = dh_below, .c_m = layer->in_pad, .depth = layer->out,
                                     .h = hidden[l - 1], .end = slope};
        fpg_gemm(&below, rows, layer->in_pad);
        float *swap = dh;
        dh = dh_below, dh_below = swap;
    }
    const fpg_layer *first = &layout->hidden[0];
    if (layout->one_hot)
        fpg_onehot_backward(layout, x, dh, rows, ld, gradient);
    else
        fpg_weight_gradient(x, ld, 1, first->in + 1, dh, first->out_pad, rows, gradient + first->gradient_weight);
}

#endif
