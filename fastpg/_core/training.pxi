# training.pxi - iterations without leaving C.

cdef fpg_train_config _train_config(Network net, Network value, dict settings) except *:
    cdef fpg_train_config config
    _fill(&config, TRAIN_FIELDS, NUM_TRAIN_FIELDS, OPTIONS, settings)
    _require(not config.normalize_observations or (value is not None and not net.obs_categories),
             "normalize_observations needs a value function, and observations that are real numbers")
    return config


cdef class Trainer(Exclusive):
    cdef fpg_trainer *trainer
    cdef Environment env
    cdef Network net, value
    cdef float[::1] theta, value_theta
    cdef fpg_stopped stopped
    cdef readonly int64_t num_steps
    cdef readonly int64_t num_iterations

    def __cinit__(self, Environment env, Network net, float[::1] theta, *, int64_t num_envs, uint64_t seed, Network value=None,
                  float[::1] value_theta=None, **settings):
        cdef fpg_train_config config = _train_config(net, value, settings)
        _check_pair(env, net)
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
        _require(num_envs >= 1, f"num_envs must be at least 1, got {num_envs}")
        _require((config.collect.horizon > 0) + (config.collect.episodes > 0) + (config.steps_per_iteration > 0) == 1,
                 "exactly one of horizon, episodes and steps_per_iteration must be positive")
        self.env, self.net, self.theta, self.value, self.value_theta = env, net, theta, value, value_theta
        self.trainer = fpg_trainer_new(&env.env, &net.net, NULL if value is None else &value.net, num_envs, seed, &config)
        if self.trainer == NULL:
            raise MemoryError(f"no memory for {num_envs} environments")

    def __dealloc__(self):
        fpg_trainer_free(self.trainer)

    @property
    def stopped_because(self):
        return STOPPED[self.stopped]

    def run(self, double seconds):
        cdef int64_t count = 0
        cdef float *values = NULL if self.value is None else &self.value_theta[0]
        cdef int64_t capacity = 16384  # more iterations than this in one slice: the caller just calls again
        cdef fpg_status status
        cdef _Interrupt interrupt = _Interrupt()
        cdef fpg_poll poll = interrupt.poll()
        records = numpy.empty(capacity, STATS_DTYPE)
        cdef uint8_t[::1] raw = records.view(numpy.uint8)
        self.take("train()")
        with nogil:
            status = fpg_trainer_run(self.trainer, &self.theta[0], values, seconds, capacity, <fpg_stats *>&raw[0], &count,
                                     &self.stopped, poll)
        self.num_iterations += count
        if count:
            self.num_steps = (<fpg_stats *>&raw[0])[count - 1].total_steps
        self.leave()
        records = records[:count].copy()
        _raise_for(status, interrupt, f"train(): iteration {self.num_iterations}", self.env)
        return records


cdef class Learner:
    cdef fpg_learner *learner
    cdef Network net, value
    cdef float[::1] theta, value_theta
    cdef bint begun

    def __cinit__(self, Network net, float[::1] theta, *, Network value=None, float[::1] value_theta=None, **settings):
        cdef fpg_train_config config = _train_config(net, value, settings)
        _check_theta(net, theta)
        _check_value(net, value)
        _require((value is None) == (value_theta is None), "value and value_theta go together")
        if value is not None:
            _check_theta(value, value_theta)
        self.net, self.theta, self.value, self.value_theta = net, theta, value, value_theta
        self.learner = fpg_learner_new(&net.net, NULL if value is None else &value.net, &config)
        if self.learner == NULL:
            raise MemoryError("no memory for the optimizers")

    def __dealloc__(self):
        fpg_learner_free(self.learner)

    cdef float *_values(self) noexcept:
        return NULL if self.value is None else &self.value_theta[0]

    def begin(self, int64_t total_steps):
        fpg_learner_begin(self.learner, total_steps, &self.theta[0], self._values())
        self.begun = True

    def undo(self):
        if self.begun:
            fpg_learner_undo(self.learner, &self.theta[0], self._values())

    def policy_step(self, float[::1] gradient):
        cdef double norm = 0
        _check_theta(self.net, gradient)
        _require(self.begun, "begin() comes first")
        _raise_for(fpg_learner_policy_step(self.learner, &gradient[0], &self.theta[0], &norm), None, "policy_step()")
        return norm

    def value_step(self, float[::1] gradient):
        _require(self.begun and self.value is not None, "begin() comes first, and there has to be a value function")
        _check_theta(self.value, gradient)
        _raise_for(fpg_learner_value_step(self.learner, &gradient[0], &self.value_theta[0]), None, "value_step()")

    def observe(self, int64_t count, const double[::1] total, const double[::1] total_square):
        _require(self.begun and count > 0, "begin() comes first, and there have to be observations")
        _require(total.shape[0] == total_square.shape[0] == self.net.net.num_inputs,
                 f"the sums must have {self.net.net.num_inputs} entries")
        fpg_learner_observe(self.learner, count, &total[0], &total_square[0], &self.theta[0], self._values())

    def finish(self):
        _require(self.begun, "begin() comes first")
        fpg_learner_finish(self.learner, &self.theta[0], self._values())
