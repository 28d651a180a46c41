/* tabular.h - any finite Markov decision process whose transitions fit in memory: the data is a fpg_tabular.
 *
 * State: the number of the state, and the probability that is reported of the last transition (1 after a reset). A step
 * draws by the inverse of the cumulative distribution, as Gymnasium's categorical_sample does: the first outcome whose
 * cumulative exceeds the noise.
 *
 * The time goes into gathers, so the layout asks for few:
 * - rows are padded to a power of two of outcomes, which a search goes through in log2 steps that are the same for every
 *   copy: 2 gathers for the 3 outcomes of FrozenLake, 4 for the 10 of Blackjack;
 * - the next state and whether it is terminal are one number;
 * - where every row has one outcome there is no search, no noise, and no probability to look up: it is 1.
 */
#ifndef FPG_TABULAR_H
#define FPG_TABULAR_H

#include "fastpg.h"
#include "simd/simd.h"

/* Copies which[n] get the first start whose cumulative exceeds their noise; the last start's is 1. */
static int32_t fpg_tabular_reset(const fpg_environment *env, int32_t width, int32_t count, const int32_t *which,
                                 const double *FPG_RESTRICT noise, double *FPG_RESTRICT state)
{
    const fpg_tabular *table = env->data;
    for (int32_t n = 0; n < count; n++) {
        const int32_t i = which[n];
        int32_t low = 0, high = table->num_starts - 1;
        while (low < high) {
            const int32_t middle = (low + high) / 2;
            if (table->start_cumulative[middle] > noise[i])
                high = middle;
            else
                low = middle + 1;
        }
        state[i] = table->start[low];
        state[width + i] = 1.0;
    }
    return 0;
}

/* log2_outcomes is the table's; where the caller passes a constant 0, what that makes superfluous is not compiled. */
FPG_INLINE void fpg_tabular_steps(const fpg_tabular *table, const int32_t log2_outcomes, int32_t width,
                                  const int32_t *FPG_RESTRICT action, const double *FPG_RESTRICT noise,
                                  double *FPG_RESTRICT state, double *FPG_RESTRICT reported, double *FPG_RESTRICT reward,
                                  double *FPG_RESTRICT terminated)
{
    const double *FPG_RESTRICT nexts = table->next, *FPG_RESTRICT rewards = table->reward;
    const double *FPG_RESTRICT probabilities = table->probability;
    const int32_t num_actions = table->num_actions;
    for (int32_t begin = 0; begin < width; begin += FPG_PAD) {
        int32_t outcome[FPG_PAD];
        FPG_SIMD for (int32_t i = 0; i < FPG_PAD; i++)
            outcome[i] = ((int32_t)state[begin + i] * num_actions + action[begin + i]) << log2_outcomes;
        for (int32_t half = (1 << log2_outcomes) / 2; half > 0; half /= 2) {
            const double *FPG_RESTRICT cumulative = table->cumulative + half - 1; /* of the last outcome of the first half */
            FPG_SIMD for (int32_t i = 0; i < FPG_PAD; i++)
                outcome[i] += cumulative[outcome[i]] > noise[begin + i] ? 0 : half;
        }
        FPG_SIMD for (int32_t i = 0; i < FPG_PAD; i++) {
            const double next = nexts[outcome[i]];
            const int end = next < 0;
            state[begin + i] = end ? -1.0 - next : next;
            terminated[begin + i] = end ? 1.0 : 0.0;
            reward[begin + i] = rewards[outcome[i]];
            reported[begin + i] = log2_outcomes > 0 ? probabilities[outcome[i]] : 1.0;
        }
    }
}

static int32_t fpg_tabular_step(const fpg_environment *env, int32_t width, const void *action, const double *noise, double *state,
                                double *reward, double *terminated)
{
    const fpg_tabular *table = env->data;
    double *reported = state + width;
    if (table->log2_outcomes == 0)
        fpg_tabular_steps(table, 0, width, action, noise, state, reported, reward, terminated);
    else
        fpg_tabular_steps(table, table->log2_outcomes, width, action, noise, state, reported, reward, terminated);
    return 0;
}

static int32_t fpg_tabular_observe(const fpg_environment *env, int32_t width, const double *FPG_RESTRICT state, float *FPG_RESTRICT obs)
{
    const fpg_tabular *table = env->data;
    for (int32_t k = 0; k < env->obs_size; k++) {
        const float *FPG_RESTRICT component = table->obs + (int64_t)k * table->num_states;
        FPG_SIMD for (int32_t i = 0; i < width; i++)
            obs[k * width + i] = component[(int32_t)state[i]];
    }
    return 0;
}

static int32_t fpg_tabular_mask(const fpg_environment *env, int32_t width, const double *FPG_RESTRICT state,
                                uint8_t *FPG_RESTRICT action_mask)
{
    const fpg_tabular *table = env->data;
    for (int32_t a = 0; a < table->num_actions; a++) {
        const uint8_t *FPG_RESTRICT allowed = table->action_mask + (int64_t)a * table->num_states;
        for (int32_t i = 0; i < width; i++)
            action_mask[a * width + i] = allowed[(int32_t)state[i]];
    }
    return 0;
}

/* What is missing here follows from the table: obs_size, categories, step_noise_size, data. */
static const fpg_environment fpg_tabular_environment = {
    .name = "tabular", .abi = FPG_ENV_ABI,
    .state_size = 2, .action_size = 1, .reset_noise_size = 1,
    .reset = fpg_tabular_reset, .step = fpg_tabular_step, .observe = fpg_tabular_observe, .mask = fpg_tabular_mask,
};

#endif
