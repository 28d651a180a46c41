/* integrator.c - a cart on a line, pushed by a bounded force, as an environment for fastpg.load_env.
 *
 * Bring the cart to 0 and keep it there; beyond 5 it is lost. State and observation: position, velocity. Action: a force
 * in [-1, 1]. A gust of wind is drawn at every step. Compile it:
 *
 *     cc -O3 -fPIC -shared -I"$(python -c 'import fastpg; print(fastpg.get_include())')" integrator.c -o integrator.so
 */
#include <math.h>

#include "fastpg.h"

enum { GUST, MASS };

static int32_t reset(const fpg_environment *env, int32_t width, int32_t count, const int32_t *which, const double *noise,
                     double *state)
{
    (void)env;
    for (int32_t n = 0; n < count; n++) {
        const int32_t i = which[n];
        state[i] = 2 * noise[i] - 1; /* field 0 of copy i */
        state[width + i] = 0;        /* field 1 */
    }
    return 0;
}

static int32_t step(const fpg_environment *env, int32_t width, const void *actions, const double *noise, double *state,
                    double *reward, double *end)
{
    const double dt = 0.1, gust = env->params[GUST], per_mass = 1 / env->params[MASS];
    const float *action = actions;
    double *position = state, *velocity = state + width;
    if (!(env->params[MASS] > 0))
        return 1; /* stops training with an error that shows this number */
    for (int32_t i = 0; i < width; i++) {
        const double wanted = action[i], force = wanted < -1 ? -1 : wanted > 1 ? 1 : wanted;
        velocity[i] += dt * per_mass * (force + gust * (2 * noise[i] - 1));
        position[i] += dt * velocity[i];
        reward[i] = -(position[i] * position[i] + 0.1 * velocity[i] * velocity[i] + 0.01 * force * force);
        end[i] = fabs(position[i]) > 5 ? FPG_END_TERMINATED : 0;
    }
    return 0;
}

static int32_t observe(const fpg_environment *env, int32_t width, const double *state, float *obs)
{
    (void)env;
    for (int32_t i = 0; i < 2 * width; i++)
        obs[i] = (float)state[i];
    return 0;
}

static const char *const param_names[] = {"gust", "mass", NULL};

static const fpg_environment integrator = {
    .abi = FPG_ENV_ABI, .name = "Integrator", .state_size = 2, .obs_size = 2, .action_size = 1,
    .action_low = {-1}, .action_high = {1}, .reset_noise_size = 1, .step_noise_size = 1, .max_episode_steps = 100,
    .params = {[GUST] = 0.2, [MASS] = 1}, .param_names = param_names,
    .reset = reset, .step = step, .observe = observe,
};

/* The name that fastpg looks for. */
FPG_EXPORT_ENVIRONMENT(fastpg_environment, integrator);
