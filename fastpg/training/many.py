"""Many runs in one call: every setting with every seed, each run serial, on all threads."""

import contextlib
import itertools
import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastpg import _check, _core
from fastpg.algorithms import Algorithm, require_algorithm
from fastpg.envs.gymnasium.adapter import AnyEnv, GymnasiumEnv, VectorizationMode, opened
from fastpg.envs.native.registry import NativeEnv, is_native
from fastpg.errors import SaveError
from fastpg.networks.policy import Activation, Policy
from fastpg.networks.value import ValueFunction
from fastpg.training.agent import core_arguments
from fastpg.training.metrics import history
from fastpg.training.progress import ProgressLine, runs_text
from fastpg.training.runs import Runs, new_folder
from fastpg.training.search import RUN_SETTINGS, Setting
from fastpg.training.train import COLLECTIONS, Loop, TrainResult, begin, collection_of, make_trainer

MAX_RUNS = 1_000_000
Report = Callable[[int, int], None]  # steps so far, runs that have ended


class Plan(NamedTuple):
    """What runs are made of: the environment, and for each run its setting and seed."""

    env_id: AnyEnv
    settings: list[dict[str, Any]]  # arguments of `begin`, and "algorithm"
    runs: list[tuple[int, int]]  # setting, seed
    vectorization_mode: VectorizationMode | None
    reset_options: Mapping[str, Any] | None

    def opened(self, where: str, setting: int) -> contextlib.AbstractContextManager[NativeEnv | GymnasiumEnv]:
        """Open the environment of a setting."""
        chosen = self.settings[setting]
        return opened(
            where, self.env_id, chosen["env_params"], num_envs=chosen["num_envs"],
            at_most=chosen["collection"]["episodes"] or None, vectorization_mode=self.vectorization_mode,
            reset_options=self.reset_options,
        )  # fmt: skip

    def begin(
        self, where: str, env: NativeEnv | GymnasiumEnv, k: int
    ) -> tuple[Algorithm, Policy, ValueFunction | None, dict[str, Any], dict[str, bool]]:
        """Return the algorithm of run k, and what `begin` makes of it."""
        setting, seed = self.runs[k]
        arguments = dict(self.settings[setting])
        algorithm = arguments.pop("algorithm")
        mode = self.vectorization_mode
        return algorithm, *begin(where, env, algorithm, seed=seed, vectorization_mode=mode, **arguments)


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
    policy: Policy | None = None,
    value: ValueFunction | None = None,
    total_steps: int = 1_000_000,
    target_return: float | None = None,
    progress: bool = False,
    save: str | os.PathLike[str] | None = None,
    env_params: Mapping[str, Any] | None = None,
    vectorization_mode: VectorizationMode | None = None,
    reset_options: Mapping[str, Any] | None = None,
) -> Runs:
    """Train many agents in one call: every algorithm with every seed.

    Each run is to the last bit what `train` gives alone for its algorithm and seed. In a native, jit or C
    environment each is serial, all of them together use all threads (`set_num_threads`), and Python is not
    entered until they are done. Environments that Python steps are trained in one after the other.

    Parameters
    ----------
    env_id
        As in `train`.
    algorithms : algorithm or sequence of them
        What `grid` and `sample` make. An entry may also be a dict of "algorithm" and any of num_envs,
        horizon, episodes, steps_per_iteration, hidden, activation, squash, state_dependent_std, policy,
        value, total_steps, target_return and env_params, which then stand for those of the call.
    seeds : int or sequence of int
        A number n is ``range(n)``.
    zipped : bool
        Pair the algorithms with the seeds, one to one, instead of every one with every one.
    num_envs, horizon, episodes, steps_per_iteration, hidden, activation, squash, state_dependent_std
        As in `train`.
    policy, value
        As in `train`; a policy and a value function that are given are copied for every run.
    total_steps, target_return
        As in `train`: of each run.
    progress : bool
        Show a live line on stderr.
    save : path, optional
        A new folder for the results, as `Runs.save` writes it: at the end, or when an exception ends the
        call.
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
        "squash": squash, "state_dependent_std": state_dependent_std,
        "policy": policy, "value": value, "total_steps": total_steps, "target_return": target_return,
        "env_params": env_params,
    }  # fmt: skip
    entries = _entries(where, algorithms)
    numbers = _seeds(where, seeds)
    pairs = _pairs(where, entries, numbers, zipped=_check.boolean(where, "zipped", zipped))
    settings = [_setting(f"{where}: algorithms[{i}]", entry, common) for i, entry in enumerate(entries)]
    show = _check.boolean(where, "progress", progress)
    plan = Plan(env_id, settings, pairs, vectorization_mode, reset_options)
    train_all = _compiled if is_native(env_id) else _stepped
    results: list[TrainResult] = []
    folder: Path | None = None
    start = time.perf_counter()
    try:
        with ProgressLine(enabled=show) as line, contextlib.ExitStack() as stack:

            def report(num_steps: int, num_ended: int) -> None:
                text = runs_text(num_ended, len(pairs), num_steps, time.perf_counter() - start)
                line.update(text, last=num_ended == len(pairs))

            ready = train_all(where, plan, stack, results, report)
            if save is not None:  # after all that may be wrong with other arguments
                folder = new_folder(where, "save", save)
            start = time.perf_counter()
            ready()
    except BaseException as error:
        runs = _runs(plan, entries, results)
        if len(runs):
            error.runs = runs  # type: ignore[attr-defined]
            ended = sum(run.stopped_because != "interrupted" for run in runs)
            error.add_note(f"{ended} of {len(pairs)} runs had ended{_kept(where, runs, folder)}")
        raise
    runs = _runs(plan, entries, results)
    _warn_of_failures(where, runs)
    if folder is not None:
        try:
            runs.save_in(where, folder)
        except SaveError as error:
            error.result = runs
            raise
    return runs


def _compiled(
    where: str, plan: Plan, stack: contextlib.ExitStack, results: list[TrainResult], report: Report
) -> Callable[[], None]:
    """Return what trains all runs at once, in the core, once everything is there."""
    envs: dict[int, Any] = {}
    begun, runs = [], []
    for k, (setting, seed) in enumerate(plan.runs):
        if setting not in envs:
            envs[setting] = stack.enter_context(plan.opened(where, setting))
        algorithm, policy, value, config, given = plan.begin(where, envs[setting], k)
        names = ("total_steps", "target_return", *COLLECTIONS)
        arguments = core_arguments(algorithm, value, **{name: config[name] for name in names}, **given)
        run = _core.Run(
            envs[setting].core, policy.network, policy.theta, num_envs=config["num_envs"], seed=seed,
            **arguments,
        )  # fmt: skip
        runs.append(run)
        begun.append((policy, value, config))

    def train_all() -> None:
        try:
            _core.train_many(runs, report)
        finally:
            for k, (run, (policy, value, config)) in enumerate(zip(runs, begun, strict=True)):
                error = run.error(f"{where}: run {k}")
                result = _result(policy, value, config, run.take_records(), run.stopped_because, error)
                results.append(result)
            while results and results[-1].stopped_because == "interrupted" and not results[-1].num_steps:
                results.pop()  # runs begin in their order, and these had not
        report(sum(run.num_steps for run in results), len(results))

    return train_all


def _stepped(
    where: str, plan: Plan, stack: contextlib.ExitStack, results: list[TrainResult], report: Report
) -> Callable[[], None]:
    """Return what trains one run after the other."""

    def train_all() -> None:
        for k, (setting, _) in enumerate(plan.runs):
            done = sum(run.num_steps for run in results)
            with plan.opened(where, setting) as env:
                algorithm, policy, value, config, given = plan.begin(where, env, k)
                trainer = make_trainer(env, algorithm, policy, value, config, **given)
                loop = Loop(f"{where}: run {k}", trainer, policy, value, config)
                loop.callback = lambda state, done=done: report(done + state.num_steps, len(results))
                stopped_because, failure = "interrupted", None
                try:
                    stopped_because = loop.run().stopped_because
                except Exception as error:
                    stopped_because, failure = "error", error.with_traceback(None)
                finally:
                    records = np.concatenate(loop.records)
                    results.append(_result(policy, value, config, records, stopped_because, failure))
        report(sum(run.num_steps for run in results), len(results))

    return train_all


def _result(
    policy: Policy,
    value: ValueFunction | None,
    config: dict[str, Any],
    records: NDArray[np.void],
    stopped_because: str,
    error: Exception | None,
) -> TrainResult:
    num_steps = int(records["total_steps"][-1]) if len(records) else 0
    seconds = float(records["seconds"].sum())
    return TrainResult(policy, value, history([records]), config, stopped_because, num_steps, seconds, error)


def _runs(plan: Plan, entries: list[Setting], results: list[TrainResult]) -> Runs:
    """Return the results, settings that are equal having one number."""
    first: dict[Any, int] = {}
    for i, entry in enumerate(entries):
        first.setdefault(id(entry) if isinstance(entry, Mapping) else entry, i)
    numbers = [first[id(entry) if isinstance(entry, Mapping) else entry] for entry in entries]
    return Runs(results, [numbers[setting] for setting, _ in plan.runs[: len(results)]])


def _kept(where: str, runs: Runs, folder: Path | None) -> str:
    """Save what there is of runs that were ended, and say so."""
    if folder is None:
        return "; they are the exception's `runs`"
    try:
        runs.save_in(where, folder)
        return f"; saved to {folder}"
    except (SaveError, ValueError) as error:
        return f"; not saved: {error}"


def _warn_of_failures(where: str, runs: Runs) -> None:
    failed = [run for run in runs if run.error is not None]
    if failed:
        warnings.warn(
            f"{where}: {len(failed)} of {len(runs)} runs failed; the first: {failed[0].error}",
            RuntimeWarning,
            stacklevel=3,
        )


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
        raise TypeError(f"{where}: seeds must be a number or a sequence of them, got {_check.shown(seeds)}")
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
