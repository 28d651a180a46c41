/* mountain_car_continuous.h - MountainCarContinuous, with Gymnasium's dynamics
 * (gymnasium/envs/classic_control/continuous_mountain_car.py) as NumPy 2 computes them.
 *
 * Moore, "Efficient memory-based learning for robot control", PhD thesis, Cambridge, 1990. State and observation:
 * position, velocity. Action: a force, clipped to [-1, 1] but paid for as it is.
 * params[0]: the velocity with which the flag must be reached;
 * params[1], params[2]: the bounds of the position at a reset, where the car stands still.
 *
 * Gymnasium resets to float64 and keeps float32 after a step, so the first step of an episode is computed in float64 and
 * the others in float32, but for these: a cosine and its factor 0.0025 are always float64; a force within the bounds is a
 * float32, and rounds its product and the change of velocity to float32; a clipped one is a Python float, and does
 * not. A state is taken to be fresh from a reset if its position is no float32 number: of the 2^32 positions that a
 * reset draws from, a handful are (all, if its bounds are one and the same float32 number).
 */
#ifndef FPG_MOUNTAIN_CAR_CONTINUOUS_H
#define FPG_MOUNTAIN_CAR_CONTINUOUS_H

#include "fastpg.h"
#include "simd/simd.h"
#include "vecmath.h"
#include "envs/mountain_car.h"

/* x where `single` is 0, x rounded to float32 where it is 1; exactly, for the difference is a float64 number. By arithmetic,
 * because GCC makes branches of a condition that is asked again and again, and then does not vectorise. */
static inline double fpg_as_state(double single, double x) { return x + single * (fpg_single(x) - x); }

static int32_t fpg_mountain_car_continuous_step(const fpg_environment *env, int32_t width, const void *actions, const double *noise,
                                                double *FPG_RESTRICT state, double *FPG_RESTRICT reward,
                                                double *FPG_RESTRICT terminated)
{
    const double power = 0.0015, gravity = 0.0025, goal_velocity = env->params[0];
    double *FPG_RESTRICT positions = state, *FPG_RESTRICT velocities = state + width;
    const float *FPG_RESTRICT action = actions;
    (void)noise;
    FPG_SIMD for (int32_t i = 0; i < width; i++) {
        const double paid = action[i], force = fpg_clip(paid, -1.0, 1.0);
        const double single = fpg_single(positions[i]) == positions[i] ? 1.0 : 0.0;
        const double max_speed = fpg_as_state(single, 0.07), min_position = fpg_as_state(single, -1.2);
        const double slope = gravity * fpg_cos(fpg_as_state(single, 3 * positions[i]));
        const double in_float64 = force * power - slope;
        const double in_float32 = fpg_single(fpg_single(force * (double)(float)power) - fpg_single(slope));
        const double change = force != paid ? in_float64 : in_float32;
        const double pushed = fpg_as_state(single, velocities[i] + fpg_as_state(single, change));
        const double velocity = fpg_clip(pushed, -max_speed, max_speed);
        const double moved = fpg_as_state(single, positions[i] + velocity);
        const double position = fpg_clip(moved, min_position, fpg_as_state(single, 0.6));
        const int hits_wall = (moved <= min_position) & (pushed < 0);
        const int end = (moved >= fpg_as_state(single, 0.45)) & (velocity >= fpg_as_state(single, goal_velocity));
        positions[i] = fpg_single(position);
        velocities[i] = hits_wall ? 0.0 : fpg_single(velocity);
        reward[i] = (end ? 100.0 : 0.0) - paid * paid * 0.1;
        terminated[i] = end ? 1.0 : 0.0;
    }
    return 0;
}

static const fpg_environment fpg_mountain_car_continuous = {
    .name = "mountain_car_continuous", .abi = FPG_ENV_ABI,
    .state_size = 2, .obs_size = 2, .action_size = 1, .action_low = {-1}, .action_high = {1},
    .reset_noise_size = 1, .params = {0, -0.6, -0.4},
    .reset = fpg_mountain_car_reset, .step = fpg_mountain_car_continuous_step, .observe = fpg_mountain_car_observe,
};

#endif
