"""Population-based training: the worst agents go on as copies of the best ones, with other options."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastpg import _check, _core
from fastpg.algorithms import Algorithm
from fastpg.envs.gymnasium.opening import AnyEnv
from fastpg.training.generations import Generations
from fastpg.training.journal import search_of
from fastpg.training.many import MAX_RUNS, make_plan, shared_arguments
from fastpg.training.members import Members, every, run_all
from fastpg.training.runs import Runs, Table
from fastpg.training.search import Space, algorithm_with, space_of

FIXED = ("value_hidden", *_core.WITH_STATE)  # options that an agent's state depends on
HISTORY = "history.csv"


class Population(NamedTuple):
    """What `train_population` returns.

    Attributes
    ----------
    runs : Runs
        ``runs[k]`` is member k's. Its history is that of the policy that it has: a copy has the history of
        the member that it was copied from. Its config is the last one.
    history : dict of str to list
        A row for each member at each pause: steps, member; mean_return, of its last 100 or more episodes; the
        options explored, as they have been up to there; and copied, the number of the member as whose copy
        it goes on, or None. `pandas.DataFrame` takes it.
    """

    runs: Runs
    history: Table


def train_population(
    env_id: AnyEnv,
    algorithm: type[Algorithm] | Algorithm,
    size: int,
    *,
    explore: Mapping[str, Sequence[Any] | Callable[[np.random.Generator], Any]],
    explore_every: int,
    quantile: float = 0.25,
    resample: float = 0.25,
    seed: int = 0,
    total_steps: int = 1_000_000,
    progress: bool = False,
    save: str | os.PathLike[str] | None = None,
    **others: Any,
) -> Population:
    """Train a population of agents, whose options are searched for while they learn.

    After every `explore_every` steps all members pause. Each of the worst becomes a copy of one of the best,
    drawn at random: parameters, moments, counters and environments. Then its options are changed: a number
    is multiplied by 0.8 or 1.2, a choice becomes its neighbour in the list, and now and then one is drawn
    anew. The seed decides on everything, whatever the number of threads.

    Parameters
    ----------
    env_id
        As in `train_many`.
    algorithm : PPO, VPG, ... or one of them with its options
        What is not in `explore` is as it is there.
    size : int
        Number of members, at least 2. Member k has the seed ``seed + k``.
    explore : mapping
        Of options of the algorithm: what they are drawn from at first, as in `sample`, and between what they
        are kept. Not value_hidden, normalize_observations, normalize_rewards and desired_kl, on which
        depends what an agent remembers.
    explore_every : int
        Steps of a member between pauses, in whole iterations.
    quantile : float
        The share of the population that becomes copies, and that is copied, in (0, 0.5]; rounded down, but
        one does always. Members that failed become copies as well.
    resample : float
        How likely an option is drawn anew instead of being changed, in [0, 1].
    seed : int
        Decides on everything.
    total_steps : int
        Of each member.
    progress
        As in `train_many`.
    save : path, optional
        A new folder for the results, as in `train_many`, with history.csv beside the runs. Where the process
        was killed, or the call interrupted, the same call goes on from the last pause, and the result is the
        same to the last bit. Functions in `explore` have to be the same then; what they do is not compared.
        Environments that Python steps cannot be saved: the search then begins anew, in the same folder.
    **others
        num_envs, horizon, episodes, steps_per_iteration, hidden, activation, policy, value, target_return,
        env_params, vectorization_mode, reset_options: as in `train_many`.

    Returns
    -------
    Population
        The runs, and the history of who copied whom. ``runs.ranking[0]`` is the best member's number.

    Raises
    ------
    TypeError, ValueError, ImportError, fastpg.SaveError
        As in `train_many`; save holds another search.
    fastpg.CheckpointError
        What save holds of this search is damaged.
    KeyboardInterrupt
        Ctrl-C. The exception's `runs` and `history` are what there is of both.

    Notes
    -----
    Jaderberg et al., "Population based training of neural networks", 2017, with their truncation selection;
    theirs lets members copy at any time, which would depend on the machine. Environments that Python steps
    cannot be copied: those of a copy begin anew.

    Examples
    --------
    >>> import fastpg
    >>> runs, history = fastpg.train_population(
    ...     "CartPole-v1", fastpg.PPO(minibatches=4), 4, total_steps=12_288, horizon=32, hidden=(16,),
    ...     explore={"learning_rate": ("log_uniform", 1e-5, 1e-2)}, explore_every=4096
    ... )
    >>> len(runs), len(history["copied"])
    (4, 8)
    """
    where = "train_population()"
    explored = _check.mapping(where, "explore", explore)
    base = algorithm_with(where, algorithm, explored)
    spaces = _spaces(where, base, explored)
    size = _check.integer(where, "size", size, 2, MAX_RUNS)
    explore_every = _check.integer(where, "explore_every", explore_every, 1, _check.MAX_COUNT)
    count = max(1, int(size * _check.real(where, "quantile", quantile, "(0, 0.5]")))
    resample = _check.real(where, "resample", resample, "[0, 1]")
    seed = _check.seed(where, seed)
    show = _check.boolean(where, "progress", progress)
    rng = np.random.default_rng(seed)
    algorithms = [
        dataclasses.replace(base, **{name: space.draw(rng) for name, space in spaces.items()})
        for _ in range(size)
    ]
    common = shared_arguments(where, {"total_steps": total_steps, **others})
    seeds = [(seed + k) % 2**64 for k in range(size)]
    plan = make_plan(where, env_id, algorithms, seeds, common, zipped=True)
    plan = plan._replace(numbers=list(range(size)))  # members are told apart, even if they are equal
    history: Table = {name: [] for name in ("steps", "member", "mean_return", *spaces, "copied")}
    journal: Generations | None = None

    def judge(members: Members) -> None:
        runs = members.runs()
        ranking = runs.ranking
        best = [k for k in ranking[:count] if runs[k].error is None]
        failed = {k for k in range(size) if runs[k].error is not None}
        copied = {k: best[rng.integers(len(best))] for k in sorted({*ranking[-count:], *failed}) if best}
        for k in range(size):
            values = [getattr(algorithms[k], name) for name in spaces]
            row = [runs[k].num_steps, k, float(runs.returns[k]), *values, copied.get(k)]
            for column, entry in zip(history.values(), row, strict=True):
                column.append(entry)
        for k, source in copied.items():
            changed = {
                name: space.draw(rng)
                if rng.random() < resample
                else space.change(rng, getattr(algorithms[source], name))
                for name, space in spaces.items()
            }
            algorithms[k] = dataclasses.replace(base, **changed)
            members.copy(k, source, algorithms[k])
        if journal is not None:
            journal.add(members, len(history["member"]) // size)

    def decided() -> dict[str, Any]:
        options = [{name: getattr(one, name) for name in spaces} for one in algorithms]
        return {"generator": rng.bit_generator.state, "options": options, "history": history}

    def recall(told: dict[str, Any]) -> list[Algorithm]:
        rng.bit_generator.state = told["generator"]
        algorithms[:] = [dataclasses.replace(base, **options) for options in _of_each(size, told["options"])]
        for name, column in history.items():
            column[:] = _of_each(size * told["pauses"], told["history"][name])
        return algorithms

    pauses = functools.partial(every, explore_every)
    try:
        with contextlib.ExitStack() as stack:
            if save is not None:
                search = search_of(
                    where, plan, base=base, explore=_described(explored), explore_every=explore_every,
                    count=count, resample=resample, seed=seed,
                )  # fmt: skip
                journal = Generations(where, stack, search, decided, recall)
            runs = run_all(
                where,
                plan,
                pauses,
                judge,
                progress=show,
                save=save,
                tables={HISTORY: history},
                journal=journal,
            )
    except BaseException as error:
        if hasattr(error, "runs"):
            error.history = history  # type: ignore[attr-defined]
        raise
    return Population(runs, history)


def _of_each(count: int, entries: Any) -> list[Any]:
    if not isinstance(entries, list) or len(entries) != count:
        raise ValueError(f"there must be {count} entries")
    return entries


def _described(explored: Mapping[str, Any]) -> dict[str, str]:
    """Return what tells one search from another; of a function its name, which any process knows it by."""
    return {
        name: getattr(values, "__qualname__", type(values).__name__) if callable(values) else repr(values)
        for name, values in explored.items()
    }


def _spaces(where: str, base: Algorithm, explore: Mapping[str, Any]) -> dict[str, Space]:
    """Return what the options are drawn from, each of them checked at its ends."""
    options = [field.name for field in dataclasses.fields(base)]
    if not explore:
        raise ValueError(f"{where}: explore needs an option of {type(base).__name__}")
    spaces = {}
    for name, values in explore.items():
        if name not in options or name in FIXED:
            free = ", ".join(option for option in options if option not in FIXED)
            raise ValueError(f"{where}: explore cannot have {name!r}; it can have {free}")
        spaces[name] = space_of(where, name, values)
        for value in spaces[name].examples:
            dataclasses.replace(base, **{name: value})
    return spaces
