/* value.h - the value function along a tape: its values, what follows a cut, and the gradient of its regression. */
#ifndef FPG_VALUE_H
#define FPG_VALUE_H

#include "base/internal.h"
#include "simd/philox.h"
#include "network/mlp.h"

/* `count` rows of worker->x, (obs_size, FPG_CHUNK), to worker->values. */
static void fpg_value_forward(const fpg_pass *pass, fpg_worker *worker, int32_t count)
{
    fpg_mlp_forward(pass->value_layout, pass->value_packed, worker->x, count, FPG_CHUNK, worker->value_hidden, worker->values);
}

/* Steps t .. t + count - 1 of a tape become the rows s * lanes + i of worker->x; 0 past the last, as backward passes want it. */
static void fpg_load_tape_obs(const fpg_pass *pass, const fpg_tape *tape, int64_t t, int32_t count, fpg_worker *worker)
{
    const int32_t width = pass->width, lanes = pass->lanes, size = pass->layout->obs_size;
    fpg_clear_padding(size, count * lanes, worker->x);
    for (int32_t s = 0; s < count; s++)
        for (int32_t d = 0; d < size; d++)
            memcpy(worker->x + d * FPG_CHUNK + s * lanes, tape->obs + ((t + s) * size + d) * width, (size_t)lanes * sizeof(float));
}

/* tape->value of every step. */
static void fpg_tape_values(const fpg_pass *pass, fpg_worker *worker, const fpg_tape *tape, int64_t steps)
{
    const int32_t width = pass->width, lanes = pass->lanes;
    const int64_t per_chunk = FPG_CHUNK / lanes;
    memset(tape->value, 0, (size_t)(steps * width) * sizeof(float));
    for (int64_t t = 0; t < steps; t += per_chunk) {
        const int32_t count = (int32_t)(steps - t < per_chunk ? steps - t : per_chunk);
        fpg_load_tape_obs(pass, tape, t, count, worker);
        fpg_value_forward(pass, worker, count * lanes);
        for (int32_t s = 0; s < count; s++)
            memcpy(tape->value + (t + s) * width, worker->values + s * lanes, (size_t)lanes * sizeof(float));
    }
}

/* V of the present state of the tile's lanes which[0 .. count - 1], into bootstrap[which[n]]; 0 if the environment fails. */
static int fpg_bootstrap(const fpg_pass *pass, const fpg_tile *tile, fpg_worker *worker, int32_t count, const int32_t *which,
                         float *bootstrap)
{
    const int32_t width = pass->width;
    float *obs = worker->dlogits; /* at least as large: see fpg_worker_init */
    if (!fpg_went_well(pass->control, FPG_OBSERVE, pass->env->observe(pass->env, width, tile->state, obs)))
        return 0;
    for (int32_t d = 0; d < pass->layout->obs_size; d++)
        for (int32_t n = 0; n < count; n++)
            worker->x[d * FPG_CHUNK + n] = obs[d * width + which[n]];
    fpg_value_forward(pass, worker, count);
    for (int32_t n = 0; n < count; n++)
        bootstrap[which[n]] = worker->values[n];
    return 1;
}

/* Sums of weights, targets and observations over the steps that count. */
static void fpg_tally_retained(const fpg_pass *pass, const fpg_tape *tape, int64_t steps, fpg_slot *slot)
{
    const int32_t size = pass->layout->obs_size, width = pass->width;
    fpg_tally *tally = &slot->tally;
    for (int64_t t = 0; slot->moments && t < steps; t++)
        for (int32_t d = 0; d < size; d++) {
            const float *FPG_RESTRICT x = tape->obs + (t * size + d) * width, *FPG_RESTRICT active = tape->active + t * width;
            double sum = 0, square = 0;
            FPG_SIMD_SUM(sum, square) for (int32_t i = 0; i < width; i++) {
                const double counted = active[i] > 0 ? x[i] : 0.0f;
                sum += counted, square += counted * counted;
            }
            slot->moments[d] += sum, slot->moments[size + d] += square;
        }
    for (int64_t k = 0; k < steps * pass->width; k++)
        if (tape->active[k] > 0) {
            const double weight = tape->reward[k], target = tape->value[k];
            tally->sum_weight += weight, tally->sum_weight_square += weight * weight;
            tally->sum_target += target, tally->sum_target_square += target * target;
        }
}

/* slot->gradient += d/d theta of -1/2 sum (V(s_t) - target_t)^2, over the minibatch's chunks of a retained tape. */
static void fpg_tape_value_gradient(const fpg_pass *pass, fpg_tile *tile, int64_t first_env, fpg_worker *worker, int worker_index,
                                    const fpg_minibatch *minibatch, fpg_slot *slot)
{
    const fpg_tape *tape = tile->tape;
    const int32_t width = pass->width, lanes = pass->lanes;
    const int64_t per_chunk = FPG_CHUNK / lanes;
    for (int64_t t = 0; t < tile->steps; t += per_chunk) {
        const int32_t count = (int32_t)(tile->steps - t < per_chunk ? tile->steps - t : per_chunk), rows = count * lanes;
        if (minibatch->count > 1) {
            uint32_t word[4];
            fpg_philox4x32((uint32_t)first_env, (uint32_t)t, pass->iteration, FPG_DRAW_MINIBATCH | minibatch->epoch << 8,
                           (uint32_t)pass->seed, (uint32_t)(pass->seed >> 32), &word[0], &word[1], &word[2], &word[3]);
            if ((int32_t)((uint64_t)word[0] * (uint64_t)minibatch->count >> 32) != minibatch->index)
                continue;
        }
        if (fpg_should_stop(pass->control, worker_index))
            return;
        fpg_load_tape_obs(pass, tape, t, count, worker);
        fpg_value_forward(pass, worker, rows);
        for (int32_t s = 0; s < count; s++) {
            const float *target = tape->value + (t + s) * width, *active = tape->active + (t + s) * width;
            for (int32_t i = 0; i < lanes; i++) {
                const float error = active[i] > 0 ? target[i] - worker->values[s * lanes + i] : 0.0f;
                worker->values[s * lanes + i] = error;
                slot->rows += active[i] > 0;
            }
        }
        memset(worker->values + rows, 0, (size_t)(FPG_CHUNK - rows) * sizeof(float));
        fpg_mlp_backward(pass->value_layout, pass->value_packed, worker->x, worker->values, rows, FPG_CHUNK, worker->value_hidden,
                         worker->backward, slot->gradient);
    }
}

#endif
