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
void fpg_state_save(fpg_state *state);
void fpg_state_restore(fpg_state *state);

/* What an iteration does with the rows that the estimator has loaded, or with the gradient that a fused pass has left in
 * agent->policy.gradient, the statistics of the collection being there. After a failure its caller restores the state. */
fpg_status fpg_agent_learn(fpg_agent *agent, fpg_stats *stats, fpg_poll poll);
fpg_status fpg_agent_ascend(fpg_agent *agent, fpg_stats *stats);

#endif
