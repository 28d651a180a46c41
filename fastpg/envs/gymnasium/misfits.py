"""What to say where Gymnasium's copies of an environment trip over what one of them has returned."""

import traceback
from typing import Any

import numpy as np
from gymnasium.error import Error
from gymnasium.vector import SyncVectorEnv, VectorEnv

from fastpg import _check

RETURNED = {
    "reset": "reset(seed=None, options=None) must return an observation of its space and a dict",
    "step": "step(action) must return an observation of its space, reward, terminated, truncated and a dict",
}


def misfit(label: str, env: VectorEnv[Any, Any, Any], method: str, error: Exception) -> ValueError | None:
    """Return what to raise for an error of a step or a reset; None where the environment itself has failed.

    Gymnasium unpacks and stacks what environments return without a word of its own.
    """
    if not isinstance(env.unwrapped, SyncVectorEnv) or isinstance(error, Error):
        return None
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    raised_in = [name for name in frames if name.partition(".")[0] not in ("numpy", "functools")][-1]
    if not raised_in.startswith(("gymnasium.vector.", "gymnasium.core", "gymnasium.wrappers.")):
        return None
    space = env.single_observation_space.shape
    for i, obs in enumerate(getattr(env.unwrapped, "_env_obs", ())):
        if isinstance(obs, np.ndarray) and obs.shape != (obs.shape if space is None else space):
            return ValueError(
                f"{label}: environment {i} returned an observation of shape {obs.shape}, and its "
                f"observation_space has shape {space}"
            )
    return ValueError(
        f"{label}: an environment's {RETURNED[method]}, but Gymnasium could not read what it returned "
        f"({type(error).__name__}: {_check.line(error)}); gymnasium.utils.env_checker.check_env(env) looks "
        "at one environment"
    )
