/* cartpole.h - CartPole, with Gymnasium's dynamics (gymnasium/envs/classic_control/cartpole.py) in float64.
 *
 * Barto, Sutton & Anderson, "Neuronlike adaptive elements that can solve difficult learning control problems",
 * 1983; equations of motion by Florian, 2007. State and observation: x, x_dot, theta, theta_dot.
 * params[0]: nonzero for the reward of the 1983 paper (0, and -1 at the end) in place of 1 every step;
 * params[1], params[2]: the bounds of every component at a reset.
 */
#ifndef FPG_CARTPOLE_H
#define FPG_CARTPOLE_H

#include "fastpg.h"
#include "simd/simd.h"
#include "vecmath.h"

static int32_t fpg_cartpole_reset(const fpg_environment *env, int32_t width, int32_t count, const int32_t *which,
                                  const double *FPG_RESTRICT noise, double *FPG_RESTRICT state)
{
    const double low = env->params[1], range = env->params[2] - low;
    for (int32_t n = 0; n < count; n++)
        for (int32_t k = 0; k < 4; k++)
            state[k * width + which[n]] = low + range * noise[k * width + which[n]];
    return 0;
}

/* Where the caller passes a constant `small`, one of the two is compiled. */
FPG_INLINE void fpg_cartpole_steps(const fpg_environment *env, const int small, int32_t width, const int32_t *FPG_RESTRICT action,
                                   double *FPG_RESTRICT state, double *FPG_RESTRICT reward, double *FPG_RESTRICT terminated)
{
    const double gravity = 9.8, masspole = 0.1, total_mass = 1.1, length = 0.5, tau = 0.02, force_mag = 10.0;
    const double polemass_length = masspole * length;
    const double theta_limit = 12 * 2 * 3.14159265358979323846 / 360, x_limit = 2.4;
    const double reward_alive = env->params[0] != 0 ? 0.0 : 1.0, reward_end = env->params[0] != 0 ? -1.0 : 1.0;
    double *FPG_RESTRICT xs = state, *FPG_RESTRICT x_dots = state + width;
    double *FPG_RESTRICT thetas = state + 2 * width, *FPG_RESTRICT theta_dots = state + 3 * width;
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        const double x_dot = x_dots[i], theta_dot = theta_dots[i];
        const double force = action[i] ? force_mag : -force_mag;
        double sintheta, costheta;
        if (small)
            fpg_sincos_small(thetas[i], &sintheta, &costheta);
        else
            fpg_sincos(thetas[i], &sintheta, &costheta);
        const double temp = (force + polemass_length * theta_dot * theta_dot * sintheta) * (1.0 / total_mass);
        const double thetaacc = (gravity * sintheta - costheta * temp) /
                                (length * (4.0 / 3.0) - length * masspole / total_mass * costheta * costheta);
        const double xacc = temp - polemass_length / total_mass * thetaacc * costheta;
        const double x = xs[i] + tau * x_dot, theta = thetas[i] + tau * theta_dot;
        xs[i] = x;
        x_dots[i] = x_dot + tau * xacc;
        thetas[i] = theta;
        theta_dots[i] = theta_dot + tau * thetaacc;
        const int end = (x < -x_limit) | (x > x_limit) | (theta < -theta_limit) | (theta > theta_limit);
        reward[i] = end ? reward_end : reward_alive;
        terminated[i] = end ? 1.0 : 0.0;
    }
}

/* A pole that has not fallen is far from pi / 4; only a state that the caller has set, or padding, is beyond it. */
static int32_t fpg_cartpole_step(const fpg_environment *env, int32_t width, const void *actions, const double *noise,
                                 double *FPG_RESTRICT state, double *FPG_RESTRICT reward, double *FPG_RESTRICT terminated)
{
    const double *FPG_RESTRICT thetas = state + 2 * width;
    const int64_t quarter_pi = (int64_t)fpg_double_bits(FPG_QUARTER_PI);
    int64_t beyond = 0; /* its sign: positive doubles are in the order of their bits */
    (void)noise;
    FPG_SIMD_OR(beyond) for (int32_t i = 0; i < width; i++)
        beyond |= quarter_pi - (int64_t)(fpg_double_bits(thetas[i]) & INT64_MAX);
    if (beyond >= 0)
        fpg_cartpole_steps(env, 1, width, actions, state, reward, terminated);
    else
        fpg_cartpole_steps(env, 0, width, actions, state, reward, terminated);
    return 0;
}

static int32_t fpg_cartpole_observe(const fpg_environment *env, int32_t width, const double *FPG_RESTRICT state, float *FPG_RESTRICT obs)
{
    (void)env;
    FPG_SIMD for (int32_t i = 0; i < 4 * width; i++)
        obs[i] = (float)state[i];
    return 0;
}

static const fpg_environment fpg_cartpole = {
    .name = "cartpole", .abi = FPG_ENV_ABI,
    .state_size = 4, .obs_size = 4, .action_size = 1, .action_categories = {2}, .reset_noise_size = 4,
    .params = {0, -0.05, 0.05},
    .reset = fpg_cartpole_reset, .step = fpg_cartpole_step, .observe = fpg_cartpole_observe,
};

#endif
