# environments.pxi - compiled environments, and checks of arrays by their spaces.

def exported_environment(address):
    """Reads a fpg_environment at an address; what cannot be one is a ValueError that goes on a sentence about it."""
    cdef const fpg_environment *env = <const fpg_environment *><uintptr_t>address
    _require(FPG_OLD_ENV_ABI <= env.abi <= FPG_ENV_ABI, f"was compiled for version {env.abi} of fpg_environment, and this "
             f"fastpg has version {FPG_ENV_ABI}; compile it again with the fastpg.h in fastpg.get_include()")
    for what, number, low, high in (("state_size", env.state_size, 1, 2**20), ("obs_size", env.obs_size, 1, 2**20),
                                    ("action_size", env.action_size, 1, FPG_MAX_COMPONENTS),
                                    ("reset_noise_size", env.reset_noise_size, 0, 2**20),
                                    ("step_noise_size", env.step_noise_size, 0, 2**20),
                                    ("max_episode_steps", env.max_episode_steps, 0, 2**31 - 1)):
        _require(low <= number <= high, f"has {what} = {number}, which must lie in {low} .. {high}")
    for what, function in (("reset", <uintptr_t>env.reset), ("step", <uintptr_t>env.step), ("observe", <uintptr_t>env.observe)):
        _require(function != 0, f"has NULL for {what}")
    names = []
    if env.param_names != NULL:
        while len(names) < FPG_MAX_PARAMS and env.param_names[<int>len(names)] != NULL:
            names.append(env.param_names[<int>len(names)].decode(errors="replace"))
    _require(env.obs_categories[0] == 0 or env.obs_size <= FPG_MAX_COMPONENTS,
             f"has obs_size = {env.obs_size}, of which at most {FPG_MAX_COMPONENTS} can be categories")
    _require(env.obs_categories[0] == 0 or min(_categories(env.obs_categories, env.obs_size), default=0) > 0,
             f"has obs_categories {_categories(env.obs_categories, env.obs_size)}: all of the {env.obs_size} have to be positive")
    _require(env.action_categories[0] == 0 or min(_categories(env.action_categories, env.action_size), default=0) > 0,
             f"has action_categories {_categories(env.action_categories, env.action_size)}: all of the {env.action_size} have to "
             "be positive")
    cdef uintptr_t mask = 0 if env.abi == FPG_OLD_ENV_ABI else <uintptr_t>env.mask
    _require(mask == 0 or env.action_categories[0] > 0, "has a mask, which goes with action_categories")
    functions = Functions(
        env.state_size, env.obs_size, env.action_size, env.reset_noise_size, env.step_noise_size,
        _categories(env.obs_categories, env.obs_size), _categories(env.action_categories, env.action_size),
        tuple([env.action_low[k] for k in range(env.action_size)]),
        tuple([env.action_high[k] for k in range(env.action_size)]),
        <uintptr_t>env.reset, <uintptr_t>env.step, <uintptr_t>env.observe, <uintptr_t>env.data, mask=mask,
    )
    return Exported(
        "" if env.name == NULL else env.name.decode(errors="replace"), tuple(names),
        tuple([env.params[k] for k in range(FPG_MAX_PARAMS)]), env.max_episode_steps, functions,
    )


cdef class Environment:
    cdef fpg_environment env
    cdef fpg_tabular tabular
    cdef readonly str name
    cdef readonly object table, functions
    cdef tuple arrays  # the memory that `tabular` points to

    def __init__(self, str name, tuple params, int max_episode_steps, table=None, functions=None):
        if functions is not None:
            self._set_functions(functions)
        elif not fpg_environment_init(name.encode(), &self.env):
            raise ValueError(f"no native environment is called {name!r}; there are: {', '.join(ENV_NAMES)}")
        _require((table is not None) == (name == "tabular" and functions is None),
                 "table goes with the environment \"tabular\", and no other")
        self.env.max_episode_steps = max_episode_steps
        self.name = name
        self.set_params(params)
        if table is not None:
            self._set_table(table)

    cdef _set_functions(self, functions):
        """An environment that is not one of the core's own: functions compiled elsewhere."""
        _require(len(functions.obs_categories) in (0, functions.obs_size) and len(functions.action_categories)
                 in (0, functions.action_size) and len(functions.action_low) == len(functions.action_high) ==
                 functions.action_size <= FPG_MAX_COMPONENTS, "categories and bounds go with their sizes")
        memset(&self.env, 0, sizeof(self.env))
        self.functions = functions  # keeps what they need alive
        self.env.abi = FPG_ENV_ABI
        self.env.state_size, self.env.obs_size = functions.state_size, functions.obs_size
        self.env.action_size = functions.action_size
        self.env.reset_noise_size, self.env.step_noise_size = functions.reset_noise_size, functions.step_noise_size
        for k, categories in enumerate(functions.obs_categories):
            self.env.obs_categories[<int>k] = categories
        for k, categories in enumerate(functions.action_categories):
            self.env.action_categories[<int>k] = categories
        for k in range(functions.action_size):
            self.env.action_low[<int>k], self.env.action_high[<int>k] = functions.action_low[k], functions.action_high[k]
        self.env.reset = <int32_t (*)(const fpg_environment *, int32_t, int32_t, const int32_t *, const double *,
                                      double *) noexcept nogil><uintptr_t>functions.reset
        self.env.step = <int32_t (*)(const fpg_environment *, int32_t, const void *, const double *, double *, double *,
                                     double *) noexcept nogil><uintptr_t>functions.step
        self.env.observe = <int32_t (*)(const fpg_environment *, int32_t, const double *,
                                        float *) noexcept nogil><uintptr_t>functions.observe
        self.env.mask = <int32_t (*)(const fpg_environment *, int32_t, const double *,
                                     uint8_t *) noexcept nogil><uintptr_t>functions.mask
        _require(functions.mask == 0 or bool(functions.action_categories), "mask goes with action_categories")
        self.env.data = <const void *><uintptr_t>functions.data

    cdef failure(self, fpg_status status, str where):
        """The exception that a failure of the environment is raised as."""
        function, returned = FUNCTIONS[FPG_STATUS_FUNCTION(status)], FPG_STATUS_RETURNED(status)
        if self.functions is not None and self.functions.explain is not None:
            return self.functions.explain(where, function, returned)
        return RuntimeError(f"{where}: {function}() of {self.name} failed and returned {returned}")

    cdef nothing_allowed(self, int32_t which, str where):
        """The exception for a state in which a component of the action has no category that is allowed."""
        from fastpg.errors import EnvError

        return EnvError(f"{where}: the action mask of {self.name} allows nothing in environment {which}: every component of an "
                        "action needs a category that is allowed, in every state in which an episode goes on")

    cdef _check(self, int32_t returned, fpg_function function):
        if returned:
            raise self.failure(FPG_ENVIRONMENT_STATUS(function, returned), "Environment")

    def set_params(self, tuple params):
        _require(len(params) <= FPG_MAX_PARAMS, f"an environment has at most {FPG_MAX_PARAMS} params, got {len(params)}")
        for i, value in enumerate(params):
            self.env.params[<int>i] = value

    cdef _set_table(self, table):
        """Checks what memory safety needs, and lays the arrays out as fpg_tabular wants them."""
        shape = table.cumulative.shape
        _require(len(shape) == 3 and min(shape) > 0, f"cumulative must be (states, actions, outcomes), got {shape}")
        states, actions, outcomes = shape
        log2_outcomes = (outcomes - 1).bit_length()
        _require(states * actions << log2_outcomes < 2**31, f"a table of {shape} is too large")
        for name in ("next", "reward", "terminated", "probability"):
            _require(getattr(table, name).shape == shape, f"{name} must be {shape}, got {getattr(table, name).shape}")
        for name in ("next", "start"):
            _require(getattr(table, name).size > 0 and getattr(table, name).min() >= 0 and getattr(table, name).max() < states,
                     f"{name} must hold states in 0 .. {states - 1}")
        _require(table.start.shape == table.start_cumulative.shape == (table.start.size,),
                 f"start and start_cumulative must be of one length, got {table.start.shape}, {table.start_cumulative.shape}")
        _require(table.obs.shape == (len(table.obs_categories), states) and len(table.obs_categories) <= FPG_MAX_COMPONENTS,
                 f"obs must be ({len(table.obs_categories)}, {states}), got {table.obs.shape}")
        for k, categories in enumerate(table.obs_categories):  # float32 counts to 2^24
            _require(0 < categories <= 2**24 and table.obs[k].min() >= 0 and table.obs[k].max() < categories,
                     f"obs[{k}] must lie in 0 .. {categories - 1}, of at most {2**24}")
            self.env.obs_categories[<int>k] = categories
        _require(outcomes > 1 or bool((table.probability == 1).all()), "the only outcome of a row has probability 1")

        self.table = table
        self.arrays = (
            _padded(_up_to_one("cumulative", table.cumulative), 1 << log2_outcomes, 1.0),
            _padded(numpy.where(table.terminated != 0, -1.0 - table.next, table.next), 1 << log2_outcomes, 0.0),
            _padded(table.reward, 1 << log2_outcomes, 0.0),
            _padded(table.probability, 1 << log2_outcomes, 0.0),
            _up_to_one("start_cumulative", table.start_cumulative),
            numpy.array(table.start, numpy.float64),
            numpy.array(table.obs, numpy.float32).reshape(-1),
        )
        self.tabular.num_states, self.tabular.num_actions = states, actions
        self.tabular.log2_outcomes, self.tabular.num_starts = log2_outcomes, table.start.size
        self.tabular.cumulative = _first(self.arrays[0])
        self.tabular.next = _first(self.arrays[1])
        self.tabular.reward = _first(self.arrays[2])
        self.tabular.probability = _first(self.arrays[3])
        self.tabular.start_cumulative = _first(self.arrays[4])
        self.tabular.start = _first(self.arrays[5])
        cdef const float[::1] obs = self.arrays[6]
        self.tabular.obs = &obs[0]
        self._set_table_mask(table.action_mask, states, actions)
        self.env.data = &self.tabular
        self.env.obs_size = len(table.obs_categories)
        self.env.action_categories[0] = actions
        self.env.step_noise_size = 1 if outcomes > 1 else 0

    cdef _set_table_mask(self, action_mask, int64_t states, int64_t actions):
        cdef const uint8_t[::1] allowed
        if action_mask is None:
            self.env.mask = NULL
            return
        _require(action_mask.shape == (states, actions), f"action_mask must be ({states}, {actions}), got {action_mask.shape}")
        allowed = numpy.array(action_mask.T != 0, numpy.uint8).reshape(-1)
        self.arrays += (allowed,)
        self.tabular.action_mask = &allowed[0]

    def drop_action_mask(self):
        self.env.mask = NULL

    @property
    def has_action_mask(self):
        return self.env.mask != NULL

    @property
    def state_size(self):
        return self.env.state_size

    @property
    def obs_size(self):
        return self.env.obs_size

    @property
    def action_size(self):
        return self.env.action_size

    @property
    def reset_noise_size(self):
        return self.env.reset_noise_size

    @property
    def step_noise_size(self):
        return self.env.step_noise_size

    @property
    def obs_categories(self):
        return _categories(self.env.obs_categories, self.env.obs_size)

    @property
    def action_categories(self):
        return _categories(self.env.action_categories, self.env.action_size)

    @property
    def max_episode_steps(self):
        return self.env.max_episode_steps

    def reset(self, const int32_t[::1] which, const double[:, ::1] noise, double[:, ::1] state):
        cdef int32_t width = <int32_t>state.shape[1]
        self._check_tile(state, width, noise, self.env.reset_noise_size)
        for i in range(which.shape[0]):
            _require(0 <= which[i] < width, f"which must hold copies in 0 .. {width - 1}, got {which[i]}")
        cdef int32_t returned
        if which.shape[0] > 0:
            with nogil:
                returned = self.env.reset(&self.env, width, <int32_t>which.shape[0], &which[0], _row(noise), &state[0, 0])
            self._check(returned, FPG_RESET)

    def step(self, action, const double[:, ::1] noise, double[:, ::1] state):
        cdef int32_t width = <int32_t>state.shape[1]
        cdef const int32_t[:, ::1] integers
        cdef const float[:, ::1] reals
        cdef const void *first_action
        cdef int32_t returned
        rows = action.reshape(self.env.action_size, width)
        if self.env.action_categories[0] > 0:
            integers = rows
            for k, categories in enumerate(self.action_categories):
                _require(rows[k].min() >= 0 and rows[k].max() < categories, f"action must lie in 0 .. {categories - 1}")
            first_action = &integers[0, 0]
        else:
            reals = rows
            first_action = &reals[0, 0]
        self._check_tile(state, width, noise, self.env.step_noise_size)
        self._check_states(state)
        first, second = numpy.empty(width), numpy.empty(width)
        cdef double[::1] reward = first
        cdef double[::1] ends = second
        with nogil:
            returned = self.env.step(&self.env, width, first_action, _row(noise), &state[0, 0], &reward[0], &ends[0])
        self._check(returned, FPG_STEP)
        return first, second

    def observe(self, const double[:, ::1] state):
        self._check_tile(state, state.shape[1], state, 0)
        self._check_states(state)
        result = numpy.empty((self.env.obs_size, state.shape[1]), numpy.float32)
        cdef float[:, ::1] obs = result
        cdef int32_t returned
        with nogil:
            returned = self.env.observe(&self.env, <int32_t>state.shape[1], &state[0, 0], &obs[0, 0])
        self._check(returned, FPG_OBSERVE)
        return result

    def mask(self, const double[:, ::1] state):
        self._check_tile(state, state.shape[1], state, 0)
        self._check_states(state)
        _require(self.env.mask != NULL, f"{self.name} has no action mask")
        result = numpy.ones((sum(self.action_categories), state.shape[1]), numpy.uint8)
        cdef uint8_t[:, ::1] allowed = result
        cdef int32_t returned
        with nogil:
            returned = self.env.mask(&self.env, <int32_t>state.shape[1], &state[0, 0], &allowed[0, 0])
        self._check(returned, FPG_MASK_ACTIONS)
        return result

    cdef _check_tile(self, const double[:, ::1] state, int64_t width, const double[:, ::1] noise, int64_t noise_size):
        _require(width % 16 == 0 and width > 0, f"a tile's width must be a positive multiple of 16, got {width}")
        _require(state.shape[0] == self.env.state_size and state.shape[1] == width,
                 f"state must be ({self.env.state_size}, {width}), got ({state.shape[0]}, {state.shape[1]})")
        _require(noise.shape[0] >= noise_size and noise.shape[1] == width,
                 f"noise must be ({noise_size}, {width}), got ({noise.shape[0]}, {noise.shape[1]})")

    cdef _check_states(self, const double[:, ::1] state):
        """A table is indexed by what the caller says the state is."""
        cdef int64_t i
        if self.table is not None:
            for i in range(state.shape[1]):
                if not 0 <= state[0, i] < self.tabular.num_states:
                    raise ValueError(f"state[0] must hold states in 0 .. {self.tabular.num_states - 1}, got {state[0, i]}")


cdef const double *_row(const double[:, ::1] array) noexcept nogil:
    return &array[0, 0] if array.shape[0] > 0 else NULL


cdef const double *_first(const double[::1] array) noexcept:
    return &array[0]


cdef _padded(array, int64_t outcomes, double fill):
    """Lengthens the rows of a table."""
    result = numpy.full((array.shape[0], array.shape[1], outcomes), fill)
    result[:, :, :array.shape[2]] = array
    return result.reshape(-1)


cdef _up_to_one(str name, cumulative):
    """Sets the last entry that has a probability, and all after it, to 1: rounding never selects what has none."""
    _require(bool((numpy.diff(cumulative, prepend=0.0) >= 0).all() and (abs(cumulative[..., -1] - 1) < 1e-6).all()),
             f"{name} must rise from 0 to 1")
    return numpy.where(cumulative < cumulative[..., -1:], cumulative, 1.0)


cdef tuple _categories(const int32_t *categories, int32_t size):
    return tuple([categories[k] for k in range(size)]) if categories[0] > 0 else ()


cdef _check_theta(Network net, const float[::1] theta):
    _require(theta.shape[0] == net.num_parameters,
             f"theta must have {net.num_parameters} entries for this network, got {theta.shape[0]}")


cdef _check_batch(Network net, const float[::1] theta, const float[:, ::1] obs):
    _check_theta(net, theta)
    _require(obs.shape[1] == net.obs_size, f"obs must have {net.obs_size} columns, got {obs.shape[1]}")
    _require(obs.shape[0] >= 1, "obs must have at least one row")


cdef _check_pair(Environment env, Network net):
    _require(net.obs_size == env.env.obs_size and net.obs_categories == env.obs_categories
             and net.net.action_size == env.env.action_size and net.action_categories == env.action_categories,
             f"the network maps {net.net.num_inputs} inputs to {net.net.action_size} actions {net.action_categories}, but "
             f"{env.name} has {env.env.obs_size} observations and {env.env.action_size} actions {env.action_categories}")
    _require(env.env.mask == NULL or net.net.head == FPG_CATEGORICAL, f"the action mask of {env.name} needs a softmax")


cdef const void *_first_action(Network net, actions, int64_t batch) except NULL:
    """Checks actions, flat (batch * action_size,), and returns where they begin; the caller keeps them alive."""
    cdef const int64_t[::1] integers
    cdef const float[::1] reals
    cdef int64_t entries = batch * net.net.action_size
    if net.net.head == FPG_GAUSSIAN:
        reals = actions
        _require(reals.shape[0] == entries, f"actions must have {entries} entries, got {reals.shape[0]}")
        return &reals[0]
    integers = actions
    _require(integers.shape[0] == entries, f"actions must have {entries} entries, got {integers.shape[0]}")
    return &integers[0]


cdef const uint8_t *_first_mask(Network net, const uint8_t[:, ::1] action_mask, int64_t batch) except? NULL:
    """Checks an action mask (batch, num_outputs), and returns where it begins; NULL without one."""
    if action_mask is None:
        return NULL
    _require(net.net.head == FPG_CATEGORICAL and action_mask.shape[0] == batch and action_mask.shape[1] == net.net.num_outputs,
             f"action_mask must be ({batch}, {net.net.num_outputs}), and of a softmax")
    return &action_mask[0, 0]
