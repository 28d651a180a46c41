/* workspace.h - what every pass over rows or environments needs: slots, and the memory of a thread. */
#ifndef FPG_WORKSPACE_H
#define FPG_WORKSPACE_H

#include "base/memory.h"
#include "base/ranks.h"
#include "base/sizes.h"
#include "network/layout.h"

/* Traces cost as much as a tape of num_inputs steps, all of it touched at every step; and log_std has none. */
static inline int fpg_needs_tape(const fpg_layout *layout)
{
    return layout->num_hidden > 0 || layout->one_hot || layout->kind == FPG_GAUSSIAN;
}

/* Sums over episodes and steps; folded in a fixed order. */
typedef struct {
    int64_t num_steps, num_episodes, num_trajectories, sum_length;
    double sum_return, sum_square, min_return, max_return, entropy;
} fpg_tally;

/* A fixed share of the tiles (or of a batch's rows) adds up here, whichever thread runs it. */
typedef struct {
    float *gradient; /* (gradient_size,) padded; of the value function where that is what is computed */
    fpg_tally tally;
    double sum;     /* of an objective */
    double entropy; /* of the policy at its rows, if that is wanted */
    double k1, k3, num_clipped; /* of a clipped objective: two estimates of KL(old | new), summed; rows whose ratio is clipped */
} fpg_slot;

/* Several steps of one tile, in time order; arrays grow by doubling where the length is not known. */
typedef struct fpg_tape {
    int64_t capacity;                 /* steps */
    int32_t first_age[FPG_TILE];      /* steps of the episodes under way where the tape begins */
    float *obs, *score;               /* (T, obs_size, width), (T, num_scores, width) */
    float *reward, *weight;           /* (T, width) */
    uint8_t *terminated, *truncated, *mask; /* (T, width); mask: 1 where the step counts */
    float *value, *final_value, *target; /* (T, width): V(s_t); V of what a cut left off, else 0; what V would be fitted to */
    float last_value[FPG_TILE];       /* V of what follows the last step, where no episode ended with it */
    float *hidden[FPG_MAX_HIDDEN];    /* (T, lanes, out_pad) where activations are kept, else NULL */
} fpg_tape;

/* One thread's memory. */
typedef struct {
    fpg_tape tape;
    float *x, *dlogits;             /* (obs_size + 1, FPG_CHUNK), the last row ones; (num_scores, FPG_CHUNK) */
    float *hidden[FPG_MAX_HIDDEN];  /* (FPG_CHUNK, out_pad) */
    float *value_hidden[FPG_MAX_HIDDEN], *values; /* the same of the value function; (FPG_CHUNK,) */
    float *backward;                /* (2, FPG_CHUNK, max_width), then (num_outputs, FPG_CHUNK) */
    float *trace, *trace_sum;       /* (num_outputs, num_inputs + 1, width), policies without a tape */
    double *noise;                  /* (max(reset, step) noise, width) */
    uint32_t *words;                /* (num_draws, 4, FPG_CHUNK): the random words of four steps' actions */
    void *action;                   /* (action_size, FPG_CHUNK) int32_t or float */
    uint8_t *action_mask;           /* (num_outputs, width), of an environment that has one */
} fpg_worker;

/* value: the value function's layout, or NULL. env: NULL where there is none. */
fpg_status fpg_worker_init(fpg_worker *worker, const fpg_layout *layout, const fpg_layout *value, const fpg_environment *env,
                           int32_t width);
void fpg_worker_free(fpg_worker *worker);
/* Room for `steps` steps, keeping what is there; 0 if memory runs out. */
int fpg_tape_reserve(fpg_tape *tape, const fpg_layout *layout, int32_t lanes, int32_t width, int64_t steps, int keep_hidden);

void fpg_tape_free(fpg_tape *tape);

typedef struct {
    fpg_layout layout, value_layout;
    float *packed, *value_packed, *slot_gradients;
    fpg_worker *workers;
    int num_workers;
    fpg_slot *slots;
    int64_t num_slots, max_slots; /* in use; that there is memory for */
    fpg_ranks *ranks;             /* processes that share the slots, or NULL */
} fpg_workspace;

/* FPG_OK if a network can compute with theta; else FPG_NONFINITE_THETA or FPG_LOG_STD_RANGE. */
fpg_status fpg_check_theta(const fpg_layout *layout, const float *theta);
/* value: the value function's network, or NULL. */
fpg_status fpg_workspace_init(fpg_workspace *ws, const fpg_network *net, const fpg_network *value);
void fpg_workspace_free(fpg_workspace *ws);
/* As many slots as `units` of work want, and workers for them; what is there is kept. */
fpg_status fpg_workspace_divide(fpg_workspace *ws, int64_t units, const fpg_environment *env, int32_t width);
/* Workers for the threads in use now, as many as there are tasks for. */
fpg_status fpg_workspace_add_workers(fpg_workspace *ws, const fpg_environment *env, int32_t width, int64_t num_tasks);

#endif
