/* philox.h - Philox4x32-10, a counter-based random number generator.
 *
 * Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. Four words out for four
 * words of counter and two of key, with no state: any slice of the environments can be computed anywhere.
 *
 * fastpg's counters are (environment, step, iteration, purpose); the key is the seed.
 */
#ifndef FPG_PHILOX_H
#define FPG_PHILOX_H

#include "simd/simd.h"


FPG_INLINE void fpg_philox4x32(uint32_t c0, uint32_t c1, uint32_t c2, uint32_t c3, uint32_t k0, uint32_t k1, uint32_t *o0,
                               uint32_t *o1, uint32_t *o2, uint32_t *o3)
{
    FPG_UNROLL for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)c0 * 0xD2511F53u, p1 = (uint64_t)c2 * 0xCD9E8D57u;
        const uint32_t hi0 = (uint32_t)(p0 >> 32), hi1 = (uint32_t)(p1 >> 32);
        c0 = hi1 ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = hi0 ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    *o0 = c0, *o1 = c1, *o2 = c2, *o3 = c3;
}

/* One word to a uniform strictly inside (0, 1): float32 on a grid of 2^-24, float64 of 2^-32, both centred. */
FPG_INLINE float fpg_uniform_float(uint32_t word) { return ((float)(int32_t)(word >> 9) + 0.5f) * 0x1p-23f; }
FPG_INLINE double fpg_uniform_double(uint32_t word) { return ((double)word + 0.5) * 0x1p-32; }

/* Four words for each of `width` environments from `first` on: words[j * width + i]. */
static void fpg_philox_fill(int32_t width, uint32_t first, uint32_t step, uint32_t iteration, uint32_t purpose, uint64_t seed,
                            uint32_t *FPG_RESTRICT words)
{
    const uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    FPG_SIMD for (int32_t i = 0; i < width; i++)
        fpg_philox4x32(first + (uint32_t)i, step, iteration, purpose, k0, k1, &words[i], &words[width + i],
                       &words[2 * width + i], &words[3 * width + i]);
}

#endif
