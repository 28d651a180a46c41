"""`train`: arguments in, a run, a result out."""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastpg import _check, files
from fastpg.algorithms import Algorithm, Reinforce, require_algorithm
from fastpg.distributed.communicator import Communicator, require_communicator
from fastpg.distributed.ranks import together
from fastpg.envs.gymnasium.opening import AnyEnv, VectorizationMode, opened
from fastpg.networks.policy import Activation, Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.begin import begin, collection_of, facts_of
from fastpg.training.callbacks import AnyCallback, Callbacks
from fastpg.training.loop import Loop
from fastpg.training.result import TrainResult
from fastpg.training.run_folder import DEFAULT_EVERY, DEFAULT_KEPT, MAX_KEPT, Interval, RunFolder
from fastpg.training.settings import run_settings
from fastpg.training.trainer import make_trainer


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
        Begin with a copy of this policy, as `Policy.load` has it of the folder of a run. Its shape then
        replaces hidden, activation, squash, state_dependent_std and action_scaling; by default a new one,
        with the `initial_log_std` of PPO.
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
        actions are drawn as the environment's info["action_mask"] says (docs/action_masks.md). With
        {"max_episode_steps": 50} an id or a compiled environment has this time limit.
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
        learner, critic, config, untrained = begin(
            where, env, algorithm, env_params=env_params, num_envs=num_envs, collection=collection,
            hidden=hidden, activation=activation, squash=squash, state_dependent_std=state_dependent_std,
            action_scaling=action_scaling, policy=policy, value=value, total_steps=total_steps,
            target_return=target_return, seed=seed, vectorization_mode=vectorization_mode,
        )  # fmt: skip
        if save_to is not None:
            files.probe(where, save_to, len(learner.file_content(where)))
        trainer = make_trainer(env, algorithm, learner, critic, config, **untrained)
        loop = Loop(where, trainer, learner, critic, config, ranks)
        loop.env, loop.callbacks, loop.show, loop.save_to = env_id, callbacks, show, save_to
        if ranks is not None:
            ranks.require_same(facts_of(where, env_id, env, trainer.agent, config | untrained))
        if run_path is None:
            return loop.run()
        given = {"policy_given": policy is not None, "value_given": value is not None}
        settings = run_settings(where, env_id, env, algorithm, config, given | untrained)
        settings |= {"checkpoint_every": every, "keep_checkpoints": keep_checkpoints}
        with RunFolder.create(where, run_path, settings, learner, critic, trainer.state()) as loop.folder:
            return loop.run()
