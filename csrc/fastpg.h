/* fastpg.h - the whole C API of the compiled core. Reading this header is reading its manual. Who writes an environment needs the section
 * "environments" alone.
 *
 * Conventions. Parameters are one flat float32 vector theta: per layer the weight (out, in) row-major, then the bias
 * (out,), hidden layers first, the head last, then log_std where the policy has it. Environment state is float64. Arrays are C-contiguous. A function
 * that can fail returns fpg_status and leaves its outputs unspecified on failure, never theta. No function knows
 * Python; a caller that must stay interruptible passes an fpg_poll.
 */
#ifndef FASTPG_H
#define FASTPG_H

#include <stddef.h>
#include <stdint.h>

#define FPG_VERSION "0.1.0"
#define FPG_ENV_ABI 4 /* FPG_OLD_ENV_ABI: the same without `mask` */
#define FPG_OLD_ENV_ABI 3
#define FPG_MAX_HIDDEN 3
#define FPG_MAX_WIDTH 512
#define FPG_MAX_ACTIONS 512
#define FPG_MAX_PARAMS 64
#define FPG_MAX_COMPONENTS 32
#define FPG_MAX_LOG_STD 87 /* beyond it the standard deviation or its inverse is no normal float32 */
#define FPG_LOWEST_LOG_STD -20.0f /* of outputs; Haarnoja et al., "Soft actor-critic algorithms and applications", 2018, hold them so */
#define FPG_HIGHEST_LOG_STD 2.0f

typedef enum {
    FPG_OK = 0,
    FPG_INTERRUPTED,      /* the poll asked to stop */
    FPG_NO_MEMORY,
    FPG_BAD_ACTION,       /* an action of a batch is not one of the categories */
    FPG_NONFINITE_THETA,  /* a parameter is NaN or infinite */
    FPG_NONFINITE_OUTPUT, /* the policy's output is: an observation was not finite, or it overflowed */
    FPG_NONFINITE_REWARD, /* the environment returned NaN or an infinite reward */
    FPG_NONFINITE_GRADIENT, /* it is, or it is too large for Adam to square */
    FPG_NONFINITE_ESTIMATE, /* an estimate on arrays is: an input that it read was not finite, or it overflowed */
    FPG_NO_FINAL_VALUES,    /* a transition is truncated, and there are no final values to bootstrap from */
    FPG_NONFINITE_VALUE_THETA, /* a parameter of the value function is */
    FPG_NONFINITE_VALUE,    /* a value, a target or the gradient of the regression is, or that gradient cannot be squared */
    FPG_LOG_STD_RANGE,      /* a log_std is not in -FPG_MAX_LOG_STD .. FPG_MAX_LOG_STD */
    FPG_NO_ROWS,            /* a batch without a transition */
    FPG_ENDLESS_EPISODE,    /* whole episodes are collected, and one has had FPG_LONGEST_EPISODE steps without a limit */
    FPG_OTHER_RANK,         /* another rank stopped, or is gone: fpg_ranks says which */
    FPG_ENVIRONMENT_FAILED, /* a function of the environment said so; this status holds more: see below */
    FPG_NO_ALLOWED_ACTION   /* the environment's mask leaves a component of the action no category; it holds which environment's */
} fpg_status;

enum { FPG_LONGEST_EPISODE = 1000000 };

/* Which function of an environment failed, and what it returned, 1 .. 32767 (anything else counts as 32767): all of it
 * is in the status. FPG_STATUS_KIND is the status that is named above. */
typedef enum { FPG_RESET = 0, FPG_STEP, FPG_OBSERVE, FPG_MASK_ACTIONS } fpg_function;
#define FPG_STATUS_KIND(status) ((fpg_status)((status) & 0xff))
#define FPG_STATUS_FUNCTION(status) ((fpg_function)((status) >> 8 & 0xff))
#define FPG_STATUS_RETURNED(status) ((int32_t)((status) >> 16))
#define FPG_ENVIRONMENT_STATUS(function, returned) \
    ((fpg_status)(FPG_ENVIRONMENT_FAILED | (int32_t)(function) << 8 |     \
                  ((returned) > 0 && (returned) < 32767 ? (returned) : 32767) << 16))
/* The number of the environment whose mask it is; 2^23 - 1 stands for all from there on. */
#define FPG_STATUS_WHICH(status) ((int32_t)((status) >> 8))
#define FPG_NO_ALLOWED_ACTION_STATUS(which) \
    ((fpg_status)(FPG_NO_ALLOWED_ACTION | (int32_t)((which) < 0x7fffff ? (which) : 0x7fffff) << 8))

/* Called about every 50 ms, on the thread that made the call; nonzero stops the work. */
typedef struct {
    int (*function)(void *context);
    void *context;
} fpg_poll;

/* ---- system -------------------------------------------------------------------------------------------------- */

/* Selects the kernels. name: "baseline", "avx2", "avx512", or NULL for the best this CPU runs.
 * Returns NULL on success, else a static sentence that says what is wrong. Not thread-safe: call it once, first. */
const char *fpg_select_isa(const char *name);
const char *fpg_isa(void);
/* The i-th instruction set that is compiled in and that this CPU runs, slowest first; NULL past the end. */
const char *fpg_isa_available(int i);

enum { FPG_MAX_THREADS = 256 };
void fpg_set_num_threads(int num_threads); /* 1 .. FPG_MAX_THREADS, clipped; takes effect at the next call */
int fpg_get_num_threads(void);
double fpg_now(void); /* seconds of a monotonic clock */

/* ---- ranks: processes that train one agent together --------------------------------------------------------------- */

/* Every rank's `bytes` bytes at send, one rank's after the other's, to receive (size, bytes). All ranks call it with the same number
 * of bytes. Nonzero: another rank is gone, or the call failed. */
typedef int (*fpg_gather)(void *context, int64_t bytes, const void *send, void *receive);
typedef struct fpg_ranks fpg_ranks;

/* Where ranks meet, each says what it is about to do. */
typedef enum { FPG_FAILED = 0, FPG_ITERATION, FPG_MESSAGE, FPG_DONE } fpg_meeting;

typedef struct {
    int32_t kind; /* fpg_meeting */
    int64_t number;
    uint64_t check;
    char text[232]; /* of FPG_FAILED: a sentence; ends with 0 */
} fpg_greeting;

/* least_work: rows times parameters of a loop that is worth a message; below it every rank computes all of it. NULL if memory runs
 * out. */
fpg_ranks *fpg_ranks_new(int32_t rank, int32_t size, int64_t least_work, fpg_gather gather, void *context);
void fpg_ranks_free(fpg_ranks *ranks);
/* All ranks say what is next. FPG_OTHER_RANK if they are not at one, or one of them failed; then nobody says anything more. */
fpg_status fpg_ranks_meet(fpg_ranks *ranks, const fpg_greeting *greeting);
const fpg_greeting *fpg_ranks_greetings(const fpg_ranks *ranks); /* (size,): what was said last */
fpg_status fpg_ranks_gather(fpg_ranks *ranks, int64_t bytes, const void *send, void *receive);
/* This rank is to stop: at the next place where all can. From any thread. */
void fpg_ranks_interrupt(fpg_ranks *ranks);
int fpg_ranks_is_over(const fpg_ranks *ranks); /* a failure is known to all, or nobody answers */
int fpg_ranks_is_torn(const fpg_ranks *ranks); /* the others may wait for a message of this rank */
int32_t fpg_ranks_failed(const fpg_ranks *ranks); /* which rank stopped the others; -1 where that is not known */

/* ---- networks ------------------------------------------------------------------------------------------------ */

typedef enum { FPG_TANH = 0, FPG_RELU = 1 } fpg_activation;

/* What the outputs of a policy mean. An action has action_size independent components, so log-probs and entropies add up.
 * FPG_CATEGORICAL: component k is in [0, action_categories[k]) by a softmax of as many outputs, one component's after the
 * other's. FPG_BERNOULLI: component k is 1 with the probability sigmoid(output k), else 0. FPG_GAUSSIAN: component k is
 * normal with the mean output k and the standard deviation exp(log_std[k]), (action_size,) parameters at the end of theta; with
 * state_std, log_std[k] is output action_size + k instead, held in FPG_LOWEST_LOG_STD .. FPG_HIGHEST_LOG_STD. Where it is squashed,
 * arrays of actions hold the normal numbers u, and what the environment gets of them is tanh(u), scaled to its bounds. Log-probs are
 * densities of the latter; entropies are those of u. */
typedef enum { FPG_CATEGORICAL = 0, FPG_BERNOULLI = 1, FPG_GAUSSIAN = 2 } fpg_head;

/* Observations are rows of num_inputs numbers; or, where num_factors is positive, of that many categories, each an
 * integer in [0, factors[f]) written as a float. They stand for one-hot vectors, one after the other: num_inputs is the sum. */
typedef struct {
    int32_t num_inputs;
    int32_t num_factors, factors[FPG_MAX_COMPONENTS];
    int32_t num_hidden; /* 0: linear */
    int32_t hidden[FPG_MAX_HIDDEN];
    int32_t num_outputs; /* the sum of action_categories, or action_size, twice that with state_std */
    fpg_activation activation;
    fpg_head head;
    int32_t action_size, action_categories[FPG_MAX_COMPONENTS]; /* categories: of FPG_CATEGORICAL only */
    int32_t state_std, squashed; /* of FPG_GAUSSIAN only, as the next two */
    float log_scale; /* squashed: the sum of log((high - low) / 2) over an action's components */
    int32_t scales_actions; /* -1 .. 1 stands for action_low .. action_high of the environment; not if squashed */
} fpg_network;

int64_t fpg_num_parameters(const fpg_network *net);

/* ---- environments -------------------------------------------------------------------------------------------- */

enum { FPG_END_TERMINATED = 1, FPG_END_TRUNCATED = 2 };

/* An environment is three functions, or four where actions may be forbidden, over a tile of `width` copies. Field k of copy i is state[k * width + i], its
 * observation obs[k * width + i], its k-th uniform in (0, 1) noise[k * width + i]. width is a multiple of 16; the
 * last copies may be padding, which every function may compute but must not fault on. Functions are pure: no
 * memory of their own, randomness only from noise. The caller counts steps and applies max_episode_steps. A function
 * returns 0; anything else stops the call that it belongs to with FPG_ENVIRONMENT_FAILED.
 *
 * The components of an observation are real numbers where obs_categories[0] is 0; else component k is an integer in
 * [0, obs_categories[k]), written as a float, and there are at most FPG_MAX_COMPONENTS. Actions likewise: integers come as
 * int32 (action_size, width) in range, real ones as float32; what a policy draws is scaled, if its network says so, and clipped to
 * action_low .. action_high, or squashed to the numbers between them. */
typedef struct fpg_environment {
    int32_t abi; /* FPG_ENV_ABI: the first field in every version */
    int32_t state_size, obs_size, action_size;
    int32_t reset_noise_size, step_noise_size;
    int32_t max_episode_steps; /* 0: no limit but that of the counter, 2^31 - 1 */
    int32_t obs_categories[FPG_MAX_COMPONENTS], action_categories[FPG_MAX_COMPONENTS];
    float action_low[FPG_MAX_COMPONENTS], action_high[FPG_MAX_COMPONENTS];
    double params[FPG_MAX_PARAMS];
    const char *name;               /* what messages call it; may be NULL, as may param_names */
    const char *const *param_names; /* of params[0], params[1], ...; the last entry is NULL */
    const void *data; /* whatever else the functions read; the caller's, unchanged while the environment is in use */
    /* Copies which[0 .. count - 1] start a new episode; the others are left alone. */
    int32_t (*reset)(const struct fpg_environment *env, int32_t width, int32_t count, const int32_t *which, const double *noise,
                     double *state);
    /* Writes every copy's next state, its reward, and how its episode ends: 0 (it does not), FPG_END_TERMINATED in an
     * absorbing state, FPG_END_TRUNCATED at a limit of the environment's own, or their sum. Values bootstrap from a state
     * that is truncated, and from none that is terminated. All of it is float64, so that a loop over copies has one
     * vector width. */
    int32_t (*step)(const struct fpg_environment *env, int32_t width, const void *action, const double *noise, double *state,
                    double *reward, double *end);
    int32_t (*observe)(const struct fpg_environment *env, int32_t width, const double *state, float *obs);
    /* NULL where every action may be taken in every state. Else it writes which categories may be: action_mask, all 1 before, has
     * 0 at [k * width + i] where copy i may not take category k, counted through all components. Policies draw none of these
     * and learn from the others alone; every component of an action needs one category at least. What a caller steps with
     * is not compared with it. */
    int32_t (*mask)(const struct fpg_environment *env, int32_t width, const double *state, uint8_t *action_mask);
} fpg_environment;

/* What a library exports for fastpg.load_env: FPG_EXPORT_ENVIRONMENT(fastpg_environment, env) defines the function
 * fastpg_environment(), which returns &env, and beside it the number fastpg_environment_magic. load_env looks at the number
 * before it calls the function: any other symbol could be anything. Another language exports both under such names. */
#define FPG_ENV_MAGIC UINT64_C(0x766e656770747366) /* the bytes "fstpgenv", where little-endian */
#ifdef _WIN32
#define FPG_EXPORT __declspec(dllexport)
#else
#define FPG_EXPORT __attribute__((visibility("default")))
#endif
#ifdef __cplusplus
#define FPG_EXTERN_C extern "C"
#else
#define FPG_EXTERN_C extern
#endif
#define FPG_EXPORT_ENVIRONMENT(name, env)                                                      \
    FPG_EXTERN_C FPG_EXPORT const uint64_t name##_magic;                                       \
    const uint64_t name##_magic = FPG_ENV_MAGIC;                                               \
    FPG_EXTERN_C FPG_EXPORT const fpg_environment *name(void);                                 \
    const fpg_environment *name(void) { return &(env); }                                       \
    typedef int name##_is_exported /* takes the semicolon */

/* A finite Markov decision process: the data of the native environment "tabular". Row s * num_actions + a of the
 * transition arrays holds 2^log2_outcomes outcomes; envs/tabular.h says why. The cumulative of the last outcome that can
 * happen is 1, as is every one after it: noise below 1 never gets there. There are at most 2^31 - 1 outcomes in all. */
typedef struct {
    int32_t num_states, num_actions, log2_outcomes, num_starts;
    const double *cumulative;  /* (num_states * num_actions, 2^log2_outcomes): probability of this outcome or one before it */
    const double *next;        /* the same shape: the next state, or -1 - it where it is terminal */
    const double *reward, *probability;     /* the same shape; probability: what a step reports, no more than that */
    const double *start_cumulative, *start; /* (num_starts,) */
    const float *obs;          /* (obs_size, num_states) */
    const uint8_t *action_mask; /* (num_actions, num_states): 0 where the action is not allowed; NULL where the environment's mask is */
} fpg_tabular;

/* Fills *env with the native environment's sizes and kernels, its default params and no limit; 0 if the name is unknown. */
int fpg_environment_init(const char *name, fpg_environment *env);
const char *fpg_environment_name(int i); /* the i-th native environment; NULL past the end */

/* ---- environments that the caller steps ------------------------------------------------------------------------ */

/* What happens to an environment whose episode has ended, as Gymnasium names it. FPG_NEXT_STEP: its next step ignores the
 * action and is a reset. FPG_SAME_STEP: it is reset at once, and the step shows the new episode's observation.
 * FPG_NO_AUTORESET: the caller resets it before its next step. */
typedef enum { FPG_NEXT_STEP = 0, FPG_SAME_STEP, FPG_NO_AUTORESET } fpg_autoreset;

/* Rows are environments: observations are float32 (num_envs, obs_size), or int64 (obs_size, num_envs) if they are
 * categories. Where an episode ended, FPG_SAME_STEP writes final_obs and, if it is not NULL, final_state (num_envs,
 * state_size). Flags are 0 or 1. */
typedef struct {
    void *obs, *final_obs;
    double *final_state, *reward;
    uint8_t *terminated, *truncated;
} fpg_step_output;

typedef struct fpg_vector fpg_vector;

/* NULL if memory runs out. Every environment must be seeded and reset before it is stepped. */
fpg_vector *fpg_vector_new(const fpg_environment *env, int64_t num_envs, fpg_autoreset autoreset);
void fpg_vector_free(fpg_vector *v);
/* Parameters that the functions of the environment read from now on. */
void fpg_vector_set_params(fpg_vector *v, const double params[FPG_MAX_PARAMS]);
/* Environment i's random numbers depend on seed[i] and on the steps and episodes it has had since, nothing else. Those where
 * mask is 0 go on as they were; NULL seeds all. */
void fpg_vector_seed(fpg_vector *v, const uint8_t *mask, const uint64_t *seed);
/* Where an environment fails, what was stepped is left open: reset all before the next step. */
fpg_status fpg_vector_reset(fpg_vector *v, const uint8_t *mask, void *obs);
/* actions (num_envs, action_size): int64 in range, or finite float32. FPG_BAD_ACTION: nothing was stepped, and *which is the
 * first environment whose action is not allowed. */
fpg_status fpg_vector_step(fpg_vector *v, const void *actions, const fpg_step_output *out, int64_t *which);
/* How many environments' episodes have ended without a reset since. ended (num_envs,): 1 for these, else 0; or NULL. */
int64_t fpg_vector_ended(const fpg_vector *v, uint8_t *ended);
/* state (num_envs, state_size), elapsed (num_envs,) steps of the episode under way; NULL if only the state is wanted. Setting
 * begins a new life: an episode that had ended goes on. */
void fpg_vector_get_state(const fpg_vector *v, double *state, int32_t *elapsed);
void fpg_vector_get_returns(const fpg_vector *v, double *returns); /* (num_envs,): of the episodes under way, undiscounted */
void fpg_vector_set_state(fpg_vector *v, const double *state, const int32_t *elapsed);
fpg_status fpg_vector_observe(const fpg_vector *v, void *obs);
/* action_mask (num_envs, the sum of action_categories), of an environment that has one: 1 where the action is allowed, else 0. */
fpg_status fpg_vector_action_mask(const fpg_vector *v, uint8_t *action_mask);

/* ---- batches that the caller has ------------------------------------------------------------------------------ */

/* A network, and the memory that a call with it needs, kept from call to call. Any thread may call at any time: a call that
 * meets another's takes memory of its own. */
typedef struct fpg_model fpg_model;

fpg_model *fpg_model_new(const fpg_network *net); /* NULL if memory runs out */
void fpg_model_free(fpg_model *b);

/* obs (B, num_inputs) or (B, num_factors), weights (B,), actions (B, action_size): float32 of FPG_GAUSSIAN, else int64.
 * action_mask (B, num_outputs), of FPG_CATEGORICAL only, or NULL: 0 where a category must not be drawn. Its probability is 0, and
 * distributions are over the others, of which every component has one at least, the given action's among them. */
fpg_status fpg_logits(fpg_model *b, const float *theta, const float *obs, int64_t batch, float *out, fpg_poll poll);
/* Row i is drawn with the random counter of environment first_env + i at `step`: what a rollout with this seed would draw, before it
 * is clipped or squashed. entropy (B,) of each row's distribution; NULL: not wanted. */
fpg_status fpg_act(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, int64_t batch, uint64_t seed,
                   int64_t first_env, uint64_t step, int deterministic, void *actions, float *entropy, fpg_poll poll);
fpg_status fpg_log_prob_and_entropy(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask,
                                    const void *actions, int64_t batch, float *log_prob, float *entropy, fpg_poll poll);
/* product (P,): the mean over the observations of the Fisher matrix at theta times a direction (P,). */
fpg_status fpg_fisher_product(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, int64_t batch,
                              const float *direction, float *product, fpg_poll poll);
/* *objective = scale * sum_i (weights[i] * log pi(actions[i] | obs[i]) + entropy_coef * entropy of pi(. | obs[i])); NULL: not
 * wanted. gradient (P,): of it by theta. FPG_NONFINITE_OUTPUT: the objective is not finite, as where a log-prob is too negative for
 * float32. */
fpg_status fpg_policy_gradient(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, const void *actions,
                               const float *weights, int64_t batch, double scale, double entropy_coef, float *gradient,
                               double *objective, fpg_poll poll);
/* Sums over rows of what PPO's step goes up by, and of what is watched of it: r = pi / pi_old. */
typedef struct {
    double surrogate;   /* min(r * advantage, clip(r, 1 - clip_range, 1 + clip_range) * advantage) */
    double entropy;     /* of pi(. | obs) */
    double k1, k3;      /* -log r, and r - 1 - log r: estimates of KL(pi_old | pi). k3 is infinite where an r overflows float32 */
    double num_clipped; /* 1 where r lies outside of the range */
} fpg_clipped_sums;

/* advantages, old_log_probs (B,): log pi_old(actions | obs), of the policy that drew the actions. gradient (P,): of scale * (surrogate +
 * entropy_coef * entropy) by theta, both summed. FPG_NONFINITE_OUTPUT: a log-ratio or an entropy is not finite. */
fpg_status fpg_clipped_gradient(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, const void *actions,
                                const float *advantages, const float *old_log_probs, int64_t batch, double scale, double clip_range,
                                double entropy_coef, float *gradient, fpg_clipped_sums *sums, fpg_poll poll);
/* The sum, or mean, of weights * grad log pi over each of several segments: gradients (num_segments, P). Segment s is rows
 * starts[s] .. starts[s + 1] - 1, at least one; starts (num_segments + 1,) rises from 0 to the number of rows. NULL: every row
 * is one. */
fpg_status fpg_segment_gradients(fpg_model *b, const float *theta, const float *obs, const uint8_t *action_mask, const void *actions,
                                 const float *weights, const int64_t *starts, int64_t num_segments, int mean, float *gradients,
                                 fpg_poll poll);

/* ---- estimates on arrays ---------------------------------------------------------------------------------------- */

typedef enum {
    FPG_RETURNS = 0,     /* reads rewards, and last_values where given */
    FPG_EPISODE_RETURNS, /* reads rewards */
    FPG_NSTEP_RETURNS,   /* reads rewards and values; n */
    FPG_TD_ERRORS,       /* reads rewards and values */
    FPG_GAE,             /* reads rewards and values; lam. Writes the advantages, then advantages + values */
    FPG_VTRACE           /* reads rewards, values and log_rhos; lam, rho_bar, c_bar. Writes vs, then the advantages */
} fpg_returns_kind;

/* Entry (t, i) lies at data + t * step_stride + i * env_stride, strides in bytes and of any sign, alignment left open. */
typedef struct {
    void *data; /* NULL: not given */
    int64_t step_stride, env_stride;
} fpg_array;

/* Every estimate reads terminated and truncated (bytes; any but 0 is true), and mask where given. An array that the estimate
 * does not read is not given. */
enum {
    FPG_REWARDS = 0, FPG_VALUES, FPG_FINAL_VALUES, FPG_LOG_RHOS, FPG_OUT, FPG_OUT_2, FPG_NUM_REAL_ARRAYS,
    FPG_TERMINATED = FPG_NUM_REAL_ARRAYS, FPG_TRUNCATED, FPG_MASK, FPG_NUM_ARRAYS
};

typedef struct {
    fpg_returns_kind kind;
    int is_double; /* the real arrays, last_values among them, are float64; else float32, and so is the arithmetic */
    int bootstrap_truncated;
    int64_t num_steps, num_envs, n; /* all at least 1 */
    double gamma, lam, rho_bar, c_bar;
    fpg_array arrays[FPG_NUM_ARRAYS];
    fpg_array last_values; /* (N,); step_stride is not used */
} fpg_transitions;

/* The estimate's output goes to FPG_OUT, and FPG_OUT_2 where it has a second; neither may overlap an input. Its cost is one
 * pass over the arrays (n passes over registers for n-step returns). fastpg/batches/returns.py says what the flags mean. */
fpg_status fpg_returns_on_arrays(const fpg_transitions *transitions, fpg_poll poll);

/* ---- state: what an object is, listed once, for undoing, saving and going on ------------------------------------------- */

typedef enum { FPG_ENTRY_FLOAT = 'f', FPG_ENTRY_DOUBLE = 'd', FPG_ENTRY_INT32 = 'i', FPG_ENTRY_INT64 = 'q' } fpg_entry_kind;

typedef struct {
    const char *name;
    fpg_entry_kind kind;
    int64_t count;
    void *data;
} fpg_entry;

enum { FPG_MAX_ENTRIES = 32 };

/* ---- options and statistics, listed once ------------------------------------------------------------------------------ */

/* Phi_t, the weight of grad log pi(a_t|s_t). FPG_PHI_Q: the n-step return with V after it. FPG_PHI_TD: r + gamma V(s') - V(s).
 * FPG_PHI_GAE: the sum of (gamma lam)^k times the TD residuals. The last three need a value function. */
typedef enum { FPG_PHI_TOTAL = 0, FPG_PHI_REWARD_TO_GO, FPG_PHI_Q, FPG_PHI_TD, FPG_PHI_GAE } fpg_form;
/* What is taken off Phi_t. The means are over the other environments of the same shard, so they leave the expectation as it
 * is: FPG_BATCH_MEAN over all their steps, FPG_TIMESTEP_MEAN over their steps of the same number. */
typedef enum { FPG_NO_BASELINE = 0, FPG_BATCH_MEAN, FPG_TIMESTEP_MEAN, FPG_VALUE_BASELINE } fpg_baseline;
typedef enum { FPG_PER_TRAJECTORY = 0, FPG_PER_TIMESTEP = 1 } fpg_normalize;

/* Options and statistics are listed once, and structs, tables of fields, Python's records and checks are made of the lists. */
typedef enum { FPG_INTEGER = 0, FPG_REAL, FPG_FLAG, FPG_CHOICE } fpg_field_kind; /* int64_t, double, int32_t, int32_t */

typedef struct {
    const char *name;
    fpg_field_kind kind;
    int64_t offset;       /* in its struct, in bytes */
    double initial;       /* of options: what is taken where nothing is said; of a choice the index of the word */
    const char *range;    /* of options: the interval that others than the initial value lie in; of a choice the words; of a flag "" */
} fpg_field;

#define FPG_TYPE_FPG_INTEGER int64_t
#define FPG_TYPE_FPG_REAL double
#define FPG_TYPE_FPG_FLAG int32_t
#define FPG_TYPE_FPG_CHOICE int32_t
#define FPG_MEMBER(kind, name, ...) FPG_TYPE_##kind name;

#define FPG_STATISTICS(X) \
    X(FPG_INTEGER, num_steps)         /* transitions in the batch */ \
    X(FPG_INTEGER, num_episodes)      /* episodes that finished in it */ \
    X(FPG_INTEGER, num_trajectories)  /* finished, and cut by the horizon */ \
    X(FPG_REAL, mean_return)          /* this and the next four: of finished episodes; NaN if none */ \
    X(FPG_REAL, return_std) \
    X(FPG_REAL, min_return) \
    X(FPG_REAL, max_return) \
    X(FPG_REAL, mean_length) \
    X(FPG_REAL, entropy)              /* mean over transitions, nats */ \
    X(FPG_REAL, gradient_norm)        /* Euclidean */ \
    X(FPG_INTEGER, total_steps)       /* transitions since the sampler was made */ \
    X(FPG_REAL, seconds)              /* wall time of the pass; of the whole iteration where it trains */ \
    X(FPG_REAL, value_loss)           /* mean squared error of the value function before its update; NaN if there is none */ \
    X(FPG_REAL, explained_variance)   /* of the returns it is fitted to; NaN likewise */ \
    X(FPG_REAL, learning_rate)        /* of the policy in its last step; this and the next are NaN where nothing is learnt */ \
    X(FPG_INTEGER, num_updates)       /* steps of the policy */ \
    X(FPG_REAL, policy_loss)          /* minus the surrogate, mean over the rows of all minibatches; this and the next: of PPO */ \
    X(FPG_REAL, approx_kl)            /* of the last epoch's rows: mean of ratio - 1 - log ratio, an estimate of KL(old | new); of NPG
                                       * and TRPO: the mean KL(old | new) itself */ \
    X(FPG_REAL, approx_kl_k1)         /* the same: mean of -log ratio */ \
    X(FPG_REAL, clip_fraction)        /* share of all minibatches' rows whose ratio lies outside of clip_range */ \
    X(FPG_INTEGER, num_backtracks)    /* how often TRPO has shortened its step; all the times it may where none was taken */

typedef struct {
    FPG_STATISTICS(FPG_MEMBER)
} fpg_stats;

/* What is collected and how it is weighed. Exactly one of horizon and episodes is positive. horizon: that many steps of every
 * environment, continuing its episode; the cut is treated as an episode end. episodes: that many whole episodes from fresh resets;
 * environment i runs episodes / num_envs of them, and one more where i < episodes % num_envs, so short ones are not favoured. */
#define FPG_COLLECT_OPTIONS(X) \
    X(FPG_CHOICE, form, 0, "total reward_to_go q td gae")                     /* fpg_form */ \
    X(FPG_CHOICE, baseline, 0, "none batch_mean timestep_mean value")         /* fpg_baseline */ \
    X(FPG_CHOICE, normalize, 1, "trajectory timestep")                        /* fpg_normalize */ \
    X(FPG_REAL, gamma, 1, "[0, 1]")                                           /* discount */ \
    X(FPG_REAL, lam, 1, "[0, 1]")                                             /* FPG_PHI_GAE: trace decay */ \
    X(FPG_REAL, entropy_coef, 0, "(-inf, inf)")           /* the gradient of this times each step's entropy is added */ \
    X(FPG_INTEGER, n_step, 1, "[1, 2147483647]")                              /* FPG_PHI_Q */ \
    X(FPG_FLAG, discount_states, 0, "")        /* weights get gamma^t as well; FPG_PHI_TOTAL, which has it, stays as it is */ \
    X(FPG_INTEGER, horizon, 0, "[0, 1099511627776]") \
    X(FPG_INTEGER, episodes, 0, "[0, 1099511627776]")

typedef struct {
    FPG_COLLECT_OPTIONS(FPG_MEMBER)
} fpg_collect;

/* Statistics of which nothing is known: NaN, and counts of 0. */
fpg_stats fpg_stats_unknown(void);
/* The fields of a list, in its order; their number. */
int32_t fpg_statistics_fields(const fpg_field **fields);
int32_t fpg_collect_fields(const fpg_field **fields);
/* How many of `episodes` environment `env` of num_envs plays. */
int64_t fpg_episode_quota(int64_t episodes, int64_t num_envs, int64_t env);

/* ---- the fused pass: step, score, accumulate ------------------------------------------------------------------- */

typedef struct fpg_sampler fpg_sampler;

/* NULL if memory runs out. Environment i's random numbers depend on (seed, i) and nothing else. value: the value
 * function's network, with one output, or NULL. */
fpg_sampler *fpg_sampler_new(const fpg_environment *env, const fpg_network *net, const fpg_network *value, int64_t num_envs,
                             uint64_t seed);
void fpg_sampler_free(fpg_sampler *sampler);
/* gradient (P,): the ascent direction. The same bits for any number of threads. value_theta: NULL without one. */
fpg_status fpg_sampler_gradient(fpg_sampler *sampler, const float *theta, const float *value_theta, const fpg_collect *collect,
                                float *gradient, fpg_stats *stats, fpg_poll poll);
/* The same in two steps, for baselines that C does not know (FPG_PHI_TOTAL and FPG_PHI_REWARD_TO_GO, FPG_VALUE_BASELINE):
 * first the steps, *rows of them, then, with the caller's baseline of each, the gradient. In between the rows' observations,
 * (rows, obs_size). */
fpg_status fpg_sampler_record(fpg_sampler *sampler, const float *theta, const fpg_collect *collect, int64_t *rows, fpg_poll poll);
void fpg_sampler_recorded(const fpg_sampler *sampler, float *obs);
fpg_status fpg_sampler_recorded_gradient(fpg_sampler *sampler, const float *theta, const fpg_collect *collect, const float *baseline,
                                         float *gradient, fpg_stats *stats, fpg_poll poll);

/* ---- batches: steps of environments, time first ------------------------------------------------------------------------- */

/* A batch: T = num_steps steps of N = num_envs environments, time first, arrays of the caller's. actions are int64, or float32 of
 * FPG_GAUSSIAN: as they are drawn, before they are clipped or squashed for the environment; log_probs are theirs. obs are rows as fpg_logits
 * takes them. Flags are 0 or 1, both where a time limit met an absorbing state. last_obs is what step T would see: the next
 * episode's first observation where one has ended. */
typedef struct {
    int64_t num_steps, num_envs;
    float *obs;     /* (T, N, obs_size) */
    void *actions;  /* (T, N, action_size) */
    float *log_probs, *rewards;       /* (T, N); log_probs: NULL where nobody asks */
    uint8_t *terminated, *truncated;  /* (T, N) */
    float *last_obs; /* (N, obs_size) */
    uint8_t *action_mask; /* (T, N, num_outputs): 0 where the action was not allowed; NULL where all were */
    /* What a batch that is learnt from has beside these. */
    const uint8_t *mask;      /* (T, N): 0 where the row is no transition; NULL: all are */
    int64_t num_finals;       /* final observations of episodes that were truncated: (t, environment), and the observations */
    const int64_t *final_rows; /* (num_finals, 2) */
    const float *final_obs;   /* (num_finals, obs_size) */
    const int32_t *first_age; /* (N,): steps before the first row of the episodes under way; NULL: none */
    int32_t by_episode;       /* every environment plays whole episodes, one after the other */
    int64_t num_episodes;     /* that ended */
    const double *episode_returns;
    const int64_t *episode_lengths; /* (num_episodes,) each */
    double entropy;           /* mean over the rows; NaN: to be computed */
} fpg_batch;

/* The gradient of a batch, its parts one by one. value_theta: NULL without a value function. baseline: (T, N) of the caller's, for
 * FPG_VALUE_BASELINE; NULL: that of the value function. */
fpg_status fpg_batch_gradient(const fpg_network *net, const fpg_network *value, const float *theta, const float *value_theta,
                              const fpg_batch *batch, const fpg_collect *collect, const float *baseline, float *gradient,
                              fpg_stats *stats, fpg_poll poll);

/* `horizon` steps of every environment, written to *out; no gradient. The action of environment i at the t-th step is what
 * fpg_act draws for row i with `seed` at first_step + t. v: whose environments, as many as the sampler's and of the same kind.
 * They go on where they stand, with random numbers of their own as if the caller stepped them; the end of an episode, and one
 * that the caller's last step ended, is followed by a reset that costs no step. After a failure or an interruption they stand
 * where they stood. NULL: the sampler's own environments, with the random numbers of `seed`, which the first call resets.
 * *num_ends: the episodes that ended, for fpg_sampler_ended. */
fpg_status fpg_sampler_collect(fpg_sampler *sampler, fpg_vector *v, const float *theta, int64_t horizon, uint64_t seed,
                               int64_t first_step, const fpg_batch *out, int64_t *num_ends, fpg_stats *stats, fpg_poll poll);
/* The episodes that ended in the last fpg_sampler_collect, in the order of (step, environment): which (num_ends, 2) of these two,
 * undiscounted returns and lengths (num_ends,), and the observation after the last step, obs (num_ends, obs_size). */
fpg_status fpg_sampler_ended(const fpg_sampler *sampler, int64_t *which, double *returns, int64_t *lengths, float *obs);
/* returns (episodes,) undiscounted, lengths (episodes,): episode k of environment i is entry k * num_envs + i. */
fpg_status fpg_sampler_evaluate(fpg_sampler *sampler, const float *theta, int64_t episodes, int deterministic, double *returns,
                                int64_t *lengths, fpg_poll poll);

/* ---- training ---------------------------------------------------------------------------------------------------- */

typedef enum { FPG_ADAM = 0, FPG_SGD = 1 } fpg_optimizer;

typedef enum { FPG_VPG = 0, FPG_PPO, FPG_NPG, FPG_TRPO } fpg_algorithm;
/* Advantages get mean 0 and standard deviation 1: a bias, see docs. FPG_BATCH divides by the number of rows, PPO by one less. */
typedef enum { FPG_NOT = 0, FPG_BATCH, FPG_MINIBATCH } fpg_standardize;
typedef enum { FPG_SQUARED = 0, FPG_HUBER } fpg_value_loss;

/* What an iteration does beside collecting; collect.episodes may be 0 if steps_per_iteration is positive. */
#define FPG_TRAIN_OPTIONS(X) \
    X(FPG_CHOICE, algorithm, 0, "vpg ppo npg trpo")            /* fpg_algorithm; vpg: one step along the policy gradient */ \
    X(FPG_INTEGER, steps_per_iteration, 0, "[0, 1099511627776]") /* > 0: whole episodes, as many as the mean length before suggests */ \
    X(FPG_CHOICE, optimizer, 0, "adam sgd")                    /* fpg_optimizer */ \
    X(FPG_REAL, learning_rate, 0, "(0, inf)") \
    X(FPG_REAL, momentum, 0, "[0, 1)")                         /* sgd */ \
    X(FPG_REAL, beta1, 0, "[0, 1)")                            /* adam, and the next two */ \
    X(FPG_REAL, beta2, 0, "[0, 1)") \
    X(FPG_REAL, epsilon, 1e-8, "(0, inf)") \
    X(FPG_FLAG, linear_schedule, 0, "")                        /* learning rates fall linearly to 0 at total_steps */ \
    X(FPG_REAL, max_grad_norm, INFINITY, "(0, inf)")            /* the policy's gradient is scaled down to this Euclidean norm */ \
    X(FPG_FLAG, normalize_observations, 0, "")                 /* real observations and a value network only: see normalize.c */ \
    X(FPG_FLAG, policy_given, 0, "")    /* theta is no new network's: normalising must not change what it computes */ \
    X(FPG_FLAG, value_given, 0, "")                            /* likewise value_theta */ \
    X(FPG_CHOICE, standardize_advantages, 0, "none batch minibatch")      /* fpg_standardize */ \
    X(FPG_FLAG, normalize_rewards, 0, "")    /* V learns from rewards over the running deviation of discounted returns */ \
    X(FPG_REAL, value_learning_rate, 0, "(0, inf)")            /* this and the next two: the value function's regression */ \
    X(FPG_INTEGER, value_epochs, 0, "[0, 10000]")              /* after each policy step; with a value network only */ \
    X(FPG_INTEGER, value_minibatches, 1, "[1, 10000]") \
    X(FPG_CHOICE, value_loss, 0, "squared huber")              /* fpg_value_loss; of PPO, as are all up to desired_kl */ \
    X(FPG_REAL, huber_delta, 1, "(0, inf)")                    /* where Huber's loss becomes linear */ \
    X(FPG_INTEGER, epochs, 1, "[1, 10000]") \
    X(FPG_INTEGER, minibatches, 1, "[1, 1000000]") \
    X(FPG_REAL, clip_range, 0.2, "(0, inf)")                   /* of the ratio */ \
    X(FPG_FLAG, linear_clip_range, 0, "")                      /* it falls linearly to 0 at total_steps */ \
    X(FPG_REAL, value_clip_range, INFINITY, "(0, inf)")        /* of V, from what it was */ \
    X(FPG_FLAG, recompute_advantages, 0, "")                   /* before every epoch but the first */ \
    X(FPG_REAL, target_kl, INFINITY, "(0, inf)")               /* a minibatch with 1.5 times it takes no step and ends the update */ \
    X(FPG_REAL, desired_kl, INFINITY, "(0, inf)")              /* the policy's learning rate follows it */ \
    X(FPG_FLAG, joint_grad_norm, 0, "")                        /* max_grad_norm is of both gradients as one vector */ \
    X(FPG_REAL, max_kl, 0.01, "(0, inf)")                      /* of a natural step, as are all up to accept_ratio */ \
    X(FPG_REAL, damping, 0.1, "[0, inf)")                      /* is added to the Fisher matrix's diagonal */ \
    X(FPG_INTEGER, cg_iterations, 10, "[1, 10000]") \
    X(FPG_REAL, cg_tolerance, 1e-10, "[0, 1)")                 /* of the residual's norm, as a share of the gradient's */ \
    X(FPG_INTEGER, fisher_every, 1, "[1, 1099511627776]")      /* the Fisher matrix is that of every so manyth step's rows */ \
    X(FPG_INTEGER, backtracks, 10, "[0, 1000]")                /* of TRPO's search */ \
    X(FPG_REAL, backtrack_factor, 0.8, "(0, 1)") \
    X(FPG_REAL, accept_ratio, 0, "[0, 1]")                     /* the least share of the growth that the gradient promises */ \
    X(FPG_INTEGER, total_steps, 1, "[1, 1099511627776]") /* stop after the iteration that reaches it */ \
    X(FPG_REAL, target_return, NAN, "[-inf, inf]") /* NaN: none. Compared with the mean over the last iterations with >= 100 episodes */

typedef struct {
    fpg_collect collect;
    FPG_TRAIN_OPTIONS(FPG_MEMBER)
} fpg_train_config;

/* The fields of an fpg_train_config, those of its `collect` included. */
int32_t fpg_train_fields(const fpg_field **fields);

typedef enum { FPG_RUNNING = 0, FPG_STOPPED_TOTAL_STEPS, FPG_STOPPED_TARGET_RETURN } fpg_stopped;

/* ---- an agent: what learns from batches -------------------------------------------------------------------------------- */

typedef struct fpg_agent fpg_agent;

/* theta and value_theta (NULL without a value function; value then is NULL too) are the caller's, who keeps them: they are
 * updated in place, and never left with a value that is not finite. `seed` decides what minibatches hold. NULL if memory runs out. */
fpg_agent *fpg_agent_new(const fpg_network *net, const fpg_network *value, const fpg_train_config *config, uint64_t seed, float *theta,
                         float *value_theta);
void fpg_agent_free(fpg_agent *agent);
/* What it computes is shared with the other ranks from now on, whose agents are the same. NULL: no more. */
void fpg_agent_share(fpg_agent *agent, fpg_ranks *ranks);
uint64_t fpg_agent_check(const fpg_agent *agent); /* a hash of its parameters, which ranks compare */
/* One iteration from the rows of a batch: weights, a step of the policy, a fit of the value function. After a failure or an
 * interruption it has not happened. FPG_NO_ROWS: the batch has none. */
fpg_status fpg_agent_update(fpg_agent *agent, const fpg_batch *batch, fpg_stats *stats, fpg_poll poll);
/* What the agent is: entries has room for FPG_MAX_ENTRIES. The number of entries. */
int32_t fpg_agent_state(fpg_agent *agent, fpg_entry *entries);
/* What the next iteration is to collect, with num_envs environments: config.collect, its episodes set where steps_per_iteration
 * says how many steps they take. Fixed beforehand, from earlier iterations, so that short episodes are not favoured. */
fpg_collect fpg_agent_next_collect(const fpg_agent *agent, int64_t num_envs);
/* Room for what is remembered of so many environments, as fpg_agent_state lists it; 0 if memory runs out. */
int fpg_agent_reserve_envs(fpg_agent *agent, int64_t num_envs);
fpg_stopped fpg_agent_stopped(const fpg_agent *agent);
int64_t fpg_agent_num_iterations(const fpg_agent *agent);
int64_t fpg_agent_total_steps(const fpg_agent *agent);
/* Mean return of the newest iterations with 100 episodes together, or of as many as there are; NaN before there are any. */
double fpg_agent_mean_return(const fpg_agent *agent);

/* ---- a trainer: an agent and its environments --------------------------------------------------------------------------- */

/* An agent and its environments, of which the sampler's seed is the agent's. The caller keeps the agent. NULL if memory runs out. */
typedef struct fpg_trainer fpg_trainer;

fpg_trainer *fpg_trainer_new(const fpg_environment *env, const fpg_network *net, fpg_agent *agent, int64_t num_envs, uint64_t seed);
void fpg_trainer_free(fpg_trainer *trainer);
/* As fpg_agent_share, for the agent and the environments, of which a rank steps some. Every rank has the states of all between
 * iterations, and rank 0 decides when fpg_trainer_run returns. */
void fpg_trainer_share(fpg_trainer *trainer, fpg_ranks *ranks);
/* What its environments are, as fpg_agent_state. The first entry, their states, has blocks of (state_size + 1, *width). */
int32_t fpg_trainer_environments(fpg_trainer *trainer, fpg_entry *entries, int32_t *width);
/* Runs iterations for about `seconds`, at most `capacity` of them, and none once the agent has pause_at steps; *count records are
 * written to stats. An iteration that fails or is interrupted has not happened: neither the agent nor the environments have moved. */
fpg_status fpg_trainer_run(fpg_trainer *trainer, double seconds, int64_t capacity, int64_t pause_at, fpg_stats *stats, int64_t *count,
                           fpg_poll poll);
/* All that the agent and its environments are, as bytes that fpg_free frees, and their number; the trainer is then only to be freed. */
char *fpg_trainer_take_state(fpg_trainer *trainer, size_t *size);
/* Goes on where a trainer of the same shapes stood; the bytes are then the trainer's. */
void fpg_trainer_give_state(fpg_trainer *trainer, char *state);

/* ---- many runs -------------------------------------------------------------------------------------------------------- */

/* One of many runs: the arguments of fpg_agent_new and fpg_trainer_new, and what has become of it. */
typedef struct {
    const fpg_environment *env;
    const fpg_network *net, *value;
    const fpg_train_config *config;
    uint64_t seed;
    int64_t num_envs;
    float *theta, *value_theta; /* no other run's; as the last whole iteration has left them */
    int64_t pause_at;           /* the run goes no further in this call once it has so many steps; INT64_MAX: it goes to its end */
    fpg_status status;          /* why the run failed, if it did; FPG_INTERRUPTED: the call ended before the run */
    fpg_stopped stopped;        /* FPG_RUNNING: it has paused */
    int64_t num_iterations, total_steps, capacity;
    double mean_return; /* as fpg_agent_mean_return */
    fpg_stats *stats; /* (num_iterations,), with room for `capacity` */
    char *state;      /* where a run with a pause stands; NULL: at the beginning, or it is not to go on */
    size_t state_size;
} fpg_run;

/* Of all runs together, as the poll finds it. */
typedef struct {
    int64_t num_steps, num_ended;
    const int64_t *ended; /* (num_ended,) their numbers in `runs`, as they have ended: nothing writes to these runs any more */
} fpg_runs_progress;

/* Trains them to their ends or pauses, from where they stand. Each is serial, and to the bit what fpg_trainer_run does alone; threads
 * go from one to the next, in the order of `runs`, and share the last ones in turns. Only as many as two for each thread have more
 * memory than their theta, stats and state at a time. One that fails ends alone. FPG_OK, FPG_NO_MEMORY, or FPG_INTERRUPTED. */
fpg_status fpg_train_many(fpg_run *const *runs, int64_t num_runs, fpg_runs_progress *progress, fpg_poll poll);
/* Makes a run that has not begun stand where a paused one of the same shapes does, whose seed and options may be others: parameters,
 * moments, environments, counters and stats. FPG_OK or FPG_NO_MEMORY. */
fpg_status fpg_run_copy(fpg_run *run, const fpg_run *paused);
/* Makes a trainer of the same shapes stand where a paused run does. FPG_OK or FPG_NO_MEMORY. */
fpg_status fpg_run_give_state(const fpg_run *paused, fpg_trainer *trainer);
/* Makes a run that has not begun stand, paused, where a trainer does of whose agent theta and value_theta are the run's; stats are
 * those of all its iterations. The trainer is then only to be freed. FPG_OK or FPG_NO_MEMORY. */
fpg_status fpg_run_take_state(fpg_run *run, const fpg_agent *agent, fpg_trainer *trainer, const fpg_stats *stats);
/* Gives back stats and state, and nothing else. */
void fpg_run_free(fpg_run *run);

/* ---- for tests, and where Python has to have the kernels' bits ------------------------------------------------------ */

/* Philox4x32-10 of one counter (4 words) and key (2 words). */
void fpg_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);
/* y = f(x) with the kernels' own vector code; float32: "tanh" "exp" "log" "sin" "cos". 0 if unknown. */
int fpg_vecmath_float(const char *function, int64_t n, const float *x, float *y);
/* float64: "sin" "cos". */
int fpg_vecmath_double(const char *function, int64_t n, const double *x, double *y);

#endif
