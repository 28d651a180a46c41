"""Vector environments that Python steps: what they are, and how their arrays become the core's."""

from collections.abc import Mapping
from typing import Any

import gymnasium
from gymnasium.spaces import Space
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from fastpg import _check
from fastpg.acted import Acted
from fastpg.action_masks import require_categorical
from fastpg.envs.autoreset import NAMES_MODES, AutoresetMode
from fastpg.envs.gymnasium.flatten import Observed
from fastpg.envs.gymnasium.ready import class_name
from fastpg.envs.mujoco.env import MujocoEnv
from fastpg.envs.native.registry import USE_ACTION_MASK
from fastpg.envs.native.vector import VectorEnv as NativeVectorEnv


class GymnasiumEnv:
    """A vector environment of Gymnasium's interface, and how its arrays become the core's.

    Attributes
    ----------
    id : str
        What it is called.
    label : str
        The same with the function that the user called, for errors.
    env_id : str or None
        Under which it can be made again.
    env : gymnasium.vector.VectorEnv
    num_envs, first_env, all_envs : int
        Environments here, and where other ranks step some as well, those before and all of them.
    observation_space, action_space : gymnasium.spaces.Space
        Of a policy for it: what `Observed` makes of its observations, and its actions as they are.
    uses_action_mask : bool
        Whether actions are drawn as its info["action_mask"], or its action_masks(), says.
    """

    def __init__(
        self,
        where: str,
        env: VectorEnv[Any, Any, Any],
        env_id: str | None,
        reset_options: Mapping[str, Any],
        use_action_mask: bool | None,
        name: str | None = None,
    ) -> None:
        registered = getattr(env.spec, "id", None)
        self.id = env_id or (registered if isinstance(registered, str) else name or class_name(env))
        self.label = f"{where}: {self.id}"
        self.env_id = env_id or (registered if registered in gymnasium.registry else None)
        self.env = env
        self.num_envs = self.all_envs = env.num_envs
        self.first_env = 0
        self.reset_options = dict(reset_options)
        self.autoreset = _autoreset_mode(where, self.id, env)
        if isinstance(env, NativeVectorEnv | MujocoEnv) and self.autoreset is AutoresetMode.NEXT_STEP:
            self.autoreset = AutoresetMode.DISABLED  # a reset that is asked for costs no row
        self.observed = Observed(where, env.single_observation_space)
        self.acted = Acted(where, env.single_action_space, env.num_envs)
        self.observation_space = self.observed.space
        self.action_space: Space[Any] = env.single_action_space
        inner = env.unwrapped
        has_mask = isinstance(inner, NativeVectorEnv) and inner.native.core.has_action_mask
        self.uses_action_mask = has_mask if use_action_mask is None else use_action_mask
        if self.uses_action_mask:
            require_categorical(f"{where}: {USE_ACTION_MASK}", self.acted.form)


def _autoreset_mode(where: str, name: str, env: VectorEnv[Any, Any, Any]) -> AutoresetMode:
    mode = (env.metadata or {}).get("autoreset_mode")
    inner = env.unwrapped
    if isinstance(inner, SyncVectorEnv | AsyncVectorEnv) and env.metadata is inner.metadata:
        # Before Gymnasium 1.4 theirs is the dict of the environment's class: whoever was made last wrote its
        # mode there.
        mode = getattr(inner, "autoreset_mode", mode)
    if mode is None and not NAMES_MODES and type(inner).__module__.startswith("gymnasium."):
        mode = AutoresetMode.NEXT_STEP
    for known in AutoresetMode:
        if mode is known or mode in (known.value, known.name, known.name.lower()):
            return known
    raise ValueError(
        f"{where}: {name} does not say what follows the end of an episode: its metadata['autoreset_mode'] is "
        f"{_check.shown(mode)}; set it to a gymnasium.vector.AutoresetMode"
    )
