/* pendulum.h - Pendulum, with Gymnasium's dynamics (gymnasium/envs/classic_control/pendulum.py) as NumPy 2 computes them.
 *
 * A rod, m = l = 1, to be swung up and held there; Euler's method with the new velocity. State: theta (0 is up, never
 * wrapped), theta_dot. Observation: cos theta, sin theta, theta_dot. Action: a torque, clipped to [-2, 2]. It is a
 * float32, so 3 u and 0.001 u^2 are float32 products; all else is float64. No state is absorbing.
 * params[0]: gravity; params[1], params[2]: a reset draws theta and theta_dot from +- these.
 *
 * Gymnasium squares u by powf, which glibc rounds to the other neighbour for one u in a thousand: its reward is then up to
 * 5e-10 away from this one.
 */
#ifndef FPG_PENDULUM_H
#define FPG_PENDULUM_H

#include "fastpg.h"
#include "simd/simd.h"
#include "vecmath.h"

static int32_t fpg_pendulum_reset(const fpg_environment *env, int32_t width, int32_t count, const int32_t *which,
                                  const double *FPG_RESTRICT noise, double *FPG_RESTRICT state)
{
    for (int32_t n = 0; n < count; n++)
        for (int32_t k = 0; k < 2; k++)
            state[k * width + which[n]] = -env->params[1 + k] + 2 * env->params[1 + k] * noise[k * width + which[n]];
    return 0;
}

/* ((x + pi) % (2 pi)) - pi with Python's %. */
static inline double fpg_angle_normalize(double x)
{
    const double y = x + FPG_PI;
    const double turns = ((y * (1 / FPG_TWO_PI) - 0.5) + FPG_ROUND) - FPG_ROUND; /* the floor, or a neighbour at the edge */
    double rest = fpg_minus_turns(y, turns);
    rest = rest < 0 ? rest + FPG_TWO_PI : rest;
    rest = rest >= FPG_TWO_PI ? rest - FPG_TWO_PI : rest;
    return rest - FPG_PI;
}

static int32_t fpg_pendulum_step(const fpg_environment *env, int32_t width, const void *actions, const double *noise,
                                 double *FPG_RESTRICT state, double *FPG_RESTRICT reward, double *FPG_RESTRICT terminated)
{
    const double max_speed = 8, max_torque = 2, dt = 0.05, gravity = 3 * env->params[0] / 2;
    double *FPG_RESTRICT thetas = state, *FPG_RESTRICT theta_dots = state + width;
    const float *FPG_RESTRICT action = actions;
    (void)noise;
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        const double theta = thetas[i], theta_dot = theta_dots[i], u = fpg_clip(action[i], -max_torque, max_torque);
        const double angle = fpg_angle_normalize(theta);
        const double effort = fpg_single((double)0.001f * fpg_single(u * u));
        reward[i] = -(angle * angle + 0.1 * (theta_dot * theta_dot) + effort);
        const double new_dot = theta_dot + (gravity * fpg_sin(theta) + fpg_single(3 * u)) * dt;
        theta_dots[i] = fpg_clip(new_dot, -max_speed, max_speed);
        thetas[i] = theta + theta_dots[i] * dt;
        terminated[i] = 0.0;
    }
    return 0;
}

static int32_t fpg_pendulum_observe(const fpg_environment *env, int32_t width, const double *FPG_RESTRICT state,
                                    float *FPG_RESTRICT obs)
{
    (void)env;
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        double sine, cosine;
        fpg_sincos(state[i], &sine, &cosine);
        obs[i] = (float)cosine;
        obs[width + i] = (float)sine;
        obs[2 * width + i] = (float)state[width + i];
    }
    return 0;
}

static const fpg_environment fpg_pendulum = {
    .name = "pendulum", .abi = FPG_ENV_ABI,
    .state_size = 2, .obs_size = 3, .action_size = 1, .action_low = {-2}, .action_high = {2},
    .reset_noise_size = 2, .params = {10, FPG_PI, 1},
    .reset = fpg_pendulum_reset, .step = fpg_pendulum_step, .observe = fpg_pendulum_observe,
};

#endif
