"""What an environment is, as a short text: a run goes on in the environment that it was begun in."""

import hashlib
import json
from typing import Any

import numpy as np

from fastpg import spaces
from fastpg.envs.custom.custom import CustomEnv
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.native.registry import NativeEnv


def fingerprint(where: str, env_id: Any, env: NativeEnv | GymnasiumEnv) -> str:
    """Return a hash of all that decides an environment's steps, as far as it can be read.

    Of a native environment that is its kernel's name, parameters, limit and tables; of a jit environment the
    functions and what they refer to; of a C environment the library's bytes; of Gymnasium's its id, spaces.
    """
    told: list[Any] = [spaces.to_json(env.observation_space), spaces.to_json(env.action_space)]
    arrays: list[Any] = []
    if isinstance(env, NativeEnv):
        told += [env.core.name, env.core.max_episode_steps, list(map(float.hex, env.settings))]
        arrays = [one for one in env.core.table or () if one is not None]  # there may be no action mask
    else:
        told.append(env.id)
    if isinstance(env_id, CustomEnv):
        told.append(env_id.fingerprint(where))
    total = hashlib.sha256(json.dumps(told).encode())
    for one in arrays:
        array = np.asarray(one)
        total.update(f"\n{array.dtype.str} {array.shape}\n".encode())
        total.update(array.tobytes())
    return total.hexdigest()
