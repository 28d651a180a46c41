/* train.c - many iterations of collect, estimate, ascend, without leaving C. */
#include "internal.h"

#include <math.h>

/* The target is compared with the mean return of the newest iterations that hold this many episodes together. */
enum { TARGET_EPISODES = 100, MAX_RECENT = 128 };

struct fpg_trainer {
    fpg_sampler *sampler;
    fpg_train_config config;
    int64_t num_parameters, num_envs, num_iterations;
    float *gradient, *m, *v, *good; /* (P,); good: theta before the update under way */
    double mean_length;             /* of the newest episodes; NaN before there are any */
    double beta1_power, beta2_power;
    struct { double sum_return; int64_t num_episodes; } recent[MAX_RECENT];
    fpg_stopped stopped;
};

fpg_trainer *fpg_trainer_new(const fpg_environment *env, const fpg_network *net, int64_t num_envs, uint64_t seed,
                             const fpg_train_config *config)
{
    fpg_trainer *t = fpg_calloc(sizeof *t);
    if (!t)
        return NULL;
    const int64_t n = fpg_num_parameters(net);
    t->config = *config, t->num_parameters = n, t->num_envs = num_envs, t->mean_length = NAN;
    t->beta1_power = t->beta2_power = 1;
    t->sampler = fpg_sampler_new(env, net, num_envs, seed);
    t->gradient = fpg_calloc((size_t)n * sizeof(float) * 4);
    if (!t->sampler || !t->gradient) {
        fpg_trainer_free(t);
        return NULL;
    }
    t->m = t->gradient + n, t->v = t->m + n, t->good = t->v + n;
    return t;
}

void fpg_trainer_free(fpg_trainer *t)
{
    if (!t)
        return;
    fpg_sampler_free(t->sampler);
    fpg_free(t->gradient);
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

static fpg_status ascend(fpg_trainer *t, float *theta)
{
    const fpg_train_config *c = &t->config;
    const int64_t n = t->num_parameters;
    memcpy(t->good, theta, (size_t)n * sizeof *theta);
    if (c->optimizer == FPG_ADAM) {
        t->beta1_power *= c->beta1, t->beta2_power *= c->beta2;
        const double root = sqrt(1 - t->beta2_power);
        fpg_active()->adam(n, theta, t->gradient, t->m, t->v, (float)(c->learning_rate * root / (1 - t->beta1_power)),
                           (float)c->beta1, (float)c->beta2, (float)(c->epsilon * root));
    } else
        fpg_active()->sgd(n, theta, t->gradient, t->m, (float)c->learning_rate, (float)c->momentum);
    if (fpg_all_finite(theta, n))
        return FPG_OK;
    memcpy(theta, t->good, (size_t)n * sizeof *theta);
    return FPG_NONFINITE_THETA;
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

fpg_status fpg_trainer_run(fpg_trainer *t, float *theta, double seconds, int64_t capacity, fpg_stats *stats, int64_t *count,
                           fpg_stopped *stopped, fpg_poll poll)
{
    const double end = fpg_now() + seconds;
    fpg_status status = FPG_OK;
    *count = 0;
    while (t->stopped == FPG_RUNNING && *count < capacity && (*count == 0 || fpg_now() < end)) {
        const fpg_collect collect = next_collect(t);
        fpg_stats *now = &stats[*count];
        status = fpg_sampler_gradient(t->sampler, theta, &collect, t->gradient, now, poll);
        if (status == FPG_OK)
            status = ascend(t, theta);
        if (status != FPG_OK)
            break;
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
