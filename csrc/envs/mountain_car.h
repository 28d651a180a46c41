/* mountain_car.h - MountainCar, with Gymnasium's dynamics (gymnasium/envs/classic_control/mountain_car.py) in float64.
 *
 * Moore, "Efficient memory-based learning for robot control", PhD thesis, Cambridge, 1990; the constants are Sutton's.
 * State and observation: position, velocity. Actions: 0 pushes to the left, 1 does nothing, 2 pushes to the right.
 * params[0]: the velocity with which the flag must be reached;
 * params[1], params[2]: the bounds of the position at a reset, where the car stands still.
 */
#ifndef FPG_MOUNTAIN_CAR_H
#define FPG_MOUNTAIN_CAR_H

#include "fastpg.h"
#include "simd/simd.h"
#include "vecmath.h"

static int32_t fpg_mountain_car_reset(const fpg_environment *env, int32_t width, int32_t count, const int32_t *which,
                                      const double *FPG_RESTRICT noise, double *FPG_RESTRICT state)
{
    const double low = env->params[1], range = env->params[2] - low;
    for (int32_t n = 0; n < count; n++) {
        state[which[n]] = low + range * noise[which[n]];
        state[width + which[n]] = 0;
    }
    return 0;
}

static int32_t fpg_mountain_car_step(const fpg_environment *env, int32_t width, const void *actions, const double *noise,
                                     double *FPG_RESTRICT state, double *FPG_RESTRICT reward, double *FPG_RESTRICT terminated)
{
    const double force = 0.001, gravity = 0.0025, max_speed = 0.07;
    const double min_position = -1.2, max_position = 0.6, goal_position = 0.5, goal_velocity = env->params[0];
    double *FPG_RESTRICT positions = state, *FPG_RESTRICT velocities = state + width;
    const int32_t *FPG_RESTRICT action = actions;
    (void)noise;
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        const double push = (double)(action[i] - 1) * force;
        const double pushed = velocities[i] + (push - gravity * fpg_cos(3 * positions[i]));
        const double velocity = fpg_clip(pushed, -max_speed, max_speed), moved = positions[i] + velocity;
        /* Compared before they are clipped: GCC takes a comparison with what it knows of a clipped number for a branch. */
        const int hits_wall = (moved <= min_position) & (pushed < 0);
        const int end = (moved >= goal_position) & (velocity >= goal_velocity);
        positions[i] = fpg_clip(moved, min_position, max_position);
        velocities[i] = hits_wall ? 0.0 : velocity;
        reward[i] = -1.0;
        terminated[i] = end ? 1.0 : 0.0;
    }
    return 0;
}

static int32_t fpg_mountain_car_observe(const fpg_environment *env, int32_t width, const double *FPG_RESTRICT state,
                                        float *FPG_RESTRICT obs)
{
    (void)env;
    FPG_SIMD for (int32_t i = 0; i < 2 * width; i++)
        obs[i] = (float)state[i];
    return 0;
}

static const fpg_environment fpg_mountain_car = {
    .name = "mountain_car", .abi = FPG_ENV_ABI,
    .state_size = 2, .obs_size = 2, .action_size = 1, .action_categories = {3}, .reset_noise_size = 1,
    .params = {0, -0.6, -0.4},
    .reset = fpg_mountain_car_reset, .step = fpg_mountain_car_step, .observe = fpg_mountain_car_observe,
};

#endif
