"""`fastpg.make`: a batch of native environments from an id, or from an environment of the user's own."""

import copy as copying
import functools
import re
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode

from fastpg import _check
from fastpg.envs.custom.custom import CustomEnv
from fastpg.envs.native.finite import FiniteMDP
from fastpg.envs.native.registry import EnvLike, native_env
from fastpg.envs.native.vector import AUTORESET_MODES, Autoreset, VectorEnv


def make(
    env_id: EnvLike,
    num_envs: int = 1,
    *,
    autoreset: Autoreset | AutoresetMode = "next_step",
    copy: bool = True,
    seed: int | None = None,
    render_mode: str | None = None,
    max_episode_steps: int | None = None,
    **params: Any,
) -> VectorEnv:
    """Make a batch of native environments.

    ``gymnasium.make_vec("fastpg/<env_id>", num_envs=..., ...)`` makes the same, once fastpg is imported.

    Parameters
    ----------
    env_id : str, fastpg.exact.FiniteMDP, or what jit_env or load_env made
        One of `fastpg.list_envs()`; or an environment given as arrays, or as compiled functions.
    num_envs : int
        How many environments, N.
    autoreset : {"next_step", "same_step", "disabled"} or gymnasium.vector.AutoresetMode
        What happens to an environment whose episode has ended (see `VectorEnv`).
    copy : bool
        False returns the same arrays from every `step`, overwritten in place: faster, for those who read them
        before the next step.
    seed : int, optional
        As in `VectorEnv.reset`, for the first reset that is not given one.
    render_mode : {"rgb_array"}, optional
        Needs what Gymnasium's own renderer needs (pygame).
    max_episode_steps : int, optional
        The time limit, 0 for none. By default the one under which Gymnasium registers the id.
    **params
        What Gymnasium's own constructor takes, and for Acrobot-v1 `book_or_nips` and `torque_noise_max`; the
        params of a `jit_env`.

    Returns
    -------
    VectorEnv

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range.

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
    mode = _autoreset(where, autoreset)
    copy = _check.boolean(where, "copy", copy)
    if seed is not None:
        seed = _check.seed(where, seed)
    if max_episode_steps is not None:
        max_episode_steps = _check.integer(where, "max_episode_steps", max_episode_steps, 0, 2**31 - 1)
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


def _autoreset(where: str, value: Any) -> Autoreset:
    for name, mode in AUTORESET_MODES.items():
        if isinstance(value, str | AutoresetMode) and value in (name, mode, mode.value):
            return name
    _check.choice(where, "autoreset", value, tuple(AUTORESET_MODES))
    raise AssertionError  # choice() has raised
