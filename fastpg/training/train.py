"""The training loop: arguments in, slices of compiled iterations, a result out."""

import math
import os
import shlex
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core, acted, files
from fastpg._brief import Brief
from fastpg.algorithms import NPG, PPO, Algorithm, Reinforce, require_algorithm
from fastpg.batches.collector import Collector
from fastpg.distributed.communicator import Communicator, require_communicator
from fastpg.distributed.ranks import Ranks, together
from fastpg.envs.gymnasium.adapter import (
    DEFAULT_NUM_ENVS,
    AnyEnv,
    GymnasiumEnv,
    VectorizationMode,
    opened,
)
from fastpg.envs.native.registry import NativeEnv
from fastpg.errors import SaveError, named, without_place
from fastpg.networks.policy import Activation, Policy, require_policy
from fastpg.networks.value import ValueFunction
from fastpg.training.agent import bootstraps, core_agent, value_for
from fastpg.training.callbacks import AnyCallback, Callbacks, TrainProgress
from fastpg.training.curves import write_curve
from fastpg.training.fingerprint import fingerprint
from fastpg.training.metrics import Newest, history
from fastpg.training.progress import ProgressLine, progress_text
from fastpg.training.run_folder import DEFAULT_EVERY, DEFAULT_KEPT, MAX_KEPT, Interval, RunFolder
from fastpg.training.settings import given_of, run_config, run_settings

DEFAULT_STEPS_PER_ITERATION = 5000
COLLECTIONS = (
    "horizon",
    "episodes",
    "steps_per_iteration",
)  # one of them says how much an iteration collects
DRAWS = "collector.draws"  # in the state of a run on environments that Python steps
SLICE_SECONDS = 0.1  # how long the compiled loop runs before Python hears of it


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TrainResult(Brief):
    """What `train` returns.

    Attributes
    ----------
    policy : Policy
        The trained policy.
    value : ValueFunction or None
        The value function, of algorithms that have one.
    history : dict of str to array, each of shape (iterations,)
        num_steps, num_episodes, num_trajectories, mean_return, return_std, min_return, max_return,
        mean_length, entropy, gradient_norm, total_steps (cumulative), seconds (of the iteration); value_loss
        (mean squared error before the iteration's fit) and explained_variance, NaN without a value function;
        learning_rate and num_updates (steps of the policy). Of PPO, else NaN: policy_loss (minus the
        surrogate) and clip_fraction, means over all minibatches; approx_kl (mean of ``r - 1 - log r``) and
        approx_kl_k1 (mean of ``-log r``) over the last epoch; and gradient_norm is the mean over the steps.
        Of NPG and TRPO, policy_loss is minus what the step adds to the surrogate, and approx_kl the mean
        KL(old | new) itself; num_backtracks is how often TRPO has shortened the step.
    config : dict
        Every setting of the run, the defaults filled in.
    stopped_because : {"total_steps", "target_return", "callback", "error", "interrupted", "halving"}
        The last three: of `train_many` and what is made of it. "" in the callback of `train_many`, of a run
        that has paused.
    num_steps : int
        Environment steps taken.
    seconds : float
        Wall time.
    error : Exception or None
        Of `train_many`: why the run failed. The policy is then the one of before the iteration that failed.
    """

    policy: Policy
    value: ValueFunction | None
    history: dict[str, NDArray[Any]]
    config: dict[str, Any]
    stopped_because: str
    num_steps: int
    seconds: float
    error: Exception | None = None


def train(
    env_id: AnyEnv,
    algorithm: Algorithm | None = None,
    *,
    num_envs: int | None = None,
    horizon: int | None = None,
    episodes: int | None = None,
    steps_per_iteration: int | None = None,
    hidden: tuple[int, ...] = (64, 64),
    activation: Activation = "tanh",
    squash: bool = False,
    state_dependent_std: bool = False,
    action_scaling: bool | None = None,
    policy: Policy | None = None,
    value: ValueFunction | None = None,
    total_steps: int = 1_000_000,
    target_return: float | None = None,
    seed: int = 0,
    callback: AnyCallback | Sequence[AnyCallback] | None = None,
    callback_every: Literal["slice", "iteration"] = "slice",
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    run: str | os.PathLike[str] | None = None,
    checkpoint_every: int | str = DEFAULT_EVERY,
    keep_checkpoints: int = DEFAULT_KEPT,
    env_params: Mapping[str, Any] | None = None,
    vectorization_mode: VectorizationMode | None = None,
    reset_options: Mapping[str, Any] | None = None,
    communicator: Communicator | None = None,
) -> TrainResult:
    """Train a policy; of a native environment with the whole loop in compiled code.

    Parameters
    ----------
    env_id : str, fastpg.exact.FiniteMDP, what jit_env or load_env made, VectorEnv or callable
        One of `fastpg.list_envs()`, or an environment given as arrays or as compiled functions: then the
        whole loop is compiled. Or any other id that Gymnasium knows ("gym:" in front of it asks for
        Gymnasium's own environment where there is a native one), of which MuJoCo's tasks run on its batch
        engine; a subclass of `fastpg.MujocoEnv`; a function that makes an environment or a
        vector environment, or a vector environment itself: Python steps it, policy and estimators are the
        compiled ones (docs/gymnasium.md).
    algorithm : Reinforce, VPG, A2C, PPO, NPG or TRPO, optional
        What to do in an iteration; by default Reinforce(). `recommended` has better arguments for native
        environments, which the command line takes by itself: ``train(env_id, **recommended(env_id))``.
    num_envs : int, optional
        Environments that run side by side; by default 16, or as many as a vector environment has.
    horizon : int, optional
        Each iteration takes this many steps of every environment and continues the episodes in the next.
        At the cut, V of the observation there stands for the rest in forms that bootstrap ("gae", "td", "q").
        Other forms treat it as an episode's end without bootstrap, which biases the gradient.
    episodes : int, optional
        Each iteration plays this many whole episodes, a fixed number per environment.
    steps_per_iteration : int, optional
        Each iteration plays whole episodes, as many as take about this many steps. At most one of horizon,
        episodes and steps_per_iteration can be given; by default it is this with 5000, and with
        PPO, NPG and TRPO horizon with 128.
    hidden : tuple of int
        Widths of the hidden layers, 0 to 3 of them; none is the linear policy.
    activation : {"tanh", "relu"}
        Activation of the hidden layers.
    squash : bool
        Squash actions into a Box, by tanh, instead of clipping them to it: see `Policy`.
    state_dependent_std : bool
        Let the network say the standard deviations of actions in a Box as well: see `Policy`.
    action_scaling : bool, optional
        Of actions in a Box: the policy acts from -1 to 1, which stand for the bounds, as with Gymnasium's
        `RescaleAction`. By default it does not, and a warning says so where the bounds are far from 1, unless
        squash is True.
    policy : Policy, optional
        Continue from a copy of this policy, whose shape then replaces hidden, activation, squash,
        state_dependent_std and action_scaling; by default a new one.
    value : ValueFunction, optional
        The same for the value function, of all algorithms but Reinforce.
    total_steps : int
        Stop after the iteration in which the run reaches this many steps.
    target_return : float, optional
        Stop when the mean return of the last 100 or more episodes reaches this.
    seed : int
        Seeds the initial policy and every episode.
    callback : callable or list of callables, optional
        Called with a TrainProgress; stops the run by returning True. `fastpg.callbacks` has some.
    callback_every : {"slice", "iteration"}
        Call it about every 0.1 s, or after every iteration: then Python is entered once an iteration, which
        takes some microseconds. Callbacks that have an `every` of their own go by that.
    progress : bool
        Show a live line on stderr.
    checkpoint : path, optional
        Save the policy here (safetensors) at the end, and when an exception ends the run after an iteration:
        Ctrl-C, a callback or environment that fails, a gradient that is not finite. It is then the policy of
        before the iteration that failed, and a note of the exception says where it is. That the place can be
        written to is tried out before the run.
    run : path, optional
        A new folder for the run: settings.toml, metrics.csv with one line an iteration, checkpoints, the
        policy, the value function and the learning curve (docs/runs.md). Killed at any moment, the run goes
        on by `fastpg.resume`, and what comes of it is the same to the last bit.
    checkpoint_every : int or str
        Of a run with a folder: steps between checkpoints, or a time as "60s", "10min", "2h".
    keep_checkpoints : int
        How many of the newest are kept.
    env_params : mapping, optional
        Parameters of the environment, as {"sutton_barto_reward": True} for CartPole; keyword arguments of
        `gymnasium.make_vec`, or of the function that makes environments. With {"use_action_mask": True}
        actions are drawn as the environment's info["action_mask"] says (docs/action_masks.md).
    vectorization_mode : {"sync", "async", "vector_entry_point"}, optional
        Of an environment that is not native: step its copies one after the other, or each in a process, or
        all in a class that the environment has for it. By default the last where there is one, else "sync".
    reset_options : mapping, optional
        Of an environment that is not native: `options` of every `reset` that fastpg calls. The environment's
        own resets, between episodes, do not get them.
    communicator : Communicator, optional
        `fastpg.distributed.torch()` in a script that torchrun has started: its processes train one agent
        together, each with a share of the environments and of the work, to the bits of one process
        (docs/distributed.md). All call `train` with the same arguments, and all get the result; the first
        one writes `checkpoint` and `run` and shows the progress. `num_envs` are all environments together,
        but of a vector environment that is given, which is this process's share.

    Returns
    -------
    TrainResult

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range; the policy does not fit the environment.
    ImportError
        The environment needs a package that is not installed.
    FloatingPointError
        A parameter, observation, value, reward or gradient became NaN or infinite.
    fastpg.SaveError
        The checkpoint or the folder of the run cannot be written. After the run its `result` is the
        TrainResult.
    KeyboardInterrupt
        Ctrl-C.
    fastpg.RankError
        Another process of the communicator failed, was interrupted, or is gone.

    Examples
    --------
    >>> run = train("CartPole-v1", Reinforce(form="total"), hidden=(), total_steps=20_000, seed=1)
    >>> run.stopped_because
    'total_steps'
    >>> len(run.history["mean_return"]) == len(run.history["num_steps"])
    True
    """
    where = "train()"
    algorithm = require_algorithm(where, Reinforce() if algorithm is None else algorithm)
    collection = collection_of(where, algorithm, horizon, episodes, steps_per_iteration)
    if num_envs is not None:
        num_envs = _check.integer(where, "num_envs", num_envs, 1, _check.MAX_NUM_ENVS)
    total_steps = _check.integer(where, "total_steps", total_steps, 1, _check.MAX_COUNT)
    if target_return is not None:
        target_return = _check.real(where, "target_return", target_return, "[-inf, inf]")
    seed = _check.seed(where, seed)
    callbacks = Callbacks(where, callback, callback_every)
    show = _check.boolean(where, "progress", progress)
    save_to = run_path = None
    if communicator is None or require_communicator(where, communicator).rank == 0:  # who alone writes files
        save_to = None if checkpoint is None else files.output(where, "checkpoint", checkpoint)
        run_path = None if run is None else files.output_folder(where, "run", run)
    every = Interval(where, checkpoint_every).text
    keep_checkpoints = _check.integer(where, "keep_checkpoints", keep_checkpoints, 1, MAX_KEPT)
    if run is None and (every, keep_checkpoints) != (DEFAULT_EVERY, DEFAULT_KEPT):
        warnings.warn(
            f"{where}: checkpoint_every and keep_checkpoints are of a run with a folder, run=...: without it "
            "there are no checkpoints to go on from",
            RuntimeWarning,
            stacklevel=2,
        )
    at_most = collection["episodes"] or None  # more environments than episodes would have nothing to do
    with together(where, communicator) as ranks, opened(
        where, env_id, env_params, num_envs=num_envs, at_most=at_most,
        vectorization_mode=vectorization_mode, reset_options=reset_options, ranks=ranks,
    ) as env:  # fmt: skip
        learner, critic, config, given = begin(
            where, env, algorithm, env_params=env_params, num_envs=num_envs, collection=collection,
            hidden=hidden, activation=activation, squash=squash, state_dependent_std=state_dependent_std,
            action_scaling=action_scaling, policy=policy, value=value, total_steps=total_steps,
            target_return=target_return, seed=seed, vectorization_mode=vectorization_mode,
        )  # fmt: skip
        if save_to is not None:
            files.probe(where, save_to, len(learner.file_content(where)))
        trainer = make_trainer(env, algorithm, learner, critic, config, **given)
        loop = Loop(where, trainer, learner, critic, config, ranks)
        loop.env, loop.callbacks, loop.show, loop.save_to = env_id, callbacks, show, save_to
        if ranks is not None:
            ranks.require_same(facts_of(where, env_id, env, trainer.agent, config | given))
        if run_path is None:
            return loop.run()
        settings = run_settings(where, env_id, env, algorithm, config, given)
        settings |= {"checkpoint_every": every, "keep_checkpoints": keep_checkpoints}
        with RunFolder.create(where, run_path, settings, learner, critic, trainer.state()) as loop.folder:
            return loop.run()


def begin(
    where: str,
    env: NativeEnv | GymnasiumEnv,
    algorithm: Algorithm,
    *,
    env_params: Mapping[str, Any] | None,
    num_envs: int | None,
    collection: Mapping[str, int],
    hidden: tuple[int, ...],
    activation: Activation,
    squash: bool,
    state_dependent_std: bool,
    action_scaling: bool | None,
    policy: Policy | None,
    value: ValueFunction | None,
    vectorization_mode: VectorizationMode | None,
    seed: int,
    **ends: Any,
) -> tuple[Policy, ValueFunction | None, dict[str, Any], dict[str, bool]]:
    """Return the networks that a run begins with, its `TrainResult.config`, and which of them were given."""
    learner = _initial_policy(
        where, env, policy, seed, action_scaling, squash=squash,
        hidden=hidden, activation=activation, state_dependent_std=state_dependent_std,
    )  # fmt: skip
    if policy is None and isinstance(algorithm, PPO):
        _set_log_std(learner, algorithm.initial_log_std)
    critic = value_for(where, algorithm, learner, value, seed)
    if critic is not None and critic is value:
        critic = critic.copy()
    if isinstance(env, GymnasiumEnv):
        num_envs = env.all_envs
    else:
        num_envs = min(num_envs or DEFAULT_NUM_ENVS, collection["episodes"] or _check.MAX_NUM_ENVS)
    config = run_config(
        env, algorithm, learner, critic, env_params, num_envs=num_envs, **collection, **ends, seed=seed
    )
    if isinstance(env, GymnasiumEnv):
        config |= {"vectorization_mode": vectorization_mode, "reset_options": env.reset_options}
    given = {"policy_given": policy is not None, "value_given": value is not None}
    return learner, critic, config | given_of(given), given


def make_trainer(
    env: NativeEnv | GymnasiumEnv,
    algorithm: Algorithm,
    policy: Policy,
    value: ValueFunction | None,
    config: Mapping[str, Any],
    **given: bool,
) -> "_core.Trainer | GymnasiumTrainer":
    """Return what runs iterations, by the settings of a `TrainResult.config`."""
    names = ("seed", "total_steps", "target_return", *COLLECTIONS)
    agent = core_agent(algorithm, policy, value, **{name: config[name] for name in names}, **given)
    if isinstance(env, GymnasiumEnv):
        return GymnasiumTrainer(env, agent, wants_final=bootstraps(algorithm))
    return _core.Trainer(env.core, agent, num_envs=config["num_envs"])


def facts_of(
    where: str, env_id: Any, env: NativeEnv | GymnasiumEnv, agent: _core.Agent, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what has to be the same on all ranks, lest they compute another thing."""
    return {
        "the version of fastpg": _core.version(),
        "the compiler of fastpg": _core.compiler(),
        "the instruction set": _core.isa(),
        **settings,
        "the environment's fingerprint": fingerprint(where, env_id, env),
        "the hash of the first parameters": f"{agent.check:016x}",
    }


class GymnasiumTrainer:
    """Does with an environment that Python steps what `_core.Trainer` does with a native one."""

    _ranks: Ranks | None = None

    def __init__(self, env: GymnasiumEnv, agent: _core.Agent, *, wants_final: bool) -> None:
        self.agent = agent
        self._num_envs = env.all_envs
        self._collector = Collector(env, agent.net, agent.seed, wants_final=wants_final)

    def share(self, ranks: Ranks) -> None:
        """Run iterations together with other ranks from now on, each of which steps its own environments."""
        self._ranks = self._collector.ranks = ranks
        self.agent.share(ranks.core)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that the agent is, and how many actions were drawn; environments cannot be asked."""
        return self.agent.state() | {DRAWS: np.array([self._collector.draws])}

    def set_state(self, state: dict[str, NDArray[Any]]) -> None:
        """Go on with the agent of a state, and with environments that begin anew."""
        self.agent.set_state(state)
        self._collector.begin_anew(self.agent.seed, int(state[DRAWS][0]))

    def run(
        self, seconds: float, capacity: int = 16384, into: list[NDArray[np.void]] | None = None
    ) -> NDArray[np.void]:
        """Run iterations for about `seconds`, at least one; return their STATS_DTYPE records.

        They are appended to `into` as well, also if an exception ends the call.
        Raises FloatingPointError naming what is not finite and the iteration. The agent has not moved in an
        iteration that fails; the environments stand where they were stepped to.
        """
        end = time.perf_counter() + seconds
        records: list[NDArray[np.void]] = []
        while not self.agent.stopped_because:
            goes_on = len(records) < capacity and (not records or time.perf_counter() < end)
            if self._ranks is not None:
                goes_on = self._ranks.core.go_on(goes_on, self.agent.check)
            if not goes_on:
                break
            records.append(self._iterate())
            if into is not None:
                into.append(records[-1])
        return np.concatenate(records) if records else np.empty(0, _core.STATS_DTYPE)

    def _iterate(self) -> NDArray[np.void]:
        start = time.perf_counter()
        try:
            rows = self._collector.collect(self.agent.theta, **self.agent.next_collect(self._num_envs))
            record = self.agent.update(rows.of(self.agent.net), "train()")
        except FloatingPointError as error:
            where = f"train(): iteration {self.agent.num_iterations}"
            raise FloatingPointError(f"{where}: {without_place(error)}") from error
        record["seconds"] = time.perf_counter() - start
        return record


class Loop:
    """A trainer on its way to the end, whichever it is: progress, callbacks, files, exceptions.

    Attributes
    ----------
    env : as in `train`
        What callbacks are told of the environment.
    folder : RunFolder or None
        Where the run is kept.
    records : list of arrays
        The first: of the iterations before, where a run goes on. The others: of those since.
    seconds : float
        What the run has taken so far.
    """

    env: Any = None
    show: bool = False
    save_to: Path | None = None
    folder: RunFolder | None = None
    seconds: float = 0.0

    def __init__(
        self,
        where: str,
        trainer: "_core.Trainer | GymnasiumTrainer",
        policy: Policy,
        value: ValueFunction | None,
        config: dict[str, Any],
        ranks: Ranks | None = None,
    ) -> None:
        self.where, self.trainer, self.policy, self.value, self.config = where, trainer, policy, value, config
        self.callbacks = Callbacks(where, None)
        self.ranks = ranks
        self.leads = ranks is None or ranks.leads
        if ranks is not None:
            if isinstance(trainer, GymnasiumTrainer):
                trainer.share(ranks)
            else:
                trainer.share(ranks.core)
        self.records: list[NDArray[np.void]] = [np.empty(0, _core.STATS_DTYPE)]

    def run(self) -> TrainResult:
        """Run to the end, and return what `train` returns."""
        start = time.perf_counter() - self.seconds
        try:
            stopped_because = self._iterate(start)
            self.seconds = time.perf_counter() - start
            return self._finished(stopped_because)
        except BaseException as error:
            # An iteration that fails changes nothing, so what there is to save is the last good policy.
            self.seconds = time.perf_counter() - start
            if not (isinstance(error, SaveError) and error.result is not None):
                saved = "; ".join(self._rescued())
                if saved:
                    error.add_note(f"after {self.trainer.agent.num_steps:,} steps; {saved}")
            raise

    def _iterate(self, start: float) -> str:
        """Run iterations until the run is over; return why it is."""
        agent, folder = self.trainer.agent, self.folder
        newest = Newest()
        newest.add(self.records[0])

        def progress() -> TrainProgress:
            return TrainProgress(
                agent.num_steps,
                agent.num_iterations,
                self.config["total_steps"],
                time.perf_counter() - start,
                agent.mean_return,
                self.policy,
                self.value,
                newest.values,
                self.env,
                self.config,
                None if folder is None else folder.path,
            )

        shown = -math.inf
        stopped_because = agent.stopped_because
        show = self.show and self.leads
        with self.callbacks.watching(progress), ProgressLine(enabled=show) as line:
            while not stopped_because:
                before = agent.num_steps
                self.trainer.run(SLICE_SECONDS, self._capacity(before), self.records)
                self.policy.written()  # a callback may have made a torch module of it
                if self.value is not None:
                    self.value.written()
                stopped_because = agent.stopped_because
                newest.add(self.records[-1])
                if folder is not None:
                    folder.add(self.where, self.records)
                state = progress()
                if state.seconds - shown >= SLICE_SECONDS or stopped_because:
                    shown = state.seconds
                    text = progress_text(
                        state.num_steps, state.total_steps, shown, state.mean_return, state.metrics
                    )
                    line.update(text, last=bool(stopped_because))
                # Before the checkpoint, so that a run that goes on from it has done what was due.
                wants_end = self.callbacks(state, before, last=bool(stopped_because))
                if self.ranks is not None:
                    wants_end = any(self.ranks.exchange(wants_end))
                if wants_end and not stopped_because:
                    stopped_because = "callback"
                if folder is not None and folder.is_due(agent.num_steps) and not stopped_because:
                    folder.try_save(self.where, self.trainer.state(), time.perf_counter() - start)
        return stopped_because

    def _capacity(self, num_steps: int) -> int:
        """Return how many iterations there may be until Python is needed."""
        if not self.leads:  # rank 0 decides
            return 16384
        most = 1 if self.callbacks.each_iteration else 16384
        left = self.callbacks.steps_left(num_steps)
        if self.folder is not None:
            left = min(left, self.folder.steps_left(num_steps))
        if left == math.inf:
            return most
        if not self.config["horizon"]:  # then nobody knows how many steps an iteration will take
            return 1
        most_steps: int = self.config["horizon"] * self.config["num_envs"]  # of an iteration
        return max(1, min(most, math.ceil(left / most_steps)))

    def _finished(self, stopped_because: str) -> TrainResult:
        """Save what there is, and return it."""
        num_steps = self.trainer.agent.num_steps
        result = TrainResult(
            self.policy,
            self.value,
            history(self.records),
            self.config,
            stopped_because,
            num_steps,
            self.seconds,
        )
        try:
            if self.folder is not None:
                self.folder.save(self.where, self.trainer.state(), self.seconds)
                self._save_what_was_learnt(self.folder)
            if self.save_to is not None:
                self.policy.save_as(self.where, self.save_to)
        except SaveError as error:
            error.result = result
            raise
        return result

    def _save_what_was_learnt(self, folder: RunFolder) -> None:
        folder.save_networks(self.where, self.policy, self.value)
        write_curve(self.where, folder.path, folder.settings, np.concatenate(self.records))

    def _rescued(self) -> Iterator[str]:
        """Save the policy, and the state, of a run that failed; return what to say of it."""
        if self.save_to is not None and self.trainer.agent.num_iterations:
            try:
                self.policy.save_as(self.where, self.save_to)
                yield f"policy saved to {self.save_to}"
            except (SaveError, ValueError) as error:
                yield f"policy not saved: {error}"
        if self.folder is not None:
            try:
                self.folder.add(self.where, self.records)
                self.folder.save(self.where, self.trainer.state(), self.seconds)
                self._save_what_was_learnt(self.folder)
                yield f"fastpg resume {shlex.quote(str(self.folder.path))} goes on"
            except (SaveError, ValueError) as error:
                yield f"run not saved: {error}"


def collection_of(
    where: str,
    algorithm: Algorithm,
    horizon: int | None,
    episodes: int | None,
    steps_per_iteration: int | None,
) -> dict[str, int]:
    """Return how an iteration collects: one of three counts, the others 0."""
    if horizon is None and episodes is None and steps_per_iteration is None:
        if isinstance(algorithm, PPO | NPG):
            horizon = algorithm.HORIZON
        else:
            steps_per_iteration = DEFAULT_STEPS_PER_ITERATION
    counts = dict(zip(COLLECTIONS, (horizon, episodes, steps_per_iteration), strict=True))
    _check.exactly_one(where, **counts)
    return {
        name: 0 if n is None else _check.integer(where, name, n, 1, _check.MAX_COUNT)
        for name, n in counts.items()
    }


def _set_log_std(policy: Policy, log_std: float) -> None:
    """Begin a new policy with a standard deviation, where its actions have one."""
    parameters = policy.parameters()
    if policy.network.state_std:  # the second half of the outputs
        parameters["head.bias"][policy.network.action_size :] = log_std
    elif "log_std" in parameters:
        parameters["log_std"][:] = log_std


def _initial_policy(
    where: str,
    env: NativeEnv | GymnasiumEnv,
    policy: Policy | None,
    seed: int,
    action_scaling: bool | None,
    squash: bool,
    **shape: Any,
) -> Policy:
    if policy is None:
        squash = _check.boolean(where, "squash", squash)
        scales = acted.action_scaling(where, env.action_space, action_scaling, stacklevel=4, squash=squash)
        with named(where):
            learner = Policy(
                env.observation_space,
                env.action_space,
                seed=seed,
                squash=squash,
                action_scaling=scales,
                **shape,
            )
        learner.env_id = env.env_id
        return learner
    require_policy(where, policy).check_fits(where, env)
    if action_scaling not in (None, policy.action_scaling):
        raise ValueError(
            f"{where}: action_scaling must be None where a policy is given, whose own is "
            f"{policy.action_scaling}, got {_check.shown(action_scaling)}"
        )
    policy.checked_theta(where)
    learner = policy.copy()
    learner.env_id = env.env_id
    return learner
