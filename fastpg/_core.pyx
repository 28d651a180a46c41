# cython: language_level=3, boundscheck=False, wraparound=False, initializedcheck=False
"""The compiled core: checks what memory safety needs, releases the GIL, calls csrc/fastpg.h.

The contract of each name is in _core.pyi. Arrays come in as typed memoryviews and go out as NumPy arrays; nothing
here links against NumPy, so one abi3 build serves every Python from 3.11 on.
"""

import os
import typing

import numpy

cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset


cdef extern from "fastpg.h" nogil:
    const char *FPG_VERSION
    enum: FPG_ENV_ABI, FPG_MAX_HIDDEN, FPG_MAX_WIDTH, FPG_MAX_ACTIONS, FPG_MAX_PARAMS, FPG_MAX_COMPONENTS, FPG_MAX_THREADS
    enum: FPG_MAX_LOG_STD
    const uint64_t FPG_ENV_MAGIC

    ctypedef enum fpg_status:
        FPG_OK, FPG_INTERRUPTED, FPG_NO_MEMORY, FPG_BAD_ACTION, FPG_NONFINITE_THETA, FPG_NONFINITE_OUTPUT
        FPG_NONFINITE_REWARD, FPG_NONFINITE_GRADIENT, FPG_NONFINITE_ESTIMATE, FPG_NO_FINAL_VALUES
        FPG_NONFINITE_VALUE_THETA, FPG_NONFINITE_VALUE, FPG_LOG_STD_RANGE, FPG_ENVIRONMENT_FAILED

    ctypedef enum fpg_function:
        FPG_RESET, FPG_STEP, FPG_OBSERVE

    fpg_status FPG_STATUS_KIND(fpg_status)
    fpg_function FPG_STATUS_FUNCTION(fpg_status)
    int32_t FPG_STATUS_RETURNED(fpg_status)
    fpg_status FPG_ENVIRONMENT_STATUS(fpg_function, int32_t)

    ctypedef struct fpg_poll:
        int (*function)(void *context) noexcept nogil
        void *context

    const char *fpg_select_isa(const char *name)
    const char *fpg_isa()
    const char *fpg_isa_available(int i)
    void fpg_set_num_threads(int num_threads)
    int fpg_get_num_threads()

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

    ctypedef struct fpg_tabular:
        int32_t num_states, num_actions, log2_outcomes, num_starts
        const double *cumulative
        const double *next
        const double *reward
        const double *probability
        const double *start_cumulative
        const double *start
        const float *obs

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
    void fpg_vector_set_state(fpg_vector *, const double *, const int32_t *)
    fpg_status fpg_vector_observe(const fpg_vector *, void *)

    ctypedef struct fpg_batcher:
        pass

    fpg_batcher *fpg_batcher_new(const fpg_network *)
    void fpg_batcher_free(fpg_batcher *)
    fpg_status fpg_logits(fpg_batcher *, const float *, const float *, int64_t, float *, fpg_poll)
    fpg_status fpg_act(fpg_batcher *, const float *, const float *, int64_t, uint64_t, uint64_t, int, void *, float *, fpg_poll)
    fpg_status fpg_log_prob_and_entropy(fpg_batcher *, const float *, const float *, const void *, int64_t, float *, float *,
                                        fpg_poll)
    fpg_status fpg_policy_gradient(fpg_batcher *, const float *, const float *, const void *, const float *, int64_t, double,
                                   double, float *, double *, fpg_poll)
    fpg_status fpg_value_gradient(fpg_batcher *, const float *, const float *, const float *, int64_t, double, float *, double *,
                                  fpg_poll)
    fpg_status fpg_segment_gradients(fpg_batcher *, const float *, const float *, const void *, const float *,
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
    void fpg_sampler_recorded(const fpg_sampler *, float *, uint8_t *)
    fpg_status fpg_sampler_recorded_gradient(fpg_sampler *, const float *, float *, fpg_stats *, fpg_poll)
    fpg_status fpg_sampler_evaluate(fpg_sampler *, const float *, int64_t, int, double *, int64_t *, fpg_poll)

    ctypedef struct fpg_collected:
        float *obs
        void *actions
        float *log_probs
        float *rewards
        uint8_t *terminated
        uint8_t *truncated
        float *last_obs

    fpg_status fpg_sampler_collect(fpg_sampler *, fpg_vector *, const float *, int64_t, uint64_t, int64_t, const fpg_collected *,
                                   int64_t *, fpg_stats *, fpg_poll)
    fpg_status fpg_sampler_ended(const fpg_sampler *, int64_t *, double *, int64_t *, float *)

    ctypedef struct fpg_train_config:
        fpg_collect collect
        int64_t steps_per_iteration
        int32_t normalize_observations

    ctypedef enum fpg_stopped:
        FPG_RUNNING, FPG_STOPPED_TOTAL_STEPS, FPG_STOPPED_TARGET_RETURN

    ctypedef struct fpg_trainer:
        pass

    fpg_trainer *fpg_trainer_new(const fpg_environment *, const fpg_network *, const fpg_network *, int64_t, uint64_t,
                                 const fpg_train_config *)
    void fpg_trainer_free(fpg_trainer *)
    fpg_status fpg_trainer_run(fpg_trainer *, float *, float *, double, int64_t, fpg_stats *, int64_t *, fpg_stopped *, fpg_poll)

    ctypedef struct fpg_learner:
        pass

    fpg_learner *fpg_learner_new(const fpg_network *, const fpg_network *, const fpg_train_config *)
    void fpg_learner_free(fpg_learner *)
    void fpg_learner_begin(fpg_learner *, int64_t, const float *, const float *)
    void fpg_learner_undo(fpg_learner *, float *, float *)
    fpg_status fpg_learner_policy_step(fpg_learner *, float *, float *, double *)
    fpg_status fpg_learner_value_step(fpg_learner *, float *, float *)
    void fpg_learner_observe(fpg_learner *, int64_t, const double *, const double *, const float *, const float *)
    void fpg_learner_finish(fpg_learner *, float *, float *)

    void fpg_philox(const uint32_t *, const uint32_t *, uint32_t *)
    int fpg_vecmath_float(const char *, int64_t, const float *, float *)
    int fpg_vecmath_double(const char *, int64_t, const double *, double *)


cdef extern from "Python.h":
    int PyErr_CheckSignals() except -1


MAX_WIDTH = FPG_MAX_WIDTH
MAX_HIDDEN = FPG_MAX_HIDDEN
MAX_ACTIONS = FPG_MAX_ACTIONS
MAX_COMPONENTS = FPG_MAX_COMPONENTS
MAX_THREADS = FPG_MAX_THREADS
MAX_CATEGORIES = 1 << 20  # of observations: floats count them, and inputs are as many
STOPPED = {FPG_RUNNING: "", FPG_STOPPED_TOTAL_STEPS: "total_steps", FPG_STOPPED_TARGET_RETURN: "target_return"}
ACTIVATIONS = {"tanh": FPG_TANH, "relu": FPG_RELU}
HEADS = {"categorical": FPG_CATEGORICAL, "bernoulli": FPG_BERNOULLI, "gaussian": FPG_GAUSSIAN}
FUNCTIONS = {FPG_RESET: "reset", FPG_STEP: "step", FPG_OBSERVE: "observe"}
MAX_PARAMS = FPG_MAX_PARAMS
ENV_ABI = FPG_ENV_ABI
ENV_MAGIC = FPG_ENV_MAGIC
PARAMS_OFFSET, DATA_OFFSET = FPG_PARAMS_OFFSET, FPG_DATA_OFFSET  # in fpg_environment, in bytes
AUTORESET = {"next_step": FPG_NEXT_STEP, "same_step": FPG_SAME_STEP, "disabled": FPG_NO_AUTORESET}


# ---- options and statistics, as fastpg.h lists them ---------------------------------------------------------------------------

class Option(typing.NamedTuple):
    kind: str
    initial: object
    range: str
    words: tuple
    ends: tuple  # of the range: low, high, whether each lies in it


KINDS = {FPG_INTEGER: "integer", FPG_REAL: "real", FPG_FLAG: "flag", FPG_CHOICE: "choice"}


cdef dict _options(const fpg_field *fields, int32_t count):
    options = {}
    for i in range(count):
        kind, initial, interval = KINDS[fields[i].kind], fields[i].initial, fields[i].range.decode()
        words = tuple(interval.split()) if kind == "choice" else ()
        if kind != "real":
            initial = words[<int>initial] if words else bool(initial) if kind == "flag" else int(initial)
        ends = ()
        if interval and not words:
            low, high = [float(end) for end in interval.strip("[]()").split(",")]
            ends = low, high, interval.startswith("["), interval.endswith("]")
        options[fields[i].name.decode()] = Option(kind, initial, "" if words else interval, words, ends)
    return options


cdef object _fill(void *target, const fpg_field *fields, int32_t count, dict options, dict settings):
    """Writes settings to a struct, and what an option is at first where there is none."""
    cdef char *place
    if not settings.keys() <= options.keys():
        raise TypeError(f"there is no option {', '.join(sorted(set(settings) - set(options)))}")
    for i, (name, option) in enumerate(options.items()):
        value, place = settings.get(name, option.initial), <char *>target + fields[<int>i].offset
        if option.kind == "real":
            (<double *>place)[0] = value
        elif option.kind == "integer":
            (<int64_t *>place)[0] = value
        elif option.kind == "flag":
            (<int32_t *>place)[0] = bool(value)
        else:
            if value not in option.words:
                raise ValueError(f"{name} must be one of {', '.join(option.words)}, got {value!r}")
            (<int32_t *>place)[0] = option.words.index(value)
        is_initial = value == option.initial or (value != value and option.initial != option.initial)
        if option.ends and not is_initial and not _lies_in(value, option.ends):
            raise ValueError(f"{name} must lie in {option.range}, got {value}")


cdef bint _lies_in(double value, tuple ends):
    cdef double low = ends[0], high = ends[1]
    return (low < value or (ends[2] and low == value)) and (value < high or (ends[3] and value == high))


cdef const fpg_field *COLLECT_FIELDS
cdef const fpg_field *TRAIN_FIELDS
cdef const fpg_field *STATISTICS_FIELDS
cdef int32_t NUM_COLLECT_FIELDS = fpg_collect_fields(&COLLECT_FIELDS)
cdef int32_t NUM_TRAIN_FIELDS = fpg_train_fields(&TRAIN_FIELDS)
cdef int32_t NUM_STATISTICS_FIELDS = fpg_statistics_fields(&STATISTICS_FIELDS)
COLLECT_OPTIONS = _options(COLLECT_FIELDS, NUM_COLLECT_FIELDS)
OPTIONS = _options(TRAIN_FIELDS, NUM_TRAIN_FIELDS)
STATS_DTYPE = numpy.dtype({
    "names": [STATISTICS_FIELDS[i].name.decode() for i in range(NUM_STATISTICS_FIELDS)],
    "formats": ["i8" if STATISTICS_FIELDS[i].kind == FPG_INTEGER else "f8" for i in range(NUM_STATISTICS_FIELDS)],
    "offsets": [STATISTICS_FIELDS[i].offset for i in range(NUM_STATISTICS_FIELDS)],
    "itemsize": sizeof(fpg_stats),
})


# ---- errors and signals ----------------------------------------------------------------------------------------------

cdef class _Interrupt:
    """Runs Python's signal handlers from inside a long C call, and keeps what they raised."""
    cdef object raised

    cdef fpg_poll poll(self) noexcept:
        cdef fpg_poll poll
        poll.function = _check_signals
        poll.context = <void *>self
        return poll


cdef int _check_signals(void *context) noexcept with gil:
    try:
        PyErr_CheckSignals()
        return 0
    except BaseException as exception:
        (<_Interrupt>context).raised = exception
        return 1


NONFINITE_VALUE = (
    "the value function's values, targets or gradient are NaN or infinite, or too large: its parameters are too large, or the "
    "rewards are"
)


cdef int _raise_for(fpg_status status, _Interrupt interrupt, str where, Environment env=None) except -1:
    if status == FPG_OK:
        return 0
    if FPG_STATUS_KIND(status) == FPG_ENVIRONMENT_FAILED:
        raise env.failure(status, where)
    if status == FPG_INTERRUPTED:
        raise interrupt.raised
    if status == FPG_NO_MEMORY:
        raise MemoryError(f"{where}: out of memory")
    if status == FPG_BAD_ACTION:
        raise ValueError(f"{where}: actions has an entry that is none of its component's categories")
    what = {
        FPG_NONFINITE_THETA: "a parameter of the policy (theta) is NaN or infinite",
        FPG_NONFINITE_OUTPUT: "the policy's output is NaN or infinite: an observation is not finite, or the parameters "
                              "are too large",
        FPG_NONFINITE_REWARD: "the environment returned a reward that is NaN or infinite",
        FPG_NONFINITE_GRADIENT: "the gradient is NaN or infinite, or too large for the optimizer to square",
        FPG_NONFINITE_VALUE_THETA: "a parameter of the value function is NaN or infinite",
        FPG_NONFINITE_VALUE: NONFINITE_VALUE,
        FPG_LOG_STD_RANGE: f"a log_std of the policy is not in -{FPG_MAX_LOG_STD} .. {FPG_MAX_LOG_STD}: its standard deviation, "
                           "or the inverse, is too small for float32",
    }[status]
    raise FloatingPointError(f"{where}: {what}")


cdef _require(bint condition, str sentence):
    if not condition:
        raise ValueError(sentence)


# ---- what does the work of one call at a time ---------------------------------------------------------------------------------

cdef extern from *:
    """
    #include <stdatomic.h>
    typedef atomic_uint fpg_owner;

    /* wanted, if the owner was the expected one; returns who it was. */
    static unsigned fpg_owner_exchange(fpg_owner *owner, unsigned expected, unsigned wanted)
    {
        atomic_compare_exchange_strong(owner, &expected, wanted);
        return expected;
    }
    static void fpg_owner_leave(fpg_owner *owner) { atomic_store_explicit(owner, 0, memory_order_release); }
    """
    ctypedef unsigned fpg_owner
    unsigned fpg_owner_exchange(fpg_owner *, unsigned, unsigned)
    void fpg_owner_leave(fpg_owner *)


cdef unsigned this_process = 1  # counted along the forks that lead to it


def _after_fork():
    global this_process
    this_process += 1


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


cdef class Exclusive:
    cdef fpg_owner owner  # the process of the call that has it; 0: nobody

    cdef str what(self):
        return type(self).__name__

    @cython.final
    cdef int take(self, str where) except -1:
        cdef unsigned before = fpg_owner_exchange(&self.owner, 0, this_process)
        if before == 0:
            return 0
        if before == this_process or fpg_owner_exchange(&self.owner, before, this_process) != before:
            raise ValueError(f"{where}: this {self.what()} is at work in another thread, and serves one at a time; give each "
                             "thread its own")
        try:  # a thread of the parent had it, which does not exist in this process
            self.recover(where)
        except BaseException:
            self.owner = before
            raise
        return 0

    @cython.final
    cdef void leave(self) noexcept:
        fpg_owner_leave(&self.owner)

    cdef recover(self, str where):
        """After a fork in the middle of a call: what the call was writing may be torn."""
        raise RuntimeError(f"{where}: this {self.what()} was at work in another thread when the process was forked, and cannot "
                           "be used in the child; make a new one")

    def turn(self, str where):
        return Turn(self, where)


cdef class Turn:
    cdef Exclusive of
    cdef str where

    def __cinit__(self, Exclusive of, str where):
        self.of, self.where = of, where

    def __enter__(self):
        self.of.take(self.where)

    def __exit__(self, kind, error, traceback):
        self.of.leave()


# ---- system ------------------------------------------------------------------------------------------------------------

def version():
    return FPG_VERSION.decode()


def compiler():
    return COMPILER.decode()


cdef extern from *:
    """
    #if defined(__clang__)
    #define FPG_COMPILER "clang " __clang_version__
    #elif defined(__GNUC__)
    #define FPG_COMPILER "gcc " __VERSION__
    #else
    #define FPG_COMPILER "unknown"
    #endif
    """
    const char *COMPILER "FPG_COMPILER"


cdef extern from *:
    """
    #include <stddef.h>
    #define FPG_PARAMS_OFFSET offsetof(fpg_environment, params)
    #define FPG_DATA_OFFSET offsetof(fpg_environment, data)
    """
    enum: FPG_PARAMS_OFFSET, FPG_DATA_OFFSET


def isa():
    return fpg_isa().decode()


def isas():
    names = []
    while fpg_isa_available(<int>len(names)) != NULL:
        names.append(fpg_isa_available(<int>len(names)).decode())
    return tuple(names)


def set_num_threads(int num_threads):
    _require(num_threads >= 1, f"set_num_threads(): num_threads must be at least 1, got {num_threads}")
    fpg_set_num_threads(num_threads)


def get_num_threads():
    return fpg_get_num_threads()


def _initialize():
    """Chooses the kernels and the number of threads, once, at import."""
    cdef const char *problem
    cdef const char *name = NULL
    wanted = os.environ.get("FASTPG_ISA")
    encoded = (wanted or "").encode()
    if wanted:
        name = encoded
    problem = fpg_select_isa(name)
    if problem != NULL:
        raise ImportError(f"FASTPG_ISA={wanted}: {problem.decode()}; available here: {', '.join(isas())}")
    threads = os.environ.get("FASTPG_NUM_THREADS")
    if not threads:
        cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
        fpg_set_num_threads(len(cpus))
    elif threads.isdecimal() and len(threads) <= 9 and 1 <= int(threads) <= MAX_THREADS:
        fpg_set_num_threads(int(threads))
    else:
        raise ImportError(f"FASTPG_NUM_THREADS must be an integer from 1 to {MAX_THREADS}, got {threads[:60]!r}")


_initialize()


def _environment_names():
    names = []
    while fpg_environment_name(<int>len(names)) != NULL:
        names.append(fpg_environment_name(<int>len(names)).decode())
    return tuple(names)


ENV_NAMES = _environment_names()


# ---- networks and environments ---------------------------------------------------------------------------------------------

cdef class Network:
    cdef fpg_network net
    cdef fpg_batcher *batcher
    cdef readonly tuple hidden, obs_categories, action_categories
    cdef readonly str activation, head
    cdef readonly int64_t num_parameters

    def __init__(self, int num_inputs, tuple hidden, int num_outputs, str activation, tuple obs_categories=(),
                 str head="categorical", tuple action_categories=()):
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
            _require(num_outputs <= FPG_MAX_COMPONENTS and not action_categories,
                     f"a {head} head has at most {FPG_MAX_COMPONENTS} outputs and no action_categories, got {num_outputs} and "
                     f"{action_categories}")
            self.net.action_size = num_outputs
            action_categories = (2,) * num_outputs if head == "bernoulli" else ()
        self.net.head = HEADS[head]
        self.head = head
        self.action_categories = action_categories
        self.hidden = hidden
        self.activation = activation
        self.num_parameters = fpg_num_parameters(&self.net)
        fpg_batcher_free(self.batcher)
        self.batcher = fpg_batcher_new(&self.net)
        if self.batcher == NULL:
            raise MemoryError("no memory for a network")

    def __dealloc__(self):
        fpg_batcher_free(self.batcher)

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


class Exported(typing.NamedTuple):
    name: str
    param_names: tuple
    params: tuple
    max_episode_steps: int
    functions: Functions


def exported_environment(address):
    """Reads a fpg_environment at an address; what cannot be one is a ValueError that goes on a sentence about it."""
    cdef const fpg_environment *env = <const fpg_environment *><uintptr_t>address
    _require(env.abi == FPG_ENV_ABI, f"was compiled for version {env.abi} of fpg_environment, and this fastpg has version "
             f"{FPG_ENV_ABI}; compile it again with the fastpg.h in fastpg.get_include()")
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
    functions = Functions(
        env.state_size, env.obs_size, env.action_size, env.reset_noise_size, env.step_noise_size,
        _categories(env.obs_categories, env.obs_size), _categories(env.action_categories, env.action_size),
        tuple([env.action_low[k] for k in range(env.action_size)]),
        tuple([env.action_high[k] for k in range(env.action_size)]),
        <uintptr_t>env.reset, <uintptr_t>env.step, <uintptr_t>env.observe, <uintptr_t>env.data,
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
        self.env.data = <const void *><uintptr_t>functions.data

    cdef failure(self, fpg_status status, str where):
        """The exception that a failure of the environment is raised as."""
        function, returned = FUNCTIONS[FPG_STATUS_FUNCTION(status)], FPG_STATUS_RETURNED(status)
        if self.functions is not None and self.functions.explain is not None:
            return self.functions.explain(where, function, returned)
        return RuntimeError(f"{where}: {function}() of {self.name} failed and returned {returned}")

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
        self.env.data = &self.tabular
        self.env.obs_size = len(table.obs_categories)
        self.env.action_categories[0] = actions
        self.env.step_noise_size = 1 if outcomes > 1 else 0

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


# ---- environments that the caller steps ----------------------------------------------------------------------------------------

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
        return self._step(actions, None, NULL)

    def step_into(self, actions, arrays, states):
        cdef double[:, ::1] after
        if states is None:
            return self._step(actions, arrays, NULL)
        after = states
        self._check_state_shape(after)
        return self._step(actions, arrays, &after[0, 0])

    cdef int64_t _step(self, actions, tuple arrays, double *states) except? -4:
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


# ---- batches that the caller has --------------------------------------------------------------------------------------------

def logits(Network net, const float[::1] theta, const float[:, ::1] obs, out=None):
    _check_batch(net, theta, obs)
    result = numpy.empty((obs.shape[0], net.net.num_outputs), numpy.float32) if out is None else out
    cdef float[:, ::1] rows = result
    _require(rows.shape[0] == obs.shape[0] and rows.shape[1] == net.net.num_outputs,
             f"out must be ({obs.shape[0]}, {net.net.num_outputs}), got ({rows.shape[0]}, {rows.shape[1]})")
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_logits(net.batcher, &theta[0], &obs[0, 0], obs.shape[0], &rows[0, 0], poll)
    _raise_for(status, interrupt, "logits()")
    return result


def act(Network net, const float[::1] theta, const float[:, ::1] obs, uint64_t seed, uint64_t step, bint deterministic,
        out=None, entropy=None):
    _check_batch(net, theta, obs)
    if out is None:
        out = numpy.empty(obs.shape[0] * net.net.action_size, numpy.float32 if net.net.head == FPG_GAUSSIAN else numpy.int64)
    cdef void *actions = <void *>_first_action(net, out, obs.shape[0])
    cdef float[::1] entropies
    cdef float *first_entropy = NULL
    if entropy is not None:
        entropies = entropy
        _require(entropies.shape[0] == obs.shape[0], f"entropy must have {obs.shape[0]} entries, got {entropies.shape[0]}")
        first_entropy = &entropies[0]
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_act(net.batcher, &theta[0], &obs[0, 0], obs.shape[0], seed, step, deterministic, actions, first_entropy,
                         poll)
    _raise_for(status, interrupt, "act()")
    return out


def log_prob_and_entropy(Network net, const float[::1] theta, const float[:, ::1] obs, actions):
    _check_batch(net, theta, obs)
    cdef const void *first_action = _first_action(net, actions, obs.shape[0])
    first = numpy.empty(obs.shape[0], numpy.float32)
    second = numpy.empty(obs.shape[0], numpy.float32)
    cdef float[::1] log_prob = first
    cdef float[::1] entropy = second
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_log_prob_and_entropy(net.batcher, &theta[0], &obs[0, 0], first_action, obs.shape[0], &log_prob[0],
                                          &entropy[0], poll)
    _raise_for(status, interrupt, "log_prob_and_entropy()")
    return first, second


def policy_gradient(Network net, const float[::1] theta, const float[:, ::1] obs, actions, const float[::1] weights,
                    double scale, float[::1] out, double entropy_coef=0, bint want_objective=False):
    _check_batch(net, theta, obs)
    _check_theta(net, out)
    cdef const void *first_action = _first_action(net, actions, obs.shape[0])
    _require(weights.shape[0] == obs.shape[0], f"weights must have {obs.shape[0]} entries, got {weights.shape[0]}")
    cdef double objective = 0
    cdef double *wanted = &objective if want_objective else NULL
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_policy_gradient(net.batcher, &theta[0], &obs[0, 0], first_action, &weights[0], obs.shape[0], scale,
                                     entropy_coef, &out[0], wanted, poll)
    _raise_for(status, interrupt, "policy_gradient()")
    return objective


def value_gradient(Network net, const float[::1] theta, const float[:, ::1] obs, const float[::1] targets, double scale,
                   float[::1] out):
    _check_batch(net, theta, obs)
    _check_theta(net, out)
    _require(net.net.num_outputs == 1, f"a value network has one output, got {net.net.num_outputs}")
    _require(targets.shape[0] == obs.shape[0], f"targets must have {obs.shape[0]} entries, got {targets.shape[0]}")
    cdef double square_error = 0
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_value_gradient(net.batcher, &theta[0], &obs[0, 0], &targets[0], obs.shape[0], scale, &out[0], &square_error,
                                    poll)
    _raise_for(status, interrupt, "value_gradient()")
    return square_error


def segment_gradients(Network net, const float[::1] theta, const float[:, ::1] obs, actions, const float[::1] weights, starts,
                      bint mean, float[:, ::1] out):
    cdef const int64_t[::1] bounds
    cdef const int64_t *first = NULL
    cdef int64_t segments = obs.shape[0]
    _check_batch(net, theta, obs)
    cdef const void *first_action = _first_action(net, actions, obs.shape[0])
    _require(weights.shape[0] == obs.shape[0], f"weights must have {obs.shape[0]} entries, got {weights.shape[0]}")
    if starts is not None:
        bounds = starts
        segments = bounds.shape[0] - 1
        _require(segments > 0 and bounds[0] == 0 and bounds[segments] == obs.shape[0] and bool((numpy.diff(starts) > 0).all()),
                 f"starts must rise from 0 to {obs.shape[0]}")
        first = &bounds[0]
    _require(out.shape[0] == segments and out.shape[1] == net.num_parameters,
             f"out must be ({segments}, {net.num_parameters}), got ({out.shape[0]}, {out.shape[1]})")
    cdef _Interrupt interrupt = _Interrupt()
    cdef fpg_poll poll = interrupt.poll()
    cdef fpg_status status
    with nogil:
        status = fpg_segment_gradients(net.batcher, &theta[0], &obs[0, 0], first_action, &weights[0], first, segments, mean,
                                       &out[0, 0], poll)
    _raise_for(status, interrupt, "policy_gradient()")


include "_arrays.pxi"


# ---- the fused pass, and training --------------------------------------------------------------------------------------------

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
            flags = numpy.empty(rows, numpy.uint8)
            values = numpy.zeros(rows, numpy.float32)
            record = numpy.empty(1, STATS_DTYPE)
            self._recorded(observations, flags)
            counts = flags.view(numpy.bool_)
            values[counts] = baseline(observations[counts])
            status = self._recorded_gradient(values, out, record.view(numpy.uint8), poll)
            _raise_for(status, interrupt, "estimate_gradient()", self.env)
        finally:
            self.leave()
        return record[0]

    cdef _recorded(self, float[:, ::1] obs, uint8_t[::1] flags):
        fpg_sampler_recorded(self.sampler, &obs[0, 0], &flags[0])

    cdef fpg_status _recorded_gradient(self, const float[::1] values, float[::1] out, uint8_t[::1] raw, fpg_poll poll):
        cdef fpg_status status
        with nogil:
            status = fpg_sampler_recorded_gradient(self.sampler, &values[0], &out[0], <fpg_stats *>&raw[0], poll)
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
                float[:, ::1] last_obs):
        cdef int64_t horizon = obs.shape[0]
        cdef int64_t count = 0
        cdef fpg_vector *environments = NULL
        cdef fpg_collected out
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
        out.actions = <void *>_first_action(self.net, actions, horizon * self.num_envs)
        out.obs, out.last_obs, out.log_probs, out.rewards = &obs[0, 0, 0], &last_obs[0, 0], &log_probs[0, 0], &rewards[0, 0]
        out.terminated, out.truncated = &terminated[0, 0], &truncated[0, 0]
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


# ---- for tests -----------------------------------------------------------------------------------------------------------------

def select_isa(str name):
    """Changes the kernels for whatever is made from now on."""
    encoded = name.encode()
    cdef const char *problem = fpg_select_isa(encoded)
    if problem != NULL:
        raise ValueError(f"{name}: {problem.decode()}")


def philox(const uint32_t[::1] counter, const uint32_t[::1] key):
    """The four words of one Philox4x32-10 block."""
    _require(counter.shape[0] == 4 and key.shape[0] == 2, "counter must have 4 words and key 2")
    result = numpy.empty(4, numpy.uint32)
    cdef uint32_t[::1] out = result
    fpg_philox(&counter[0], &key[0], &out[0])
    return result


def vecmath(str function, x):
    """function(x) with the kernels' own vector code; x is a 1-D float32 or float64 array."""
    cdef float[::1] x4, y4
    cdef double[::1] x8, y8
    cdef bint known
    result = numpy.empty_like(x)
    name = function.encode()
    if x.dtype == numpy.float32:
        x4, y4 = x, result
        known = fpg_vecmath_float(name, x4.shape[0], &x4[0], &y4[0])
    else:
        x8, y8 = x, result
        known = fpg_vecmath_double(name, x8.shape[0], &x8[0], &y8[0])
    _require(known, f"no function is called {function!r}")
    return result
