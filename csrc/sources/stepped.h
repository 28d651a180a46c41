/* stepped.h - environments that the caller steps. */
#ifndef FPG_STEPPED_H
#define FPG_STEPPED_H

#include <string.h>

#include "base/sizes.h"
#include "fastpg.h"

/* The categories of all components of an action. */
static inline int32_t fpg_num_categories(const fpg_environment *env)
{
    int32_t sum = 0;
    for (int32_t k = 0; k < env->action_size; k++)
        sum += env->action_categories[k];
    return sum;
}

/* Environments that the caller steps, in tiles of `width`: field k of environment i of a tile is state[k * width + i]. */
typedef struct {
    double *noise; /* (max(reset, step) noise, width) */
    double *begun; /* (state_size, width): states that wait for a step to be over */
    float *obs;    /* (obs_size, width) */
    void *action;  /* (action_size, width) float or int32_t */
    uint8_t *action_mask; /* (categories of all components, width), of an environment that has one */
} fpg_vector_scratch;

struct fpg_vector {
    fpg_environment env;
    int native; /* its functions are ours: any state can be stepped, and no limit is their own */
    fpg_autoreset autoreset;
    int64_t num_envs, num_tiles;
    int32_t width;
    double *state;             /* (num_tiles, state_size, width) */
    double *episode_return;    /* (num_tiles * width,): of the episode under way */
    uint32_t *key[2], *episode; /* (num_tiles * width,): the seed's halves; episodes since it was set */
    int32_t *elapsed;          /* (num_tiles * width,) */
    uint8_t *done;             /* (num_tiles * width,): the episode has ended, and the environment was not reset since */
    double seconds_per_tile;   /* of recent steps: what a thread would save */
    fpg_vector_scratch *scratch; /* one for each share of the work */
    int64_t num_shares;
};

/* The action mask of the tile that begins with environment `first`, to scratch->action_mask. */
static inline fpg_status fpg_vector_mask_tile(const fpg_vector *v, int64_t first, const fpg_vector_scratch *scratch)
{
    memset(scratch->action_mask, 1, (size_t)fpg_num_categories(&v->env) * (size_t)v->width);
    const int32_t failed = v->env.mask(&v->env, v->width, v->state + first * v->env.state_size, scratch->action_mask);
    return failed ? FPG_ENVIRONMENT_STATUS(FPG_MASK_ACTIONS, failed) : FPG_OK;
}

#endif
