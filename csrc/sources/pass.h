/* pass.h - one pass over environments, tile by tile. */
#ifndef FPG_PASS_H
#define FPG_PASS_H

#include "base/workspace.h"
#include "batch/shards.h"

/* A tile's environments between passes. */
typedef struct {
    double *state;          /* (state_size, width) */
    double *episode_return; /* (width,) undiscounted, of the episode under way */
    int32_t *elapsed;       /* (width,) its steps; -1 if it has ended, where a caller stepped the environment */
    /* (width,) each, where the environments are a caller's: their random numbers are then those of streams.h; else NULL. */
    uint32_t *key[2], *episode;
} fpg_tile;

/* The absorbing ends among an environment's ends, and those of its own time limit. */
static inline int fpg_is_terminated(double end)
{
    return (end == FPG_END_TERMINATED) | (end == FPG_END_TERMINATED + FPG_END_TRUNCATED);
}
static inline int fpg_is_truncated(double end) { return end >= FPG_END_TRUNCATED; }

/* What every task of a pass reads. */
typedef struct {
    const fpg_environment *env;
    const fpg_layout *layout;
    const float *packed;
    fpg_collect collect;
    const fpg_layout *value_layout; /* NULL without a value function */
    const float *value_packed;
    int want_gradient, deterministic, fresh; /* fresh: horizon mode starts from resets */
    uint64_t seed;
    uint32_t iteration; /* separates the random numbers of passes */
    int64_t num_envs;
    int32_t lanes, width; /* environments in a tile, and the same rounded up to FPG_PAD */
    double *returns;      /* evaluation: each episode's return and length, or NULL */
    int64_t *lengths;
    fpg_shard *shards;    /* where every step is written, a shard for each tile; or NULL */
    int all_ends;         /* all ends are listed there; else those that a value follows */
    int caller_draws;     /* random numbers are those of seed and first_step below, else the sampler's */
    int64_t first_step;
    fpg_control *control;
} fpg_pass;

/* Whether a pass records its steps: traces serve linear policies whose weights need no more than the rewards so far. */
static inline int fpg_is_taped(const fpg_pass *pass)
{
    return pass->want_gradient && (fpg_needs_tape(pass->layout) || pass->value_layout || pass->collect.baseline ||
                                   pass->collect.discount_states || pass->collect.entropy_coef != 0);
}

#endif
