"""Lists of settings for `train_many`: every combination, or a random sample."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fastpg import _check, _spelling
from fastpg.algorithms import Algorithm, require_algorithm

# What `train_many` takes for all runs, and what each setting may have of its own.
RUN_SETTINGS = (
    "num_envs", "horizon", "episodes", "steps_per_iteration", "hidden", "activation", "squash",
    "state_dependent_std", "action_scaling", "policy", "value",
    "total_steps", "target_return", "env_params",
)  # fmt: skip
MAX_SAMPLES = 100_000
DISTRIBUTIONS = ("uniform", "log_uniform", "integers")
FACTORS = (0.8, 1.2)  # by which population-based training changes a number, as Jaderberg et al. have it
Setting = Algorithm | Mapping[str, Any]


def grid(algorithm: type[Algorithm] | Algorithm, **values: Sequence[Any]) -> list[Setting]:
    """Return every combination of settings, for `train_many`.

    Parameters
    ----------
    algorithm : PPO, VPG, ... or one of them with its options
        What is not in `values` is as it is there.
    **values : sequence
        The values of each setting: of an option of the algorithm, or of num_envs, horizon, episodes,
        steps_per_iteration, hidden, activation, squash, state_dependent_std, action_scaling, policy, value,
        total_steps, target_return or env_params of `train_many`.

    Returns
    -------
    list
        The last setting varies fastest. Algorithms; or, where `values` has settings of `train_many`, dicts
        of "algorithm" and these.

    Raises
    ------
    TypeError, ValueError
        There is no such setting, or a value is out of range.

    Examples
    --------
    >>> import fastpg
    >>> [(one.gamma, one.lam) for one in grid(fastpg.PPO, gamma=[0.9, 0.99], lam=[0.9, 1.0])]
    [(0.9, 0.9), (0.9, 1.0), (0.99, 0.9), (0.99, 1.0)]
    >>> [one["hidden"] for one in grid(fastpg.PPO, hidden=[(16,), (64, 64)])]
    [(16,), (64, 64)]
    """
    where = "grid()"
    base = algorithm_with(where, algorithm, values)
    columns = [_listed(where, name, column) for name, column in values.items()]
    return [_setting(base, dict(zip(values, row, strict=True))) for row in itertools.product(*columns)]


def sample(
    algorithm: type[Algorithm] | Algorithm,
    n: int,
    *,
    seed: int = 0,
    **values: Sequence[Any] | Callable[[np.random.Generator], Any],
) -> list[Setting]:
    """Return random settings, for `train_many`.

    Parameters
    ----------
    algorithm : PPO, VPG, ... or one of them with its options
    n : int
        How many.
    seed : int
        Decides on all of them.
    **values
        What each setting is drawn from, settings being those of `grid`: ``("uniform", low, high)``,
        ``("log_uniform", low, high)``, ``("integers", low, high)``, which has both ends; a sequence of
        choices; or a function of a numpy Generator.

    Returns
    -------
    list
        As of `grid`.

    Raises
    ------
    TypeError, ValueError
        There is no such setting, or a value is out of range.

    Examples
    --------
    >>> import fastpg
    >>> few = sample(fastpg.PPO, 3, learning_rate=("log_uniform", 1e-5, 1e-2), epochs=[4, 10])
    >>> all(1e-5 <= one.learning_rate <= 1e-2 and one.epochs in (4, 10) for one in few)
    True
    """
    where = "sample()"
    base = algorithm_with(where, algorithm, values)
    n = _check.integer(where, "n", n, 1, MAX_SAMPLES)
    rng = np.random.default_rng(_check.seed(where, seed))
    spaces = {name: space_of(where, name, value) for name, value in values.items()}
    return [_setting(base, {name: space.draw(rng) for name, space in spaces.items()}) for _ in range(n)]


def algorithm_with(where: str, algorithm: Any, values: Mapping[str, Any]) -> Algorithm:
    """Return an algorithm, which has the settings that are to get values, or `train_many` has."""
    if isinstance(algorithm, type) and issubclass(algorithm, Algorithm):
        _check.takes(where, "algorithm", algorithm)
        algorithm = algorithm()
    base = require_algorithm(where, algorithm)
    options = [field.name for field in dataclasses.fields(base)]
    for name in values:
        if name not in options and name not in RUN_SETTINGS:
            close = _spelling.meant(name, [*options, *RUN_SETTINGS])
            there = (
                f"{type(base).__name__} has {', '.join(options)}, and train_many {', '.join(RUN_SETTINGS)}"
            )
            hint = f"; did you mean {close!r}?" if close else f": {there}"
            raise TypeError(f"{where}: there is no setting {name!r}{hint}")
    return base


def _setting(base: Algorithm, values: dict[str, Any]) -> Setting:
    own = {name: value for name, value in values.items() if name in RUN_SETTINGS}
    algorithm = dataclasses.replace(base, **{name: one for name, one in values.items() if name not in own})
    return {"algorithm": algorithm, **own} if own else algorithm


def _listed(where: str, name: str, values: Any) -> list[Any]:
    listed = values.tolist() if isinstance(values, np.ndarray) else values
    if not isinstance(listed, Sequence) or isinstance(listed, str) or not len(listed):
        raise TypeError(f"{where}: {name} must be a sequence of values, got {_check.shown(values)}")
    return list(listed)


class Space(NamedTuple):
    """What a setting is drawn from, and how a value of it is changed a little."""

    draw: Callable[[np.random.Generator], Any]
    change: Callable[[np.random.Generator, Any], Any]
    examples: list[Any]  # its ends, or all that there are; [] where nobody knows


def space_of(where: str, name: str, values: Any) -> Space:
    """Return the space that a user describes, as `sample` has it."""
    if callable(values):
        _check.takes(where, name, values, None)
        return Space(values, lambda rng, _: values(rng), [])
    listed = _listed(where, name, values)
    word = listed[0] if isinstance(listed[0], str) else ""
    if word not in DISTRIBUTIONS:
        if word and any(isinstance(one, int | float) for one in listed):
            raise ValueError(
                f"{where}: {name} must be choices, or (kind, low, high) with a kind of "
                f"{', '.join(map(repr, DISTRIBUTIONS))}, got {_check.shown(values)}"
            )
        return Space(
            lambda rng: listed[rng.integers(len(listed))], functools.partial(_neighbour, listed), listed
        )
    if len(listed) != 3:
        raise ValueError(f"{where}: {name} must be ({word!r}, low, high), got {_check.shown(values)}")
    _, low, high = listed
    if word == "integers":
        low, high = (_check.integer(where, name, end, -(2**62), 2**62) for end in (low, high))
    else:
        within = "(0, inf)" if word == "log_uniform" else "(-inf, inf)"
        low, high = (_check.real(where, name, end, within) for end in (low, high))
    if low > high:
        raise ValueError(f"{where}: {name} must have low <= high, got {low} and {high}")
    if word == "integers":
        return Space(
            lambda rng: int(rng.integers(low, high, endpoint=True)),
            lambda rng, value: min(max(_scaled(rng, value), low), high),
            [low, high],
        )
    ends = (math.log(low), math.log(high)) if word == "log_uniform" else (low, high)
    real = math.exp if word == "log_uniform" else float
    return Space(
        lambda rng: min(max(real(rng.uniform(*ends)), low), high),
        lambda rng, value: min(max(value * float(rng.choice(FACTORS)), low), high),
        [low, high],
    )


def _neighbour(listed: list[Any], rng: np.random.Generator, value: Any) -> Any:
    """Return what stands beside a value in the list; of what stands there twice, beside the first."""
    at = listed.index(value) + rng.choice([-1, 1])
    return listed[min(max(at, 0), len(listed) - 1)]


def _scaled(rng: np.random.Generator, value: int) -> int:
    """Return another integer near a factor of one."""
    factor = float(rng.choice(FACTORS))
    return math.ceil(value * factor) if factor > 1 else math.floor(value * factor)
