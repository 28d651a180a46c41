/* vector.h - one tile of the environments that a caller steps: from rows to lanes, step, reset, and back to rows. */
#ifndef FPG_VECTOR_H
#define FPG_VECTOR_H

#include <math.h>

#include "sources/stepped.h"
#include "sources/pass.h"
#include "sources/streams.h"
#include "simd/transpose.h"

/* Actions of a tile, 0 for padding and where the action is ignored, whatever came in its place. The caller's array was checked,
 * but another thread may have written to it since: what is no category by now becomes 0, as environments find memory by it. */
static void fpg_rows_to_lanes(const fpg_vector *v, int64_t first, int32_t count, const void *actions, void *lanes)
{
    const int32_t size = v->env.action_size, width = v->width;
    const uint8_t *FPG_RESTRICT done = v->done + first;
    for (int32_t k = 0; k < size; k++) {
        if (v->env.action_categories[0] > 0) {
            const int64_t *FPG_RESTRICT from = (const int64_t *)actions + first * size + k;
            int32_t *FPG_RESTRICT to = (int32_t *)lanes + k * width;
            const uint32_t categories = (uint32_t)v->env.action_categories[k];
            if (size == 1)
                FPG_SIMD for (int32_t i = 0; i < count; i++)
                    to[i] = (int32_t)from[i];
            else
                for (int32_t i = 0; i < count; i++)
                    to[i] = (int32_t)from[i * size];
            for (int32_t i = 0; i < count; i++)
                to[i] = done[i] | ((uint32_t)to[i] >= categories) ? 0 : to[i];
            for (int32_t i = count; i < width; i++)
                to[i] = 0;
        } else {
            const float *FPG_RESTRICT from = (const float *)actions + first * size + k;
            float *FPG_RESTRICT to = (float *)lanes + k * width;
            for (int32_t i = 0; i < count; i++)
                to[i] = done[i] ? 0.0f : from[i * size];
            for (int32_t i = count; i < width; i++)
                to[i] = 0;
        }
    }
}

/* Observations of a tile as rows; only where `only` is nonzero, if it is given. */
static fpg_status fpg_vector_observe_tile(const fpg_vector *v, int64_t tile, const fpg_vector_scratch *scratch,
                                          const uint8_t *only, void *obs)
{
    const int32_t width = v->width, size = v->env.obs_size;
    const int64_t first = tile * width;
    const int32_t count = (int32_t)(v->num_envs - first < width ? v->num_envs - first : width);
    const float *lanes = scratch->obs;
    const int32_t failed = v->env.observe(&v->env, width, v->state + first * v->env.state_size, scratch->obs);
    if (failed)
        return FPG_ENVIRONMENT_STATUS(FPG_OBSERVE, failed);
    if (v->env.obs_categories[0] > 0)
        for (int32_t k = 0; k < size; k++) {
            int64_t *FPG_RESTRICT to = (int64_t *)obs + k * v->num_envs + first;
            for (int32_t i = 0; i < count; i++)
                if (!only || only[i])
                    to[i] = (int64_t)lanes[k * width + i];
        }
    else if (only) {
        float *FPG_RESTRICT rows = (float *)obs + first * size;
        for (int32_t i = 0; i < count; i++)
            for (int32_t k = 0; only[i] && k < size; k++)
                rows[i * size + k] = lanes[k * width + i];
    } else
        fpg_transpose(count, width, size, lanes, (float *)obs + first * size);
    return FPG_OK;
}

/* Lanes which[0 .. count - 1] of the tile begin an episode. */
static fpg_status fpg_begin_episodes(fpg_vector *v, int64_t first, const fpg_vector_scratch *scratch, int32_t count,
                                     const int32_t *which)
{
    const int32_t width = v->width;
    /* A byte may alias anything: without these the compiler reads every pointer again for every lane. */
    double *FPG_RESTRICT episode_return = v->episode_return + first;
    int32_t *FPG_RESTRICT elapsed = v->elapsed + first;
    uint8_t *FPG_RESTRICT done = v->done + first;
    for (int32_t n = 0; n < count; n++) {
        const int32_t i = which[n];
        elapsed[i] = 0, done[i] = 0, episode_return[i] = 0;
    }
    fpg_stream_reset_noise(width, v->env.reset_noise_size, count, which, v->key[0] + first, v->key[1] + first, v->episode + first,
                           scratch->noise);
    const int32_t failed = v->env.reset(&v->env, width, count, which, scratch->noise, v->state + first * v->env.state_size);
    return failed ? FPG_ENVIRONMENT_STATUS(FPG_RESET, failed) : FPG_OK;
}

/* Fields of lanes which[0 .. count - 1] of the tile, (state_size, width), copied. */
static void fpg_copy_lanes(int32_t size, int32_t width, int32_t count, const int32_t *which, const double *FPG_RESTRICT from,
                           double *FPG_RESTRICT to)
{
    for (int32_t k = 0; k < size; k++)
        for (int32_t n = 0; n < count; n++)
            to[k * width + which[n]] = from[k * width + which[n]];
}

/* Where flags (0 or 1) are set. Eight bytes become the bits of one by a product whose partial products never meet, and 64
 * flags one word: a loop over the bits of each byte would end at a time that no branch predictor guesses. */
static int32_t fpg_list_set(int32_t count, const uint8_t *flags, int32_t *which)
{
    int32_t n = 0;
    for (int32_t begin = 0; begin < count; begin += 64) {
        uint64_t bits = 0;
        for (int32_t i = begin; i < count && i < begin + 64; i += 8) {
            uint64_t eight = 0;
            memcpy(&eight, flags + i, count - i < 8 ? (size_t)(count - i) : 8);
            bits |= eight * UINT64_C(0x0102040810204080) >> 56 << (i - begin);
        }
        for (; bits; bits &= bits - 1)
            which[n++] = begin + __builtin_ctzll(bits);
    }
    return n;
}

/* The first environment whose action cannot be taken, or -1. Those that are about to be reset take none. */
static int64_t fpg_vector_bad_action(const fpg_vector *v, const void *actions)
{
    const int32_t size = v->env.action_size;
    const int64_t count = v->num_envs * size;
    int bad = 0;
    if (v->env.action_categories[0] > 0) {
        const int64_t *action = actions;
        for (int32_t k = 0; k < size; k++) {
            const int64_t last = v->env.action_categories[k] - 1;
            int64_t outside = 0; /* its sign */
            if (size == 1)
                FPG_SIMD_OR(outside) for (int64_t i = 0; i < count; i++)
                    outside |= action[i] | (int64_t)((uint64_t)last - (uint64_t)action[i]);
            else
                for (int64_t i = k; i < count; i += size)
                    outside |= action[i] | (int64_t)((uint64_t)last - (uint64_t)action[i]);
            bad |= outside < 0;
        }
        if (bad)
            for (int64_t i = 0; i < count; i++)
                if ((uint64_t)action[i] >= (uint64_t)v->env.action_categories[i % size] && !v->done[i / size])
                    return i / size;
    } else if (!fpg_all_finite(actions, count)) {
        const float *action = actions;
        for (int64_t i = 0; i < count; i++)
            if (!isfinite(action[i]) && !v->done[i / size])
                return i / size;
    }
    return -1;
}

/* Lanes that step along, `which` and those from `count` on, take an action that is allowed: others may be no action at all. */
static fpg_status fpg_allow_ignored(const fpg_vector *v, int64_t first, const fpg_vector_scratch *scratch, int32_t count, int32_t resets,
                                    const int32_t *which)
{
    const int32_t width = v->width;
    const uint8_t *allowed = scratch->action_mask;
    const fpg_status status = fpg_vector_mask_tile(v, first, scratch);
    for (int32_t k = 0; status == FPG_OK && k < v->env.action_size; k++) {
        const int32_t categories = v->env.action_categories[k];
        for (int32_t n = 0; n < resets + width - count; n++) {
            const int32_t i = n < resets ? which[n] : count + n - resets;
            int32_t a = 0;
            while (a + 1 < categories && !allowed[a * width + i])
                a++;
            ((int32_t *)scratch->action)[k * width + i] = a;
        }
        allowed += categories * width;
    }
    return status;
}

static fpg_status fpg_vector_reset_tile(fpg_vector *v, int64_t tile, const fpg_vector_scratch *scratch, const uint8_t *mask,
                                        void *obs)
{
    const int64_t first = tile * v->width;
    int32_t which[FPG_VECTOR_TILE], n = v->width;
    if (mask)
        n = fpg_list_set((int32_t)(v->num_envs - first < v->width ? v->num_envs - first : v->width), mask + first, which);
    else /* the padding as well: it has to hold a state that can be stepped */
        for (int32_t i = 0; i < n; i++)
            which[i] = i;
    const fpg_status status = n > 0 ? fpg_begin_episodes(v, first, scratch, n, which) : FPG_OK;
    return status ? status : fpg_vector_observe_tile(v, tile, scratch, NULL, obs);
}

static fpg_status fpg_vector_step_tile(fpg_vector *v, int64_t tile, const fpg_vector_scratch *scratch, const void *actions,
                                       const fpg_step_output *out)
{
    const fpg_environment *env = &v->env;
    const int32_t width = v->width, limit = env->max_episode_steps > 0 ? env->max_episode_steps : INT32_MAX;
    const int64_t first = tile * width;
    const int32_t count = (int32_t)(v->num_envs - first < width ? v->num_envs - first : width);
    double rewards[FPG_VECTOR_TILE], end[FPG_VECTOR_TILE], *const state = v->state + first * env->state_size;
    double *const reward = count == width ? out->reward + first : rewards; /* no room there for padding */
    int32_t which[FPG_VECTOR_TILE], resets = 0, ends = 0, failed;
    uint8_t terminated[FPG_VECTOR_TILE], truncated[FPG_VECTOR_TILE];
    uint8_t *FPG_RESTRICT done = v->done + first;
    int32_t *FPG_RESTRICT elapsed = v->elapsed + first;
    double *FPG_RESTRICT episode_return = v->episode_return + first;
    fpg_status status = FPG_OK;
    fpg_rows_to_lanes(v, first, count, actions, scratch->action);
    const int put_back = v->autoreset == FPG_NEXT_STEP && (resets = fpg_list_set(width, done, which)) > 0 && !v->native;
    if (put_back) { /* They take the others' step as well, from a state that can be stepped, and are then put back. */
        status = fpg_begin_episodes(v, first, scratch, resets, which);
        fpg_copy_lanes(env->state_size, width, resets, which, state, scratch->begun);
    }
    if (status == FPG_OK && env->mask && !v->native && (put_back || count < width))
        status = fpg_allow_ignored(v, first, scratch, count, put_back ? resets : 0, which);
    fpg_stream_step_noise(width, env->step_noise_size, v->key[0] + first, v->key[1] + first, v->episode + first, elapsed, scratch->noise);
    if (status == FPG_OK && (failed = env->step(env, width, scratch->action, scratch->noise, state, reward, end)))
        status = FPG_ENVIRONMENT_STATUS(FPG_STEP, failed);
    if (status != FPG_OK)
        return status;
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        elapsed[i] += elapsed[i] < INT32_MAX; /* an episode that has ended there may take one step more */
        terminated[i] = end[i] != 0;
        truncated[i] = elapsed[i] >= limit; /* Gymnasium sets both */
    }
    if (!v->native)
        for (int32_t i = 0; i < width; i++)
            terminated[i] = fpg_is_terminated(end[i]), truncated[i] |= fpg_is_truncated(end[i]);
    for (int32_t n = 0; n < resets; n++)
        reward[which[n]] = 0, terminated[which[n]] = 0, truncated[which[n]] = 0, elapsed[which[n]] = 0;
    if (put_back) {
        fpg_copy_lanes(env->state_size, width, resets, which, scratch->begun, state);
        resets = 0;
    }
    FPG_SIMD for (int32_t i = 0; i < width; i++)
        episode_return[i] += reward[i];
    for (int32_t i = 0; i < width; i++) {
        done[i] = terminated[i] | truncated[i];
        ends += done[i];
    }
    if (count < width)
        memcpy(out->reward + first, reward, (size_t)count * sizeof *reward);
    memcpy(out->terminated + first, terminated, (size_t)count);
    memcpy(out->truncated + first, truncated, (size_t)count);
    if (ends > 0 && v->autoreset == FPG_SAME_STEP) {
        if ((status = fpg_vector_observe_tile(v, tile, scratch, done, out->final_obs)) != FPG_OK)
            return status;
        resets = fpg_list_set(width, done, which);
        for (int32_t n = 0; out->final_state && n < resets && which[n] < count; n++)
            for (int32_t k = 0; k < env->state_size; k++)
                out->final_state[(first + which[n]) * env->state_size + k] = state[k * width + which[n]];
    } else if (ends > 0 && v->autoreset == FPG_NO_AUTORESET) { /* nobody else resets the padding */
        resets = fpg_list_set(width - count, done + count, which);
        for (int32_t n = 0; n < resets; n++)
            which[n] += count;
    }
    if (resets > 0 && (status = fpg_begin_episodes(v, first, scratch, resets, which)) != FPG_OK)
        return status;
    return fpg_vector_observe_tile(v, tile, scratch, NULL, out->obs);
}

#endif
