/* loops.c - environments stepped from C on one thread, without policy, resets or Python: the kernels of fastpg beside the
 * loop that one would write by hand.
 *
 * Both take the same float64 states, structure-of-arrays, and the same actions, and write the next states, float32
 * observations, rewards and flags. The kernels are those of the fastpg that is installed: fastpg_work.py finds
 * fpg_environment_init in its extension module, so instruction set and flags are what users get, and calls are what a
 * rollout makes: step and observe, through pointers, on tiles of 64 environments.
 *
 * The plain loops know what a general kernel may not: the default parameters, that the reward is what it is by default, and
 * that a standing pole's angle needs no reduction. They take sine and cosine from csrc/vecmath.h, for libm's are no match.
 * compare.py compiles this file for the very machine, -march=native.
 *
 * States are put back every eight steps, which is what a CartPole under one constant action lasts; both pay for it.
 */
#include <stdlib.h>
#include <string.h>

#include "fastpg.h"
#include "vecmath.h"

enum { TILE = 64, STEPS_OF_AN_EPISODE = 8, MAX_FIELDS = 4 };

typedef struct { /* (fields, num_envs) */
    int64_t num_envs;
    double *state, *reward, *terminated;
    float *obs;
    const void *action;
} batch;

static void cartpole(const batch *b)
{
    const int64_t n = b->num_envs;
    double *restrict xs = b->state, *restrict x_dots = xs + n, *restrict thetas = xs + 2 * n, *restrict theta_dots = xs + 3 * n;
    double *restrict rewards = b->reward, *restrict terminated = b->terminated;
    float *restrict obs = b->obs;
    const int32_t *restrict action = b->action;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        double sine, cosine;
        fpg_sincos_small(thetas[i], &sine, &cosine);
        const double temp = ((action[i] ? 10.0 : -10.0) + 0.05 * theta_dots[i] * theta_dots[i] * sine) * (1 / 1.1);
        const double theta_acc = (9.8 * sine - cosine * temp) / (0.5 * (4.0 / 3.0) - 0.05 / 1.1 * cosine * cosine);
        const double x_acc = temp - 0.05 / 1.1 * theta_acc * cosine;
        const double x = xs[i] + 0.02 * x_dots[i], x_dot = x_dots[i] + 0.02 * x_acc;
        const double theta = thetas[i] + 0.02 * theta_dots[i], theta_dot = theta_dots[i] + 0.02 * theta_acc;
        xs[i] = x, x_dots[i] = x_dot, thetas[i] = theta, theta_dots[i] = theta_dot;
        obs[i] = (float)x, obs[n + i] = (float)x_dot, obs[2 * n + i] = (float)theta, obs[3 * n + i] = (float)theta_dot;
        rewards[i] = 1.0;
        terminated[i] = (fabs(x) > 2.4) | (fabs(theta) > 0.20943951023931953) ? 1.0 : 0.0;
    }
}

static void mountain_car(const batch *b)
{
    const int64_t n = b->num_envs;
    double *restrict positions = b->state, *restrict velocities = b->state + n;
    double *restrict rewards = b->reward, *restrict terminated = b->terminated;
    float *restrict obs = b->obs;
    const int32_t *restrict action = b->action;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const double pushed = velocities[i] + (action[i] - 1) * 0.001 - 0.0025 * fpg_cos(3 * positions[i]);
        double velocity = fpg_clip(pushed, -0.07, 0.07);
        const double moved = positions[i] + velocity, position = fpg_clip(moved, -1.2, 0.6);
        velocity = (moved <= -1.2) & (pushed < 0) ? 0.0 : velocity;
        positions[i] = position, velocities[i] = velocity;
        obs[i] = (float)position, obs[n + i] = (float)velocity;
        rewards[i] = -1.0;
        terminated[i] = (moved >= 0.5) & (pushed >= 0) ? 1.0 : 0.0;
    }
}

static void pendulum(const batch *b)
{
    const int64_t n = b->num_envs;
    double *restrict thetas = b->state, *restrict theta_dots = b->state + n;
    double *restrict rewards = b->reward, *restrict terminated = b->terminated;
    float *restrict obs = b->obs;
    const float *restrict action = b->action;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
        const double u = fpg_clip(action[i], -2, 2), turns = (thetas[i] * (1 / FPG_TWO_PI) + FPG_ROUND) - FPG_ROUND;
        const double angle = fpg_minus_turns(thetas[i], turns);
        double sine, cosine;
        rewards[i] = -(angle * angle + 0.1 * theta_dots[i] * theta_dots[i] + 0.001 * u * u);
        const double theta_dot = fpg_clip(theta_dots[i] + (15 * fpg_sin(thetas[i]) + 3 * u) * 0.05, -8, 8);
        const double theta = thetas[i] + theta_dot * 0.05;
        thetas[i] = theta, theta_dots[i] = theta_dot;
        fpg_sincos(theta, &sine, &cosine);
        obs[i] = (float)cosine, obs[n + i] = (float)sine, obs[2 * n + i] = (float)theta_dot;
        terminated[i] = 0.0;
    }
}

static const struct {
    const char *name;
    void (*step)(const batch *b);
} plain_loops[] = {{"cartpole", cartpole}, {"mountain_car", mountain_car}, {"pendulum", pendulum}};

/* `steps` steps of num_envs environments; start (state_size, num_envs), action (num_envs,) int32 or float. Seconds are the
 * caller's to take. init is fpg_environment_init for the kernels, NULL for the plain loop. The first environments'
 * last state goes to final (state_size,), so that the two can be compared; 0 if the name is unknown. */
int run(int (*init)(const char *, fpg_environment *), const char *name, int64_t num_envs, int64_t steps, const double *start,
        int32_t state_size, const void *action, double *final)
{
    const size_t n = (size_t)num_envs, fields = (size_t)state_size;
    double *state = malloc((fields + 2) * n * sizeof *state);
    float *obs = malloc(MAX_FIELDS * n * sizeof *obs);
    batch b = {.num_envs = num_envs, .state = state, .reward = state + fields * n, .terminated = state + (fields + 1) * n, .obs = obs, .action = action};
    fpg_environment env;
    int known = 0;
    if (init && init(name, &env)) {
        /* A tile's state is together: (tiles, state_size, TILE). */
        double *tiled = malloc(fields * n * sizeof *tiled), noise[TILE] = {0};
        for (int64_t i = 0; i < num_envs; i++)
            for (int32_t k = 0; k < state_size; k++)
                tiled[i / TILE * TILE * state_size + k * TILE + i % TILE] = start[k * num_envs + i];
        for (int64_t t = 0; t < steps; t++) {
            if (t % STEPS_OF_AN_EPISODE == 0)
                memcpy(state, tiled, fields * n * sizeof *state);
            for (int64_t first = 0; first < num_envs; first += TILE) {
                env.step(&env, TILE, (const int32_t *)action + first, noise, state + first * state_size, b.reward + first,
                         b.terminated + first);
                env.observe(&env, TILE, state + first * state_size, obs + first * env.obs_size);
            }
        }
        for (int32_t k = 0; k < state_size; k++)
            final[k] = state[k * TILE];
        free(tiled);
        known = 1;
    }
    for (size_t p = 0; !init && p < sizeof plain_loops / sizeof *plain_loops; p++)
        if (!strcmp(plain_loops[p].name, name)) {
            for (int64_t t = 0; t < steps; t++) {
                if (t % STEPS_OF_AN_EPISODE == 0)
                    memcpy(state, start, fields * n * sizeof *state);
                plain_loops[p].step(&b);
            }
            for (int32_t k = 0; k < state_size; k++)
                final[k] = state[k * num_envs];
            known = 1;
        }
    free(state);
    free(obs);
    return known;
}
