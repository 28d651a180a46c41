"""The ids under which Gymnasium's own functions make native environments: "fastpg/CartPole-v1" and so on.

Gymnasium 1 has no plug-ins: an id is known once fastpg is imported, or as "fastpg:fastpg/CartPole-v1".
"""

from typing import Any

import gymnasium

from fastpg.envs.mujoco import TASKS
from fastpg.envs.native.make import make
from fastpg.envs.native.registry import env_spec, list_envs
from fastpg.envs.native.vector import VectorEnv


def make_vector(*, env_id: str, num_envs: int, **kwargs: Any) -> VectorEnv:
    """Do what ``gymnasium.make_vec`` asks for."""
    made = make(env_id, num_envs, **kwargs)
    assert isinstance(made, VectorEnv)
    return made


def register() -> None:
    """Tell Gymnasium about every native environment, and the MuJoCo tasks, whose single ones are its own."""
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
    for env_id, task in TASKS.items():
        original = gymnasium.registry.get(env_id)
        if original is not None and f"fastpg/{env_id}" not in gymnasium.registry:
            gymnasium.register(
                id=f"fastpg/{env_id}",
                entry_point=original.entry_point,
                vector_entry_point=f"{task.__module__}:{task.__name__}",
                kwargs=dict(original.kwargs),
                max_episode_steps=original.max_episode_steps,
                reward_threshold=original.reward_threshold,
            )
