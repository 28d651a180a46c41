/* agent.c - one iteration from rows: weights, a step of the policy, a fit of the value function. */
#include "learn/agent.h"

#include <math.h>

fpg_agent *fpg_agent_new(const fpg_network *net, const fpg_network *value, const fpg_train_config *config, uint64_t seed, float *theta,
                         float *value_theta)
{
    fpg_agent *a = fpg_calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->config = *config, a->mean_length = NAN, a->has_value = value != NULL;
    if (fpg_estimator_init(&a->estimator, net, value, seed) && fpg_ascent_init(&a->policy, net, theta, !config->policy_given) &&
        (!value || fpg_ascent_init(&a->value, value, value_theta, !config->value_given)) &&
        (!config->normalize_observations ||
         (fpg_normalizer_init(&a->normalizer, net->num_inputs) && (a->moments = fpg_calloc((size_t)net->num_inputs, 2 * sizeof(double))))))
        return a;
    fpg_agent_free(a);
    return NULL;
}

void fpg_agent_free(fpg_agent *a)
{
    if (!a)
        return;
    fpg_estimator_free(&a->estimator);
    fpg_ascent_free(&a->policy);
    fpg_ascent_free(&a->value);
    fpg_normalizer_free(&a->normalizer);
    fpg_free(a->moments);
    fpg_free(a);
}

int32_t fpg_agent_state(fpg_agent *a, fpg_entry *entries)
{
    static const char *const policy[] = {"policy.theta", "policy.m", "policy.v", "policy.beta1_power", "policy.beta2_power"};
    static const char *const value[] = {"value.theta", "value.m", "value.v", "value.beta1_power", "value.beta2_power"};
    fpg_normalizer *z = &a->normalizer;
    int32_t n = fpg_ascent_state(&a->policy, policy, entries);
    if (a->has_value)
        n += fpg_ascent_state(&a->value, value, entries + n);
    if (z->size > 0) {
        entries[n++] = (fpg_entry){"normalizer.count", FPG_ENTRY_INT64, 1, &z->count};
        entries[n++] = (fpg_entry){"normalizer.statistics", FPG_ENTRY_DOUBLE, 4 * (int64_t)z->size, z->mean};
    }
    entries[n++] = (fpg_entry){"num_iterations", FPG_ENTRY_INT64, 1, &a->num_iterations};
    entries[n++] = (fpg_entry){"total_steps", FPG_ENTRY_INT64, 1, &a->total_steps};
    entries[n++] = (fpg_entry){"mean_length", FPG_ENTRY_DOUBLE, 1, &a->mean_length};
    entries[n++] = (fpg_entry){"recent_returns", FPG_ENTRY_DOUBLE, FPG_MAX_RECENT, a->recent_returns};
    entries[n++] = (fpg_entry){"recent_episodes", FPG_ENTRY_INT64, FPG_MAX_RECENT, a->recent_episodes};
    return n;
}

fpg_collect fpg_agent_next_collect(const fpg_agent *a, int64_t num_envs)
{
    fpg_collect collect = a->config.collect;
    if (a->config.steps_per_iteration > 0) {
        const double wanted = (double)a->config.steps_per_iteration / a->mean_length;
        collect.episodes = isnan(wanted) ? num_envs : wanted < 1 ? 1 : (int64_t)llround(wanted);
    }
    return collect;
}

double fpg_agent_mean_return(const fpg_agent *a)
{
    double sum = 0;
    int64_t episodes = 0;
    for (int64_t k = 1; k <= FPG_MAX_RECENT && k <= a->num_iterations && episodes < FPG_TARGET_EPISODES; k++) {
        const int64_t i = (a->num_iterations - k) % FPG_MAX_RECENT;
        sum += a->recent_returns[i], episodes += a->recent_episodes[i];
    }
    return episodes > 0 ? sum / (double)episodes : NAN;
}

fpg_stopped fpg_agent_stopped(const fpg_agent *a)
{
    int64_t episodes = 0;
    for (int64_t k = 0; k < FPG_MAX_RECENT && k < a->num_iterations; k++)
        episodes += a->recent_episodes[k];
    if (episodes >= FPG_TARGET_EPISODES && fpg_agent_mean_return(a) >= a->config.target_return)
        return FPG_STOPPED_TARGET_RETURN;
    return a->num_iterations > 0 && a->total_steps >= a->config.total_steps ? FPG_STOPPED_TOTAL_STEPS : FPG_RUNNING;
}

int64_t fpg_agent_num_iterations(const fpg_agent *a) { return a->num_iterations; }

int64_t fpg_agent_total_steps(const fpg_agent *a) { return a->total_steps; }

/* ---- an iteration ------------------------------------------------------------------------------------------------------ */

static double annealed(const fpg_agent *a, double learning_rate)
{
    const double left = 1 - (double)a->total_steps / (double)a->config.total_steps;
    return !a->config.linear_schedule ? learning_rate : left > 0 ? learning_rate * left : 0;
}

static fpg_status observe(fpg_agent *a, fpg_poll poll)
{
    const int first = a->normalizer.count == 0;
    double *square = a->moments + a->normalizer.size;
    if (a->normalizer.size > 0) {
        const fpg_status status = fpg_estimator_moments(&a->estimator, a->moments, square, poll);
        if (status != FPG_OK)
            return status;
        fpg_normalizer_add(&a->normalizer, a->estimator.num_rows, a->moments, square);
    }
    fpg_ascent_observe(&a->policy, &a->normalizer, first);
    fpg_ascent_observe(&a->value, &a->normalizer, first);
    return FPG_OK;
}

/* The regression of the value function on the batch's targets. */
static fpg_status fit_values(fpg_agent *a, fpg_poll poll)
{
    const fpg_train_config *c = &a->config;
    fpg_control control; /* of the whole fit: a single step is over before its first poll would be due */
    fpg_control_init(&control, poll);
    for (int64_t epoch = 0; epoch < c->value_epochs; epoch++) {
        fpg_status status = c->value_minibatches > 1 ? fpg_estimator_shuffle(&a->estimator, a->num_iterations, epoch, poll) : FPG_OK;
        for (int64_t index = 0; status == FPG_OK && index < c->value_minibatches; index++) {
            int64_t rows;
            double norm;
            if (fpg_should_stop(&control, 0))
                return (fpg_status)atomic_load(&control.status);
            status = fpg_estimator_value_gradient(&a->estimator, a->value.theta, index, c->value_minibatches, a->value.gradient, &rows,
                                                  poll);
            if (status == FPG_OK && rows > 0)
                status = fpg_value_problem(fpg_ascent_step(&a->value, &a->normalizer, c, FPG_ADAM, annealed(a, c->value_learning_rate),
                                                           INFINITY, &norm));
        }
        if (status != FPG_OK)
            return status;
    }
    return FPG_OK;
}

/* What the iteration was, once it has been. */
static void count(fpg_agent *a, fpg_stats *stats)
{
    const uint64_t newest = (uint64_t)a->num_iterations++ % FPG_MAX_RECENT; /* an index whatever a state says */
    a->recent_episodes[newest] = stats->num_episodes;
    a->recent_returns[newest] = stats->num_episodes ? stats->mean_return * (double)stats->num_episodes : 0;
    a->mean_length = stats->num_episodes ? stats->mean_length : a->mean_length;
    a->total_steps += stats->num_steps;
    stats->total_steps = a->total_steps;
}

fpg_status fpg_agent_ascend(fpg_agent *a, fpg_stats *stats)
{
    const fpg_train_config *c = &a->config;
    const fpg_status status = fpg_ascent_step(&a->policy, &a->normalizer, c, c->optimizer, annealed(a, c->learning_rate),
                                              c->max_grad_norm, &stats->gradient_norm);
    if (status == FPG_OK)
        count(a, stats);
    return status;
}

fpg_status fpg_agent_learn(fpg_agent *a, fpg_stats *stats, fpg_poll poll)
{
    const fpg_train_config *c = &a->config;
    fpg_estimator *e = &a->estimator;
    const double n = (double)e->num_rows;
    const int64_t divisor = c->collect.normalize == FPG_PER_TIMESTEP ? e->num_rows : e->num_trajectories;
    const int wants_entropy = isnan(stats->entropy);
    double weight, weight_square, target, target_square, entropy, norm;
    stats->num_steps = e->num_rows, stats->num_trajectories = e->num_trajectories;
    fpg_status status = a->has_value ? fpg_estimator_values(e, a->value.theta, &c->collect, poll) : FPG_OK;
    if (status == FPG_OK)
        status = fpg_estimator_weigh(e, &c->collect, NULL, poll);
    if (status != FPG_OK)
        return status;
    fpg_estimator_sums(e, &weight, &weight_square, &target, &target_square);
    const double mean = weight / n, square = weight_square / n - mean * mean, variance = square > 0 ? square : 0;
    if (a->has_value) { /* whose weights are target - V(s_t) */
        const double target_mean = target / n, target_variance = target_square / n - target_mean * target_mean;
        if (!isfinite(weight_square) || !isfinite(target_square))
            return FPG_NONFINITE_VALUE;
        stats->value_loss = weight_square / n;
        stats->explained_variance = target_variance > 0 ? 1 - square / target_variance : NAN;
    }
    status = fpg_estimator_policy_gradient(e, a->policy.theta, c->standardize_advantages ? mean : 0,
                                           c->standardize_advantages ? 1 / (sqrt(variance) + 1e-8) : 1, c->collect.entropy_coef,
                                           1.0 / (double)divisor, a->policy.gradient, &norm, wants_entropy ? &entropy : NULL, poll);
    if (wants_entropy)
        stats->entropy = entropy / n;
    if (status == FPG_OK)
        status = observe(a, poll);
    if (status == FPG_OK)
        status = fpg_ascent_step(&a->policy, &a->normalizer, c, c->optimizer, annealed(a, c->learning_rate), c->max_grad_norm,
                                 &stats->gradient_norm);
    if (status == FPG_OK && a->has_value)
        status = fit_values(a, poll);
    if (status != FPG_OK)
        return status;
    fpg_ascent_finish(&a->policy, &a->normalizer);
    if (a->has_value)
        fpg_ascent_finish(&a->value, &a->normalizer);
    count(a, stats);
    return FPG_OK;
}

fpg_status fpg_agent_update(fpg_agent *a, const fpg_batch *batch, fpg_stats *stats, fpg_poll poll)
{
    const double start = fpg_now();
    fpg_state before;
    before.num_entries = fpg_agent_state(a, before.entries);
    if (!fpg_state_init(&before))
        return FPG_NO_MEMORY;
    fpg_state_save(&before);
    *stats = fpg_batch_stats(batch);
    fpg_status status = fpg_estimator_load_batch(&a->estimator, batch);
    if (status == FPG_OK)
        status = fpg_agent_learn(a, stats, poll);
    if (status != FPG_OK)
        fpg_state_restore(&before);
    fpg_state_free(&before);
    stats->seconds = fpg_now() - start;
    return status;
}
