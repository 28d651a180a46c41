"""The ids under which Gymnasium's own functions make native environments: "fastpg/CartPole-v1" and so on.

Gymnasium 1 has no plug-ins: an id is known once fastpg is imported, or as "fastpg:fastpg/CartPole-v1".
"""

from typing import Any

import gymnasium

from fastpg.envs.native.make import make
from fastpg.envs.native.registry import env_spec, list_envs
from fastpg.envs.native.vector import VectorEnv


def make_vector(*, env_id: str, num_envs: int, **kwargs: Any) -> VectorEnv:
    """Do what ``gymnasium.make_vec`` asks for."""
    return make(env_id, num_envs, **kwargs)


def register() -> None:
    """Tell Gymnasium about every native environment."""
    for env_id in list_envs():
        original = env_spec("register()", env_id).gymnasium_spec
        if f"fastpg/{env_id}" not in gymnasium.registry:
            gymnasium.register(
                id=f"fastpg/{env_id}",
                entry_point="fastpg.envs.native.single:SingleEnv",
                vector_entry_point="fastpg.envs.gymnasium.ids:make_vector",
                kwargs={"env_id": env_id},
                max_episode_steps=original.max_episode_steps,
                reward_threshold=original.reward_threshold,
            )
