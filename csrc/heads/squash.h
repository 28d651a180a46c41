/* squash.h - what becomes of a Gaussian's actions u on their way to an environment with bounds: tanh(u), scaled to them.
 *
 * Rows hold u itself. An action near a bound, rounded to float32, does not tell it any more; and as the map does not depend on the
 * policy, scores, ratios, divergences and Fisher matrices are those of u.
 */
#ifndef FPG_SQUASH_H
#define FPG_SQUASH_H

#include <math.h>

#include "heads/bernoulli.h"
#include "simd/simd.h"
#include "vecmath.h"

#define FPG_LOG_2 0.693147181f

/* log_prob of u becomes that of the environment's action: minus the logarithm of its derivative by u, with
 * log(1 - tanh(u)^2) = 2 (log 2 - |u| - log(1 + e^(-2 |u|))), which neither cancels nor overflows. */
static void fpg_squash_log_prob(int32_t size, float log_scale, int32_t width, ptrdiff_t ld, const float *actions,
                                float *FPG_RESTRICT log_prob)
{
    for (int32_t i = 0; i < width; i++)
        log_prob[i] -= log_scale;
    for (int32_t k = 0; k < size; k++) {
        const float *FPG_RESTRICT u = actions + k * ld;
        FPG_SIMD for (int32_t i = 0; i < width; i++) {
            const float magnitude = u[i] < 0 ? -u[i] : u[i];
            log_prob[i] -= 2.0f * (FPG_LOG_2 - magnitude - fpg_log1p_small(fpg_expf(-2.0f * magnitude)));
        }
    }
}

/* One component's actions, (width,), strictly between the bounds; NaN stays. A product of two float32 is exact in float64, so that no
 * contraction can change the result. */
static void fpg_squash_actions(float low, float high, int32_t width, float *FPG_RESTRICT action)
{
    const double middle = 0.5 * ((double)low + high), half = 0.5f * high - 0.5f * low;
    const float least = nextafterf(low, high), most = nextafterf(high, low);
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        const float scaled = (float)(middle + half * (double)fpg_tanhf(action[i]));
        action[i] = scaled < least ? least : scaled > most ? most : scaled;
    }
}

#endif
