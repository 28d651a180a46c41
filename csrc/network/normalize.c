/* normalize.c - running mean and standard deviation of observations, folded into a network's first layer.
 *
 * A network of normalised observations (x - mean) / std is a network of x with other parameters in the first layer:
 * W' = W / std, b' = b - W' mean. So steps are taken on W and b, everything that runs a policy gets W' and b', and neither
 * the kernels nor a saved policy know of normalisation. W and b are made of W' and b' anew
 * in every iteration, by the statistics that there are then.
 */
#include "network/normalize.h"
#include "base/memory.h"

#include <math.h>

int fpg_normalizer_init(fpg_normalizer *z, int32_t size)
{
    z->size = size, z->count = 0;
    z->mean = fpg_calloc(4 * (size_t)size, sizeof *z->mean);
    if (!z->mean)
        return 0;
    z->square = z->mean + size, z->shift = z->square + size, z->std = z->shift + size;
    for (int32_t i = 0; i < size; i++)
        z->std[i] = 1;
    return 1;
}

void fpg_normalizer_free(fpg_normalizer *z) { fpg_free(z->mean); }

/* Chan, Golub & LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979. */
void fpg_normalizer_add(fpg_normalizer *z, int64_t count, const double *sum, const double *sum_square)
{
    const double n = (double)z->count, m = (double)count;
    for (int32_t i = 0; i < z->size; i++) {
        const double mean = sum[i] / m, delta = mean - z->mean[i];
        const double square = sum_square[i] - m * mean * mean;
        z->square[i] += (square > 0 ? square : 0) + delta * delta * n * m / (n + m);
        z->mean[i] += delta * m / (n + m);
    }
    z->count += count;
    for (int32_t i = 0; i < z->size; i++) {
        const double std = sqrt(z->square[i] / (double)z->count);
        z->shift[i] = z->mean[i];
        z->std[i] = std > 1e-6 * fabs(z->mean[i]) + 1e-8 ? std : 1; /* what never varies is only centred */
    }
}

/* inner: parameters for normalised observations; outer: the same network for raw ones. `outputs` of the first layer. */
void fpg_normalizer_fold(const fpg_normalizer *z, int32_t outputs, int64_t num_parameters, const float *inner, float *outer)
{
    const int64_t bias = (int64_t)outputs * z->size;
    memcpy(outer, inner, (size_t)num_parameters * sizeof *outer);
    for (int32_t o = 0; o < outputs; o++) {
        double b = inner[bias + o];
        for (int32_t i = 0; i < z->size; i++) {
            const double w = inner[(int64_t)o * z->size + i] / z->std[i];
            outer[(int64_t)o * z->size + i] = (float)w;
            b -= w * z->shift[i];
        }
        outer[bias + o] = (float)b;
    }
}

/* The way back: the inner parameters of a network that is known by its outer ones. */
void fpg_normalizer_unfold(const fpg_normalizer *z, int32_t outputs, int64_t num_parameters, const float *outer, float *inner)
{
    const int64_t bias = (int64_t)outputs * z->size;
    memcpy(inner, outer, (size_t)num_parameters * sizeof *inner);
    for (int32_t o = 0; o < outputs; o++) {
        double b = outer[bias + o];
        for (int32_t i = 0; i < z->size; i++) {
            const double w = outer[(int64_t)o * z->size + i];
            inner[(int64_t)o * z->size + i] = (float)(w * z->std[i]);
            b += w * z->shift[i];
        }
        inner[bias + o] = (float)b;
    }
}

/* A gradient by the outer parameters becomes the gradient by the inner ones, in place. */
void fpg_normalizer_chain(const fpg_normalizer *z, int32_t outputs, float *gradient)
{
    const int64_t bias = (int64_t)outputs * z->size;
    for (int32_t o = 0; o < outputs; o++)
        for (int32_t i = 0; i < z->size; i++) {
            float *g = &gradient[(int64_t)o * z->size + i];
            *g = (float)((*g - gradient[bias + o] * z->shift[i]) / z->std[i]);
        }
}
