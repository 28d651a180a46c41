"""Which MuJoCo environment a user means, and making it."""

import copy as copying
import re
from typing import Any

import gymnasium

from fastpg.envs.mujoco.env import MujocoEnv
from fastpg.envs.mujoco.tasks import TASKS
from fastpg.errors import named, without_place


def task_of(env_id: Any) -> type[MujocoEnv] | None:
    """Return the class of an id ("fastpg/..." as well) or a subclass of MujocoEnv; None for anything else.

    Examples
    --------
    >>> task_of("HalfCheetah-v5").__name__, task_of("CartPole-v1")
    ('HalfCheetah', None)
    """
    if isinstance(env_id, str):
        return TASKS.get(env_id.removeprefix("fastpg:").removeprefix("fastpg/"))
    return env_id if isinstance(env_id, type) and issubclass(env_id, MujocoEnv) else None


def make_mujoco(where: str, task: type[MujocoEnv], num_envs: int, **given: Any) -> MujocoEnv:
    """Make environments for `where`, the caller; what is None in `given` is left to the class."""
    arguments = {name: value for name, value in given.items() if value is not None}
    try:
        with named(where):
            made = task(num_envs, **arguments)
    except (FileNotFoundError, ImportError) as error:
        raise type(error)(f"{where}: {without_place(error)}") from error
    if made.num_envs != num_envs:
        raise ValueError(
            f"{where}: {task.__name__} must pass num_envs on to MujocoEnv: it made {made.num_envs}"
        )
    env_id = next((one for one, known in TASKS.items() if known is task), None)
    if env_id is not None:
        made.spec = copying.deepcopy(gymnasium.spec(f"fastpg/{env_id}"))
    else:
        name = re.sub(r"[^\w.-]", "-", task.__name__)
        again: Any = task
        made.spec = gymnasium.envs.registration.EnvSpec(id=name, vector_entry_point=again)
    made.spec.kwargs.update(arguments, num_envs=num_envs, vectorization_mode="vector_entry_point")
    return made
