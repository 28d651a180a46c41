"""Environments that users bring: what everything that runs one has to know of it."""

import keyword
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from gymnasium.spaces import Space

from fastpg import _check, _core

MAX_LIMIT = 2**31 - 1


class CustomEnv(ABC):
    """What `fastpg.jit_env` and `fastpg.load_env` make: it is accepted wherever an env id is.

    Attributes
    ----------
    name : str
        What messages, histories and checkpoints call it.
    observation_space, action_space : gymnasium.spaces.Space
        Of one environment.
    max_episode_steps : int
        Episodes are truncated after so many steps; 0 is never.
    """

    name: str
    observation_space: Space[Any]
    action_space: Space[Any]
    max_episode_steps: int

    @abstractmethod
    def changed(self, where: str, params: Mapping[str, Any]) -> Self:
        """Return the environment with some parameters changed; `where` is who asks, for error messages."""

    @property
    @abstractmethod
    def core_params(self) -> tuple[float, ...]:
        """Return the parameters as its compiled functions read them."""

    @abstractmethod
    def core(self, where: str, max_episode_steps: int) -> _core.Environment:
        """Return the environment as the core runs it, compiled if it was not."""

    @abstractmethod
    def fingerprint(self, where: str) -> str:
        """Return what tells its functions, whatever its parameters, from those of another environment."""

    def with_params(self, **params: Any) -> Self:
        """Return the environment with other parameters; nothing is compiled again.

        Parameters
        ----------
        **params
            By name; those that are not given stay.

        Raises
        ------
        TypeError, ValueError
            There is no parameter of that name, or it cannot have that value.
        """
        return self.changed(f"{self.name}.with_params()", params)


def unknown_param(where: str, name: str, unknown: str, names: Sequence[str]) -> TypeError:
    """Return the error that says which parameters there are."""
    known = ", ".join(names) or "none"
    return TypeError(f"{where}: unexpected argument {unknown!r}; the parameters of {name} are: {known}")


def number(where: str, name: str, value: Any) -> float:
    """Return a finite number."""
    result = _check.real(where, name, value, "(-inf, inf)")
    assert math.isfinite(result)
    return result


def limit(where: str, value: Any) -> int:
    """Return a checked max_episode_steps."""
    return _check.integer(where, "max_episode_steps", value, 0, MAX_LIMIT)


def param_name(where: str, name: Any) -> str:
    """Return the name of a parameter, which has to be one that Python can write as an attribute."""
    if not isinstance(name, str):
        raise TypeError(f"{where}: names of params must be strings, got {_check.shown(name)}")
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise ValueError(f"{where}: names of params must be Python names without a leading _, got {name!r}")
    return name


def interval(where: str, name: str, value: Any) -> tuple[float, float]:
    """Return a parameter as the ends of what is drawn from: a number twice, or a pair (low, high)."""
    if isinstance(value, tuple | list) or (isinstance(value, np.ndarray) and value.ndim > 0):
        if len(value) != 2:
            raise ValueError(
                f"{where}: {name} must be a number or a pair (low, high), got {_check.shown(value)}"
            )
        low, high = (number(where, f"{name}[{i}]", end) for i, end in enumerate(value))
        if low > high:
            raise ValueError(
                f"{where}: {name} must be a pair (low, high) with low <= high, got {low}, {high}"
            )
        return low, high
    one = number(where, name, value)
    return one, one
