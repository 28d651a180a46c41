"""What Gymnasium's MuJoCo tasks share: models, parameters and their defaults are those of its classes."""

import inspect
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.envs.registration import load_env_creator
from numpy.typing import NDArray

from fastpg import _check
from fastpg.envs.autoreset import Autoreset, AutoresetMode
from fastpg.envs.mujoco.engine import require
from fastpg.envs.mujoco.env import MujocoEnv

Array = NDArray[Any]


class Task(MujocoEnv):
    """One of Gymnasium's tasks, under its id.

    A class names the parameters of Gymnasium's that its formulas read: they become attributes. The formulas
    are Gymnasium's in its order of operations, so that results are the same to the bit.
    """

    env_id: ClassVar[str]
    reset_noise_scale: float

    def __init__(
        self,
        num_envs: int = 1,
        *,
        autoreset: Autoreset | AutoresetMode = "next_step",
        seed: int | None = None,
        render_mode: str | None = None,
        max_episode_steps: int | None = None,
        **params: Any,
    ) -> None:
        self.closed = True
        where = f"{type(self).__name__}()"
        require(where, self.env_id)
        from gymnasium.envs.mujoco.mujoco_env import MujocoEnv as Theirs
        from gymnasium.envs.mujoco.mujoco_env import expand_model_path

        spec = gymnasium.spec(self.env_id)
        assert isinstance(spec.entry_point, str)
        defaults = _defaults(load_env_creator(spec.entry_point))
        for_renderer = {name for name in _defaults(Theirs) if name != "render_mode"} - set(defaults)
        unknown = sorted(set(params) - set(defaults) - for_renderer)
        if unknown:
            names = ", ".join([*defaults, *sorted(for_renderer)])
            raise TypeError(f"{where}: unexpected argument {unknown[0]!r}; the parameters are: {names}")
        values = {
            name: _parameter(where, name, params[name], default) if name in params else default
            for name, default in defaults.items()
        }
        for name in ("xml_file", "frame_skip", "default_camera_config"):
            params[name] = values.pop(name)
        for name, value in values.items():
            setattr(self, name, value)
        try:
            path = expand_model_path(params.pop("xml_file"))
        except OSError as error:
            raise FileNotFoundError(f"{where}: xml_file: {error}") from error
        if max_episode_steps is None:
            max_episode_steps = spec.max_episode_steps or 0
        for_base = {name: value for name, value in params.items() if name not in values}
        super().__init__(
            path, num_envs, autoreset=autoreset, seed=seed, render_mode=render_mode,
            max_episode_steps=max_episode_steps, **for_base,
        )  # fmt: skip

    def initial_state(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw around the model's own state: uniform noise."""
        scale = self.reset_noise_scale
        qpos = self.initial_qpos + rng.uniform(-scale, scale, self.model.nq)
        return qpos, self.initial_qvel + rng.uniform(-scale, scale, self.model.nv)

    def with_normal_velocities(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw around the model's own state: uniform noise of positions, normal noise of velocities."""
        scale = self.reset_noise_scale
        qpos = self.initial_qpos + rng.uniform(-scale, scale, self.model.nq)
        return qpos, self.initial_qvel + scale * rng.standard_normal(self.model.nv)


def norm(vectors: Array) -> Array:
    """Return Euclidean lengths (N,) of vectors (N, k), as `numpy.linalg.norm` has them of one vector."""
    return np.sqrt(np.matmul(vectors[:, None, :], vectors[:, :, None])[:, 0, 0])


def sum_of_squares(array: Array) -> Array:
    """Return the sum of squares of each row of (N, ...), (N,)."""
    return np.square(array).reshape(len(array), -1).sum(axis=1)


def _defaults(creator: Any) -> dict[str, Any]:
    """Return the arguments with a default of a class's constructor."""
    parameters = inspect.signature(creator).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not one.empty}


def _parameter(where: str, name: str, value: Any, default: Any) -> Any:
    """Check a parameter by the kind of its default."""
    if isinstance(default, bool):
        return _check.boolean(where, name, value)
    if name in ("default_camera_config", "frame_skip"):  # checked where they are used
        return value
    if name == "main_body" and isinstance(value, str):
        return value
    if isinstance(default, str):
        if not isinstance(value, str):
            raise TypeError(f"{where}: {name} must be a string, got {_check.shown(value)}")
        return value
    if isinstance(default, tuple):
        if not isinstance(value, tuple | list | np.ndarray) or len(value) != 2:
            raise TypeError(f"{where}: {name} must be a pair of numbers, got {_check.shown(value)}")
        return tuple(_check.real(where, f"{name}[{i}]", end, "[-inf, inf]") for i, end in enumerate(value))
    if name == "main_body":
        return _check.integer(where, name, value, 0)
    return _check.real(where, name, value, "(-inf, inf)")
