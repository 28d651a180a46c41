# batch.pxi - batches of transitions, and what learns from them.

cdef class Batch:
    """The arrays of a batch, (T, N, ...), checked to fit a network; kept alive, not copied."""
    cdef fpg_batch batch
    cdef Network net
    cdef object arrays
    cdef const float[:, :, ::1] obs
    cdef const float[:, ::1] rewards, last_obs, final_obs
    cdef const uint8_t[:, ::1] terminated, truncated, mask
    cdef const uint8_t[:, :, ::1] action_mask
    cdef const int64_t[:, ::1] final_rows
    cdef const int32_t[::1] first_age
    cdef const double[::1] episode_returns
    cdef const int64_t[::1] episode_lengths

    def __cinit__(self, Network net, *, const float[:, :, ::1] obs, actions, const float[:, ::1] rewards,
                  const uint8_t[:, ::1] terminated, const uint8_t[:, ::1] truncated, const float[:, ::1] last_obs,
                  const uint8_t[:, ::1] mask=None, const int64_t[:, ::1] final_rows=None, const float[:, ::1] final_obs=None,
                  const int32_t[::1] first_age=None, const double[::1] episode_returns=None,
                  const int64_t[::1] episode_lengths=None, double entropy=float("nan"), bint by_episode=False,
                  const uint8_t[:, :, ::1] action_mask=None):
        cdef int64_t steps = obs.shape[0], envs = obs.shape[1], k
        memset(&self.batch, 0, sizeof(self.batch))
        _require(steps > 0 and envs > 0, "a batch has at least one step of one environment")
        _require(rewards.shape[0] == terminated.shape[0] == truncated.shape[0] == steps
                 and rewards.shape[1] == terminated.shape[1] == truncated.shape[1] == envs,
                 f"the arrays of a batch must begin with ({steps}, {envs})")
        _require(mask is None or (mask.shape[0] == steps and mask.shape[1] == envs), f"mask must be ({steps}, {envs})")
        _require(obs.shape[2] == last_obs.shape[1] == net.obs_size and last_obs.shape[0] == envs,
                 f"observations must have {net.obs_size} numbers")
        _require((final_rows is None) == (final_obs is None), "final_rows and final_obs go together")
        _require((episode_returns is None) == (episode_lengths is None), "episode_returns and episode_lengths go together")
        self.net, self.arrays = net, actions
        self.batch.actions = <void *>_first_action(net, actions, steps * envs)
        self.obs, self.rewards, self.last_obs = obs, rewards, last_obs
        self.terminated, self.truncated, self.mask = terminated, truncated, mask
        self.final_rows, self.final_obs, self.first_age, self.action_mask = final_rows, final_obs, first_age, action_mask
        self.episode_returns, self.episode_lengths = episode_returns, episode_lengths
        self.batch.num_steps, self.batch.num_envs, self.batch.entropy, self.batch.by_episode = steps, envs, entropy, by_episode
        self.batch.obs, self.batch.rewards = <float *>&obs[0, 0, 0], <float *>&rewards[0, 0]
        self.batch.last_obs = <float *>&last_obs[0, 0]
        self.batch.terminated, self.batch.truncated = <uint8_t *>&terminated[0, 0], <uint8_t *>&truncated[0, 0]
        if mask is not None:
            self.batch.mask = &mask[0, 0]
        if action_mask is not None:
            _require(net.net.head == FPG_CATEGORICAL and action_mask.shape[0] == steps and action_mask.shape[1] == envs
                     and action_mask.shape[2] == net.net.num_outputs,
                     f"action_mask must be ({steps}, {envs}, {net.net.num_outputs}), and of a softmax")
            self.batch.action_mask = <uint8_t *>&action_mask[0, 0, 0]
        if final_rows is not None and final_rows.shape[0] > 0:
            _require(final_rows.shape[1] == 2 and final_obs.shape[0] == final_rows.shape[0]
                     and final_obs.shape[1] == net.obs_size,
                     "final_rows (K, 2) and final_obs (K, obs_size) must have one row for each final observation")
            for k in range(final_rows.shape[0]):
                _require(0 <= final_rows[k, 0] < steps and 0 <= final_rows[k, 1] < envs,
                         f"final_rows must lie in ({steps}, {envs})")
            self.batch.num_finals = final_rows.shape[0]
            self.batch.final_rows, self.batch.final_obs = &final_rows[0, 0], &final_obs[0, 0]
        if first_age is not None:
            _require(first_age.shape[0] == envs, f"first_age must be ({envs},)")
            self.batch.first_age = &first_age[0]
        if episode_returns is not None and episode_returns.shape[0] > 0:
            _require(episode_returns.shape[0] == episode_lengths.shape[0], "there must be a length for each return")
            self.batch.num_episodes = episode_returns.shape[0]
            self.batch.episode_returns, self.batch.episode_lengths = &episode_returns[0], &episode_lengths[0]

    cdef int check_fits(self, Network net) except -1:
        _require(self.net is net, "this batch was made for another network")


def batch_gradient(Network net, const float[::1] theta, Batch batch, *, float[::1] out, Network value=None,
                   const float[::1] value_theta=None, const float[:, ::1] baseline_values=None, **settings):
    cdef fpg_collect collect
    cdef const float *values = NULL
    cdef const float *given = NULL
    cdef fpg_status status
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    _check_form(settings, value is not None or baseline_values is not None)
    _fill(&collect, COLLECT_FIELDS, NUM_COLLECT_FIELDS, COLLECT_OPTIONS, settings)
    _check_theta(net, theta)
    _check_theta(net, out)
    _check_value(net, value)
    batch.check_fits(net)
    if value is not None:
        _check_theta(value, value_theta)
        values = &value_theta[0]
    if baseline_values is not None:
        _require(baseline_values.shape[0] == batch.batch.num_steps and baseline_values.shape[1] == batch.batch.num_envs,
                 "baseline_values must be (T, N)")
        _require(settings.get("form") in ("total", "reward_to_go"), "this form has its own baseline")
        given = &baseline_values[0, 0]
    record = numpy.empty(1, STATS_DTYPE)
    cdef uint8_t[::1] raw = record.view(numpy.uint8)
    with nogil:
        status = fpg_batch_gradient(&net.net, NULL if value is None else &value.net, &theta[0], values, &batch.batch, &collect,
                                    given, &out[0], <fpg_stats *>&raw[0], poll)
    _raise_for(status, interrupt, "estimate_gradient()")
    return record[0]


def episode_quota(int64_t episodes, int64_t num_envs):
    quota = numpy.empty(num_envs, numpy.int64)
    cdef int64_t[::1] out = quota
    for i in range(num_envs):
        out[i] = fpg_episode_quota(episodes, num_envs, i)
    return quota


cdef fpg_train_config _agent_config(Network net, const float[::1] theta, Network value, const float[::1] value_theta,
                                    dict settings) except *:
    """An agent's settings, checked to fit each other, its networks and their parameters."""
    cdef fpg_train_config config
    _fill(&config, TRAIN_FIELDS, NUM_TRAIN_FIELDS, OPTIONS, settings)
    _require(not config.normalize_observations or (value is not None and not net.obs_categories),
             "normalize_observations needs a value function, and observations that are real numbers")
    _check_theta(net, theta)
    _check_value(net, value)
    _check_form(settings, value is not None)
    _require((value is None) == (value_theta is None), "value and value_theta go together")
    if value is not None:
        _check_theta(value, value_theta)
        # Weights are then target - V(s_t), which the statistics of the value function rest on.
        weighed = settings["form"], settings.get("baseline", "none")
        _require(weighed in (("gae", "none"), ("td", "none"), ("q", "value"), ("reward_to_go", "value"))
                 and not settings.get("discount_states"), f"form and baseline {weighed} leave the value function no targets")
    return config


ENTRY_TYPES = {FPG_ENTRY_FLOAT: "f4", FPG_ENTRY_DOUBLE: "f8", FPG_ENTRY_INT32: "i4", FPG_ENTRY_INT64: "i8"}


cdef class Agent(Exclusive):
    cdef fpg_agent *agent
    cdef readonly Network net, value
    cdef readonly object theta
    cdef float[::1] parameters, value_parameters  # kept alive
    cdef readonly uint64_t seed
    cdef Ranks ranks

    def __cinit__(self, Network net, theta, *, uint64_t seed, Network value=None, float[::1] value_theta=None, **settings):
        cdef float[::1] parameters = theta
        cdef fpg_train_config config = _agent_config(net, parameters, value, value_theta, settings)
        self.net, self.theta, self.parameters, self.seed = net, theta, parameters, seed
        self.value, self.value_parameters = value, value_theta
        self.agent = fpg_agent_new(&net.net, NULL if value is None else &value.net, &config, seed, &parameters[0],
                                   NULL if value is None else &value_theta[0])
        if self.agent == NULL:
            raise MemoryError("no memory for an agent")

    def __dealloc__(self):
        fpg_agent_free(self.agent)

    def share(self, Ranks ranks):
        self.take("train()")
        self.ranks = ranks
        fpg_agent_share(self.agent, ranks.ranks)
        self.leave()

    @property
    def check(self):
        return fpg_agent_check(self.agent)

    @property
    def stopped_because(self):
        return STOPPED[fpg_agent_stopped(self.agent)]

    @property
    def num_iterations(self):
        return fpg_agent_num_iterations(self.agent)

    @property
    def num_steps(self):
        return fpg_agent_total_steps(self.agent)

    @property
    def mean_return(self):
        return fpg_agent_mean_return(self.agent)

    def next_collect(self, int64_t num_envs):
        cdef fpg_collect collect = fpg_agent_next_collect(self.agent, num_envs)
        return {"horizon": collect.horizon, "episodes": collect.episodes}

    def update(self, Batch batch, str where):
        cdef fpg_status status
        cdef _Interrupt interrupt = _Interrupt()
        cdef fpg_poll poll = interrupt.poll()
        batch.check_fits(self.net)
        record = numpy.empty(1, STATS_DTYPE)
        cdef uint8_t[::1] raw = record.view(numpy.uint8)
        self.take(where)
        try:
            with nogil:
                status = fpg_agent_update(self.agent, &batch.batch, <fpg_stats *>&raw[0], poll)
        finally:
            self.leave()
        _raise_for(status, interrupt, where)
        return record

    def state(self):
        cdef fpg_entry entries[FPG_MAX_ENTRIES]
        self.take("Agent.state()")
        try:
            return _read_entries(entries, fpg_agent_state(self.agent, entries))
        finally:
            self.leave()

    def set_state(self, dict state):
        cdef fpg_entry entries[FPG_MAX_ENTRIES]
        self.take("Agent.from_state()")
        try:
            if "rewards.so_far" in state and not fpg_agent_reserve_envs(self.agent, state["rewards.so_far"].size):
                raise MemoryError("no memory for the state of an agent")
            _write_entries(entries, fpg_agent_state(self.agent, entries), state)
        finally:
            self.leave()


cdef dict _read_entries(const fpg_entry *entries, int32_t count):
    state = {}
    for i in range(count):
        array = numpy.empty(entries[i].count, ENTRY_TYPES[entries[i].kind])
        _copy(array.view(numpy.uint8), entries[i].data, False)
        state[entries[i].name.decode()] = array
    return state


cdef _write_entries(const fpg_entry *entries, int32_t count, dict state):
    arrays = []
    for i in range(count):
        name, wanted = entries[i].name.decode(), numpy.dtype(ENTRY_TYPES[entries[i].kind])
        array = state.get(name)
        _require(array is not None and array.dtype == wanted and array.shape == (entries[i].count,),
                 f"the entry {name} of state must be {entries[i].count} numbers of {wanted}")
        arrays.append(numpy.ascontiguousarray(array))
    for i in range(count):
        _copy(arrays[i].view(numpy.uint8).copy(), entries[i].data, True)


cdef _copy(uint8_t[::1] array, void *data, bint back):
    if array.shape[0] == 0:  # what has no environments yet has no memory
        return
    if back:
        memcpy(data, &array[0], array.shape[0])
    else:
        memcpy(&array[0], data, array.shape[0])
