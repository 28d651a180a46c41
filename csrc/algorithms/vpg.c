/* vpg.c - the vanilla policy gradient: one step of the policy, then the regression of the value function, where there is one. */
#include "learn/agent.h"

#include <math.h>

fpg_status fpg_vpg_learn(fpg_agent *a, fpg_stats *stats, fpg_poll poll)
{
    const fpg_train_config *c = &a->config;
    fpg_estimator *e = &a->estimator;
    const int64_t divisor = c->collect.normalize == FPG_PER_TIMESTEP ? e->num_rows : e->num_trajectories;
    const int wants_entropy = isnan(stats->entropy);
    double entropy, norm;
    fpg_spread weights;
    fpg_status status = fpg_agent_observe_rewards(a, poll);
    if (status == FPG_OK)
        status = fpg_agent_weigh(a, stats, &weights, poll);
    if (status != FPG_OK)
        return status;
    const fpg_standard standard = fpg_agent_standard(a, &weights, e->num_rows, 0);
    status = fpg_estimator_policy_gradient(e, a->policy.theta, standard.shift, standard.scale, c->collect.entropy_coef,
                                           1.0 / (double)divisor, a->policy.gradient, &norm, wants_entropy ? &entropy : NULL, poll);
    if (wants_entropy)
        stats->entropy = entropy / (double)e->num_rows;
    if (status == FPG_OK)
        status = fpg_agent_observe(a, poll);
    if (status == FPG_OK)
        status = fpg_agent_ascend(a, stats);
    if (status == FPG_OK && a->has_value)
        status = fpg_agent_fit_values(a, poll);
    if (status == FPG_OK)
        fpg_agent_finish(a);
    return status;
}
