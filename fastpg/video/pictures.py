"""Single environments that are seen: made for Gymnasium's renderers, and asked for pictures."""

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator
from numpy.typing import NDArray

from fastpg import _check
from fastpg.envs.autoreset import AutoresetMode
from fastpg.envs.custom.custom import CustomEnv
from fastpg.envs.gymnasium.adapter import GymnasiumEnv
from fastpg.envs.gymnasium.opening import opened
from fastpg.envs.gymnasium.registered import naming, spec_of
from fastpg.envs.mujoco.make import task_of
from fastpg.envs.native.finite import FiniteMDP
from fastpg.envs.native.make import make
from fastpg.envs.native.registry import is_native
from fastpg.errors import EnvError, named

MODE = "rgb_array"
DEFAULT_RATE = 30.0  # steps a second of an environment that does not say what its own are
MIN_RATE, MAX_RATE = 0.01, 1000.0


@contextlib.contextmanager
def seen(
    where: str, env_id: Any, params: Mapping[str, Any], reset_options: Mapping[str, Any] | None
) -> Iterator[GymnasiumEnv]:
    """Open one environment whose `render` returns pictures.

    A native one is fastpg's own, drawn by Gymnasium's renderer; others are single ones of Gymnasium.
    """
    if isinstance(env_id, FiniteMDP | CustomEnv):
        raise ValueError(
            f"{where}: {env_id.name} has no picture: environments of jit_env, load_env and FiniteMDP have no "
            "renderer"
        )
    with contextlib.ExitStack() as stack:
        if is_native(env_id) or (isinstance(env_id, type) and task_of(env_id) is not None):
            with named(where):
                env_id = make(env_id, 1, render_mode=MODE, **params)
            stack.enter_context(contextlib.closing(env_id))
            params = {}
        elif isinstance(env_id, str):
            _check_draws(where, env_id)
            params = {**params, "render_mode": MODE}
        made = isinstance(env_id, gymnasium.vector.VectorEnv)
        how: Any = {} if made else {"num_envs": 1, "vectorization_mode": "sync"}
        env = stack.enter_context(opened(where, env_id, params, reset_options=reset_options, **how))
        assert isinstance(env, GymnasiumEnv)
        if env.num_envs != 1:
            raise ValueError(f"{where}: env_id must be a single environment, got {env.num_envs} in one")
        if getattr(env.env, "render_mode", None) != MODE:
            raise ValueError(
                f"{where}: {env.id} was made without pictures: make it with render_mode={MODE!r}"
            )
        if (env.env.metadata or {}).get("autoreset_mode") is AutoresetMode.NEXT_STEP:
            env.autoreset = AutoresetMode.NEXT_STEP  # fastpg's too, whose resets are asked for elsewhere
        if env.autoreset is not AutoresetMode.NEXT_STEP:
            raise ValueError(
                f"{where}: {env.id} is reset before the end of an episode can be seen: make it with the "
                "autoreset mode NEXT_STEP"
            )
        yield env


def _check_draws(where: str, env_id: str) -> None:
    """Require a class that says that it has pictures, where an id names one."""
    try:
        with naming(where, env_id):
            entry = spec_of(env_id).entry_point
            creator: Any = load_env_creator(entry) if isinstance(entry, str) else entry
    except (TypeError, ValueError, ImportError):
        raise
    except Exception as error:  # of a graphics library that MUJOCO_GL names and that is not there
        raise EnvError(f"{where}: {env_id} cannot be made: {_line(error)}") from error
    modes = (getattr(creator, "metadata", None) or {}).get("render_modes") or ()
    if isinstance(creator, type) and MODE not in modes:
        raise ValueError(f"{where}: {env_id} has no picture: its class has no render mode {MODE!r}")


def rate_of(env: GymnasiumEnv) -> float:
    """Return how many steps a second are as fast as the environment is."""
    rate = (env.env.metadata or {}).get("render_fps")
    if isinstance(rate, int | float | np.number) and MIN_RATE <= rate <= MAX_RATE:
        return float(rate)
    return DEFAULT_RATE


def picture(where: str, env: GymnasiumEnv) -> NDArray[np.uint8]:
    """Return what the environment looks like now, (height, width, 3)."""
    try:
        shown: Any = env.env.render()
    except gymnasium.error.DependencyNotInstalled as error:
        raise ImportError(
            f"{where}: pictures of {env.id} need what is not installed: {_line(error)}; "
            "pip install '.[video]' has it for native environments, '.[mujoco]' for MuJoCo's"
        ) from error
    except Exception as error:  # of a graphics library, each its own
        hint = ""
        if "OpenGL" in str(error) and sys.platform == "linux" and "MUJOCO_GL" not in os.environ:
            hint = "; without a screen MuJoCo draws with MUJOCO_GL=egl, set before Python begins"
        raise EnvError(f"{where}: {env.id} cannot be drawn: {_line(error)}{hint}") from error
    frame = shown[0] if isinstance(shown, tuple | list) and len(shown) == 1 else shown
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.shape[2:] != (3,):
        kind = f"{frame.dtype} {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise ValueError(
            f"{where}: render() of {env.id} must return a picture, uint8 (height, width, 3), got {kind}"
        )
    return frame


def _line(error: Exception) -> str:
    return _check.line(error) or type(error).__name__
