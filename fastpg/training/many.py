"""Many runs in one call: every setting with every seed, each run serial, on all threads."""

import functools
import inspect
import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fastpg import _check
from fastpg.algorithms import Algorithm, require_algorithm
from fastpg.envs.gymnasium.opening import AnyEnv, VectorizationMode
from fastpg.networks.policy import Activation, Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.begin import COLLECTIONS, collection_of
from fastpg.training.members import Members, Pauses, Plan, every, run_all, to_the_ends
from fastpg.training.runs import Runs
from fastpg.training.search import RUN_SETTINGS, Setting
from fastpg.training.watched import CallbacksOf

MAX_RUNS = 1_000_000
SHARED = (*RUN_SETTINGS, "vectorization_mode", "reset_options")  # arguments of every setting


def train_many(
    env_id: AnyEnv,
    algorithms: Setting | Sequence[Setting],
    *,
    seeds: int | Sequence[int],
    zipped: bool = False,
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
    progress: bool = False,
    save: str | os.PathLike[str] | None = None,
    callback: Callable[[Runs], Iterable[int] | None] | None = None,
    callback_every: int | None = None,
    callbacks_of: CallbacksOf | None = None,
    env_params: Mapping[str, Any] | None = None,
    vectorization_mode: VectorizationMode | None = None,
    reset_options: Mapping[str, Any] | None = None,
) -> Runs:
    """Train many agents in one call: every algorithm with every seed.

    Each run is to the last bit what `train` gives alone for its algorithm and seed. In a native, jit or C
    environment each is serial, all of them together use all threads (`set_num_threads`), and Python is not
    entered until they are done, or callbacks are due. Environments that Python steps are trained in one after
    the other.

    Parameters
    ----------
    env_id
        As in `train`.
    algorithms : algorithm or sequence of them
        What `grid` and `sample` make. An entry may also be a dict of "algorithm" and any of num_envs,
        horizon, episodes, steps_per_iteration, hidden, activation, squash, state_dependent_std,
        action_scaling, policy, value, total_steps, target_return and env_params, which then stand for those
        of the call.
    seeds : int or sequence of int
        A number n is ``range(n)``.
    zipped : bool
        Pair the algorithms with the seeds, one to one, instead of every one with every one.
    num_envs, horizon, episodes, steps_per_iteration, hidden, activation, squash, state_dependent_std
        As in `train`.
    action_scaling, policy, value
        As in `train`; a policy and a value function that are given are copied for every run.
    total_steps, target_return
        As in `train`: of each run.
    progress : bool
        Show a live line on stderr.
    save : path, optional
        A new folder for the results, as `Runs.save` writes it: at the end, or when an exception ends the
        call. Runs that have ended are saved while others go on, unless there are pauses.
    callback : callable, optional
        Called with the Runs so far after every `callback_every` steps of each run, when all that go on have
        paused (their `stopped_because` is then ""; their policies are not copies). It returns the numbers of
        runs to stop, or None; the others go on as if they had not paused.
    callback_every : int
        In whole iterations, that many steps or more.
    callbacks_of : callable, optional
        Called before the first iteration with the number of each run: ``callbacks_of(k)`` returns the
        callbacks of ``runs[k]``, as `train` takes them, objects of its own. Those without `every` are called
        after every iteration. Returning True ends this run, with `stopped_because` "callback", and no other.
        With `save` they are told of the folder that the run is saved in. All runs then go on side by side, to
        where the next callback of each is due.
    env_params, vectorization_mode, reset_options
        As in `train`.

    Returns
    -------
    Runs
        A sequence: ``runs[k]`` is a `TrainResult`, that of seed s and algorithm a being
        ``runs[a * len(seeds) + s]``. A run that fails ends alone: its `stopped_because` is "error", `error`
        the exception; a warning says how many did.

    Raises
    ------
    TypeError, ValueError, ImportError
        As in `train`; nothing has run then.
    fastpg.SaveError
        The folder cannot be written to. After the runs its `result` is the Runs.
    KeyboardInterrupt
        Ctrl-C. The exception's `runs` has the runs that had begun: those that are through, and of the others
        (`stopped_because` is "interrupted") what their last whole iterations have left.

    Examples
    --------
    >>> import fastpg
    >>> settings = fastpg.grid(fastpg.PPO, learning_rate=[3e-4, 1e-3], minibatches=[4])
    >>> runs = fastpg.train_many("CartPole-v1", settings, seeds=3, total_steps=4096, hidden=(8,))
    >>> len(runs), runs.summary()["learning_rate"]
    (6, [0.0003, 0.001])
    >>> alone = fastpg.train("CartPole-v1", settings[1], seed=2, total_steps=4096, hidden=(8,))
    >>> bool((runs[5].policy.theta == alone.policy.theta).all())
    True
    """
    where = "train_many()"
    common = {
        "num_envs": num_envs, "horizon": horizon, "episodes": episodes,
        "steps_per_iteration": steps_per_iteration, "hidden": hidden, "activation": activation,
        "squash": squash, "state_dependent_std": state_dependent_std, "action_scaling": action_scaling,
        "policy": policy, "value": value, "total_steps": total_steps, "target_return": target_return,
        "env_params": env_params, "vectorization_mode": vectorization_mode, "reset_options": reset_options,
    }  # fmt: skip
    plan = make_plan(where, env_id, algorithms, seeds, common, zipped=_check.boolean(where, "zipped", zipped))
    show = _check.boolean(where, "progress", progress)
    pauses: Pauses = to_the_ends
    if callback_every is not None:
        num_steps = _check.integer(where, "callback_every", callback_every, 1, _check.MAX_COUNT)
        pauses = functools.partial(every, num_steps)
    if (callback is None) != (callback_every is None):
        raise ValueError(f"{where}: callback and callback_every go together; the latter is a number of steps")
    if callback is not None:
        if not callable(callback):
            raise TypeError(f"{where}: callback must be callable, got {_check.shown(callback)}")
        _check.takes(where, "callback", callback, None)

    def judge(members: Members) -> None:
        for k in () if callback is None else _chosen(where, callback(members.runs()), members):
            members.stop(k, "callback")

    return run_all(where, plan, pauses, judge, progress=show, save=save, callbacks_of=callbacks_of)


def make_plan(
    where: str,
    env_id: AnyEnv,
    algorithms: Any,
    seeds: Any,
    common: Mapping[str, Any],
    *,
    zipped: bool = False,
) -> Plan:
    """Return what is to be run, checked; `common` are the arguments that all settings share."""
    entries = _entries(where, algorithms)
    pairs = _pairs(where, entries, _seeds(where, seeds), zipped=zipped)
    shared = dict(common)
    of_env = {name: shared.pop(name) for name in ("vectorization_mode", "reset_options")}
    settings = [_setting(f"{where}: algorithms[{i}]", entry, shared) for i, entry in enumerate(entries)]
    return Plan(env_id, settings, pairs, _numbers(entries), **of_env)


def shared_arguments(where: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that all settings share: those given, and the defaults of `train_many`."""
    parameters = inspect.signature(train_many).parameters
    for name in given:
        if name not in SHARED:
            raise TypeError(
                f"{where}: there is no argument {name!r}; of train_many's there are {', '.join(SHARED)}"
            )
    return {name: parameters[name].default for name in SHARED} | dict(given)


def _chosen(where: str, numbers: Any, members: Members) -> list[int]:
    """Return the runs that a callback wants to stop."""
    if numbers is None:
        return []
    listed = numbers.tolist() if isinstance(numbers, np.ndarray) else numbers
    if isinstance(listed, str | bytes) or not isinstance(listed, Iterable):
        raise TypeError(
            f"{where}: callback must return the numbers of the runs to stop, or None, got "
            f"{_check.shown(numbers)}"
        )
    what = "a number that callback returns"
    chosen = {_check.integer(where, what, k, 0, len(members) - 1) for k in listed}
    return sorted(chosen & set(members.going()))


def _numbers(entries: list[Setting]) -> list[int]:
    """Return the number of each setting; those that are equal have one."""
    first: dict[Any, int] = {}
    for i, entry in enumerate(entries):
        first.setdefault(id(entry) if isinstance(entry, Mapping) else entry, i)
    return [first[id(entry) if isinstance(entry, Mapping) else entry] for entry in entries]


def _entries(where: str, algorithms: Any) -> list[Setting]:
    if isinstance(algorithms, Algorithm | Mapping):
        return [algorithms]
    if not _check.is_sequence(algorithms) or not len(algorithms):
        raise TypeError(
            f"{where}: algorithms must be an algorithm or a sequence of them, got {_check.shown(algorithms)}"
        )
    return list(algorithms)


def _seeds(where: str, seeds: Any) -> list[int]:
    if _check.is_integer(seeds):
        return list(range(_check.integer(where, "seeds", seeds, 1, MAX_RUNS)))
    several = _check.is_sequence(seeds) or isinstance(seeds, range)
    if not (several or (_check.is_array(seeds) and seeds.ndim == 1)) or not len(seeds):
        raise TypeError(
            f"{where}: seeds must be an integer or a sequence of them, "
            f"got {_check.shown(seeds)}{_check.as_integer(seeds)}"
        )
    return [_check.seed(where, one) for one in seeds]


def _pairs(where: str, entries: list[Setting], seeds: list[int], *, zipped: bool) -> list[tuple[int, int]]:
    if zipped and len(entries) != len(seeds):
        raise ValueError(
            f"{where}: zipped takes as many seeds as algorithms, got {len(seeds)} and {len(entries)}"
        )
    if not zipped and len(entries) * len(seeds) > MAX_RUNS:
        raise ValueError(f"{where}: algorithms and seeds must make at most {MAX_RUNS:,} runs")
    numbers = range(len(entries))
    return list(zip(numbers, seeds, strict=True) if zipped else itertools.product(numbers, seeds))


def _setting(where: str, entry: Setting, common: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of `begin` that an entry stands for, checked."""
    own = {"algorithm": entry}
    if isinstance(entry, Mapping):
        own = _check.mapping(where, "a setting", entry)
        unknown = [name for name in own if name not in ("algorithm", *RUN_SETTINGS)]
        if unknown or "algorithm" not in own:
            what = f"has no {unknown[0]!r}" if unknown else "needs an 'algorithm'"
            raise TypeError(f"{where} {what}; others that it may have are {', '.join(RUN_SETTINGS)}")
    algorithm = require_algorithm(where, own["algorithm"])
    if any(own.get(name) is not None for name in COLLECTIONS):  # one way to collect stands for another
        common = {**common, **dict.fromkeys(COLLECTIONS)}
    chosen = {**common, **own, "algorithm": algorithm}
    counts = [chosen.pop(name) for name in COLLECTIONS]
    chosen["collection"] = collection_of(where, algorithm, *counts)
    if chosen["num_envs"] is not None:
        chosen["num_envs"] = _check.integer(where, "num_envs", chosen["num_envs"], 1, _check.MAX_NUM_ENVS)
    chosen["total_steps"] = _check.integer(where, "total_steps", chosen["total_steps"], 1, _check.MAX_COUNT)
    if chosen["target_return"] is not None:
        chosen["target_return"] = _check.real(where, "target_return", chosen["target_return"], "[-inf, inf]")
    return chosen
