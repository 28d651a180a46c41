/* internal.h - what the files of csrc/ share and callers never see: the kernel table, one pass over the
 * environments, a worker's scratch memory, and the thread pool.
 */
#ifndef FPG_INTERNAL_H
#define FPG_INTERNAL_H

#include <stdatomic.h>

#include "fastpg.h"
#include "network/layout.h"

#define FPG_TILE 64   /* the most environments in a tile; divisible by FPG_PAD */
#define FPG_VECTOR_TILE 256 /* the same of environments that a caller steps */
/* Keeping activations costs this much memory a thread, or a batch, at most; above it backward passes compute them again. */
#define FPG_TAPE_BYTES ((int64_t)32 << 20)
#define FPG_CHUNK 128 /* rows of a forward and backward pass; at least FPG_TILE */

/* What random numbers are for: the low byte of a counter's last word. */
enum { FPG_DRAW_ACTION = 0, FPG_DRAW_RESET = 1, FPG_DRAW_STEP = 2, FPG_DRAW_MINIBATCH = 3 };

/* ---- memory -------------------------------------------------------------------------------------------------- */

/* A product of sizes, or SIZE_MAX where it does not fit: more than there is of any memory. */
size_t fpg_times(size_t a, size_t b);
/* `count` entries of `size` bytes, 64-byte aligned and not cleared; NULL if there is no such memory. The OS commits it on first
 * touch. A count that is the product of others comes from fpg_times. */
void *fpg_alloc(size_t count, size_t size);
void *fpg_calloc(size_t count, size_t size); /* cleared */
void fpg_free(void *p);
/* A copy of `array`, which may be NULL, with room for `rows` rows of `row` bytes instead of old_rows; NULL if memory runs out. */
void *fpg_grown(const void *array, int64_t old_rows, int64_t rows, size_t row);
/* The same in the array's place; 0 if memory runs out, and then the array is as it was. */
#define FPG_GROW(place, old_rows, rows, row) \
    ({ \
        void *grown_ = fpg_grown(*(place), old_rows, rows, row); \
        if (grown_) { \
            fpg_free(*(place)); \
            *(place) = grown_; \
        } \
        grown_ != NULL; \
    })

/* x * 0 is NaN for NaN and infinity, and a NaN stays in a sum. */
static inline int fpg_all_finite(const float *x, int64_t n)
{
    float zero = 0;
    FPG_SIMD_SUM(zero) for (int64_t i = 0; i < n; i++)
        zero += x[i] * 0.0f;
    return zero == 0;
}

/* ---- parallel.c: the only file that knows threads -------------------------------------------------------------- */

/* Shared by the tasks of one call: the caller's poll, and the first thing that went wrong. */
typedef struct {
    fpg_poll poll;
    double next_poll;
    atomic_int status; /* fpg_status; nonzero asks every task to return early */
} fpg_control;

typedef void (*fpg_task)(void *context, int64_t index, int worker);

void fpg_control_init(fpg_control *control, fpg_poll poll);
void fpg_fail(fpg_control *control, fpg_status status);
/* What a function of the environment returned, as a failure of the call; 1 if it was none. */
static inline int fpg_went_well(fpg_control *control, fpg_function function, int32_t returned)
{
    if (returned != 0)
        fpg_fail(control, FPG_ENVIRONMENT_STATUS(function, returned));
    return returned == 0;
}
/* The absorbing ends among an environment's ends, and those of its own time limit. */
static inline int fpg_is_terminated(double end)
{
    return (end == FPG_END_TERMINATED) | (end == FPG_END_TERMINATED + FPG_END_TRUNCATED);
}
static inline int fpg_is_truncated(double end) { return end >= FPG_END_TRUNCATED; }
/* Nonzero if the task should return. Cheap enough for every few microseconds; worker 0 is the calling thread and polls. */
int fpg_should_stop(fpg_control *control, int worker);
/* Runs task(context, i, worker) for 0 <= i < count with worker < num_workers, the number of threads to use at most.
 * Which thread runs which i is left open. A call from inside a task, or while another thread holds the pool, is serial. */
void fpg_parallel_for(int64_t count, int num_workers, fpg_task task, void *context, fpg_control *control);
/* How many threads a call from here may get: memory for more of them is never used. */
int fpg_threads_here(void);

/* ---- one pass --------------------------------------------------------------------------------------------------- */

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

/* A tile's environments between passes. */
typedef struct {
    double *state;          /* (state_size, width) */
    double *episode_return; /* (width,) undiscounted, of the episode under way */
    int32_t *elapsed;       /* (width,) its steps; -1 if it has ended, where a caller stepped the environment */
    /* (width,) each, where the environments are a caller's: their random numbers are then those of streams.h; else NULL. */
    uint32_t *key[2], *episode;
} fpg_tile;

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
    float *last_obs;                  /* (num_envs, obs_size): after the last row */
    int by_episode;                   /* whole episodes, one after the other */
    const int32_t *first_age;         /* (num_envs,) steps of the episodes under way before the first row; NULL: none */
    fpg_ends ends;                    /* episodes that ended: all, or those whose final observation has a value */
    /* Where the memory is the shard's own: steps that there is room for, else 0; the mask's; and the policy's activations,
     * (T * num_envs + FPG_TILE, out_pad), or NULL where they are not kept. */
    int64_t capacity, hidden_capacity;
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

/* Traces cost as much as a tape of num_inputs steps, all of it touched at every step; and log_std has none. */
static inline int fpg_needs_tape(const fpg_layout *layout)
{
    return layout->num_hidden > 0 || layout->one_hot || layout->kind == FPG_GAUSSIAN;
}

/* Whether a pass records its steps: traces serve linear policies whose weights need no more than the rewards so far. */
static inline int fpg_is_taped(const fpg_pass *pass)
{
    return pass->want_gradient && (fpg_needs_tape(pass->layout) || pass->value_layout || pass->collect.baseline ||
                                   pass->collect.discount_states || pass->collect.entropy_coef != 0);
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
} fpg_worker;

/* What is done with rows, of shards or of the caller's own arrays: positions begin .. end - 1 of a sequence of rows. */
typedef enum {
    FPG_POLICY_OBJECTIVE, /* (weight - shift) * scale * log pi + entropy_coef * entropy */
    FPG_CLIPPED_OBJECTIVE, /* PPO's surrogate of the same weights, and the entropy */
    FPG_VALUE_OBJECTIVE,  /* -(target - V)^2 / 2, or what the fields of value losses say */
    FPG_FISHER_OBJECTIVE, /* half the second derivative of KL(old | new) along a tangent, whose gradient is the Fisher product */
    FPG_NO_OBJECTIVE,     /* V is written to the rows' values */
    FPG_LOG_PROBS,        /* log pi is written to the rows' old_log_probs, and outputs to old_outputs where there are any */
    FPG_TRUST_REGION      /* KL(old | new), and by how much the surrogate has grown, are added up */
} fpg_objective;

typedef struct {
    const fpg_layout *layout;
    const float *packed;
    fpg_worker *workers;
    fpg_slot *slots;
    fpg_control control;
    /* The rows: those of shard s have the positions starts[s] .. starts[s + 1] - 1. rows[s] tells which they are; NULL: from its
     * first row on. */
    const fpg_shard *shards;
    int64_t num_shards, rows_per_slot;
    const int64_t *starts;
    const int64_t *const *rows;
    fpg_objective objective;
    double shift, scale;
    float entropy_coef;
    int want_sum, want_entropy;
    float clip_range;                             /* of a clipped objective */
    const float *tangent;                         /* packed: of a Fisher product */
    const float *old_log_std;                     /* (action_size,): of a trust region */
    float value_scale, value_clip, huber_delta;   /* of a value objective: errors are divided by value_scale; infinite: off */
    int in_order;    /* rows rise in every shard */
    int has_hidden;  /* the shards' activations are those of these parameters */
    /* Outputs of the caller's rows, where they are asked for. */
    uint64_t seed, step;
    int deterministic;
    float *out_logits, *out_log_prob, *out_entropy;
    void *out_actions;
    /* Segments of the caller's rows: rows segments[s] .. segments[s + 1] - 1, or row s if it is NULL; slots are then the workers'. */
    const int64_t *segments;
    int64_t num_segments, segments_per_task;
    int mean;
    float *out_gradients; /* (num_segments, num_parameters) */
} fpg_rows;

/* ---- estimates on arrays ------------------------------------------------------------------------------------------ */

#define FPG_SWEEP 1024    /* the most environments that a sweep carries along; divisible by FPG_PAD */
#define FPG_COPY_WIDTH 64 /* the same where arrays have to be copied, and the rows copied at a time */
#define FPG_COPY_ROWS 16
#define FPG_POLL_ROWS 4096

typedef struct {
    fpg_transitions in;
    int in_place;                /* every array's rows have unit stride, and there are enough of them for a vector */
    int in_rows[FPG_NUM_ARRAYS]; /* this array's rows have unit stride */
    int forbid_truncated;
    int32_t block;               /* environments in a sweep at most */
    int64_t envs_per_task;
    void *levels;                /* (workers, n + 1, block) reals, for n-step returns */
    fpg_control *control;
} fpg_returns_job;

fpg_returns_job fpg_returns_job_of(const fpg_transitions *transitions, fpg_control *control);
int fpg_returns_levels(fpg_returns_job *job, int workers); /* memory for them, where they are needed; 0 if there is none */

/* Some rows of some environments, as kernels see them. */
typedef struct {
    const fpg_returns_job *job;
    const fpg_transitions *in;
    char *rows[FPG_NUM_ARRAYS];      /* the first row of each array */
    int64_t strides[FPG_NUM_ARRAYS]; /* from row to row, in bytes; 0 where the array is not given */
    int64_t count;
    int32_t width, lanes; /* width is a multiple of lanes: 16, 8 or 4 */
} fpg_chunk;

/* value: the value function's layout, or NULL. env: NULL where there is none. */
fpg_status fpg_worker_init(fpg_worker *worker, const fpg_layout *layout, const fpg_layout *value, const fpg_environment *env,
                           int32_t width);
void fpg_worker_free(fpg_worker *worker);
/* Room for `steps` steps, keeping what is there; 0 if memory runs out. */
int fpg_tape_reserve(fpg_tape *tape, const fpg_layout *layout, int32_t lanes, int32_t width, int64_t steps, int keep_hidden);

/* ---- workspace.c: what every pass needs ------------------------------------------------------------------------- */

typedef struct {
    fpg_layout layout, value_layout;
    float *packed, *value_packed, *slot_gradients;
    fpg_worker *workers;
    int num_workers;
    fpg_slot *slots;
    int64_t num_slots, max_slots; /* in use; that there is memory for */
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

/* The same for rows, whose share of a slot is set. */
fpg_status fpg_divide_rows(fpg_workspace *ws, fpg_rows *job, int64_t num_rows);
/* Runs tasks over rows with the workspace's network, which has been packed. */
fpg_status fpg_run_rows(fpg_workspace *ws, fpg_rows *job, fpg_poll poll, fpg_task task, int64_t num_tasks);

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

void fpg_tape_free(fpg_tape *tape);

/* ---- normalize.c ------------------------------------------------------------------------------------------------ */

typedef struct {
    int32_t size;
    int64_t count;
    double *mean, *square; /* of all observations so far: mean, and sum of squared distances from it */
    double *shift, *std;   /* what networks are folded with: as they were at the last fpg_normalizer_add */
} fpg_normalizer;

int fpg_normalizer_init(fpg_normalizer *z, int32_t size); /* 0 if memory runs out */
void fpg_normalizer_free(fpg_normalizer *z);
void fpg_normalizer_add(fpg_normalizer *z, int64_t count, const double *sum, const double *sum_square);
void fpg_normalizer_fold(const fpg_normalizer *z, int32_t outputs, int64_t num_parameters, const float *inner, float *outer);
void fpg_normalizer_unfold(const fpg_normalizer *z, int32_t outputs, int64_t num_parameters, const float *outer, float *inner);
void fpg_normalizer_chain(const fpg_normalizer *z, int32_t outputs, float *gradient);

/* What is wrong with a parameter or a gradient, said of the value function's. */
fpg_status fpg_value_problem(fpg_status status);

/* ---- shards.c --------------------------------------------------------------------------------------------------- */

/* Environments in a shard, of which the last may have fewer. */
int32_t fpg_shard_size(int64_t num_envs);
/* The caller's batch, shard by shard. shards: (num_envs - 1) / fpg_shard_size(num_envs) + 1 of them, cleared or of before, whose
 * memory for ends is kept. */
void fpg_shards_of(const fpg_batch *batch, const fpg_layout *layout, fpg_shard *shards);
/* Room for `steps` steps in a shard with memory of its own, keeping what is there; 0 if memory runs out. */
int fpg_shard_reserve(fpg_shard *shard, const fpg_layout *layout, int64_t steps);
/* Room for the policy's activations in them as well, or no more of it. */
int fpg_shard_keep_hidden(fpg_shard *shard, const fpg_layout *layout, int64_t steps);
void fpg_shard_free(fpg_shard *shard); /* what is its own */

/* ---- sampler.c ---------------------------------------------------------------------------------------------------- */

struct fpg_sampler {
    fpg_environment env;
    fpg_network net;
    fpg_workspace ws;
    int64_t num_envs, num_tiles, total_steps;
    int32_t lanes, width;
    uint64_t seed;
    int64_t iteration;
    int64_t fresh;
    fpg_tile *tiles;
    fpg_shard *shards; /* (num_tiles,) what a pass has written: to the caller's memory, or to their own */
    double *reals;     /* the tiles' states and episode returns */
    int32_t *elapsed;
    fpg_stats recorded; /* of the last fpg_sampler_record */
    uint32_t *streams; /* (3, num_tiles * width): the tiles' keys and episodes, once a caller's environments were */
};

/* One pass over all tiles. */
fpg_status fpg_sampler_run(fpg_sampler *s, const float *theta, const float *value_theta, fpg_pass *pass, fpg_tally *tally,
                           fpg_poll poll);
fpg_stats fpg_stats_of(const fpg_sampler *s, const fpg_tally *tally, double square_norm, double start);
/* A pass that writes s->shards, in memory of their own. */
fpg_status fpg_sampler_fill(fpg_sampler *s, const float *theta, const fpg_collect *collect, fpg_stats *stats, fpg_poll poll);
/* The entries of fpg_entry: what a sampler is. */
int32_t fpg_sampler_state(fpg_sampler *s, fpg_entry *entries);

typedef struct {
    const char *isa;
    const fpg_environment *const *environments; /* NULL-terminated */
    void (*pack)(const fpg_layout *layout, const float *theta, float *packed);
    /* out = scale * the sum of the slots' gradients, in theta's order; returns the sum of its squares. */
    double (*fold)(const fpg_layout *layout, fpg_slot *slots, int64_t num_slots, double scale, float *out);
    double (*sum_squares)(int64_t n, const float *x);
    void (*rollout)(const fpg_pass *pass, fpg_tile *tile, int64_t first_env, fpg_worker *worker, int worker_index, fpg_slot *slot);
    void (*rows_gradient)(void *rows, int64_t slot, int worker); /* fpg_task over an fpg_rows, and the next two */
    void (*rows_segments)(void *rows, int64_t task, int worker);
    void (*rows_outputs)(void *rows, int64_t slot, int worker);
    /* Rewards and values of a shard become weights and targets. 0 if memory runs out. */
    int (*weigh)(const fpg_collect *collect, fpg_shard *shard, fpg_control *control, int worker);
    /* One tile of an fpg_vector; the pointers of the arguments are those of environment 0. FPG_OK, or FPG_ENVIRONMENT_FAILED. */
    fpg_status (*vector_step)(fpg_vector *v, int64_t tile, const fpg_vector_scratch *scratch, const void *actions, const fpg_step_output *out);
    int64_t (*vector_bad_action)(const fpg_vector *v, const void *actions); /* the first environment whose action is wrong, or -1 */
    fpg_status (*vector_reset)(fpg_vector *v, int64_t tile, const fpg_vector_scratch *scratch, const uint8_t *mask, void *obs);
    fpg_status (*vector_observe)(const fpg_vector *v, int64_t tile, const fpg_vector_scratch *scratch, const uint8_t *only, void *obs);
    void (*returns_float)(fpg_returns_job *job, int64_t first_env, int64_t end_env, int worker);
    void (*returns_double)(fpg_returns_job *job, int64_t first_env, int64_t end_env, int worker);
    /* FPG_NONFINITE_GRADIENT: a moment is not finite; FPG_NONFINITE_THETA. */
    fpg_status (*adam)(int64_t n, float *theta, const float *gradient, float *m, float *v, float rate, float beta1, float beta2,
                       float epsilon);
    fpg_status (*sgd)(int64_t n, float *theta, const float *gradient, float *m, float rate, float momentum);
    void (*philox)(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
    int (*vecmath_float)(const char *function, int64_t n, const float *x, float *y);
    int (*vecmath_double)(const char *function, int64_t n, const double *x, double *y);
} fpg_kernels;

extern const fpg_kernels fpg_kernels_baseline, fpg_kernels_avx2, fpg_kernels_avx512;
extern const fpg_environment *const fpg_environments_baseline[], *const fpg_environments_avx2[], *const fpg_environments_avx512[];
const fpg_kernels *fpg_active(void); /* the table that fpg_select_isa chose */

#endif
