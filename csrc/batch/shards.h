/* shards.h - some neighbouring environments of a batch, and episodes that ended there. */
#ifndef FPG_SHARDS_H
#define FPG_SHARDS_H

#include "base/sizes.h"
#include "base/memory.h"
#include "base/ranks.h"
#include "network/layout.h"

/* An episode that ended while its steps were collected. */
typedef struct {
    int64_t step, env, length;
    double episode_return;
} fpg_end;

/* Those of a tile, in the order of (step, env). */
typedef struct {
    int64_t count, capacity;
    fpg_end *ends;
    float *obs; /* (count, obs_size): after the last step */
} fpg_ends;

/* Room for `count` of them, keeping what is there; 0 if memory runs out. */
int fpg_ends_reserve(fpg_ends *ends, int32_t obs_size, int64_t count);

/* Some neighbouring environments of a batch, `num_steps` steps of each. Row k = t * stride + i is step t of the shard's
 * environment i. Which environments make a shard depends on their number only: see batch/shards.c. */
typedef struct {
    int64_t first_env, num_steps, stride;
    int32_t num_envs;
    float *obs;                       /* row k at obs + k * obs_size */
    void *actions;                    /* int64_t, or float of a Gaussian: row k at k * action_size; as they were drawn */
    float *log_probs, *rewards;       /* log_probs: NULL where nobody asks */
    uint8_t *terminated, *truncated;
    uint8_t *mask;                    /* 0 where the row is no transition; NULL: all are */
    uint8_t *action_mask;             /* row k at k * num_outputs: 0 where the action was not allowed; NULL: all were */
    float *last_obs;                  /* (num_envs, obs_size): after the last row */
    int by_episode;                   /* whole episodes, one after the other */
    const int32_t *first_age;         /* (num_envs,) steps of the episodes under way before the first row; NULL: none */
    fpg_ends ends;                    /* episodes that ended: all, or those whose final observation has a value */
    /* Where the memory is the shard's own: steps that there is room for, else 0; the mask's; and the policy's activations,
     * (T * num_envs + FPG_TILE, out_pad), or NULL where they are not kept. */
    int64_t capacity, hidden_capacity;
    int masks_actions; /* there is to be room for action_mask */
    uint8_t *own_mask;
    float *hidden[FPG_MAX_HIDDEN];
    /* Of an estimator (learn/estimator.h): */
    float *values, *final_values, *weights, *targets; /* row k: V(s_t); V of what a truncation cut; Phi_t; what V is fitted to */
    float *old_log_probs;             /* row k: log pi(a_t|s_t) before the update; NULL where nobody asks */
    float *old_outputs;               /* row k: the policy's outputs then, at k * num_outputs; NULL likewise */
    float *last_values;               /* (num_envs,) */
    int64_t num_rows, *rows, *order;  /* (num_rows,): the rows that count, in their order, and shuffled */
    int64_t num_trajectories;         /* episodes that ended, and those that the last row cut */
    double weight, weight_square, target, target_square; /* sums over the rows */
} fpg_shard;

/* Environments in a shard, of which the last may have fewer. */
int32_t fpg_shard_size(int64_t num_envs);
/* The caller's batch, shard by shard. shards: (num_envs - 1) / fpg_shard_size(num_envs) + 1 of them, cleared or of before, whose
 * memory for ends is kept. */
void fpg_shards_of(const fpg_batch *batch, const fpg_layout *layout, fpg_shard *shards);
/* Room for `steps` steps in a shard with memory of its own, keeping what is there; 0 if memory runs out. */
int fpg_shard_reserve(fpg_shard *shard, const fpg_layout *layout, int64_t steps);
/* Its rows and ends, to another process or from there: of a shard with memory of its own. */
void fpg_carry_shard(fpg_shard *shard, const fpg_layout *layout, fpg_parcel *parcel);
/* Room for the policy's activations in them as well, or no more of it. */
int fpg_shard_keep_hidden(fpg_shard *shard, const fpg_layout *layout, int64_t steps);
void fpg_shard_free(fpg_shard *shard); /* what is its own */

#endif
