/* train.c - many iterations of collect, estimate, learn, without leaving C. */
#include "base/internal.h"

#include <math.h>

/* The target is compared with the mean return of the newest iterations that hold this many episodes together. */
enum { TARGET_EPISODES = 100, MAX_RECENT = 128 };

struct fpg_trainer {
    fpg_sampler *sampler;
    fpg_train_config config;
    int64_t num_envs, num_inputs, num_iterations, total_steps;
    fpg_learner *learner;
    float *gradient, *value_gradient; /* (P,); (P of the value function,) or NULL */
    double *moments;                  /* (2, obs_size) where observations are normalised, else NULL */
    double mean_length; /* of the newest episodes; NaN before there are any */
    struct { double sum_return; int64_t num_episodes; } recent[MAX_RECENT];
    fpg_stopped stopped;
};

fpg_trainer *fpg_trainer_new(const fpg_environment *env, const fpg_network *net, const fpg_network *value, int64_t num_envs,
                             uint64_t seed, const fpg_train_config *config)
{
    fpg_trainer *t = fpg_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->config = *config, t->num_envs = num_envs, t->mean_length = NAN;
    t->sampler = fpg_sampler_new(env, net, value, num_envs, seed);
    t->learner = fpg_learner_new(net, value, config);
    t->gradient = fpg_calloc((size_t)fpg_num_parameters(net), sizeof(float));
    t->value_gradient = value ? fpg_calloc((size_t)fpg_num_parameters(value), sizeof(float)) : NULL;
    t->moments = config->normalize_observations ? fpg_calloc(2 * (size_t)net->num_inputs, sizeof(double)) : NULL;
    t->num_inputs = net->num_inputs;
    if (t->sampler && t->learner && t->gradient && (t->value_gradient || !value) && (t->moments || !config->normalize_observations))
        return t;
    fpg_trainer_free(t);
    return NULL;
}

void fpg_trainer_free(fpg_trainer *t)
{
    if (!t)
        return;
    fpg_sampler_free(t->sampler);
    fpg_learner_free(t->learner);
    fpg_free(t->gradient);
    fpg_free(t->value_gradient);
    fpg_free(t->moments);
    fpg_free(t);
}

/* The number of episodes is fixed before the iteration begins, from earlier ones, so it cannot favour short episodes. */
static fpg_collect next_collect(const fpg_trainer *t)
{
    fpg_collect collect = t->config.collect;
    if (t->config.steps_per_iteration > 0) {
        const double wanted = (double)t->config.steps_per_iteration / t->mean_length;
        collect.episodes = isnan(wanted) ? t->num_envs : wanted < 1 ? 1 : (int64_t)llround(wanted);
    }
    return collect;
}

/* The regression of the value function on what was collected. */
static fpg_status fit_values(fpg_trainer *t, float *value_theta, fpg_poll poll)
{
    const fpg_train_config *c = &t->config;
    fpg_control control; /* of the whole fit: a single step is over before its first poll would be due */
    fpg_control_init(&control, poll);
    for (int32_t epoch = 0; epoch < c->value_epochs; epoch++)
        for (int32_t index = 0; index < c->value_minibatches; index++) {
            const fpg_minibatch minibatch = {(uint32_t)epoch, index, c->value_minibatches};
            int64_t rows;
            if (fpg_should_stop(&control, 0))
                return (fpg_status)atomic_load(&control.status);
            fpg_status status = fpg_sampler_value_gradient(t->sampler, value_theta, &minibatch, t->value_gradient, &rows, poll);
            if (status == FPG_OK && rows > 0)
                status = fpg_learner_value_step(t->learner, t->value_gradient, value_theta);
            if (status != FPG_OK)
                return fpg_value_problem(status);
        }
    return FPG_OK;
}

/* Collect, estimate, ascend; and with a value function, fit it to what was collected. */
static fpg_status learn(fpg_trainer *t, float *theta, float *value_theta, fpg_stats *stats, fpg_poll poll)
{
    const fpg_train_config *c = &t->config;
    const fpg_collect collect = next_collect(t);
    fpg_status status = value_theta ? fpg_sampler_advantage_gradient(t->sampler, theta, value_theta, &collect, c->standardize_advantages,
                                                                     t->gradient, stats, poll)
                                    : fpg_sampler_gradient(t->sampler, theta, NULL, &collect, t->gradient, stats, poll);
    if (status == FPG_OK && t->moments) {
        fpg_sampler_moments(t->sampler, t->moments, t->moments + t->num_inputs);
        fpg_learner_observe(t->learner, stats->num_steps, t->moments, t->moments + t->num_inputs, theta, value_theta);
    }
    if (status == FPG_OK)
        status = fpg_learner_policy_step(t->learner, t->gradient, theta, &stats->gradient_norm);
    if (status == FPG_OK && value_theta)
        status = fit_values(t, value_theta, poll);
    if (status == FPG_OK)
        fpg_learner_finish(t->learner, theta, value_theta);
    return status;
}

/* One iteration, which is whole or did not happen. */
static fpg_status iterate(fpg_trainer *t, float *theta, float *value_theta, fpg_stats *stats, fpg_poll poll)
{
    const double start = fpg_now();
    fpg_learner_begin(t->learner, t->total_steps, theta, value_theta);
    const fpg_status status = learn(t, theta, value_theta, stats, poll);
    if (status != FPG_OK)
        fpg_learner_undo(t->learner, theta, value_theta);
    stats->seconds = fpg_now() - start;
    return status;
}

static int target_reached(fpg_trainer *t, const fpg_stats *stats)
{
    double sum = 0;
    int64_t episodes = 0;
    const int64_t newest = t->num_iterations % MAX_RECENT;
    t->recent[newest].num_episodes = stats->num_episodes;
    t->recent[newest].sum_return = stats->num_episodes ? stats->mean_return * (double)stats->num_episodes : 0;
    for (int64_t k = 0; k < MAX_RECENT && k <= t->num_iterations && episodes < TARGET_EPISODES; k++) {
        const int64_t i = (t->num_iterations - k) % MAX_RECENT;
        sum += t->recent[i].sum_return, episodes += t->recent[i].num_episodes;
    }
    return episodes >= TARGET_EPISODES && sum / (double)episodes >= t->config.target_return;
}

fpg_status fpg_trainer_run(fpg_trainer *t, float *theta, float *value_theta, double seconds, int64_t capacity, fpg_stats *stats,
                           int64_t *count, fpg_stopped *stopped, fpg_poll poll)
{
    const double end = fpg_now() + seconds;
    fpg_status status = FPG_OK;
    *count = 0;
    while (t->stopped == FPG_RUNNING && *count < capacity && (*count == 0 || fpg_now() < end)) {
        fpg_stats *now = &stats[*count];
        status = iterate(t, theta, value_theta, now, poll);
        if (status != FPG_OK)
            break;
        t->total_steps = now->total_steps;
        t->mean_length = now->num_episodes ? now->mean_length : t->mean_length;
        if (target_reached(t, now))
            t->stopped = FPG_STOPPED_TARGET_RETURN;
        else if (now->total_steps >= t->config.total_steps)
            t->stopped = FPG_STOPPED_TOTAL_STEPS;
        t->num_iterations++;
        ++*count;
    }
    *stopped = t->stopped;
    return status;
}
