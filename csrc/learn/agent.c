/* agent.c - one iteration from rows: weights, a step of the policy, a fit of the value function. */
#include "kernels/kernels.h"
#include "learn/agent.h"

#include <math.h>

fpg_agent *fpg_agent_new(const fpg_network *net, const fpg_network *value, const fpg_train_config *config, uint64_t seed, float *theta,
                         float *value_theta)
{
    fpg_agent *a = fpg_calloc(1, sizeof *a);
    if (!a)
        return NULL;
    a->config = *config, a->mean_length = NAN, a->has_value = value != NULL, a->rate_factor = 1;
    if (fpg_estimator_init(&a->estimator, net, value, seed) && fpg_ascent_init(&a->policy, net, theta, !config->policy_given) &&
        (!value || fpg_ascent_init(&a->value, value, value_theta, !config->value_given)) &&
        (!config->normalize_observations ||
         (fpg_normalizer_init(&a->normalizer, net->num_inputs) && (a->moments = fpg_calloc((size_t)net->num_inputs, 2 * sizeof(double))))) &&
        (!config->normalize_rewards || fpg_normalizer_init(&a->rewards, 1))) {
        a->estimator.has_log_probs = config->algorithm != FPG_VPG, a->estimator.has_outputs = config->algorithm >= FPG_NPG;
        return a;
    }
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
    fpg_normalizer_free(&a->normalizer), fpg_normalizer_free(&a->rewards);
    fpg_free(a->moments), fpg_free(a->so_far);
    fpg_free(a);
}

void fpg_agent_share(fpg_agent *a, fpg_ranks *ranks) { a->estimator.policy.ranks = a->estimator.value.ranks = ranks; }

uint64_t fpg_agent_check(const fpg_agent *a)
{
    const fpg_ascent *const networks[] = {&a->policy, &a->value};
    uint64_t hash = UINT64_C(14695981039346656037); /* Fowler, Noll and Vo's, of words */
    for (int n = 0; n < 2; n++)
        for (int64_t p = 0; p < networks[n]->num_parameters; p++) {
            uint32_t word;
            memcpy(&word, &networks[n]->theta[p], sizeof word);
            hash = (hash ^ word) * UINT64_C(1099511628211);
        }
    return hash;
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
    if (a->rewards.size > 0) {
        entries[n++] = (fpg_entry){"rewards.count", FPG_ENTRY_INT64, 1, &a->rewards.count};
        entries[n++] = (fpg_entry){"rewards.statistics", FPG_ENTRY_DOUBLE, 4, a->rewards.mean};
        entries[n++] = (fpg_entry){"rewards.so_far", FPG_ENTRY_DOUBLE, a->num_envs, a->so_far};
    }
    if (a->config.desired_kl < INFINITY)
        entries[n++] = (fpg_entry){"rate_factor", FPG_ENTRY_DOUBLE, 1, &a->rate_factor};
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

double fpg_agent_share_left(const fpg_agent *a)
{
    const double left = 1 - (double)a->total_steps / (double)a->config.total_steps;
    return left > 0 ? left : 0;
}

double fpg_agent_rate(const fpg_agent *a, double learning_rate)
{
    return a->config.linear_schedule ? learning_rate * fpg_agent_share_left(a) : learning_rate;
}

fpg_status fpg_agent_observe_rewards(fpg_agent *a, fpg_poll poll)
{
    const int first = a->rewards.count == 0;
    double sum, square;
    if (a->rewards.size == 0)
        return FPG_OK;
    const fpg_status status = fpg_estimator_discounted(&a->estimator, a->config.collect.gamma, a->so_far, &sum, &square, poll);
    if (status != FPG_OK)
        return status;
    fpg_normalizer_add(&a->rewards, a->estimator.num_rows, &sum, &square);
    fpg_ascent_scale_outputs(&a->value, a->rewards.std[0], first);
    return FPG_OK;
}

fpg_status fpg_agent_observe(fpg_agent *a, fpg_poll poll)
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
    if (a->has_value)
        fpg_ascent_observe(&a->value, &a->normalizer, first);
    return FPG_OK;
}

void fpg_agent_finish(fpg_agent *a)
{
    fpg_ascent_finish(&a->policy, &a->normalizer);
    if (a->has_value)
        fpg_ascent_finish(&a->value, &a->normalizer);
}

fpg_spread fpg_spread_of(double sum, double sum_square, int64_t count)
{
    const double n = (double)count, mean = sum / n, square = sum_square / n - mean * mean;
    return (fpg_spread){mean, square > 0 ? square : 0};
}

fpg_status fpg_agent_weigh(fpg_agent *a, fpg_stats *stats, fpg_spread *weights, fpg_poll poll)
{
    const fpg_collect *collect = &a->config.collect;
    fpg_estimator *e = &a->estimator;
    double weight, weight_square, target, target_square;
    fpg_status status = a->has_value ? fpg_estimator_values(e, a->value.theta, collect, poll) : FPG_OK;
    if (status == FPG_OK)
        status = fpg_estimator_weigh(e, collect, NULL, poll);
    if (status != FPG_OK)
        return status;
    fpg_estimator_sums(e, &weight, &weight_square, &target, &target_square);
    *weights = fpg_spread_of(weight, weight_square, e->num_rows);
    if (a->has_value) { /* whose weights are target - V(s_t) */
        const fpg_spread targets = fpg_spread_of(target, target_square, e->num_rows);
        if (!isfinite(weight_square) || !isfinite(target_square))
            return FPG_NONFINITE_VALUE;
        stats->value_loss = weight_square / (double)e->num_rows;
        stats->explained_variance = targets.variance > 0 ? 1 - weights->variance / targets.variance : NAN;
    }
    return FPG_OK;
}

fpg_standard fpg_agent_standard(const fpg_agent *a, const fpg_spread *weights, int64_t count, int64_t freedom)
{
    const double unit = a->has_value ? a->value.output_scale : 1;
    if (a->config.standardize_advantages == FPG_NOT || count <= freedom)
        return (fpg_standard){.shift = 0, .scale = 1 / unit};
    const double variance = freedom ? weights->variance * (double)count / (double)(count - freedom) : weights->variance;
    return (fpg_standard){.shift = weights->mean, .scale = 1 / (sqrt(variance) + 1e-8 * unit)};
}

fpg_status fpg_agent_prepare(fpg_agent *a, fpg_stats *stats, fpg_spread *weights, fpg_poll poll)
{
    double entropy;
    fpg_status status = fpg_agent_observe_rewards(a, poll);
    if (status == FPG_OK)
        status = fpg_agent_weigh(a, stats, weights, poll);
    if (status == FPG_OK)
        status = fpg_estimator_log_probs(&a->estimator, a->policy.theta, &entropy, poll);
    if (status != FPG_OK)
        return status;
    if (isnan(stats->entropy))
        stats->entropy = entropy / (double)a->estimator.num_rows;
    return fpg_agent_observe(a, poll);
}

fpg_status fpg_agent_fit_values(fpg_agent *a, fpg_poll poll)
{
    const fpg_train_config *c = &a->config;
    fpg_control control; /* of the whole fit: a single step is over before its first poll would be due */
    fpg_control_init(&control, poll);
    for (int64_t epoch = 0; epoch < c->value_epochs; epoch++) {
        fpg_status status = c->value_minibatches > 1 ? fpg_estimator_shuffle(&a->estimator, a->num_iterations, epoch, poll) : FPG_OK;
        for (int64_t index = 0; status == FPG_OK && index < c->value_minibatches; index++) {
            int64_t rows;
            const fpg_selection *chosen = fpg_estimator_minibatch(&a->estimator, index, c->value_minibatches, &rows);
            if (fpg_should_stop(&control, 0))
                return (fpg_status)atomic_load(&control.status);
            if (rows == 0)
                continue;
            status = fpg_estimator_value_gradient(&a->estimator, a->value.theta, chosen, a->value.output_scale, a->value.gradient, poll);
            if (status != FPG_OK)
                return status;
            fpg_ascent_chain(&a->value, &a->normalizer);
            status = fpg_value_problem(fpg_ascent_step(&a->value, &a->normalizer, c, FPG_ADAM,
                                                       fpg_agent_rate(a, c->value_learning_rate), 1));
        }
        if (status != FPG_OK)
            return status;
    }
    return FPG_OK;
}

/* What the iteration was, once it has been. */
void fpg_agent_count(fpg_agent *a, fpg_stats *stats)
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
    stats->gradient_norm = fpg_ascent_chain(&a->policy, &a->normalizer);
    stats->learning_rate = fpg_agent_rate(a, c->learning_rate), stats->num_updates = 1;
    return fpg_ascent_step(&a->policy, &a->normalizer, c, c->optimizer, stats->learning_rate,
                           fpg_clip_factor(stats->gradient_norm, c->max_grad_norm));
}

fpg_status fpg_agent_learn(fpg_agent *a, fpg_stats *stats, fpg_poll poll)
{
    static fpg_status (*const algorithms[])(fpg_agent *, fpg_stats *, fpg_poll) = {
        [FPG_VPG] = fpg_vpg_learn, [FPG_PPO] = fpg_ppo_learn, [FPG_NPG] = fpg_natural_learn, [FPG_TRPO] = fpg_natural_learn};
    stats->num_steps = a->estimator.num_rows, stats->num_trajectories = a->estimator.num_trajectories;
    const fpg_status status = algorithms[a->config.algorithm](a, stats, poll);
    if (status == FPG_OK)
        fpg_agent_count(a, stats);
    return status;
}

int fpg_agent_reserve_envs(fpg_agent *a, int64_t num_envs)
{
    if (a->rewards.size == 0 || num_envs == a->num_envs)
        return 1;
    double *so_far = fpg_calloc((size_t)num_envs, sizeof *so_far);
    if (!so_far)
        return 0;
    fpg_free(a->so_far);
    a->so_far = so_far, a->num_envs = num_envs;
    return 1;
}

/* An update with a way back. */
static fpg_status update(fpg_agent *a, const fpg_batch *batch, fpg_stats *stats, fpg_poll poll)
{
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
    return status;
}

fpg_status fpg_agent_update(fpg_agent *a, const fpg_batch *batch, fpg_stats *stats, fpg_poll poll)
{
    const double start = fpg_now();
    double *so_far = a->so_far; /* of another number of environments, perhaps */
    const int64_t num_envs = a->num_envs;
    fpg_ranks *ranks = a->estimator.policy.ranks;
    fpg_status status = FPG_NO_MEMORY;
    if (batch->num_envs != num_envs)
        a->so_far = NULL, a->num_envs = 0;
    if (fpg_agent_reserve_envs(a, batch->num_envs))
        status = update(a, batch, stats, fpg_ranks_poll(ranks, poll));
    if (so_far != a->so_far) {
        double *unused = status == FPG_OK ? so_far : a->so_far;
        if (status != FPG_OK)
            a->so_far = so_far, a->num_envs = num_envs;
        fpg_free(unused);
    }
    stats->seconds = fpg_now() - start;
    return fpg_ranks_leave(ranks, status);
}
