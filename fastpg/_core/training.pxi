# training.pxi - iterations of collect and update without leaving C.

cdef _check_run(Environment env, Network net, int64_t num_envs, dict counts):
    _check_pair(env, net)
    _require(num_envs >= 1, f"num_envs must be at least 1, got {num_envs}")
    _require(sum([count > 0 for count in counts.values()]) == 1,
             "exactly one of horizon, episodes and steps_per_iteration must be positive")


cdef int64_t TO_THE_END = 2**63 - 1  # a pause that never comes


cdef class Trainer(Exclusive):
    cdef fpg_trainer *trainer
    cdef Environment env
    cdef readonly Agent agent
    cdef int64_t num_envs

    def __cinit__(self, Environment env, Agent agent, *, int64_t num_envs):
        _check_run(env, agent.net, num_envs, agent.next_collect(num_envs))
        self.env, self.agent, self.num_envs = env, agent, num_envs
        self.trainer = fpg_trainer_new(&env.env, &agent.net.net, agent.agent, num_envs, agent.seed)
        if self.trainer == NULL:
            raise MemoryError(f"no memory for {num_envs} environments")

    def __dealloc__(self):
        fpg_trainer_free(self.trainer)

    def share(self, Ranks ranks):
        self.agent.share(ranks)
        self.take("train()")
        fpg_trainer_share(self.trainer, ranks.ranks)
        self.leave()

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
            _require("rewards.so_far" not in state or state["rewards.so_far"].size == self.num_envs,
                     f"the entry rewards.so_far of state must be {self.num_envs} numbers")
            blocks = state[entries[0].name.decode()].reshape(-1, self.env.state_size + 1, width)
            for states in numpy.ascontiguousarray(blocks[:, :-1]):
                self.env._check_states(states)
            _write_entries(entries, count, state)
            self.agent.set_state(state)
        finally:
            self.leave()

    def run(self, double seconds, int64_t capacity=16384, list into=None, str where="train()"):
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
                    status = fpg_trainer_run(self.trainer, seconds, capacity, TO_THE_END, <fpg_stats *>&raw[0], &count, poll)
            finally:
                self.agent.leave()
        finally:
            self.leave()
        records = records[:count].copy()
        if into is not None:  # also the iterations before one that fails
            into.append(records)
        _raise_for(status, interrupt, f"{where}: iteration {self.agent.num_iterations}", self.env)
        return records


WITH_STATE = ("normalize_observations", "normalize_rewards", "desired_kl")  # options that an agent remembers something for


cdef class Run(Exclusive):
    cdef fpg_run run
    cdef fpg_train_config config
    cdef Environment env  # this and the rest are kept alive
    cdef Network net, value
    cdef float[::1] theta, value_theta
    cdef dict settings
    cdef tuple shape  # what decides on the size of the state
    cdef readonly bint has_ended  # in a call of train_many, which need not be over

    def __cinit__(self, Environment env, Network net, float[::1] theta, *, int64_t num_envs, uint64_t seed, Network value=None,
                  float[::1] value_theta=None, **settings):
        self.config = _agent_config(net, theta, value, value_theta, settings)
        _check_run(env, net, num_envs, {name: settings.get(name, 0) for name in ("horizon", "episodes", "steps_per_iteration")})
        self.env, self.net, self.value, self.theta, self.value_theta = env, net, value, theta, value_theta
        self.settings = settings
        self.run.env, self.run.net, self.run.config, self.run.theta = &env.env, &net.net, &self.config, &theta[0]
        self.shape = (env.state_size, num_envs, net.num_inputs, net.num_parameters, value is not None and value.num_parameters,
                      *[settings.get(name, OPTIONS[name].initial) != OPTIONS[name].initial for name in WITH_STATE])
        if value is not None:
            self.run.value, self.run.value_theta = &value.net, &value_theta[0]
        self.run.seed, self.run.num_envs, self.run.status, self.run.pause_at = seed, num_envs, FPG_INTERRUPTED, TO_THE_END

    def __dealloc__(self):
        fpg_run_free(&self.run)

    @property
    def num_steps(self):
        return self.run.total_steps

    @property
    def mean_return(self):
        return self.run.mean_return if self.run.num_iterations > 0 else numpy.nan

    @property
    def stopped_because(self):
        if self.run.status == FPG_OK:
            return STOPPED[self.run.stopped]
        return "interrupted" if self.run.status == FPG_INTERRUPTED else "error"

    def error(self, str where):
        try:
            if self.run.status != FPG_INTERRUPTED:
                _raise_for(self.run.status, None, f"{where}, iteration {self.run.num_iterations}", self.env)
        except Exception as error:
            return error.with_traceback(None)

    def records(self, int64_t first=0):
        _require(0 <= first <= self.run.num_iterations, "there are no such records")
        records = numpy.empty(self.run.num_iterations - first, STATS_DTYPE)
        if len(records) > 0:
            _copy(records.view(numpy.uint8), self.run.stats + first, False)
        return records

    def take_records(self):
        records = self.records()
        fpg_run_free(&self.run)
        return records

    def copy(self, Run paused):
        _require(self.run.num_iterations == 0, "this Run has run")
        _require(self.shape == paused.shape, "the Run to copy has another shape")
        _require(paused.run.state != NULL, "the Run to copy has not paused")
        _raise_for(fpg_run_copy(&self.run, &paused.run), None, "train_many()")

    def state(self):
        """What a Run that has paused is, as `Trainer.state`."""
        cdef Trainer trainer
        _require(self.run.state != NULL, "the Run has not paused")
        value_theta = None if self.value is None else numpy.array(self.value_theta)
        agent = Agent(self.net, numpy.array(self.theta), seed=self.run.seed, value=self.value, value_theta=value_theta,
                      **self.settings)
        trainer = Trainer(self.env, agent, num_envs=self.run.num_envs)
        _raise_for(fpg_run_give_state(&self.run, trainer.trainer), None, "train_many()")
        return trainer.state()

    def go_on_from(self, Trainer trainer, records):
        """Pause where a trainer of the same networks stands, which then has no state any more."""
        cdef const uint8_t[::1] raw
        _require(self.run.num_iterations == 0, "this Run has run")
        _require(&trainer.agent.parameters[0] == &self.theta[0], "the trainer has other networks")
        _require(records.dtype == STATS_DTYPE and 0 < len(records) == trainer.agent.num_iterations,
                 "each iteration needs its record")
        raw = numpy.ascontiguousarray(records).view(numpy.uint8)
        _raise_for(fpg_run_take_state(&self.run, trainer.agent.agent, trainer.trainer, <const fpg_stats *>&raw[0]), None,
                   "train_many()")


cdef class _Reporter(_Interrupt):
    """Tells Python's signal handlers, and then `report`, how many steps are done, and how many runs."""
    cdef object report
    cdef list runs
    cdef fpg_runs_progress progress
    cdef int64_t num_told  # of the runs that have ended

    cdef tell(self):
        while self.num_told < self.progress.num_ended:
            (<Run>self.runs[self.progress.ended[self.num_told]]).has_ended = True
            self.num_told += 1
        self.report(self.progress.num_steps, self.progress.num_ended)

    cdef fpg_poll poll(self) noexcept:
        cdef fpg_poll poll
        poll.function = _check_signals_and_report
        poll.context = <void *>self
        return poll


cdef int _check_signals_and_report(void *context) noexcept with gil:
    cdef _Reporter reporter = <_Reporter>context
    try:
        PyErr_CheckSignals()
        reporter.tell()
        return 0
    except BaseException as exception:
        reporter.raised = exception
        return 1


def train_many(list runs, report, list pauses):
    cdef fpg_status status
    cdef int64_t count = len(runs)
    cdef uintptr_t[::1] places
    cdef fpg_run *const *pointers
    cdef _Reporter reporter = _Reporter()
    cdef fpg_poll poll = reporter.poll()
    cdef Run run
    _require(count >= 1 and len(pauses) == count, "there has to be a run, and whether each pauses")
    reporter.report, reporter.runs = report, runs
    array = numpy.empty(count, numpy.uintp)
    places = array
    taken = []
    try:
        for run, pause_at in zip(runs, pauses):
            run.take("train_many()")
            taken.append(run)
            _require(run.run.state != NULL or (run.run.num_iterations == 0 and run.run.status == FPG_INTERRUPTED),
                     "this Run has run")
            run.has_ended = False
            run.run.pause_at = TO_THE_END if pause_at is None else pause_at
            places[len(taken) - 1] = <uintptr_t>&run.run
        pointers = <fpg_run *const *>&places[0]
        with nogil:
            status = fpg_train_many(pointers, count, &reporter.progress, poll)
    finally:
        for run in taken:
            run.leave()
    _raise_for(status, reporter, "train_many()")
