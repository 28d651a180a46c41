/* estimator.h - a batch and what is estimated from it: values, weights, gradients. */
#ifndef FPG_ESTIMATOR_H
#define FPG_ESTIMATOR_H

#include "batch/shards.h"
#include "learn/job.h"

/* Rows in a chosen order: those of shard s are rows[s][0 .. starts[s + 1] - starts[s] - 1]. */
typedef struct {
    int64_t *starts; /* (num_shards + 1,) */
    const int64_t **rows;
} fpg_selection;

typedef struct {
    fpg_workspace policy, value; /* value: without memory if there is no value function */
    int has_values;              /* of a value function, or the caller's */
    int has_log_probs, has_outputs; /* log-probs of the policy before the update are kept, and its outputs */
    uint64_t seed;
    fpg_shard *shards, *own;     /* (num_shards,) of the batch at hand; own: memory for those of a caller's batch */
    int64_t num_shards, max_shards;
    int64_t num_rows, num_trajectories;
    fpg_selection all, minibatch;
    float *floats;               /* the shards' values, weights, targets, log-probs */
    int64_t *numbers;            /* the shards' rows, and their order */
    float *kept;                 /* activations of all rows, by position; those of the parameters at fpg_estimator_log_probs */
    int64_t max_kept, num_kept;  /* floats; rows, 0 where they are not kept */
    double *moments;             /* (num_shards, 2, obs_size): sums of observations and of their squares */
    int64_t max_floats, max_numbers;
} fpg_estimator;

/* 0 if memory runs out; fpg_estimator_free is then to be called as well. */
int fpg_estimator_init(fpg_estimator *e, const fpg_network *net, const fpg_network *value, uint64_t seed);
void fpg_estimator_free(fpg_estimator *e);
/* The batch that all below is about. FPG_NO_ROWS, FPG_NO_MEMORY. */
fpg_status fpg_estimator_load(fpg_estimator *e, fpg_shard *shards, int64_t num_shards);
fpg_status fpg_estimator_load_batch(fpg_estimator *e, const fpg_batch *batch);
/* V of every row, and where the form bootstraps of what follows the cuts. */
fpg_status fpg_estimator_values(fpg_estimator *e, const float *value_theta, const fpg_collect *collect, fpg_poll poll);
/* Weights and targets. baseline: of every row, in order, instead of values; or NULL. */
fpg_status fpg_estimator_weigh(fpg_estimator *e, const fpg_collect *collect, const float *baseline, fpg_poll poll);
/* gradient: by theta, of scale * sum of ((weight - shift) * weight_scale * log pi + entropy_coef * entropy). *entropy: the sum of
 * the rows' entropies; NULL: not wanted. *norm: the gradient's Euclidean norm. */
fpg_status fpg_estimator_policy_gradient(fpg_estimator *e, const float *theta, double shift, double weight_scale, double entropy_coef,
                                         double scale, float *gradient, double *norm, double *entropy, fpg_poll poll);
/* log pi of every row, and the outputs and activations, as far as they are kept; and the sum of the rows' entropies. What follows
 * with has_kept is with the same parameters. */
fpg_status fpg_estimator_log_probs(fpg_estimator *e, const float *theta, double *entropy, fpg_poll poll);
/* Shuffles the rows of every shard, for the epoch's minibatches. */
fpg_status fpg_estimator_shuffle(fpg_estimator *e, int64_t iteration, int64_t epoch, fpg_poll poll);
/* The rows of minibatch `index` of `count`, until the next call; count 1: all. *rows: how many these are, perhaps none. */
const fpg_selection *fpg_estimator_minibatch(fpg_estimator *e, int64_t index, int64_t count, int64_t *rows);
/* Sum of the weights of chosen rows, and of their squares. */
void fpg_estimator_chosen_sums(const fpg_estimator *e, const fpg_selection *chosen, double *weight, double *weight_square);
/* The rows of steps 0, every, 2 * every, ..., until the next shuffle or minibatch. */
const fpg_selection *fpg_estimator_every(fpg_estimator *e, int64_t every, int64_t *rows);
/* gradient: the mean over chosen rows of the Fisher matrix at theta times a tangent, which is packed. */
fpg_status fpg_estimator_fisher(fpg_estimator *e, const float *theta, const fpg_selection *chosen, const float *tangent, float *gradient,
                                fpg_poll poll);
/* Means over all rows: KL(old | new), and by how much the surrogate of the advantages (weight - shift) * scale has grown. */
fpg_status fpg_estimator_trust_region(fpg_estimator *e, const float *theta, const float *old_log_std, double shift, double scale,
                                      double *kl, double *growth, fpg_poll poll);
/* gradient: by value_theta, of minus half the mean square of error / value_scale over chosen rows. */
fpg_status fpg_estimator_value_gradient(fpg_estimator *e, const float *value_theta, const fpg_selection *chosen, double value_scale,
                                        float *gradient, fpg_poll poll);
/* Parameters that the next fpg_estimator_both computes with. */
fpg_status fpg_estimator_pack(fpg_workspace *ws, const float *theta);
/* Runs the objectives of both networks over chosen rows, all tasks in one call: what they sum up is in the slots. */
fpg_status fpg_estimator_both(fpg_estimator *e, const fpg_selection *chosen, fpg_rows *policy, fpg_rows *value, fpg_poll poll);
/* Sums over the rows of R_t = gamma R_{t-1} + r_t, forwards in time, and of their squares. It begins with so_far[i] of environment
 * i, which becomes what the next batch begins with, and with 0 after an episode's end. */
fpg_status fpg_estimator_discounted(fpg_estimator *e, double gamma, double *so_far, double *sum, double *sum_square, fpg_poll poll);
/* Sums over the rows of each component of the observations, and of their squares, (obs_size,) each. */
fpg_status fpg_estimator_moments(fpg_estimator *e, double *sum, double *sum_square, fpg_poll poll);
/* The shards' sums of weights and targets and of their squares, added up. */
void fpg_estimator_sums(const fpg_estimator *e, double *weight, double *weight_square, double *target, double *target_square);
/* Weights, then the gradient of all rows, normalised as collect says; the statistics of both, and the entropy where it is NaN. */
fpg_status fpg_estimator_gradient(fpg_estimator *e, const float *theta, const fpg_collect *collect, const float *baseline,
                                  float *gradient, fpg_stats *stats, fpg_poll poll);
/* What a caller's batch says of its episodes; the other statistics are left open. */
fpg_stats fpg_batch_stats(const fpg_batch *batch);

#endif
