/* streams.h - the random numbers of environments that a caller steps, resets or collects from.
 *
 * Each environment has a seed of its own, the key, and counts its episodes. A reset's uniforms are those of the counter
 * (0, episode), a step's those of (steps into the episode, episode): neither depends on the other environments, on tiles or
 * on who does the stepping.
 */
#ifndef FPG_STREAMS_H
#define FPG_STREAMS_H

#include "base/sizes.h"
#include "simd/philox.h"

/* Uniforms for lanes which[0 .. count - 1], which begin an episode: noise (size, width). Counts their episodes up. */
static void fpg_stream_reset_noise(int32_t width, int32_t size, int32_t count, const int32_t *which, const uint32_t *FPG_RESTRICT keys0,
                                   const uint32_t *FPG_RESTRICT keys1, uint32_t *FPG_RESTRICT episodes, double *FPG_RESTRICT noise)
{
    const int32_t padded = fpg_round_up(count, FPG_PAD);
    uint32_t key0[FPG_VECTOR_TILE], key1[FPG_VECTOR_TILE], episode[FPG_VECTOR_TILE], words[4 * FPG_VECTOR_TILE];
    for (int32_t n = 0; n < count; n++) {
        const int32_t i = which[n];
        key0[n] = keys0[i], key1[n] = keys1[i], episode[n] = ++episodes[i];
    }
    for (int32_t n = count; n < padded; n++)
        key0[n] = key1[n] = episode[n] = 0;
    for (int32_t k = 0; k < size; k += 4) {
        FPG_SIMD for (int32_t n = 0; n < padded; n++)
            fpg_philox4x32(0, episode[n], 0, FPG_DRAW_RESET | (uint32_t)k << 8, key0[n], key1[n], &words[n], &words[FPG_VECTOR_TILE + n],
                           &words[2 * FPG_VECTOR_TILE + n], &words[3 * FPG_VECTOR_TILE + n]);
        for (int32_t j = 0; j < 4 && k + j < size; j++)
            for (int32_t n = 0; n < count; n++)
                noise[(k + j) * width + which[n]] = fpg_uniform_double(words[j * FPG_VECTOR_TILE + n]);
    }
}

/* Uniforms for a step of each of `width` lanes: noise (size, width). */
static void fpg_stream_step_noise(int32_t width, int32_t size, const uint32_t *FPG_RESTRICT key0, const uint32_t *FPG_RESTRICT key1,
                                  const uint32_t *FPG_RESTRICT episode, const int32_t *FPG_RESTRICT elapsed, double *FPG_RESTRICT noise)
{
    for (int32_t k = 0; k < size; k += 4) {
        uint32_t words[4 * FPG_VECTOR_TILE];
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            fpg_philox4x32((uint32_t)elapsed[i], episode[i], 0, FPG_DRAW_STEP | (uint32_t)k << 8, key0[i], key1[i], &words[i],
                           &words[width + i], &words[2 * width + i], &words[3 * width + i]);
        for (int32_t j = 0; j < 4 && k + j < size; j++)
            FPG_SIMD for (int32_t i = 0; i < width; i++)
                noise[(k + j) * width + i] = fpg_uniform_double(words[j * width + i]);
    }
}

#endif
