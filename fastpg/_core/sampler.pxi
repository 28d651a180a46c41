# sampler.pxi - the fused pass.

cdef _check_value(Network net, Network value):
    _require(value is None or (value.net.num_outputs == 1 and value.net.num_inputs == net.net.num_inputs
                               and value.obs_categories == net.obs_categories),
             "the value network must have one output and the policy's inputs")


cdef fpg_collect _collect(dict settings, bint has_value) except *:
    cdef fpg_collect collect
    _fill(&collect, COLLECT_FIELDS, NUM_COLLECT_FIELDS, COLLECT_OPTIONS, settings)
    _check_form(settings, has_value)
    _require((collect.horizon > 0) != (collect.episodes > 0), "exactly one of horizon and episodes must be positive")
    return collect


cdef int _check_form(dict settings, bint has_value) except -1:
    form, baseline = settings.get("form", "total"), settings.get("baseline", "none")
    _require(has_value or (form in ("total", "reward_to_go") and baseline != "value"), "this form needs a value function")


cdef class Sampler(Exclusive):
    cdef fpg_sampler *sampler
    cdef Environment env
    cdef Network net, value
    cdef int64_t num_envs

    def __cinit__(self, Environment env, Network net, int64_t num_envs, uint64_t seed, Network value=None):
        _check_pair(env, net)
        _check_value(net, value)
        _require(num_envs >= 1, f"num_envs must be at least 1, got {num_envs}")
        self.env, self.net, self.value, self.num_envs = env, net, value, num_envs
        self.sampler = fpg_sampler_new(&env.env, &net.net, NULL if value is None else &value.net, num_envs, seed)
        if self.sampler == NULL:
            raise MemoryError(f"no memory for {num_envs} environments")

    def __dealloc__(self):
        fpg_sampler_free(self.sampler)

    def gradient(self, const float[::1] theta, *, float[::1] out, const float[::1] value_theta=None, **settings):
        cdef fpg_collect collect = _collect(settings, value_theta is not None)
        cdef const float *values = NULL
        cdef fpg_status status
        cdef _Interrupt interrupt = _Interrupt()
        cdef fpg_poll poll = interrupt.poll()
        _check_theta(self.net, theta)
        _check_theta(self.net, out)
        if value_theta is not None:
            _require(self.value is not None, "this Sampler has no value function")
            _check_theta(self.value, value_theta)
            values = &value_theta[0]
        record = numpy.empty(1, STATS_DTYPE)
        cdef uint8_t[::1] raw = record.view(numpy.uint8)
        self.take("estimate_gradient()")
        with nogil:
            status = fpg_sampler_gradient(self.sampler, &theta[0], values, &collect, &out[0], <fpg_stats *>&raw[0], poll)
        self.leave()
        _raise_for(status, interrupt, "estimate_gradient()", self.env)
        return record[0]

    def gradient_minus(self, const float[::1] theta, baseline, *, float[::1] out, **settings):
        cdef fpg_collect collect = _collect({**settings, "baseline": "value"}, True)
        cdef int64_t rows = 0
        cdef fpg_status status
        cdef _Interrupt interrupt = _Interrupt()
        cdef fpg_poll poll = interrupt.poll()
        _check_theta(self.net, theta)
        _check_theta(self.net, out)
        _require(settings["form"] in ("total", "reward_to_go"), "this form has its own baseline")
        self.take("estimate_gradient()")
        try:
            with nogil:
                status = fpg_sampler_record(self.sampler, &theta[0], &collect, &rows, poll)
            _raise_for(status, interrupt, "estimate_gradient()", self.env)
            observations = numpy.empty((rows, self.net.obs_size), numpy.float32)
            record = numpy.empty(1, STATS_DTYPE)
            self._recorded(observations)
            status = self._recorded_gradient(theta, &collect, baseline(observations), out, record.view(numpy.uint8), poll)
            _raise_for(status, interrupt, "estimate_gradient()", self.env)
        finally:
            self.leave()
        return record[0]

    cdef _recorded(self, float[:, ::1] obs):
        fpg_sampler_recorded(self.sampler, &obs[0, 0])

    cdef fpg_status _recorded_gradient(self, const float[::1] theta, const fpg_collect *collect, const float[::1] values,
                                       float[::1] out, uint8_t[::1] raw, fpg_poll poll):
        cdef fpg_status status
        with nogil:
            status = fpg_sampler_recorded_gradient(self.sampler, &theta[0], collect, &values[0], &out[0], <fpg_stats *>&raw[0],
                                                   poll)
        return status

    def evaluate(self, const float[::1] theta, *, int64_t episodes, bint deterministic):
        cdef fpg_status status
        cdef _Interrupt interrupt = _Interrupt()
        cdef fpg_poll poll = interrupt.poll()
        _check_theta(self.net, theta)
        _require(episodes >= 1, f"episodes must be at least 1, got {episodes}")
        first = numpy.empty(episodes, numpy.float64)
        second = numpy.empty(episodes, numpy.int64)
        cdef double[::1] returns = first
        cdef int64_t[::1] lengths = second
        self.take("evaluate()")
        with nogil:
            status = fpg_sampler_evaluate(self.sampler, &theta[0], episodes, deterministic, &returns[0], &lengths[0], poll)
        self.leave()
        _raise_for(status, interrupt, "evaluate()", self.env)
        return first, second

    def collect(self, Vector vector, const float[::1] theta, *, uint64_t seed, int64_t first_step, float[:, :, ::1] obs, actions,
                float[:, ::1] log_probs, float[:, ::1] rewards, uint8_t[:, ::1] terminated, uint8_t[:, ::1] truncated,
                float[:, ::1] last_obs, uint8_t[:, :, ::1] action_mask=None):
        cdef int64_t horizon = obs.shape[0]
        cdef int64_t count = 0
        cdef fpg_vector *environments = NULL
        cdef fpg_batch out
        cdef fpg_status status
        cdef _Interrupt interrupt = _Interrupt()
        cdef fpg_poll poll = interrupt.poll()
        _check_theta(self.net, theta)
        _require(horizon > 0 and horizon == log_probs.shape[0] == rewards.shape[0] == terminated.shape[0] == truncated.shape[0]
                 and self.num_envs == obs.shape[1] == log_probs.shape[1] == rewards.shape[1] == terminated.shape[1]
                 and self.num_envs == truncated.shape[1], f"the arrays of a rollout must begin with (horizon, {self.num_envs})")
        _require(obs.shape[2] == last_obs.shape[1] == self.net.obs_size and last_obs.shape[0] == self.num_envs,
                 f"observations must have {self.net.obs_size} numbers")
        _require(0 <= first_step < 2**34 - horizon, "too many steps for the random numbers of one seed")
        memset(&out, 0, sizeof(out))
        out.num_steps, out.num_envs = horizon, self.num_envs
        out.actions = <void *>_first_action(self.net, actions, horizon * self.num_envs)
        out.obs, out.last_obs, out.log_probs, out.rewards = &obs[0, 0, 0], &last_obs[0, 0], &log_probs[0, 0], &rewards[0, 0]
        out.terminated, out.truncated = &terminated[0, 0], &truncated[0, 0]
        _require((action_mask is not None) == self.env.has_action_mask, "action_mask goes with an environment that has one")
        if action_mask is not None:
            _require(action_mask.shape[0] == horizon and action_mask.shape[1] == self.num_envs
                     and action_mask.shape[2] == self.net.net.num_outputs,
                     f"action_mask must be ({horizon}, {self.num_envs}, {self.net.net.num_outputs})")
            out.action_mask = &action_mask[0, 0, 0]
        record = numpy.empty(1, STATS_DTYPE)
        cdef uint8_t[::1] raw = record.view(numpy.uint8)
        if vector is not None:
            _require(vector.num_envs == self.num_envs and vector.env is self.env, "the vector has other environments")
            vector._check_taken()
            environments = vector.vector
        self.take("collect()")
        try:
            with nogil:
                status = fpg_sampler_collect(self.sampler, environments, &theta[0], horizon, seed, first_step, &out, &count,
                                             <fpg_stats *>&raw[0], poll)
            _raise_for(status, interrupt, "collect()", self.env)
            return record[0], *self._ended(count)
        finally:
            self.leave()

    cdef tuple _ended(self, int64_t count):
        first, second = numpy.empty((count, 2), numpy.int64), numpy.empty((count, self.net.obs_size), numpy.float32)
        third, fourth = numpy.empty(count), numpy.empty(count, numpy.int64)
        cdef int64_t[:, ::1] which = first
        cdef float[:, ::1] obs = second
        cdef double[::1] returns = third
        cdef int64_t[::1] lengths = fourth
        if count > 0:
            _raise_for(fpg_sampler_ended(self.sampler, &which[0, 0], &returns[0], &lengths[0], &obs[0, 0]), None, "collect()")
        return first, third, fourth, second
