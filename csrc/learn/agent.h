/* agent.h - what learns: two networks on their way uphill, what they know of observations, and counters. */
#ifndef FPG_AGENT_H
#define FPG_AGENT_H

#include "learn/ascent.h"
#include "learn/estimator.h"

/* The target is compared with the mean return of the newest iterations that hold TARGET_EPISODES together. */
enum { FPG_TARGET_EPISODES = 100, FPG_MAX_RECENT = 128 };

struct fpg_agent {
    fpg_train_config config;
    fpg_estimator estimator;
    fpg_ascent policy, value;
    int has_value;
    fpg_normalizer normalizer; /* size 0: observations are taken as they are */
    double *moments;           /* (2, obs_size), with a normaliser */
    fpg_normalizer rewards;    /* of discounted returns forwards in time; size 0: V learns from rewards as they are */
    double *so_far;            /* (num_envs,) those of the episodes under way */
    int64_t num_envs;          /* of the last batch, where rewards are normalised; else 0 */
    double rate_factor;        /* what desired_kl has made of the policy's learning rate */
    int64_t num_iterations, total_steps;
    double mean_length;        /* of the newest episodes; NaN before there are any */
    double recent_returns[FPG_MAX_RECENT]; /* iteration k's sum of returns, at k % FPG_MAX_RECENT */
    int64_t recent_episodes[FPG_MAX_RECENT];
};

/* ---- state.c: the entries of one or several objects, copied away and back ------------------------------------------------- */

typedef struct {
    fpg_entry entries[FPG_MAX_ENTRIES];
    int32_t num_entries;
    char *copy;
} fpg_state;

int fpg_state_init(fpg_state *state); /* with its entries listed; 0 if memory runs out */
void fpg_state_free(fpg_state *state);
size_t fpg_state_save(fpg_state *state); /* how many bytes it is */
void fpg_state_restore(fpg_state *state);

/* What an iteration does with the rows that the estimator has loaded, or with the gradient that a fused pass has left in
 * agent->policy.gradient, the statistics of the collection being there. After a failure its caller restores the state. */
fpg_status fpg_agent_learn(fpg_agent *agent, fpg_stats *stats, fpg_poll poll);
fpg_status fpg_agent_ascend(fpg_agent *agent, fpg_stats *stats);
void fpg_agent_count(fpg_agent *agent, fpg_stats *stats);

/* ---- algorithms/: one iteration each, from the rows that the estimator has loaded ------------------------------------------ */

fpg_status fpg_vpg_learn(fpg_agent *agent, fpg_stats *stats, fpg_poll poll);
fpg_status fpg_ppo_learn(fpg_agent *agent, fpg_stats *stats, fpg_poll poll);
fpg_status fpg_natural_learn(fpg_agent *agent, fpg_stats *stats, fpg_poll poll); /* NPG and TRPO */

/* Their parts. Sums over the rows' weights: */
typedef struct {
    double mean, variance; /* the mean, and the mean squared distance from it */
} fpg_spread;

fpg_spread fpg_spread_of(double sum, double sum_square, int64_t count);
/* What weights become advantages by, (weight - shift) * scale: with mean 0 and standard deviation 1 where the algorithm wants that,
 * and in units of what V learns. */
typedef struct {
    double shift, scale;
} fpg_standard;

/* freedom: what the number of rows is less than for the deviation's divisor, 0 or 1. Too few rows have no deviation. */
fpg_standard fpg_agent_standard(const fpg_agent *agent, const fpg_spread *weights, int64_t count, int64_t freedom);
/* Weights and targets, by V as it is now; and what is known of it. */
fpg_status fpg_agent_weigh(fpg_agent *agent, fpg_stats *stats, fpg_spread *weights, fpg_poll poll);
/* The statistics of rewards get those of the batch; before V is asked. */
fpg_status fpg_agent_observe_rewards(fpg_agent *agent, fpg_poll poll);
/* What comes before the steps of algorithms that compare with the old policy: all of these, its log-probs, and the entropy. */
fpg_status fpg_agent_prepare(fpg_agent *agent, fpg_stats *stats, fpg_spread *weights, fpg_poll poll);
/* The statistics of observations get those of the batch, and both networks are ready for steps. */
fpg_status fpg_agent_observe(fpg_agent *agent, fpg_poll poll);
/* The regression of V on the targets, in epochs of minibatches. */
fpg_status fpg_agent_fit_values(fpg_agent *agent, fpg_poll poll);
/* After all steps. */
void fpg_agent_finish(fpg_agent *agent);
/* The share of a linear schedule that is left. */
double fpg_agent_share_left(const fpg_agent *agent);
double fpg_agent_rate(const fpg_agent *agent, double learning_rate);

#endif
