/* strict.c - environments that look at every copy they are given, padding as well: it is to hold what a copy may hold.
 *
 * A walk on a line, with an action of each kind. A function returns 1 for a copy that is no number, and a failure stops
 * the call; where memory was never written, valgrind reports the comparison. */
#include <math.h>

#include "fastpg.h"

static int32_t reset(const fpg_environment *env, int32_t width, int32_t count, const int32_t *which, const double *noise,
                     double *state)
{
    (void)env, (void)width;
    for (int32_t n = 0; n < count; n++) {
        if (!(noise[which[n]] > 0 && noise[which[n]] < 1))
            return 1;
        state[which[n]] = 2 * noise[which[n]] - 1;
    }
    return 0;
}

static int32_t step(const fpg_environment *env, int32_t width, const void *actions, const double *noise, double *state,
                    double *reward, double *end)
{
    for (int32_t i = 0; i < width; i++) {
        double force = 0;
        for (int32_t k = 0; k < env->action_size; k++) {
            const int32_t categories = env->action_categories[k], entry = k * width + i;
            const double action = categories ? ((const int32_t *)actions)[entry] : ((const float *)actions)[entry];
            if (!(categories ? action >= 0 && action < categories : isfinite(action)))
                return 1;
            force += action;
        }
        if (!isfinite(state[i]) || !(noise[i] > 0 && noise[i] < 1))
            return 1;
        state[i] += 0.1 * force + noise[i] - 0.5;
        reward[i] = -fabs(state[i]);
        end[i] = state[i] < -1.5 ? FPG_END_TERMINATED : state[i] > 1.5 ? FPG_END_TRUNCATED : 0;
    }
    return 0;
}

static int32_t observe(const fpg_environment *env, int32_t width, const double *state, float *obs)
{
    (void)env;
    for (int32_t i = 0; i < width; i++) {
        if (!isfinite(state[i]))
            return 1;
        obs[i] = (float)state[i];
    }
    return 0;
}

#define WALK                                                                                                     \
    .abi = FPG_ENV_ABI, .state_size = 1, .obs_size = 1, .reset_noise_size = 1, .step_noise_size = 1,             \
    .max_episode_steps = 7, .reset = reset, .step = step, .observe = observe

static const fpg_environment walks[] = {
    {WALK, .name = "Force", .action_size = 2, .action_low = {-1, -1}, .action_high = {1, 1}},
    {WALK, .name = "Choice", .action_size = 1, .action_categories = {3}},
    {WALK, .name = "Choices", .action_size = 2, .action_categories = {3, 2}},
    {WALK, .name = "Switches", .action_size = 3, .action_categories = {2, 2, 2}},
};

FPG_EXPORT_ENVIRONMENT(force, walks[0]);
FPG_EXPORT_ENVIRONMENT(choice, walks[1]);
FPG_EXPORT_ENVIRONMENT(choices, walks[2]);
FPG_EXPORT_ENVIRONMENT(switches, walks[3]);
