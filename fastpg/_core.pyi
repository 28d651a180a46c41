"""The compiled core: thin, checked wrappers around ``csrc/fastpg.h``.

Private. Functions check shapes and dtypes only as far as memory safety needs it; the sentences that
users read are written by the modules above this one. Every long call releases the GIL, polls for
signals about every 50 ms and raises ``KeyboardInterrupt`` with nothing modified.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

class Option(NamedTuple):
    """One of training's options, as csrc/fastpg.h lists it."""

    kind: str  # "integer" | "real" | "flag" | "choice"
    initial: Any  # where nothing is said
    range: str  # of numbers: the interval that others than `initial` lie in, as "[0, 1)"
    words: tuple[str, ...]  # of a choice
    ends: tuple[float, ...]  # of the range: low, high, whether each lies in it

OPTIONS: dict[str, Option]  # of a Trainer and a Learner
COLLECT_OPTIONS: dict[str, Option]  # those of them that a Sampler's gradients have
STATS_DTYPE: np.dtype[np.void]  # one record an iteration; its fields are documented in csrc/fastpg.h
MAX_WIDTH: int  # 512
MAX_HIDDEN: int  # 3
MAX_ACTIONS: int  # 512
MAX_COMPONENTS: int  # 32, of categorical observations and of actions
MAX_CATEGORIES: int
MAX_PARAMS: int  # 64, of an environment
MAX_THREADS: int  # 256
LONGEST_EPISODE: int  # steps after which whole episodes are no longer waited for
ENV_MAGIC: int  # what a library exports beside its environment
ENV_ABI: int  # of fpg_environment
PARAMS_OFFSET: int  # in fpg_environment, in bytes
DATA_OFFSET: int
ENV_NAMES: tuple[str, ...]  # the native environments' kernel names: ("cartpole", "mountain_car", ...)

def version() -> str: ...
def compiler() -> str: ...
def isa() -> str: ...  # the one in use
def isas() -> tuple[str, ...]: ...  # compiled in and supported by this CPU, slowest first
def set_num_threads(num_threads: int) -> None: ...  # >= 1, else ValueError
def get_num_threads() -> int: ...

@final
class Network:
    """An MLP's shape: widths, activation, and where each array lies in the flat ``theta``."""

    def __init__(
        self,
        num_inputs: int,
        hidden: tuple[int, ...],
        num_outputs: int,
        activation: str,
        obs_categories: tuple[int, ...] = (),  # one-hot inputs: their sum is num_inputs
        head: str = "categorical",  # | "bernoulli" | "gaussian"
        # Of a categorical head: their sum is num_outputs; by default one component.
        action_categories: tuple[int, ...] = (),
        # Of a gaussian head: log_std are outputs, the second half of them.
        state_std: bool = False,
        # Of a squashed one: the sum of log((high - low) / 2) over an action's components.
        squash_log_scale: float | None = None,
        # Of a gaussian one that is not squashed: -1..1 stands for the bounds of the environment's actions.
        scales_actions: bool = False,
    ) -> None: ...
    num_inputs: int
    obs_size: int  # columns of obs: num_inputs, or one a category
    obs_categories: tuple[int, ...]
    hidden: tuple[int, ...]
    num_outputs: int
    head: str
    action_size: int  # components of an action
    action_categories: tuple[int, ...]  # of each; () if they are real numbers
    state_std: bool
    squashed: bool
    scales_actions: bool
    activation: str
    num_parameters: int

class Table(NamedTuple):
    """A finite Markov decision process: what the kernel "tabular" runs.

    Rows with fewer outcomes repeat the last cumulative. The last outcome of a row that has a probability also
    gets what rounding leaves of 1.
    """

    # (num_states, num_actions, max_outcomes), as the next four: probability of this outcome or one before it
    cumulative: F64
    next: F64
    reward: F64
    terminated: F64
    probability: F64  # what a step reports in state[1]; it need not be what the outcome is drawn with
    start_cumulative: F64  # (num_starts,)
    start: F64
    obs: F64  # (obs_size, num_states)
    obs_categories: tuple[int, ...]
    action_mask: NDArray[np.bool_] | None = None  # (num_states, num_actions): which actions are allowed

class Functions(NamedTuple):
    """An environment that was compiled elsewhere: what a fpg_environment says, functions by address."""

    state_size: int
    obs_size: int
    action_size: int
    reset_noise_size: int
    step_noise_size: int
    obs_categories: tuple[int, ...]  # () if observations are real numbers
    action_categories: tuple[int, ...]  # () if actions are
    action_low: tuple[float, ...]  # (action_size,)
    action_high: tuple[float, ...]
    reset: int
    step: int
    observe: int
    data: int = 0  # the address that env->data gets
    keep: object = None  # what has to live as long as the environment
    # Makes the exception for a failure out of (the caller, "reset" | "step" | "observe" | "mask", what it
    # returned).
    explain: Callable[[str, str, int], BaseException] | None = None
    mask: int = 0  # 0: there is none

class Exported(NamedTuple):
    """What a C library exports."""

    name: str  # "" if it has none
    param_names: tuple[str, ...]
    params: tuple[float, ...]  # all MAX_PARAMS
    max_episode_steps: int
    functions: Functions

def exported_environment(address: int) -> Exported: ...  # ValueError: the end of a sentence about the library

@final
class Environment:
    """An environment: its kernel, its parameters, its time limit (0: none); "tabular" has a table.

    With `functions`, which were compiled elsewhere, the name is for messages only.
    """

    def __init__(
        self,
        name: str,
        params: tuple[float, ...],
        max_episode_steps: int,
        table: Table | None = None,
        functions: Functions | None = None,
    ) -> None: ...
    name: str
    table: Table | None
    functions: Functions | None
    state_size: int
    obs_size: int
    action_size: int
    reset_noise_size: int
    step_noise_size: int
    obs_categories: tuple[int, ...]  # () if observations are real numbers
    action_categories: tuple[int, ...]  # () if actions are
    max_episode_steps: int
    has_action_mask: bool
    def drop_action_mask(self) -> None: ...  # every action is allowed from now on
    def set_params(self, params: tuple[float, ...]) -> None: ...
    # One tile of `width` copies, a multiple of 16: state (state_size, width), changed in place;
    # noise (., width) in (0, 1).
    def reset(self, which: NDArray[np.int32], noise: F64, state: F64) -> None: ...
    # action (action_size, width) or (width,): int32, or float32 for real actions.
    def step(
        self, action: NDArray[Any], noise: F64, state: F64
    ) -> tuple[F64, F64]: ...  # reward, FPG_END_...
    def observe(self, state: F64) -> F32: ...  # (obs_size, width)
    # (categories of all components, width): 0 where one is not allowed.
    def mask(self, state: F64) -> NDArray[np.uint8]: ...

class Exclusive:
    """What does the work of one call at a time, for whichever thread comes first.

    Another thread's call is refused before it has changed anything: ValueError. A child that was forked in
    the middle of a call finds torn what the call was writing: a Vector then begins anew, the others are
    refused with RuntimeError for good.
    """

    def turn(self, where: str) -> Turn: ...

@final
class Turn:
    """``with`` it, the object is the caller's; `where` is what the user called. Can be used again."""

    def __enter__(self) -> None: ...
    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None: ...

STEPPED: int
NOT_RESET: int
HAS_ENDED: int

@final
class Vector(Exclusive):
    """``num_envs`` copies of an environment that the caller steps.

    Steps take their turn themselves; the other calls belong into ``with vector.turn(where)``.
    """

    def __init__(self, env: Environment, num_envs: int, autoreset: str) -> None: ...
    num_envs: int
    was_seeded: bool
    was_reset: bool  # and no failure since has left some environments behind the others
    was_forked: bool  # in the middle of a call: nothing is left of what was there, and no reset since
    def set_params(self, params: tuple[float, ...]) -> None: ...
    def seed(self, seeds: NDArray[np.uint64], mask: NDArray[np.uint8]) -> None: ...
    # obs: float32 (num_envs, obs_size), or int64 (obs_size, num_envs) for categories. mask (num_envs,).
    def reset(self, mask: NDArray[np.uint8] | None, obs: NDArray[Any]) -> None: ...
    # Where `step` writes from now on: obs and final_obs as above, final_state (num_envs, state_size), both
    # None if the mode has none, rewards (num_envs,) float64, and flags (2, num_envs) uint8: terminated,
    # truncated.
    def bind(self, arrays: tuple[Any, ...]) -> None: ...
    # actions flat (num_envs * action_size,): int64 or float32. Returns STEPPED; or, with nothing stepped, the
    # first environment whose action is not allowed, NOT_RESET, or HAS_ENDED where an episode has and nobody
    # resets it.
    def step(self, actions: NDArray[Any]) -> int: ...
    # The same; arrays are bound before, unless they are None, and states (num_envs, state_size) written
    # after, and action_mask, as below.
    def step_into(
        self,
        actions: NDArray[Any],
        arrays: tuple[Any, ...] | None,
        states: F64 | None,
        action_mask: NDArray[np.uint8] | None = None,
    ) -> int: ...
    # Writes out (num_envs, categories of all components): 1 where the environment allows one, else 0.
    def action_mask(self, out: NDArray[np.uint8], where: str) -> None: ...
    def ended(self) -> NDArray[np.bool_]: ...  # (num_envs,): which have, and were not reset since
    def get_state(self) -> tuple[F64, NDArray[np.int32]]: ...  # (num_envs, state_size), (num_envs,)
    def returns(self) -> F64: ...  # (num_envs,): rewards of the episodes under way
    def set_state(self, state: F64, elapsed: NDArray[np.int32], obs: NDArray[Any]) -> None: ...
    def observe(self, obs: NDArray[Any]) -> None: ...

@final
class Normalizer:
    """Running mean and deviation of `size` numbers, as an agent keeps them."""

    def __init__(self, size: int) -> None: ...
    count: int
    def add(self, count: int, sums: F64, squares: F64) -> None: ...  # (size,): of rows and of their squares
    def scale(self) -> tuple[F64, F64]: ...  # mean and deviation, (size,)
    # theta (P,) of normalised observations -> out (P,), the same network of raw ones.
    def fold(self, net: Network, theta: F32, out: F32) -> None: ...
    def state(self) -> tuple[int, F64]: ...  # count, (4 * size,)
    def set_state(self, count: int, statistics: F64) -> None: ...

# Batches given by the caller. obs is (B, D) C-contiguous float32, actions flat (B * action_size,): int64 in
# range, or float32 of a Gaussian; weights (B,) float32, out (P,) float32; action_mask (B, num_outputs), of a
# softmax: 0 where a category is not allowed, of which every component has one, and the action is one.
def logits(
    net: Network, theta: F32, obs: F32, out: F32 | None = None
) -> F32: ...  # the head's outputs, (B, num_outputs)
def act(
    net: Network,
    theta: F32,
    obs: F32,
    seed: int,
    step: int,
    deterministic: bool,
    out: NDArray[Any] | None = None,  # where to write the result
    entropy: F32 | None = None,  # (B,): where to write the distributions' entropies, in nats
    action_mask: NDArray[np.uint8] | None = None,
    first_env: int = 0,
) -> NDArray[Any]: ...  # as `actions`, unclipped; row i is drawn with the counter (first_env + i, step)
def log_prob_and_entropy(
    net: Network,
    theta: F32,
    obs: F32,
    actions: NDArray[Any],
    action_mask: NDArray[np.uint8] | None = None,
) -> tuple[F32, F32]: ...
def fisher_product(
    net: Network, theta: F32, obs: F32, direction: F32, action_mask: NDArray[np.uint8] | None = None
) -> F32: ...
def policy_gradient(
    net: Network,
    theta: F32,
    obs: F32,
    actions: NDArray[Any],
    weights: F32,
    scale: float,
    out: F32,  # the gradient by theta of what is returned
    entropy_coef: float = 0.0,
    want_objective: bool = False,  # else 0 is returned, and saves its computation
    action_mask: NDArray[np.uint8] | None = None,
) -> float: ...  # scale * sum_i (weights[i] * log pi(actions[i] | obs[i]) + entropy_coef * entropy at obs[i])
def clipped_gradient(
    net: Network,
    theta: F32,
    obs: F32,
    actions: NDArray[Any],
    advantages: F32,
    old_log_probs: F32,  # (B,)
    scale: float,
    clip_range: float,
    entropy_coef: float,
    out: F32,  # the gradient by theta of scale * (surrogate + entropy_coef * entropy)
    action_mask: NDArray[np.uint8] | None = None,
) -> tuple[float, float, float, float, float]: ...  # sums over rows: surrogate, entropy, k1, k3, rows clipped
def segment_gradients(
    net: Network,
    theta: F32,
    obs: F32,
    actions: NDArray[Any],
    weights: F32,
    starts: I64 | None,  # (num_segments + 1,), rising from 0 to B; None: every row is a segment
    mean: bool,
    out: F32,  # (num_segments, P): the sum, or the mean, over each segment's rows
    action_mask: NDArray[np.uint8] | None = None,
) -> None: ...

# Estimates on arrays that the caller has: of the kind that fastpg/batches/returns.py has a function of that
# name for. Arrays are (T, N) or (T,); those that the estimate does not read are None; `out` is a tuple where
# it has two results. What does not fit, or is not finite, raises Misfit; fastpg._check knows the sentence.
class Misfit(ValueError): ...

def estimate(
    name: str,
    rewards: Any,
    values: Any,
    terminated: Any,
    truncated: Any,
    log_rhos: Any,
    last_values: Any,
    final_values: Any,
    mask: Any,
    bootstrap_truncated: bool,
    gamma: float,
    lam: float,
    rho_bar: float,
    c_bar: float,
    n: int,  # >= 1
    out: Any,
) -> Any: ...

@final
class Sampler(Exclusive):
    """``num_envs`` copies of an environment, their states, and the fused rollout-and-gradient pass."""

    def __init__(
        self, env: Environment, net: Network, num_envs: int, seed: int, value: Network | None = None
    ) -> None: ...
    def gradient(
        self,
        theta: F32,
        *,
        out: F32,
        value_theta: F32 | None = None,
        **options: Any,  # COLLECT_OPTIONS; exactly one of horizon and episodes is positive
    ) -> np.void: ...  # a STATS_DTYPE scalar; NaN or infinity raises FloatingPointError naming what and where
    # The same for the forms without a value function, minus baseline(rows) of the rows (R, obs_size) that
    # were visited: any function of them to float32 (R,).
    def gradient_minus(
        self,
        theta: F32,
        baseline: Callable[[F32], F32],
        *,
        out: F32,
        **options: Any,
    ) -> np.void: ...
    def evaluate(
        self, theta: F32, *, episodes: int, deterministic: bool
    ) -> tuple[F64, I64]: ...  # (E,) undiscounted returns, (E,) lengths
    # Writes T steps of each environment, arrays (T, N, ...): fpg_sampler_collect in csrc/fastpg.h. vector:
    # whose environments, of the same Environment; None: the sampler's own. Returns a STATS_DTYPE scalar and,
    # of the K episodes that ended, (step, environment) (K, 2), returns, lengths and the final observations
    # (K, obs_size).
    def collect(
        self,
        vector: Vector | None,
        theta: F32,
        *,
        seed: int,
        first_step: int,
        obs: F32,  # (T, N, obs_size)
        actions: NDArray[Any],  # flat (T * N * action_size,): int64, or float32 of a Gaussian
        log_probs: F32,
        rewards: F32,
        terminated: NDArray[np.uint8],
        truncated: NDArray[np.uint8],
        last_obs: F32,  # (N, obs_size)
        action_mask: NDArray[np.uint8] | None = None,  # (T, N, num_outputs), where the environment has one
    ) -> tuple[np.void, I64, F64, I64, F32]: ...

# The arrays of a batch, (T, N, ...), checked to fit a network, and kept alive.
@final
class Batch:
    def __init__(
        self,
        net: Network,
        *,
        obs: F32,  # (T, N, obs_size)
        actions: NDArray[Any],  # flat (T * N * action_size,): int64, or float32 of a Gaussian
        rewards: F32,  # (T, N)
        terminated: NDArray[np.uint8],
        truncated: NDArray[np.uint8],
        last_obs: F32,  # (N, obs_size)
        mask: NDArray[np.uint8] | None = None,  # (T, N): 0 where a row is no transition
        final_rows: I64 | None = None,  # (K, 2): (t, n) of episodes that were truncated
        final_obs: F32 | None = None,  # (K, obs_size)
        first_age: NDArray[np.int32]
        | None = None,  # (N,): steps before the first row of the episodes under way
        episode_returns: F64 | None = None,  # (E,) of the episodes that ended
        episode_lengths: I64 | None = None,
        entropy: float = ...,  # mean over the rows; NaN: to be computed where it is reported
        by_episode: bool = False,  # every environment plays whole episodes, one after the other
        action_mask: NDArray[np.uint8] | None = None,  # (T, N, num_outputs)
    ) -> None: ...

# The gradient of a batch by theta, into `out`; a STATS_DTYPE scalar. `baseline_values` (T, N) are a caller's.
def batch_gradient(
    net: Network,
    theta: F32,
    batch: Batch,
    *,
    out: F32,
    value: Network | None = None,
    value_theta: F32 | None = None,
    baseline_values: F32 | None = None,
    **options: Any,  # COLLECT_OPTIONS
) -> np.void: ...
def episode_quota(episodes: int, num_envs: int) -> I64: ...  # (N,): how many of them each environment plays

@final
class OtherRank(Exception):
    """Another rank stopped, or is gone."""

class Ranks:
    """The processes that train one agent together; all ask the same of it, in the same order.

    What asks others raises OtherRank once one of them fails or is gone, and KeyboardInterrupt where this one
    was to stop: then it is over.
    """

    def __init__(
        self,
        communicator: Any,  # whose allgather is called
        rank: int,
        size: int,
        least_work: int,  # rows times parameters: what costs less is computed by every rank
    ) -> None: ...
    rank: int
    size: int
    lost: BaseException | None  # what allgather raised
    is_over: bool  # all know of a failure, or nobody answers
    is_torn: bool  # the others may wait for a message that does not come
    failed: tuple[int, str]  # which rank failed, -1 if that is not known, and what it said of it
    def go_on(self, wants: bool, check: int) -> bool: ...  # whether rank 0 wants an iteration
    def exchange(self, message: bytes) -> list[bytes]: ...
    def finish(self) -> None: ...  # until all ranks do
    def fail(self, why: str) -> None: ...  # in the place of any of these
    def interrupt(self) -> None: ...  # from any thread, or a signal's handler

class Agent(Exclusive):
    """What learns from batches: parameters, which are the caller's arrays, moments, normaliser, counters.

    An update that fails with any exception has not happened.
    """

    def __init__(
        self,
        net: Network,
        theta: F32,  # (P,), updated in place
        *,
        seed: int,
        value: Network | None = None,
        value_theta: F32 | None = None,  # updated in place as well
        **options: Any,  # OPTIONS
    ) -> None: ...
    net: Network
    theta: F32
    value: Network | None
    seed: int
    num_steps: int
    num_iterations: int
    mean_return: float  # of the newest iterations with 100 episodes together; NaN before there are any
    stopped_because: str  # "" while there is more to do, else "total_steps" | "target_return"
    check: int  # a hash of its parameters
    def share(self, ranks: Ranks) -> None: ...  # what updates compute, with agents that are the same
    def next_collect(self, num_envs: int) -> dict[str, int]: ...  # horizon and episodes of the next iteration
    def update(self, batch: Batch, where: str) -> NDArray[np.void]: ...  # a STATS_DTYPE record, (1,)
    def state(self) -> dict[str, NDArray[Any]]: ...  # copies of all that the agent is, by name
    def set_state(self, state: dict[str, NDArray[Any]]) -> None: ...

@final
class Trainer(Exclusive):
    """An agent and the environments that it learns in: iterations run inside C, without the GIL."""

    def __init__(self, env: Environment, agent: Agent, *, num_envs: int) -> None: ...
    agent: Agent
    def share(self, ranks: Ranks) -> None: ...  # with trainers and agents that are the same
    def state(self) -> dict[str, NDArray[Any]]: ...  # copies of all that agent and environments are, by name
    def set_state(self, state: dict[str, NDArray[Any]]) -> None: ...  # ValueError if of another form
    def run(
        self,
        seconds: float,
        capacity: int = 16384,
        into: list[NDArray[np.void]] | None = None,
        where: str = "train()",
    ) -> NDArray[np.void]:
        """Run iterations for about ``seconds``, at most ``capacity``; return their STATS_DTYPE records.

        They are appended to ``into`` as well, also if an exception ends the call.

        Raises FloatingPointError naming ``where``, the iteration and what is not finite. An iteration that
        fails or is interrupted has not happened: neither the agent nor the environments have moved.
        """

WITH_STATE: tuple[str, ...]  # options that an agent remembers something for

@final
class Run(Exclusive):
    """One of many: what it begins with, and, after `train_many`, what has become of it."""

    def __init__(
        self,
        env: Environment,
        net: Network,
        theta: F32,  # (P,), updated in place
        *,
        num_envs: int,
        seed: int,
        value: Network | None = None,
        value_theta: F32 | None = None,  # updated in place as well
        **options: Any,  # OPTIONS
    ) -> None: ...
    num_steps: int
    mean_return: float  # of the newest iterations with 100 episodes together; NaN while there is none
    stopped_because: str  # "total_steps" | "target_return" | "error" | "interrupted", or "": it has paused
    has_ended: bool  # as `report` finds it while others go on: nothing changes any more
    def error(self, where: str) -> Exception | None: ...  # why it failed, if it did
    def records(
        self, first: int = 0
    ) -> NDArray[np.void]: ...  # STATS_DTYPE, of the iterations from `first` on
    def take_records(self) -> NDArray[np.void]: ...  # and give their memory back: only once
    def copy(self, paused: Run) -> None: ...  # begin where that one of the same shapes stands
    def state(self) -> dict[str, NDArray[Any]]: ...  # of one that has paused, as `Trainer.state`
    def go_on_from(self, trainer: Trainer, records: NDArray[np.void]) -> None: ...  # of the same networks

def train_many(runs: list[Run], report: Callable[[int, int], None], pauses: list[int | None]) -> None:
    """Bring runs to their ends, each serial, on all threads, without the GIL.

    A run goes no further once it has as many steps as `pauses` says of it; another call goes on with it. None
    is its end.

    ``report`` hears about every 0.05 s how many steps are done, and how many runs have ended. What it raises,
    or a signal handler, ends the call: runs then stand after their last whole iteration.
    """

NONFINITE_VALUE: str  # the sentence for values, targets and their gradients

# For tests: other kernels for whatever is made from now on; one Philox4x32-10 block; the vector math.
def select_isa(name: str) -> None: ...
def philox(counter: NDArray[np.uint32], key: NDArray[np.uint32]) -> NDArray[np.uint32]: ...
def vecmath(function: str, x: NDArray[Any]) -> NDArray[Any]: ...

# STATS_DTYPE fields: num_steps i8 (transitions of this batch), num_episodes i8 (episodes finished),
# num_trajectories i8 (finished + cut), mean_return f8, return_std f8, min_return f8, max_return f8,
# mean_length f8 (of finished episodes; NaN where there is none), entropy f8 (mean over transitions),
# gradient_norm f8, total_steps i8 (since the sampler's creation), seconds f8 (of this iteration),
# value_loss f8, explained_variance f8 (NaN without a value function)
