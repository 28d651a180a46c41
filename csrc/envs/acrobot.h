/* acrobot.h - Acrobot, with Gymnasium's dynamics (gymnasium/envs/classic_control/acrobot.py) in float64.
 *
 * Sutton, "Generalization in reinforcement learning: successful examples using sparse coarse coding", NIPS 1996, and
 * Sutton & Barto, "Reinforcement learning", 1998, which differ by one term; classic Runge-Kutta over dt = 0.2.
 * State: theta1 (0 hangs down), theta2 (of the second link to the first), their velocities. Observation: cos and sin of
 * either angle, the velocities. Actions: torques -1, 0, 1 on the joint between the links. A reset rounds to float32.
 * params[0]: 0 for the equations of the book, 1 for those of the paper; params[1]: the bound of a uniform noise on the
 * torque; params[2], params[3]: the bounds of every component at a reset.
 */
#ifndef FPG_ACROBOT_H
#define FPG_ACROBOT_H

#include "fastpg.h"
#include "simd/simd.h"
#include "vecmath.h"

typedef struct {
    double theta1, theta2, dtheta1, dtheta2;
} fpg_acrobot_state;

static int32_t fpg_acrobot_reset(const fpg_environment *env, int32_t width, int32_t count, const int32_t *which,
                                 const double *FPG_RESTRICT noise, double *FPG_RESTRICT state)
{
    const double low = env->params[2], range = env->params[3] - low;
    for (int32_t n = 0; n < count; n++)
        for (int32_t k = 0; k < 4; k++)
            state[k * width + which[n]] = fpg_single(low + range * noise[k * width + which[n]]);
    return 0;
}

/* The equations of motion for masses, lengths and moments of 1 and centres of mass at 0.5; `centrifugal` is the factor of
 * the term that only the book has. Gymnasium's cos(x - pi/2) is sin(x); angles are added by sine and cosine, and both
 * accelerations share one division: 1 / d1 and 1 / (1.25 - d2^2 / d1) follow from 1 / (d1 (1.25 d1 - d2^2)). */
FPG_INLINE fpg_acrobot_state fpg_acrobot_derivative(fpg_acrobot_state s, double torque, double centrifugal)
{
    const double g = 9.8, lc = 0.5, i2 = lc * lc + 1.0;
    double sin1, cos1, sin2, cos2;
    fpg_sincos(s.theta1, &sin1, &cos1);
    fpg_sincos(s.theta2, &sin2, &cos2);
    const double d1 = lc * lc + (1.0 + lc * lc + 2 * lc * cos2) + 1.0 + 1.0, d2 = i2 + lc * cos2;
    const double phi2 = lc * g * (sin1 * cos2 + cos1 * sin2);
    const double phi1 = (lc + 1.0) * g * sin1 + phi2 - lc * sin2 * s.dtheta2 * (s.dtheta2 + 2 * s.dtheta1);
    const double determinant = i2 * d1 - d2 * d2, inverse = 1.0 / (d1 * determinant);
    const double pull = torque - centrifugal * sin2 * (s.dtheta1 * s.dtheta1) - phi2;
    const double ddtheta2 = (pull * d1 + d2 * phi1) * (d1 * inverse);
    const double ddtheta1 = -(d2 * ddtheta2 + phi1) * (determinant * inverse);
    return (fpg_acrobot_state){s.dtheta1, s.dtheta2, ddtheta1, ddtheta2};
}

/* s + dt * k */
FPG_INLINE fpg_acrobot_state fpg_acrobot_along(fpg_acrobot_state s, double dt, fpg_acrobot_state k)
{
    return (fpg_acrobot_state){s.theta1 + dt * k.theta1, s.theta2 + dt * k.theta2, s.dtheta1 + dt * k.dtheta1,
                               s.dtheta2 + dt * k.dtheta2};
}

/* x less the whole turns that bring it into [-pi, pi]. */
static inline double fpg_wrap(double x)
{
    x = fpg_minus_turns(x, (x * (1 / FPG_TWO_PI) + FPG_ROUND) - FPG_ROUND);
    x = x > FPG_PI ? x - FPG_TWO_PI : x;
    return x < -FPG_PI ? x + FPG_TWO_PI : x;
}

static int32_t fpg_acrobot_step(const fpg_environment *env, int32_t width, const void *actions, const double *FPG_RESTRICT noise,
                                double *FPG_RESTRICT state, double *FPG_RESTRICT reward, double *FPG_RESTRICT terminated)
{
    const double dt = 0.2, max_dtheta1 = 4 * FPG_PI, max_dtheta2 = 9 * FPG_PI;
    const double centrifugal = env->params[0] != 0 ? 0.0 : 0.5, noise_max = env->params[1] > 0 ? env->params[1] : 0.0;
    double *FPG_RESTRICT theta1s = state, *FPG_RESTRICT theta2s = state + width;
    double *FPG_RESTRICT dtheta1s = state + 2 * width, *FPG_RESTRICT dtheta2s = state + 3 * width;
    const int32_t *FPG_RESTRICT action = actions;
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        const fpg_acrobot_state s = {theta1s[i], theta2s[i], dtheta1s[i], dtheta2s[i]};
        const double torque = (double)(action[i] - 1) + (-noise_max + 2 * noise_max * noise[i]);
        const fpg_acrobot_state k1 = fpg_acrobot_derivative(s, torque, centrifugal);
        const fpg_acrobot_state k2 = fpg_acrobot_derivative(fpg_acrobot_along(s, dt / 2, k1), torque, centrifugal);
        const fpg_acrobot_state k3 = fpg_acrobot_derivative(fpg_acrobot_along(s, dt / 2, k2), torque, centrifugal);
        const fpg_acrobot_state k4 = fpg_acrobot_derivative(fpg_acrobot_along(s, dt, k3), torque, centrifugal);
        const fpg_acrobot_state sum = fpg_acrobot_along(fpg_acrobot_along(fpg_acrobot_along(k1, 2, k2), 2, k3), 1, k4);
        const fpg_acrobot_state next = fpg_acrobot_along(s, dt / 6, sum);
        const double theta1 = fpg_wrap(next.theta1), theta2 = fpg_wrap(next.theta2);
        theta1s[i] = theta1;
        theta2s[i] = theta2;
        dtheta1s[i] = fpg_clip(next.dtheta1, -max_dtheta1, max_dtheta1);
        dtheta2s[i] = fpg_clip(next.dtheta2, -max_dtheta2, max_dtheta2);
        const int end = -fpg_cos(theta1) - fpg_cos(theta2 + theta1) > 1.0;
        reward[i] = end ? 0.0 : -1.0;
        terminated[i] = end ? 1.0 : 0.0;
    }
    return 0;
}

static int32_t fpg_acrobot_observe(const fpg_environment *env, int32_t width, const double *FPG_RESTRICT state, float *FPG_RESTRICT obs)
{
    (void)env;
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        double sin1, cos1, sin2, cos2;
        fpg_sincos(state[i], &sin1, &cos1);
        fpg_sincos(state[width + i], &sin2, &cos2);
        obs[i] = (float)cos1;
        obs[width + i] = (float)sin1;
        obs[2 * width + i] = (float)cos2;
        obs[3 * width + i] = (float)sin2;
        obs[4 * width + i] = (float)state[2 * width + i];
        obs[5 * width + i] = (float)state[3 * width + i];
    }
    return 0;
}

static const fpg_environment fpg_acrobot = {
    .name = "acrobot", .abi = FPG_ENV_ABI,
    .state_size = 4, .obs_size = 6, .action_size = 1, .action_categories = {3}, .reset_noise_size = 4,
    .step_noise_size = 1, .params = {0, 0, -0.1, 0.1},
    .reset = fpg_acrobot_reset, .step = fpg_acrobot_step, .observe = fpg_acrobot_observe,
};

#endif
