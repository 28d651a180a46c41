/* train.c - many iterations of collect, estimate, ascend, without leaving C. */
#include "internal.h"

#include <math.h>

/* The target is compared with the mean return of the newest iterations that hold this many episodes together. */
enum { TARGET_EPISODES = 100, MAX_RECENT = 128 };

/* One network's way uphill. */
typedef struct {
    int64_t num_parameters;
    int32_t first_outputs;                     /* of the first layer */
    float *gradient, *m, *v;                   /* (P,) */
    float *inner;                              /* (P,): the parameters for normalised observations, where observations are */
    float *theta_before, *m_before, *v_before, *inner_before; /* (P,): what they were before the iteration under way */
    double beta1_power, beta2_power, beta1_power_before, beta2_power_before;
} ascent;

struct fpg_trainer {
    fpg_sampler *sampler;
    fpg_train_config config;
    int64_t num_envs, num_iterations, total_steps;
    ascent policy, value;
    fpg_normalizer normalizer; /* size 0: observations are taken as they are */
    double *moments;           /* (2, obs_size) */
    int has_inner;
    double mean_length; /* of the newest episodes; NaN before there are any */
    struct { double sum_return; int64_t num_episodes; } recent[MAX_RECENT];
    fpg_stopped stopped;
};

static int ascent_init(ascent *a, const fpg_network *net)
{
    a->num_parameters = fpg_num_parameters(net);
    a->beta1_power = a->beta2_power = 1;
    const size_t n = (size_t)a->num_parameters;
    float **arrays[] = {&a->gradient, &a->m, &a->v, &a->inner, &a->theta_before, &a->m_before, &a->v_before, &a->inner_before};
    const size_t count = sizeof arrays / sizeof *arrays;
    a->first_outputs = net->num_hidden > 0 ? net->hidden[0] : net->num_outputs;
    a->gradient = fpg_calloc(n * sizeof(float) * count);
    if (!a->gradient)
        return 0;
    for (size_t i = 1; i < count; i++)
        *arrays[i] = a->gradient + i * n;
    return 1;
}

static void ascent_save(ascent *a, const float *theta)
{
    const size_t size = (size_t)a->num_parameters * sizeof(float);
    memcpy(a->theta_before, theta, size);
    memcpy(a->m_before, a->m, size);
    memcpy(a->v_before, a->v, size);
    memcpy(a->inner_before, a->inner, size);
    a->beta1_power_before = a->beta1_power, a->beta2_power_before = a->beta2_power;
}

static void ascent_restore(ascent *a, float *theta)
{
    const size_t size = (size_t)a->num_parameters * sizeof(float);
    memcpy(theta, a->theta_before, size);
    memcpy(a->m, a->m_before, size);
    memcpy(a->v, a->v_before, size);
    memcpy(a->inner, a->inner_before, size);
    a->beta1_power = a->beta1_power_before, a->beta2_power = a->beta2_power_before;
}

fpg_trainer *fpg_trainer_new(const fpg_environment *env, const fpg_network *net, const fpg_network *value, int64_t num_envs,
                             uint64_t seed, const fpg_train_config *config)
{
    fpg_trainer *t = fpg_calloc(sizeof *t);
    if (!t)
        return NULL;
    t->config = *config, t->num_envs = num_envs, t->mean_length = NAN;
    t->sampler = fpg_sampler_new(env, net, value, num_envs, seed);
    int ok = t->sampler && ascent_init(&t->policy, net) && (!value || ascent_init(&t->value, value));
    if (ok && config->normalize_observations) {
        t->moments = fpg_calloc(2 * (size_t)net->num_inputs * sizeof *t->moments);
        ok = t->moments && fpg_normalizer_init(&t->normalizer, net->num_inputs);
    }
    if (!ok) {
        fpg_trainer_free(t);
        return NULL;
    }
    return t;
}

void fpg_trainer_free(fpg_trainer *t)
{
    if (!t)
        return;
    fpg_sampler_free(t->sampler);
    fpg_free(t->policy.gradient);
    fpg_free(t->value.gradient);
    fpg_normalizer_free(&t->normalizer);
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

/* One step of an optimizer. After a failure the caller restores what it saved. */
static fpg_status ascend_plain(const fpg_train_config *c, ascent *a, fpg_optimizer optimizer, double learning_rate, float *theta)
{
    const int64_t n = a->num_parameters;
    if (optimizer == FPG_ADAM) {
        a->beta1_power *= c->beta1, a->beta2_power *= c->beta2;
        const double root = sqrt(1 - a->beta2_power);
        fpg_active()->adam(n, theta, a->gradient, a->m, a->v, (float)(learning_rate * root / (1 - a->beta1_power)),
                           (float)c->beta1, (float)c->beta2, (float)(c->epsilon * root));
    } else
        fpg_active()->sgd(n, theta, a->gradient, a->m, (float)learning_rate, (float)c->momentum);
    /* A second moment that overflows would stop its parameter for good, without a word. */
    if (!fpg_all_finite(a->m, n) || !fpg_all_finite(a->v, n))
        return FPG_NONFINITE_GRADIENT;
    return fpg_all_finite(theta, n) ? FPG_OK : FPG_NONFINITE_THETA;
}

/* The same where the network reads normalised observations: the step is taken on its inner parameters. */
static fpg_status ascend(fpg_trainer *t, ascent *a, fpg_optimizer optimizer, double learning_rate, float *theta)
{
    if (t->normalizer.size == 0)
        return ascend_plain(&t->config, a, optimizer, learning_rate, theta);
    const fpg_status status = ascend_plain(&t->config, a, optimizer, learning_rate, a->inner);
    fpg_normalizer_fold(&t->normalizer, a->first_outputs, a->num_parameters, a->inner, theta);
    return status;
}

/* The gradient by the parameters that steps are taken on; returns its Euclidean norm. */
static double chain(const fpg_trainer *t, ascent *a, double norm)
{
    return t->normalizer.size == 0 ? norm : sqrt(fpg_normalizer_chain(&t->normalizer, a->first_outputs, a->num_parameters, a->gradient));
}

/* Statistics take in the iteration's observations; both networks go on as functions of observations normalised anew. */
static void renormalize(fpg_trainer *t, int64_t num_steps, float *theta, float *value_theta)
{
    double *sum = t->moments, *sum_square = t->moments + t->normalizer.size;
    fpg_sampler_moments(t->sampler, sum, sum_square);
    fpg_normalizer_add(&t->normalizer, num_steps, sum, sum_square);
    fpg_normalizer_fold(&t->normalizer, t->policy.first_outputs, t->policy.num_parameters, t->policy.inner, theta);
    fpg_normalizer_fold(&t->normalizer, t->value.first_outputs, t->value.num_parameters, t->value.inner, value_theta);
}

/* The regression of the value function on what was collected. */
static fpg_status fit_values(fpg_trainer *t, double anneal, float *value_theta, fpg_poll poll)
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
            fpg_status status = fpg_sampler_value_gradient(t->sampler, value_theta, &minibatch, t->value.gradient, &rows, poll);
            if (status == FPG_OK && rows > 0) {
                chain(t, &t->value, 0);
                status = ascend(t, &t->value, FPG_ADAM, c->value_learning_rate * anneal, value_theta);
            }
            if (status != FPG_OK)
                return status == FPG_NONFINITE_THETA ? FPG_NONFINITE_VALUE_THETA
                                                     : status == FPG_NONFINITE_GRADIENT ? FPG_NONFINITE_VALUE : status;
        }
    return FPG_OK;
}

/* Collect, estimate, ascend; and with a value function, fit it to what was collected. */
static fpg_status learn(fpg_trainer *t, float *theta, float *value_theta, fpg_stats *stats, fpg_poll poll)
{
    const fpg_train_config *c = &t->config;
    const fpg_collect collect = next_collect(t);
    const double left = 1 - (double)t->total_steps / (double)c->total_steps, anneal = c->linear_schedule ? left : 1;
    fpg_status status = value_theta ? fpg_sampler_advantage_gradient(t->sampler, theta, value_theta, &collect, c->standardize,
                                                                     t->policy.gradient, stats, poll)
                                    : fpg_sampler_gradient(t->sampler, theta, NULL, &collect, t->policy.gradient, stats, poll);
    if (status != FPG_OK)
        return status;
    stats->gradient_norm = chain(t, &t->policy, stats->gradient_norm);
    if (stats->gradient_norm > c->max_grad_norm)
        for (int64_t i = 0; i < t->policy.num_parameters; i++)
            t->policy.gradient[i] *= (float)(c->max_grad_norm / stats->gradient_norm);
    status = ascend(t, &t->policy, c->optimizer, c->learning_rate * anneal, theta);
    if (status == FPG_OK && value_theta)
        status = fit_values(t, anneal, value_theta, poll);
    if (status == FPG_OK && t->normalizer.size > 0)
        renormalize(t, stats->num_steps, theta, value_theta);
    return status;
}

/* One iteration, which is whole or did not happen. */
static fpg_status iterate(fpg_trainer *t, float *theta, float *value_theta, fpg_stats *stats, fpg_poll poll)
{
    const double start = fpg_now();
    ascent_save(&t->policy, theta);
    if (value_theta)
        ascent_save(&t->value, value_theta);
    const fpg_status status = learn(t, theta, value_theta, stats, poll);
    if (status != FPG_OK) {
        ascent_restore(&t->policy, theta);
        if (value_theta)
            ascent_restore(&t->value, value_theta);
    }
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
    if (t->normalizer.size > 0 && !t->has_inner) { /* before there are statistics, normalising changes nothing */
        memcpy(t->policy.inner, theta, (size_t)t->policy.num_parameters * sizeof *theta);
        memcpy(t->value.inner, value_theta, (size_t)t->value.num_parameters * sizeof *value_theta);
        t->has_inner = 1;
    }
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
