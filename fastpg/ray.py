"""Many runs on a cluster: `train_many` with Ray's workers in place of threads (``fastpg[ray]``).

Ray looks for machines, brings the runs to them, and runs again what a lost worker was at. What comes back is
`Runs`, each run to the bit what `fastpg.train` gives alone. docs/many.md says how runs are put together in
tasks; examples/ray_tune.py and examples/ray_train.py use Ray's own libraries.
"""

import contextlib
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gymnasium.vector import VectorEnv

from fastpg import _check, _core
from fastpg.algorithms import Algorithm
from fastpg.envs.custom.jit import JitEnv
from fastpg.envs.gymnasium.opening import AnyEnv
from fastpg.system import build_info, set_num_threads
from fastpg.training.many import make_plan, shared_arguments
from fastpg.training.members import Members, Plan, Report, run_all, to_the_ends
from fastpg.training.result import TrainResult
from fastpg.training.runs import Runs
from fastpg.training.search import Setting
from fastpg.training.watched import Standing

try:
    import ray
except ImportError as error:
    raise ImportError(
        "fastpg.ray needs Ray, which is not installed: pip install '.[ray]' in the clone"
    ) from error

TASKS_PER_CPU = 4  # so that the last ones do not keep many CPUs waiting
MAX_CPUS = 4096


def train_many(
    env_id: AnyEnv,
    algorithms: Setting | Sequence[Setting],
    *,
    seeds: int | Sequence[int],
    zipped: bool = False,
    runs_per_task: int | None = None,
    cpus_per_task: int = 1,
    max_retries: int = 3,
    progress: bool = False,
    save: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> Runs:
    """Train many agents on a Ray cluster: every algorithm with every seed.

    It connects as ``ray.init()`` does, where the caller has not: to the cluster that RAY_ADDRESS names, or to
    one that it starts on this machine. Workers need the same fastpg and the same instruction set.

    Parameters
    ----------
    env_id, algorithms, seeds, zipped, progress, save
        As in `fastpg.train_many`. An environment goes to the workers by pickle, so a `jit_env` has to be
        defined in a module that they can import.
    runs_per_task : int, optional
        Runs that a worker trains in one task; by default as many as make four tasks for each CPU of the
        cluster.
    cpus_per_task : int
        CPUs that Ray sets aside for a task, which is as many threads of fastpg's.
    max_retries : int
        How often a task is run again whose worker was lost.
    **settings
        num_envs, horizon, total_steps and others that `fastpg.train_many` takes for all runs.

    Returns
    -------
    Runs
        As `fastpg.train_many` returns them, in the same order, to the same bits.

    Raises
    ------
    TypeError, ValueError, ImportError, fastpg.SaveError
        As in `fastpg.train_many`.
    RuntimeError
        A worker has another fastpg or instruction set than the caller, or was lost more than max_retries
        times. The exception's `runs` has the runs that were through.
    KeyboardInterrupt
        Ctrl-C, likewise; runs that are not through are cancelled.

    Examples
    --------
    >>> import fastpg.ray
    >>> runs = fastpg.ray.train_many("CartPole-v1", fastpg.PPO(), seeds=100)  # doctest: +SKIP
    """
    where = "fastpg.ray.train_many()"
    shared = shared_arguments(where, settings)
    if isinstance(env_id, VectorEnv):
        raise TypeError(f"{where}: a vector environment cannot go to workers; pass a function that makes one")
    if isinstance(env_id, JitEnv) and env_id.__module__ == "__main__":
        raise ValueError(
            f"{where}: workers cannot import {env_id.name} from __main__: define it in a module of its own"
        )
    most = _check.MAX_COUNT
    if runs_per_task is not None:
        runs_per_task = _check.integer(where, "runs_per_task", runs_per_task, 1, most)
    tasks = _Tasks(
        runs_per_task,
        _check.integer(where, "cpus_per_task", cpus_per_task, 1, MAX_CPUS),
        _check.integer(where, "max_retries", max_retries, 0, most),
    )
    show = _check.boolean(where, "progress", progress)
    plan = make_plan(where, env_id, algorithms, seeds, shared, zipped=_check.boolean(where, "zipped", zipped))

    def spread(where: str, plan: Plan, _: contextlib.ExitStack) -> Members:
        return _Spread(where, plan, tasks)

    return run_all(where, plan, to_the_ends, lambda _: None, progress=show, save=save, begin=spread)


class _Tasks(NamedTuple):
    """How runs become tasks of Ray."""

    size: int | None
    num_cpus: int
    max_retries: int


class _Spread(Members):
    """Runs that are somewhere in the cluster, some to a task."""

    def __init__(self, where: str, plan: Plan, tasks: _Tasks) -> None:
        super().__init__(where, plan, contextlib.ExitStack())
        self._tasks = tasks
        self._results: dict[int, TrainResult] = {}
        first = {setting: k for k, (setting, _) in reversed(list(enumerate(plan.runs)))}
        for setting, k in first.items():  # what is wrong with one is said here, and not on a worker
            with plan.opened(where, setting) as env:
                plan.begin(where, env, k, None)

    def steps_of(self, k: int) -> int:
        """Return the steps of a run that is through."""
        return self._results[k].num_steps if k in self._results else 0

    def runs(self, *, last: bool = False) -> Runs:
        """Return the results of those that are through."""
        numbers = sorted(self._results)
        return Runs([self._results[k] for k in numbers], [self.setting_of(k) for k in numbers])

    def advance(self, pauses: Mapping[int, int | None], report: Report) -> None:
        """Train them all."""
        if not ray.is_initialized():
            ray.init()
        num_cpus = self._tasks.num_cpus
        size = self._tasks.size or -(-len(self) // (TASKS_PER_CPU * _cluster_cpus(num_cpus)))
        task = ray.remote(num_cpus=num_cpus, max_retries=self._tasks.max_retries)(_train)
        plan, ours = ray.put(self._plan), _version()
        first = {
            task.remote(self._where, plan, begin, begin + size, num_cpus, ours): begin
            for begin in range(0, len(self), size)
        }
        waiting = list(first)
        try:
            while waiting:
                [done], waiting = ray.wait(waiting)
                for k, result in enumerate(self._fetch(done, first[done], size), first[done]):
                    self._results[k], self.stopped[k] = result, result.stopped_because
                report(self.num_steps, len(self._results))
        finally:
            for one in waiting:
                ray.cancel(one, force=True)

    def _fetch(self, done: Any, begin: int, size: int) -> list[TrainResult]:
        """Return the results of a task; what was wrong in it is raised as it was there."""
        try:
            results: list[TrainResult] = ray.get(done)
            return results
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except ray.exceptions.RayError as error:
            last, said = min(begin + size, len(self)) - 1, str(error).strip().partition("\n")[0]
            raise RuntimeError(
                f"{self._where}: runs {begin} to {last} were lost with their worker: {said}"
            ) from error

    def standing(self, k: int, first: int) -> Standing:
        """Refuse it: runs that are elsewhere have no callbacks."""
        raise NotImplementedError

    def copy(self, k: int, source: int, algorithm: Algorithm) -> None:
        """Refuse it: runs that are elsewhere do not pause."""
        raise NotImplementedError

    def _result(self, k: int, *, last: bool) -> TrainResult:
        return self._results[k]


def _train(where: str, plan: Plan, begin: int, end: int, num_threads: int, ours: str) -> list[TrainResult]:
    """Train runs begin to end - 1 of a plan, on a worker."""
    theirs = _version()
    if theirs != ours:
        raise RuntimeError(
            f"{where}: a worker on {os.uname().nodename} has {theirs}, and the caller {ours}: their results "
            "would differ; FASTPG_ISA chooses an instruction set that all have"
        )
    set_num_threads(num_threads)
    part = plan._replace(runs=plan.runs[begin:end], first=begin)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of failed runs; the caller is told of all of them
        return list(run_all(where, part, to_the_ends, lambda _: None, progress=False, save=None))


def _version() -> str:
    """Return what has to be the same for the same bits."""
    info = build_info()
    return f"fastpg {info['version']} ({_core.isa()})"


def _cluster_cpus(at_least: int) -> int:
    return max(int(ray.cluster_resources().get("CPU", 1)), at_least)
