/* stepped.h - environments that the caller steps. */
#ifndef FPG_STEPPED_H
#define FPG_STEPPED_H

#include "base/sizes.h"
#include "fastpg.h"

/* Environments that the caller steps, in tiles of `width`: field k of environment i of a tile is state[k * width + i]. */
typedef struct {
    double *noise; /* (max(reset, step) noise, width) */
    double *begun; /* (state_size, width): states that wait for a step to be over */
    float *obs;    /* (obs_size, width) */
    void *action;  /* (action_size, width) float or int32_t */
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

#endif
