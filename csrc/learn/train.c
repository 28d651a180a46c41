/* train.c - many iterations of collect and update without leaving C. */
#include "sources/sampler.h"
#include "learn/agent.h"

#include <math.h>

struct fpg_trainer {
    fpg_sampler *sampler;
    fpg_agent *agent;
    fpg_state before; /* the iteration under way: the agent's and the environments' */
    int64_t num_envs;
};

fpg_trainer *fpg_trainer_new(const fpg_environment *env, const fpg_network *net, fpg_agent *agent, int64_t num_envs, uint64_t seed)
{
    fpg_trainer *t = fpg_calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->agent = agent, t->num_envs = num_envs;
    t->sampler = fpg_sampler_new(env, net, NULL, num_envs, seed);
    if (t->sampler && fpg_agent_reserve_envs(agent, num_envs)) {
        t->before.num_entries = fpg_agent_state(agent, t->before.entries);
        t->before.num_entries += fpg_sampler_state(t->sampler, t->before.entries + t->before.num_entries);
    }
    if (t->before.num_entries > 0 && fpg_state_init(&t->before))
        return t;
    fpg_trainer_free(t);
    return NULL;
}

void fpg_trainer_free(fpg_trainer *t)
{
    if (!t)
        return;
    fpg_sampler_free(t->sampler);
    fpg_state_free(&t->before);
    fpg_free(t);
}

void fpg_trainer_share(fpg_trainer *t, fpg_ranks *ranks)
{
    t->sampler->ws.ranks = ranks;
    fpg_agent_share(t->agent, ranks);
}

int32_t fpg_trainer_environments(fpg_trainer *t, fpg_entry *entries, int32_t *width)
{
    *width = t->sampler->width;
    return fpg_sampler_state(t->sampler, entries);
}

/* A value function is fitted to rows, so they are kept; without one, the pass over the environments leaves the gradient. */
static fpg_status learn(fpg_trainer *t, fpg_stats *stats, fpg_poll poll)
{
    fpg_agent *a = t->agent;
    fpg_sampler *s = t->sampler;
    const fpg_collect collect = fpg_agent_next_collect(a, t->num_envs);
    fpg_status status;
    if (!a->has_value) {
        status = fpg_sampler_gradient(s, a->policy.theta, NULL, &collect, a->policy.gradient, stats, poll);
        if (status == FPG_OK)
            status = fpg_agent_ascend(a, stats);
        if (status == FPG_OK)
            fpg_agent_count(a, stats);
        return status;
    }
    status = fpg_sampler_fill(s, a->policy.theta, &collect, stats, poll);
    if (status == FPG_OK)
        status = fpg_estimator_load(&a->estimator, s->shards, s->num_tiles);
    return status == FPG_OK ? fpg_agent_learn(a, stats, poll) : status;
}

char *fpg_trainer_take_state(fpg_trainer *t, size_t *size)
{
    char *state = t->before.copy;
    *size = fpg_state_save(&t->before);
    t->before.copy = NULL;
    return state;
}

void fpg_trainer_give_state(fpg_trainer *t, char *state)
{
    fpg_state_free(&t->before);
    t->before.copy = state;
    fpg_state_restore(&t->before);
}

fpg_status fpg_trainer_run(fpg_trainer *t, double seconds, int64_t capacity, int64_t pause_at, fpg_stats *stats, int64_t *count,
                           fpg_poll poll)
{
    const double end = fpg_now() + seconds;
    fpg_ranks *ranks = t->sampler->ws.ranks;
    poll = fpg_ranks_poll(ranks, poll);
    *count = 0;
    while (fpg_agent_stopped(t->agent) == FPG_RUNNING && t->agent->total_steps < pause_at) {
        const double start = fpg_now();
        int goes_on = *count < capacity && (*count == 0 || start < end);
        fpg_status status = ranks ? fpg_ranks_go_on(ranks, goes_on, fpg_agent_check(t->agent), &goes_on) : FPG_OK;
        if (status != FPG_OK || !goes_on)
            return status;
        fpg_state_save(&t->before);
        status = learn(t, &stats[*count], poll);
        if (status != FPG_OK) {
            fpg_state_restore(&t->before);
            return fpg_ranks_leave(ranks, status);
        }
        stats[*count].seconds = fpg_now() - start;
        ++*count;
    }
    return FPG_OK;
}
