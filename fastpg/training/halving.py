"""Successive halving: after ever more steps, only the better settings go on."""

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

from fastpg import _check
from fastpg.envs.gymnasium.opening import AnyEnv
from fastpg.training.journal import search_of
from fastpg.training.many import make_plan, shared_arguments
from fastpg.training.members import Members, run_all
from fastpg.training.rungs import Rungs
from fastpg.training.runs import Runs
from fastpg.training.search import Setting
from fastpg.training.watched import CallbacksOf

MAX_RUNGS = 100


def halving(
    env_id: AnyEnv,
    algorithms: Setting | Sequence[Setting],
    *,
    seeds: int | Sequence[int],
    total_steps: int = 1_000_000,
    keep: float = 1 / 3,
    rungs: int | Sequence[int] | None = None,
    progress: bool = False,
    save: str | os.PathLike[str] | None = None,
    callbacks_of: CallbacksOf | None = None,
    **others: Any,
) -> Runs:
    """Find the best of many settings by successive halving: the worse ones are stopped at rungs on the way.

    All settings are trained up to the first rung, with every seed; the share `keep` of them that is best goes
    on to the next rung, and so on. What goes on does it as if it had never stopped: the runs of the last ones
    are to the last bit what `train` gives alone with `total_steps`, linear schedules included. Nothing in the
    result depends on the number of threads.

    Parameters
    ----------
    env_id, algorithms, seeds
        As in `train_many`.
    total_steps : int
        Of each run that is never stopped. A setting has none of its own, as equal steps are compared.
    keep : float
        The share of the settings that goes on from a rung, rounded down; but one does always. In (0, 1).
    rungs : int or sequence of int, optional
        How many rungs there are, being then at ``total_steps * keep**rungs``, ...,
        ``total_steps * keep`` steps; or their steps. By default as many as leave one setting. A run pauses
        at the end of the iteration in which it reaches a rung.
    progress, callbacks_of
        As in `train_many`.
    save : path, optional
        A new folder for the results, as in `train_many`. Where the process was killed, or the call
        interrupted, the same call goes on: what was stopped at a rung is read from the folder, the others are
        trained again up to there and then on, and the result is the same to the last bit.
    **others
        num_envs, horizon, episodes, steps_per_iteration, hidden, activation, policy, value, target_return,
        env_params, vectorization_mode, reset_options: as in `train_many`.

    Returns
    -------
    Runs
        Of all settings; ``runs.ranking[0]`` is the number of the best one. In a run that was stopped at a
        rung `stopped_because` is "halving". Settings are compared by the interquartile mean over their seeds
        of the mean return of the last 100 or more episodes, in which a run that failed, or has no episode
        that ended, counts as the worst that there is.

    Raises
    ------
    TypeError, ValueError, ImportError, fastpg.SaveError, KeyboardInterrupt
        As in `train_many`.

    Notes
    -----
    Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization", 2016.
    A setting that learns slowly at first and best in the end is stopped: a later first rung avoids that.

    Examples
    --------
    >>> import fastpg
    >>> settings = fastpg.grid(fastpg.PPO(minibatches=4), learning_rate=[1e-5, 1e-4, 1e-3])
    >>> runs = fastpg.halving("CartPole-v1", settings, seeds=2, total_steps=12_000, horizon=32, hidden=(16,))
    >>> settings[runs.ranking[0]].learning_rate
    0.001
    >>> [run.num_steps for run in runs]
    [4096, 4096, 4096, 4096, 12288, 12288]
    """
    where = "halving()"
    total_steps = _check.integer(where, "total_steps", total_steps, 1, _check.MAX_COUNT)
    keep = _check.real(where, "keep", keep, "(0, 1)")
    common = shared_arguments(where, {"total_steps": total_steps, **others})
    plan = make_plan(where, env_id, algorithms, seeds, common)
    for i, setting in enumerate(plan.settings):
        if setting["total_steps"] != total_steps:
            raise ValueError(
                f"{where}: algorithms[{i}] has total_steps of its own, {setting['total_steps']:,}, but "
                "settings are compared after equal numbers of steps"
            )
    count = len(set(plan.numbers))
    at = _rungs(where, rungs, total_steps, keep, count)
    show = _check.boolean(where, "progress", progress)
    halved: set[int] = set()
    journal: Rungs | None = None

    def rounds(members: Members) -> Iterable[int | None]:
        stopped = [k for k, because in enumerate(members.stopped) if because == "halving"]  # before a kill
        halved.update(map(members.setting_of, stopped))
        return [*at[0 if journal is None else journal.rungs :], None]

    def judge(members: Members) -> None:
        left = [setting for setting in members.runs().ranking if setting not in halved]
        halved.update(left[_kept(len(left), keep) :])
        stopped = [k for k in members.going() if members.setting_of(k) in halved]
        for k in stopped:
            members.stop(k, "halving")
        if journal is not None:
            journal.add(members, stopped)

    with contextlib.ExitStack() as stack:
        if save is not None:
            journal = Rungs(where, stack, search_of(where, plan, rungs=at, keep=keep))
        return run_all(
            where, plan, rounds, judge, progress=show, save=save, callbacks_of=callbacks_of, journal=journal
        )


def _kept(count: int, keep: float) -> int:
    """Return how many of so many settings go on.

    Examples
    --------
    >>> [_kept(count, 1 / 3) for count in (27, 9, 8, 3, 2)]
    [9, 3, 2, 1, 1]
    """
    return max(1, int(count * keep + 1e-9))  # 9 / 3 may be a little less than 3


def _rungs(where: str, rungs: Any, total_steps: int, keep: float, count: int) -> list[int]:
    """Return the numbers of steps after which settings are compared."""
    if rungs is not None and not _check.is_integer(rungs):
        if not _check.is_sequence(rungs) or not len(rungs):
            raise TypeError(
                f"{where}: rungs must be an integer or a sequence of steps, "
                f"got {_check.shown(rungs)}{_check.as_integer(rungs)}"
            )
        steps = [_check.integer(where, "rungs", one, 1, total_steps) for one in rungs]
        if sorted(set(steps)) != steps:
            raise ValueError(f"{where}: rungs must rise, got {_check.shown(rungs)}")
        return steps
    if rungs is None:
        number = 0
        while count > 1:
            number, count = number + 1, _kept(count, keep)
    else:
        number = _check.integer(where, "rungs", rungs, 1, MAX_RUNGS)
    return [max(1, int(total_steps * keep**power)) for power in range(number, 0, -1)]
