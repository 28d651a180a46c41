# training.pxi - iterations of collect and update without leaving C.

cdef class Trainer(Exclusive):
    cdef fpg_trainer *trainer
    cdef Environment env
    cdef readonly Agent agent

    def __cinit__(self, Environment env, Agent agent, *, int64_t num_envs):
        _check_pair(env, agent.net)
        _require(num_envs >= 1, f"num_envs must be at least 1, got {num_envs}")
        collect = agent.next_collect(num_envs)
        _require((collect["horizon"] > 0) + (collect["episodes"] > 0) == 1,
                 "exactly one of horizon, episodes and steps_per_iteration must be positive")
        self.env, self.agent = env, agent
        self.trainer = fpg_trainer_new(&env.env, &agent.net.net, agent.agent, num_envs, agent.seed)
        if self.trainer == NULL:
            raise MemoryError(f"no memory for {num_envs} environments")

    def __dealloc__(self):
        fpg_trainer_free(self.trainer)

    def state(self):
        """The agent's entries and the environments'."""
        cdef fpg_entry entries[FPG_MAX_ENTRIES]
        cdef int32_t width
        self.take("train()")
        try:
            return self.agent.state() | _read_entries(entries, fpg_trainer_environments(self.trainer, entries, &width))
        finally:
            self.leave()

    def set_state(self, dict state):
        cdef fpg_entry entries[FPG_MAX_ENTRIES]
        cdef int32_t count, width
        self.take("train()")
        try:
            count = fpg_trainer_environments(self.trainer, entries, &width)
            blocks = state[entries[0].name.decode()].reshape(-1, self.env.state_size + 1, width)
            for states in numpy.ascontiguousarray(blocks[:, :-1]):
                self.env._check_states(states)
            _write_entries(entries, count, state)
            self.agent.set_state(state)
        finally:
            self.leave()

    def run(self, double seconds, int64_t capacity=16384, list into=None):
        cdef int64_t count = 0
        cdef fpg_status status
        cdef _Interrupt interrupt = _Interrupt()
        cdef fpg_poll poll = interrupt.poll()
        _require(capacity >= 1, "there has to be room for an iteration")
        records = numpy.empty(capacity, STATS_DTYPE)
        cdef uint8_t[::1] raw = records.view(numpy.uint8)
        self.take("train()")
        try:
            self.agent.take("train()")
            try:
                with nogil:
                    status = fpg_trainer_run(self.trainer, seconds, capacity, <fpg_stats *>&raw[0], &count, poll)
            finally:
                self.agent.leave()
        finally:
            self.leave()
        records = records[:count].copy()
        if into is not None:  # also the iterations before one that fails
            into.append(records)
        _raise_for(status, interrupt, f"train(): iteration {self.agent.num_iterations}", self.env)
        return records
