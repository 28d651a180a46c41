"""Which environments the compiled core implements, under which ids, with which spaces and parameters.

A new environment is one header in csrc/envs/ and one entry here.
"""

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Discrete

from fastpg import _check, _core


@dataclass(frozen=True, slots=True)
class EnvSpec:
    """A native environment as its users know it.

    Its spaces equal those of the Gymnasium environment of the same id.
    """

    id: str
    kernel: str  # the name of its dynamics in csrc/envs/
    observation_bounds: tuple[tuple[float, float], ...]  # (low, high) of every component
    num_actions: int
    max_episode_steps: int
    reward_threshold: float  # a mean return that counts as solved
    parameters: Mapping[str, bool] = field(default_factory=dict)  # what its constructor takes: defaults

    @property
    def observation_space(self) -> Box:
        """Return a new float32 Box, (D,)."""
        low, high = np.array(self.observation_bounds, np.float32).T
        return Box(low, high, dtype=np.float32)

    @property
    def action_space(self) -> "Discrete[Any]":
        """Return a new Discrete space."""
        return Discrete(self.num_actions)


_ANY = (-math.inf, math.inf)
_CARTPOLE_X = (-2 * 2.4, 2 * 2.4)  # twice the limits, so that the last observation lies within
_CARTPOLE_ANGLE = (-2 * (12 * 2 * math.pi / 360), 2 * (12 * 2 * math.pi / 360))
_CARTPOLE = ("cartpole", (_CARTPOLE_X, _ANY, _CARTPOLE_ANGLE, _ANY), 2)
_CARTPOLE_PARAMETERS = {"sutton_barto_reward": False}

_SPECS = {
    spec.id: spec
    for spec in (
        EnvSpec("CartPole-v0", *_CARTPOLE, 200, 195.0, _CARTPOLE_PARAMETERS),
        EnvSpec("CartPole-v1", *_CARTPOLE, 500, 475.0, _CARTPOLE_PARAMETERS),
    )
}


def list_envs() -> list[str]:
    """Return the ids of the environments that are implemented natively.

    Examples
    --------
    >>> list_envs()
    ['CartPole-v0', 'CartPole-v1']
    """
    return sorted(_SPECS)


def env_spec(where: str, env_id: Any) -> EnvSpec:
    """Look an environment up; a wrong id is a ValueError that lists the right ones."""
    if not isinstance(env_id, str):
        raise TypeError(f"{where}: env_id must be a string, got {_check.shown(env_id)}")
    if env_id not in _SPECS:
        close = difflib.get_close_matches(env_id, _SPECS, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise ValueError(
            f"{where}: env_id {env_id!r} is not implemented natively; {hint}"
            f"fastpg.list_envs() has {', '.join(list_envs())}"
        )
    return _SPECS[env_id]


def native_env(where: str, env_id: Any, params: Mapping[str, Any]) -> tuple[EnvSpec, _core.Environment]:
    """Look an environment up and make its kernel; parameters that are not given take their defaults."""
    spec = env_spec(where, env_id)
    if not isinstance(params, Mapping):
        raise TypeError(f"{where}: env_params must be a mapping, got {_check.shown(params)}")
    unknown = sorted(set(params) - set(spec.parameters))
    if unknown:
        raise TypeError(
            f"{where}: unexpected argument {unknown[0]!r}; "
            f"the parameters of {spec.id} are: {', '.join(spec.parameters) or 'none'}"
        )
    values = {
        name: float(_check.boolean(where, name, params.get(name, default)))
        for name, default in spec.parameters.items()
    }
    return spec, _core.Environment(spec.kernel, values, spec.max_episode_steps)
