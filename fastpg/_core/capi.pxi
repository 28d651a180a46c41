# capi.pxi - csrc/fastpg.h, as Cython sees it.

cdef extern from "fastpg.h" nogil:
    const char *FPG_VERSION
    enum: FPG_ENV_ABI, FPG_OLD_ENV_ABI
    enum: FPG_MAX_HIDDEN, FPG_MAX_WIDTH, FPG_MAX_ACTIONS, FPG_MAX_PARAMS, FPG_MAX_COMPONENTS, FPG_MAX_THREADS
    enum: FPG_MAX_LOG_STD, FPG_LONGEST_EPISODE
    const uint64_t FPG_ENV_MAGIC

    ctypedef enum fpg_status:
        FPG_OK, FPG_INTERRUPTED, FPG_NO_MEMORY, FPG_BAD_ACTION, FPG_NONFINITE_THETA, FPG_NONFINITE_OUTPUT
        FPG_NONFINITE_REWARD, FPG_NONFINITE_GRADIENT, FPG_NONFINITE_ESTIMATE, FPG_NO_FINAL_VALUES
        FPG_NONFINITE_VALUE_THETA, FPG_NONFINITE_VALUE, FPG_LOG_STD_RANGE, FPG_NO_ROWS, FPG_ENDLESS_EPISODE, FPG_OTHER_RANK
        FPG_ENVIRONMENT_FAILED, FPG_NO_ALLOWED_ACTION

    ctypedef enum fpg_function:
        FPG_RESET, FPG_STEP, FPG_OBSERVE, FPG_MASK_ACTIONS

    fpg_status FPG_STATUS_KIND(fpg_status)
    fpg_function FPG_STATUS_FUNCTION(fpg_status)
    int32_t FPG_STATUS_RETURNED(fpg_status)
    int32_t FPG_STATUS_WHICH(fpg_status)
    fpg_status FPG_ENVIRONMENT_STATUS(fpg_function, int32_t)

    ctypedef struct fpg_poll:
        int (*function)(void *context) noexcept nogil
        void *context

    const char *fpg_select_isa(const char *name)
    const char *fpg_isa()
    const char *fpg_isa_available(int i)
    void fpg_set_num_threads(int num_threads)
    int fpg_get_num_threads()

    ctypedef struct fpg_ranks
    ctypedef enum fpg_meeting:
        FPG_FAILED, FPG_ITERATION, FPG_MESSAGE, FPG_DONE
    ctypedef struct fpg_greeting:
        int32_t kind
        int64_t number
        uint64_t check
        char text[232]

    fpg_ranks *fpg_ranks_new(int32_t, int32_t, int64_t, int (*)(void *, int64_t, const void *, void *) noexcept nogil, void *)
    void fpg_ranks_free(fpg_ranks *)
    fpg_status fpg_ranks_meet(fpg_ranks *, const fpg_greeting *)
    const fpg_greeting *fpg_ranks_greetings(const fpg_ranks *)
    fpg_status fpg_ranks_gather(fpg_ranks *, int64_t, const void *, void *)
    void fpg_ranks_interrupt(fpg_ranks *)
    int fpg_ranks_is_over(const fpg_ranks *)
    int fpg_ranks_is_torn(const fpg_ranks *)
    int32_t fpg_ranks_failed(const fpg_ranks *)

    ctypedef enum fpg_activation:
        FPG_TANH, FPG_RELU
    ctypedef enum fpg_head:
        FPG_CATEGORICAL, FPG_BERNOULLI, FPG_GAUSSIAN

    ctypedef struct fpg_network:
        int32_t num_inputs
        int32_t num_factors
        int32_t *factors
        int32_t num_hidden
        int32_t *hidden
        int32_t num_outputs
        fpg_activation activation
        fpg_head head
        int32_t action_size
        int32_t *action_categories
        int32_t state_std, squashed
        float log_scale
        int32_t scales_actions

    int64_t fpg_num_parameters(const fpg_network *net)

    ctypedef struct fpg_environment:
        int32_t abi, state_size, obs_size, action_size, reset_noise_size, step_noise_size, max_episode_steps
        int32_t *obs_categories
        int32_t *action_categories
        float *action_low
        float *action_high
        double *params
        const char *name
        const char *const *param_names
        const void *data
        int32_t (*reset)(const fpg_environment *, int32_t, int32_t, const int32_t *, const double *, double *) noexcept nogil
        int32_t (*step)(const fpg_environment *, int32_t, const void *, const double *, double *, double *,
                        double *) noexcept nogil
        int32_t (*observe)(const fpg_environment *, int32_t, const double *, float *) noexcept nogil
        int32_t (*mask)(const fpg_environment *, int32_t, const double *, uint8_t *) noexcept nogil

    ctypedef struct fpg_tabular:
        int32_t num_states, num_actions, log2_outcomes, num_starts
        const double *cumulative
        const double *next
        const double *reward
        const double *probability
        const double *start_cumulative
        const double *start
        const float *obs
        const uint8_t *action_mask

    int fpg_environment_init(const char *name, fpg_environment *env)
    const char *fpg_environment_name(int i)

    ctypedef enum fpg_autoreset:
        FPG_NEXT_STEP, FPG_SAME_STEP, FPG_NO_AUTORESET

    ctypedef struct fpg_step_output:
        void *obs
        void *final_obs
        double *final_state
        double *reward
        uint8_t *terminated
        uint8_t *truncated

    ctypedef struct fpg_vector:
        pass

    fpg_vector *fpg_vector_new(const fpg_environment *, int64_t, fpg_autoreset)
    void fpg_vector_free(fpg_vector *)
    void fpg_vector_set_params(fpg_vector *, const double *)
    void fpg_vector_seed(fpg_vector *, const uint8_t *, const uint64_t *)
    fpg_status fpg_vector_reset(fpg_vector *, const uint8_t *, void *)
    fpg_status fpg_vector_step(fpg_vector *, const void *, const fpg_step_output *, int64_t *)
    int64_t fpg_vector_ended(const fpg_vector *, uint8_t *)
    void fpg_vector_get_state(const fpg_vector *, double *, int32_t *)
    void fpg_vector_get_returns(const fpg_vector *, double *)
    void fpg_vector_set_state(fpg_vector *, const double *, const int32_t *)
    fpg_status fpg_vector_observe(const fpg_vector *, void *)
    fpg_status fpg_vector_action_mask(const fpg_vector *, uint8_t *)

    ctypedef struct fpg_model:
        pass

    fpg_model *fpg_model_new(const fpg_network *)
    void fpg_model_free(fpg_model *)
    fpg_status fpg_logits(fpg_model *, const float *, const float *, int64_t, float *, fpg_poll)
    fpg_status fpg_act(fpg_model *, const float *, const float *, const uint8_t *, int64_t, uint64_t, int64_t,
                       uint64_t, int, void *, float *, fpg_poll)
    fpg_status fpg_log_prob_and_entropy(fpg_model *, const float *, const float *, const uint8_t *, const void *, int64_t,
                                        float *, float *, fpg_poll)
    fpg_status fpg_fisher_product(fpg_model *, const float *, const float *, const uint8_t *, int64_t, const float *, float *,
                                  fpg_poll)
    fpg_status fpg_policy_gradient(fpg_model *, const float *, const float *, const uint8_t *, const void *, const float *,
                                   int64_t, double, double, float *, double *, fpg_poll)

    ctypedef struct fpg_clipped_sums:
        double surrogate, entropy, k1, k3, num_clipped

    fpg_status fpg_clipped_gradient(fpg_model *, const float *, const float *, const uint8_t *, const void *, const float *,
                                    const float *, int64_t, double, double, double, float *, fpg_clipped_sums *, fpg_poll)
    fpg_status fpg_segment_gradients(fpg_model *, const float *, const float *, const uint8_t *, const void *, const float *,
                                     const int64_t *, int64_t, int, float *, fpg_poll)

    ctypedef struct fpg_stats:
        int64_t total_steps

    ctypedef struct fpg_collect:
        int64_t horizon, episodes

    ctypedef enum fpg_field_kind:
        FPG_INTEGER, FPG_REAL, FPG_FLAG, FPG_CHOICE

    ctypedef struct fpg_field:
        const char *name
        fpg_field_kind kind
        int64_t offset
        double initial
        const char *range

    int32_t fpg_statistics_fields(const fpg_field **)
    int32_t fpg_collect_fields(const fpg_field **)
    int32_t fpg_train_fields(const fpg_field **)

    ctypedef struct fpg_sampler:
        pass

    fpg_sampler *fpg_sampler_new(const fpg_environment *, const fpg_network *, const fpg_network *, int64_t, uint64_t)
    void fpg_sampler_free(fpg_sampler *)
    fpg_status fpg_sampler_gradient(fpg_sampler *, const float *, const float *, const fpg_collect *, float *, fpg_stats *,
                                    fpg_poll)
    fpg_status fpg_sampler_record(fpg_sampler *, const float *, const fpg_collect *, int64_t *, fpg_poll)
    void fpg_sampler_recorded(const fpg_sampler *, float *)
    fpg_status fpg_sampler_recorded_gradient(fpg_sampler *, const float *, const fpg_collect *, const float *, float *,
                                             fpg_stats *, fpg_poll)
    fpg_status fpg_sampler_evaluate(fpg_sampler *, const float *, int64_t, int, double *, int64_t *, fpg_poll)

    ctypedef struct fpg_batch:
        int64_t num_steps, num_envs
        float *obs
        void *actions
        float *log_probs
        float *rewards
        uint8_t *terminated
        uint8_t *truncated
        float *last_obs
        uint8_t *action_mask
        const uint8_t *mask
        int64_t num_finals
        const int64_t *final_rows
        const float *final_obs
        const int32_t *first_age
        int32_t by_episode
        int64_t num_episodes
        const double *episode_returns
        const int64_t *episode_lengths
        double entropy

    fpg_status fpg_sampler_collect(fpg_sampler *, fpg_vector *, const float *, int64_t, uint64_t, int64_t, const fpg_batch *,
                                   int64_t *, fpg_stats *, fpg_poll)
    fpg_status fpg_sampler_ended(const fpg_sampler *, int64_t *, double *, int64_t *, float *)

    ctypedef struct fpg_train_config:
        fpg_collect collect
        int64_t steps_per_iteration
        int32_t normalize_observations

    ctypedef enum fpg_stopped:
        FPG_RUNNING, FPG_STOPPED_TOTAL_STEPS, FPG_STOPPED_TARGET_RETURN

    ctypedef enum fpg_entry_kind:
        FPG_ENTRY_FLOAT, FPG_ENTRY_DOUBLE, FPG_ENTRY_INT32, FPG_ENTRY_INT64

    ctypedef struct fpg_entry:
        const char *name
        fpg_entry_kind kind
        int64_t count
        void *data

    enum: FPG_MAX_ENTRIES

    ctypedef struct fpg_agent:
        pass

    fpg_agent *fpg_agent_new(const fpg_network *, const fpg_network *, const fpg_train_config *, uint64_t, float *, float *)
    void fpg_agent_free(fpg_agent *)
    void fpg_agent_share(fpg_agent *, fpg_ranks *)
    uint64_t fpg_agent_check(const fpg_agent *)
    fpg_status fpg_agent_update(fpg_agent *, const fpg_batch *, fpg_stats *, fpg_poll)
    int32_t fpg_agent_state(fpg_agent *, fpg_entry *)
    fpg_collect fpg_agent_next_collect(const fpg_agent *, int64_t)
    int fpg_agent_reserve_envs(fpg_agent *agent, int64_t num_envs)
    fpg_stopped fpg_agent_stopped(const fpg_agent *)
    int64_t fpg_agent_num_iterations(const fpg_agent *)
    int64_t fpg_agent_total_steps(const fpg_agent *)
    double fpg_agent_mean_return(const fpg_agent *)

    ctypedef struct fpg_trainer:
        pass

    fpg_trainer *fpg_trainer_new(const fpg_environment *, const fpg_network *, fpg_agent *, int64_t, uint64_t)
    void fpg_trainer_free(fpg_trainer *)
    void fpg_trainer_share(fpg_trainer *, fpg_ranks *)
    int32_t fpg_trainer_environments(fpg_trainer *, fpg_entry *, int32_t *)
    fpg_status fpg_trainer_run(fpg_trainer *, double, int64_t, int64_t, fpg_stats *, int64_t *, fpg_poll)

    ctypedef struct fpg_run:
        const fpg_environment *env
        const fpg_network *net
        const fpg_network *value
        const fpg_train_config *config
        uint64_t seed
        int64_t num_envs
        float *theta
        float *value_theta
        int64_t pause_at
        fpg_status status
        fpg_stopped stopped
        int64_t num_iterations, total_steps
        double mean_return
        fpg_stats *stats
        char *state
        size_t state_size

    ctypedef struct fpg_runs_progress:
        int64_t num_steps, num_ended
        const int64_t *ended

    fpg_status fpg_train_many(fpg_run *const *, int64_t, fpg_runs_progress *, fpg_poll)
    fpg_status fpg_run_copy(fpg_run *, const fpg_run *)
    fpg_status fpg_run_give_state(const fpg_run *, fpg_trainer *)
    fpg_status fpg_run_take_state(fpg_run *, const fpg_agent *, fpg_trainer *, const fpg_stats *)
    void fpg_run_free(fpg_run *)

    fpg_status fpg_batch_gradient(const fpg_network *, const fpg_network *, const float *, const float *, const fpg_batch *,
                                  const fpg_collect *, const float *, float *, fpg_stats *, fpg_poll)
    int64_t fpg_episode_quota(int64_t, int64_t, int64_t)

    void fpg_philox(const uint32_t *, const uint32_t *, uint32_t *)
    int fpg_vecmath_float(const char *, int64_t, const float *, float *)
    int fpg_vecmath_double(const char *, int64_t, const double *, double *)


cdef extern from "network/normalize.h" nogil:
    ctypedef struct fpg_normalizer:
        int64_t count
        int32_t size
        double *mean
        double *shift
        double *std

    int fpg_normalizer_init(fpg_normalizer *, int32_t)
    void fpg_normalizer_free(fpg_normalizer *)
    void fpg_normalizer_add(fpg_normalizer *, int64_t, const double *, const double *)
    void fpg_normalizer_fold(const fpg_normalizer *, int32_t, int64_t, const float *, float *)

cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1
