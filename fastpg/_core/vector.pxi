# vector.pxi - environments that the caller steps.

cdef enum:  # what Vector.step returns when no action is wrong
    _STEPPED = -1
    _NOT_RESET = -2
    _HAS_ENDED = -3

STEPPED, NOT_RESET, HAS_ENDED = _STEPPED, _NOT_RESET, _HAS_ENDED


cdef class Vector(Exclusive):
    cdef fpg_vector *vector
    cdef Environment env
    cdef fpg_autoreset autoreset
    cdef bint categorical_obs, categorical_actions
    cdef fpg_step_output out
    cdef tuple bound  # keeps the memory that `out` points to
    cdef readonly int64_t num_envs
    cdef readonly bint was_seeded, was_reset, was_forked

    def __cinit__(self, Environment env, int64_t num_envs, str autoreset):
        _require(num_envs >= 1, f"num_envs must be at least 1, got {num_envs}")
        self.env, self.num_envs, self.autoreset = env, num_envs, AUTORESET[autoreset]
        self.categorical_obs = env.env.obs_categories[0] > 0
        self.categorical_actions = env.env.action_categories[0] > 0
        self._new()

    cdef _new(self):
        self.vector = fpg_vector_new(&self.env.env, self.num_envs, self.autoreset)
        if self.vector == NULL:
            raise MemoryError(f"no memory for {self.num_envs} environments")

    def __dealloc__(self):
        fpg_vector_free(self.vector)

    cdef str what(self):
        return "VectorEnv"

    cdef recover(self, str where):
        self.was_seeded, self.was_reset, self.was_forked = False, False, True
        self._new()  # not even the pointers in the old memory can be trusted: it is left alone

    def set_params(self, tuple params):
        self._check_taken()
        self.env.set_params(params)
        fpg_vector_set_params(self.vector, self.env.env.params)

    def seed(self, const uint64_t[::1] seeds, const uint8_t[::1] mask):
        _require(seeds.shape[0] == mask.shape[0] == self.num_envs, f"seeds and mask must have {self.num_envs} entries")
        self._check_taken()
        fpg_vector_seed(self.vector, &mask[0], &seeds[0])
        self.was_seeded = True

    def reset(self, mask, obs):
        cdef const uint8_t[::1] chosen
        cdef const uint8_t *first = NULL
        cdef void *out = self._rows(obs)
        if mask is not None:
            chosen = mask
            _require(chosen.shape[0] == self.num_envs, f"mask must have {self.num_envs} entries")
            first = &chosen[0]
        cdef fpg_status status
        self._check_taken()
        self.was_reset = False  # until it is: a custom environment may fail
        with nogil:
            status = fpg_vector_reset(self.vector, first, out)
        _raise_for(status, None, "VectorEnv.reset()", self.env)
        self.was_reset, self.was_forked = True, False

    def bind(self, tuple arrays):
        self._check_taken()
        self._bind(arrays)

    cdef _bind(self, tuple arrays):
        obs, final_obs, final_state, rewards, both_flags = arrays
        cdef double[::1] reward = rewards
        cdef uint8_t[:, ::1] flags = both_flags
        cdef double[:, ::1] rows
        _require(reward.shape[0] == flags.shape[1] == self.num_envs and flags.shape[0] == 2,
                 "the arrays of a step must have num_envs rows")
        self.out.obs = self._rows(obs)
        self.out.final_obs = NULL if final_obs is None else self._rows(final_obs)
        self.out.reward, self.out.terminated, self.out.truncated = &reward[0], &flags[0, 0], &flags[1, 0]
        self.out.final_state = NULL
        if final_state is not None:
            rows = final_state
            self._check_state_shape(rows)
            self.out.final_state = &rows[0, 0]
        self.bound = arrays

    def step(self, actions):
        return self._step(actions, None, NULL, None)

    def step_into(self, actions, arrays, states, action_mask=None):
        cdef double[:, ::1] after
        if states is None:
            return self._step(actions, arrays, NULL, action_mask)
        after = states
        self._check_state_shape(after)
        return self._step(actions, arrays, &after[0, 0], action_mask)

    cdef int64_t _step(self, actions, tuple arrays, double *states, action_mask) except? -4:
        cdef const int64_t[::1] integers
        cdef const float[::1] reals
        cdef const void *first
        cdef int64_t which = -1
        cdef int64_t size
        cdef fpg_status status
        if self.categorical_actions:
            integers = actions
            first, size = &integers[0], integers.shape[0]
        else:
            reals = actions
            first, size = &reals[0], reals.shape[0]
        if size != self.num_envs * self.env.env.action_size:
            raise ValueError("step() needs num_envs * action_size numbers")
        self.take("VectorEnv.step()")
        try:
            if not self.was_reset:
                return _NOT_RESET
            if self.autoreset == FPG_NO_AUTORESET and fpg_vector_ended(self.vector, NULL) > 0:
                return _HAS_ENDED
            if arrays is not None:
                self._bind(arrays)
            if self.bound is None:
                raise ValueError("step() needs arrays")
            with nogil:
                status = fpg_vector_step(self.vector, first, &self.out, &which)
            if status == FPG_BAD_ACTION:
                return which
            if status != FPG_OK:
                self.was_reset = False  # a custom environment failed, and some have been stepped
                _raise_for(status, None, "VectorEnv.step()", self.env)
            if states != NULL:
                fpg_vector_get_state(self.vector, states, NULL)
            if action_mask is not None:
                self._write_action_mask(action_mask, "VectorEnv.step()")
            return _STEPPED
        finally:
            self.leave()

    def ended(self):
        result = numpy.empty(self.num_envs, numpy.uint8)
        cdef uint8_t[::1] flags = result
        self._check_taken()
        fpg_vector_ended(self.vector, &flags[0])
        return result.view(numpy.bool_)

    def get_state(self):
        state = numpy.empty((self.num_envs, self.env.env.state_size))
        elapsed = numpy.empty(self.num_envs, numpy.int32)
        cdef double[:, ::1] fields = state
        cdef int32_t[::1] steps = elapsed
        self._check_taken()
        fpg_vector_get_state(self.vector, &fields[0, 0], &steps[0])
        return state, elapsed

    def returns(self):
        result = numpy.empty(self.num_envs)
        cdef double[::1] sums = result
        self._check_taken()
        fpg_vector_get_returns(self.vector, &sums[0])
        return result

    def set_state(self, const double[:, ::1] state, const int32_t[::1] elapsed, obs):
        cdef void *out = self._rows(obs)
        self._check_state_shape(state)
        _require(elapsed.shape[0] == self.num_envs, f"elapsed must have {self.num_envs} entries")
        self._check_taken()
        fpg_vector_set_state(self.vector, &state[0, 0], &elapsed[0])
        self._observe(out, "VectorEnv.set_state()")

    def observe(self, obs):
        cdef void *out = self._rows(obs)
        self._check_taken()
        self._observe(out, "VectorEnv")

    cdef _observe(self, void *out, str where):
        cdef fpg_status status
        with nogil:
            status = fpg_vector_observe(self.vector, out)
        _raise_for(status, None, where, self.env)

    def action_mask(self, out, str where):
        self._check_taken()
        self._write_action_mask(out, where)

    cdef _write_action_mask(self, uint8_t[:, ::1] out, str where):
        cdef fpg_status status
        _require(self.env.has_action_mask and out.shape[0] == self.num_envs and out.shape[1] == sum(self.env.action_categories),
                 "action_mask must be (num_envs, categories), of an environment that has one")
        with nogil:
            status = fpg_vector_action_mask(self.vector, &out[0, 0])
        if status != FPG_OK:
            self.was_reset = False  # as where another function fails
        _raise_for(status, None, where, self.env)

    cdef int _check_taken(self) except -1:
        if self.owner == 0:
            raise ValueError("a Vector is used within `with vector.turn(where)`")
        return 0

    cdef _check_state_shape(self, const double[:, ::1] state):
        if state.shape[0] != self.num_envs or state.shape[1] != self.env.env.state_size:
            raise ValueError(f"states must be ({self.num_envs}, {self.env.env.state_size})")

    cdef void *_rows(self, obs) except NULL:
        cdef int64_t[:, ::1] categories
        cdef float[:, ::1] reals
        if self.categorical_obs:
            categories = obs
            if categories.shape[0] != self.env.env.obs_size or categories.shape[1] != self.num_envs:
                raise ValueError(f"obs must be ({self.env.env.obs_size}, {self.num_envs})")
            return &categories[0, 0]
        reals = obs
        if reals.shape[0] != self.num_envs or reals.shape[1] != self.env.env.obs_size:
            raise ValueError(f"obs must be ({self.num_envs}, {self.env.env.obs_size})")
        return &reals[0, 0]
