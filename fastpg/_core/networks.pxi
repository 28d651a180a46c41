# networks.pxi - shapes of networks.

cdef class Network:
    cdef fpg_network net
    cdef fpg_model *model
    cdef readonly tuple hidden, obs_categories, action_categories
    cdef readonly str activation, head
    cdef readonly int64_t num_parameters
    cdef readonly bint state_std, squashed, scales_actions

    def __init__(self, int num_inputs, tuple hidden, int num_outputs, str activation, tuple obs_categories=(),
                 str head="categorical", tuple action_categories=(), bint state_std=False, squash_log_scale=None,
                 bint scales_actions=False):
        _require(num_inputs >= 1, f"num_inputs must be at least 1, got {num_inputs}")
        _require(1 <= num_outputs <= FPG_MAX_ACTIONS, f"num_outputs must be in 1 .. {FPG_MAX_ACTIONS}, got {num_outputs}")
        _require(len(hidden) <= FPG_MAX_HIDDEN, f"hidden must have at most {FPG_MAX_HIDDEN} layers, got {len(hidden)}")
        _require(len(obs_categories) <= FPG_MAX_COMPONENTS and (not obs_categories or sum(obs_categories) == num_inputs),
                 f"obs_categories must be at most {FPG_MAX_COMPONENTS} numbers with the sum {num_inputs}, got {obs_categories}")
        self.net.num_inputs, self.net.num_factors = num_inputs, <int32_t>len(obs_categories)
        for k, categories in enumerate(obs_categories):
            self.net.factors[<int>k] = categories
        self.obs_categories = obs_categories
        self.net.num_hidden = <int32_t>len(hidden)
        self.net.num_outputs = num_outputs
        self.net.activation = ACTIVATIONS[activation]
        for layer, width in enumerate(hidden):
            _require(1 <= width <= FPG_MAX_WIDTH, f"hidden widths must be in 1 .. {FPG_MAX_WIDTH}, got {width}")
            self.net.hidden[<int>layer] = width
        if head == "categorical":
            action_categories = action_categories or (num_outputs,)
            _require(len(action_categories) <= FPG_MAX_COMPONENTS and min(action_categories) >= 1
                     and sum(action_categories) == num_outputs,
                     f"action_categories must be at most {FPG_MAX_COMPONENTS} numbers with the sum {num_outputs}, "
                     f"got {action_categories}")
            self.net.action_size = <int32_t>len(action_categories)
            for k, categories in enumerate(action_categories):
                self.net.action_categories[<int>k] = categories
        else:
            self.net.action_size = num_outputs // 2 if state_std else num_outputs
            _require(self.net.action_size <= FPG_MAX_COMPONENTS and not action_categories,
                     f"a {head} head has at most {FPG_MAX_COMPONENTS} components and no action_categories, got {num_outputs} "
                     f"outputs and {action_categories}")
            action_categories = (2,) * num_outputs if head == "bernoulli" else ()
        _require(head == "gaussian" or not (state_std or squash_log_scale is not None or scales_actions),
                 f"a {head} head has neither state_std, squash_log_scale nor scales_actions")
        _require(squash_log_scale is None or not scales_actions, "squashed actions are not scaled")
        _require(not state_std or num_outputs % 2 == 0, f"num_outputs must be even with state_std, got {num_outputs}")
        self.net.state_std = self.state_std = state_std
        self.net.squashed = self.squashed = squash_log_scale is not None
        self.net.log_scale = 0 if squash_log_scale is None else squash_log_scale
        self.net.scales_actions = self.scales_actions = scales_actions
        self.net.head = HEADS[head]
        self.head = head
        self.action_categories = action_categories
        self.hidden = hidden
        self.activation = activation
        self.num_parameters = fpg_num_parameters(&self.net)
        fpg_model_free(self.model)
        self.model = fpg_model_new(&self.net)
        if self.model == NULL:
            raise MemoryError("no memory for a network")

    def __dealloc__(self):
        fpg_model_free(self.model)

    @property
    def num_inputs(self):
        return self.net.num_inputs

    @property
    def obs_size(self):
        return self.net.num_factors or self.net.num_inputs

    @property
    def num_outputs(self):
        return self.net.num_outputs

    @property
    def action_size(self):
        return self.net.action_size


class Table(typing.NamedTuple):
    cumulative: object
    next: object
    reward: object
    terminated: object
    probability: object
    start_cumulative: object
    start: object
    obs: object
    obs_categories: tuple
    action_mask: object = None


class Functions(typing.NamedTuple):
    state_size: int
    obs_size: int
    action_size: int
    reset_noise_size: int
    step_noise_size: int
    obs_categories: tuple
    action_categories: tuple
    action_low: tuple
    action_high: tuple
    reset: int
    step: int
    observe: int
    data: int = 0
    keep: object = None
    explain: object = None
    mask: int = 0


class Exported(typing.NamedTuple):
    name: str
    param_names: tuple
    params: tuple
    max_episode_steps: int
    functions: Functions
