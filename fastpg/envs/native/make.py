"""`fastpg.make`: a batch of environments from an id, or from an environment of the user's own."""

import copy as copying
import functools
import re
from typing import Any

import gymnasium

from fastpg import _check
from fastpg.envs.autoreset import Autoreset, AutoresetMode, autoreset_mode
from fastpg.envs.custom.custom import CustomEnv
from fastpg.envs.mujoco.env import MujocoEnv
from fastpg.envs.mujoco.make import make_mujoco, task_of
from fastpg.envs.native.finite import FiniteMDP
from fastpg.envs.native.registry import EnvLike, native_env
from fastpg.envs.native.vector import VectorEnv


def make(
    env_id: EnvLike | type[MujocoEnv],
    num_envs: int = 1,
    *,
    autoreset: Autoreset | AutoresetMode = "next_step",
    copy: bool = True,
    seed: int | None = None,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    **params: Any,
) -> VectorEnv | MujocoEnv:
    """Make a batch of native environments, or of MuJoCo's.

    ``gymnasium.make_vec("fastpg/<env_id>", num_envs=..., ...)`` makes the same, once fastpg is imported.

    Parameters
    ----------
    env_id : str, fastpg.exact.FiniteMDP, what jit_env or load_env made, or a subclass of fastpg.MujocoEnv
        One of `fastpg.list_envs()`; one of Gymnasium's MuJoCo tasks, as "HalfCheetah-v5", which need
        ``fastpg[mujoco]`` (docs/mujoco.md); or an environment given as arrays, or as compiled functions.
    num_envs : int
        How many environments, N.
    autoreset : {"next_step", "same_step", "disabled"} or gymnasium.vector.AutoresetMode
        What happens to an environment whose episode has ended (see `VectorEnv`).
    copy : bool
        False returns the same arrays from every `step`, overwritten in place: faster, for those who read them
        before the next step. Of native environments only.
    seed : int, optional
        As in `VectorEnv.reset`, for the first reset that is not given one.
    render_mode : {"rgb_array"}, optional
        Needs what Gymnasium's own renderer needs (pygame).
    max_episode_steps : int, optional
        The time limit, 0 for none. By default the one under which Gymnasium registers the id.
    **params
        What Gymnasium's own constructor takes, and for Acrobot-v1 `book_or_nips` and `torque_noise_max`; the
        params of a `jit_env`; `use_action_mask`, with which `collect` draws Taxi's actions as its infos say.

    Returns
    -------
    VectorEnv, or MujocoEnv, which has the same methods

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range.
    ImportError
        MuJoCo is missing, or older than 4.0.

    Examples
    --------
    >>> import numpy as np
    >>> env = make("CartPole-v1", num_envs=3)
    >>> obs, info = env.reset(seed=0)
    >>> obs, rewards, terminated, truncated, info = env.step(np.array([0, 1, 1]))
    >>> obs.shape, rewards.tolist()
    ((3, 4), [1.0, 1.0, 1.0])
    """
    where = "make()"
    num_envs = _check.integer(where, "num_envs", num_envs, 1, _check.MAX_NUM_ENVS)
    mode = autoreset_mode(where, autoreset)
    copy = _check.boolean(where, "copy", copy)
    if seed is not None:
        seed = _check.seed(where, seed)
    if max_episode_steps is not None:
        max_episode_steps = _check.integer(where, "max_episode_steps", max_episode_steps, 0, 2**31 - 1)
    task = task_of(env_id)
    if task is not None:
        if not copy:
            raise ValueError(f"{where}: copy=False goes with native environments, not with MuJoCo's")
        return make_mujoco(
            where, task, num_envs, autoreset=autoreset, seed=seed, render_mode=render_mode,
            max_episode_steps=max_episode_steps, **params,
        )  # fmt: skip
    env = native_env(where, env_id, params, max_episode_steps=max_episode_steps)
    if not isinstance(env_id, str) and render_mode is not None:
        kind = "a FiniteMDP" if isinstance(env_id, FiniteMDP) else f"{env.id}, which has no renderer"
        raise ValueError(f"{where}: render_mode must be None for {kind}, got {render_mode!r}")
    made = VectorEnv(env, num_envs, autoreset=mode, copy=copy, seed=seed, render_mode=render_mode)
    if isinstance(env_id, FiniteMDP):
        return made  # Gymnasium's registry knows nothing of it
    given = {"autoreset": autoreset, "copy": copy, "seed": seed, "render_mode": render_mode}
    given["max_episode_steps"] = max_episode_steps
    if isinstance(env_id, CustomEnv):
        made.spec = gymnasium.envs.registration.EnvSpec(
            id=re.sub(r"[^\w.-]", "-", env_id.name),
            vector_entry_point=functools.partial(make, env_id),
            max_episode_steps=env.core.max_episode_steps or None,
        )
    else:
        made.spec = copying.deepcopy(gymnasium.spec(f"fastpg/{env.id}"))
    made.spec.kwargs.update({name: value for name, value in given.items() if value is not None}, **params)
    made.spec.kwargs.update(num_envs=num_envs, vectorization_mode="vector_entry_point")
    return made
