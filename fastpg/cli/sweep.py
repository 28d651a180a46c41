"""Settings of a grid, as they are typed: `learning_rate=1e-4,3e-4`, `hidden=64x64,32`."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from fastpg import _core, _spelling
from fastpg.algorithms import Algorithm
from fastpg.cli.arguments import number_or_none, whole_number, widths
from fastpg.training.search import RUN_SETTINGS

OBJECTS = ("policy", "value", "env_params")  # which are not typed


def parse_grid(algorithm: Algorithm, words: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of each setting, for `fastpg.grid`.

    Examples
    --------
    >>> import fastpg
    >>> parse_grid(fastpg.PPO(), ["learning_rate=1e-4,3e-4", "hidden=64x64,linear"])
    {'learning_rate': [0.0001, 0.0003], 'hidden': [(64, 64), ()]}
    """
    grid: dict[str, list[Any]] = {}
    options = [field.name for field in dataclasses.fields(algorithm)]
    known = [*options, *(name for name in RUN_SETTINGS if name not in OBJECTS)]
    for word in words:
        typed, equals, values = word.partition("=")
        name = typed.removeprefix("--").replace("-", "_")
        if not equals or not values:
            raise ValueError(
                f"--grid must be a setting and its values, as learning_rate=1e-4,3e-4, got {word!r}"
            )
        if name not in known:
            raise ValueError(f"--grid: there is no setting {typed!r}; {_spelling.hint(typed, known)}")
        if name in grid:
            raise ValueError(f"--grid: {name} is given twice")
        try:
            grid[name] = [_reader(name)(value) for value in values.split(",")]
        except ValueError as error:
            raise ValueError(f"--grid: {name} {error}") from None
        if len(set(grid[name])) < len(grid[name]):
            raise ValueError(f"--grid: {name} has a value twice, got {values!r}")
    return grid


def _reader(name: str) -> Callable[[str], Any]:
    if name in ("hidden", "value_hidden"):
        return widths
    option = _core.OPTIONS.get(name)
    kind = "choice" if option is None else option.kind
    if name in ("num_envs", "horizon", "episodes", "steps_per_iteration", "total_steps"):
        kind = "integer"
    if name == "target_return":
        kind = "real"
    if name in ("squash", "state_dependent_std", "action_scaling"):
        kind = "flag"
    return {"integer": whole_number, "real": number_or_none, "flag": _flag, "choice": _word}[kind]


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"must be true or false, got {text!r}")
    return text.lower() == "true"


def _word(text: str) -> str | None:
    return None if text.lower() == "none" else text
