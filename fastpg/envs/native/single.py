"""One native environment behind Gymnasium's plain interface: for debugging, videos, checkers."""

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from fastpg.envs.native.make import make


class SingleEnv(gymnasium.Env[Any, Any]):
    """What ``gymnasium.make("fastpg/CartPole-v1")`` makes: a `VectorEnv` of one, without its time limit.

    Throughput needs many environments at once: `fastpg.make`.

    Parameters
    ----------
    env_id : str
        One of `fastpg.list_envs()`.
    render_mode : {"rgb_array"}, optional
    **params
        As in `fastpg.make`.

    Examples
    --------
    >>> import gymnasium
    >>> env = gymnasium.make("fastpg/CartPole-v1")
    >>> obs, info = env.reset(seed=0)
    >>> obs.shape
    (4,)
    """

    metadata = {"render_modes": ["rgb_array"]}  # noqa: RUF012  # gymnasium.make reads the class

    def __init__(self, env_id: str, *, render_mode: str | None = None, **params: Any) -> None:
        self._batch = make(
            env_id, 1, autoreset="disabled", max_episode_steps=0, render_mode=render_mode, **params
        )
        self.render_mode = render_mode
        self.metadata = {key: self._batch.metadata[key] for key in ("render_modes", "render_fps")}
        self.observation_space = self._batch.single_observation_space
        self.action_space = self._batch.single_action_space

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[Any, Any]:
        """Begin an episode; as `VectorEnv.reset`."""
        super().reset(seed=seed)
        obs, infos = self._batch.reset(seed=seed, options=options)
        return _first(obs), _first_infos(infos)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take an action; as `VectorEnv.step`."""
        obs, rewards, terminated, _, infos = self._batch.step(np.asarray(action)[None])
        return _first(obs), float(rewards[0]), bool(terminated[0]), False, _first_infos(infos)

    def render(self) -> Any:
        """Return an image of the state, uint8 (height, width, 3)."""
        frames = self._batch.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Close the environment."""
        self._batch.close()


def _first(obs: Any) -> Any:
    if isinstance(obs, tuple):
        return tuple(int(part[0]) for part in obs)
    return obs[0] if obs.ndim > 1 else int(obs[0])


def _first_infos(infos: dict[str, Any]) -> dict[str, Any]:
    return {name: _plain(values[0]) for name, values in infos.items() if not name.startswith("_")}


def _plain(value: Any) -> Any:
    """Return Python's own number for one of NumPy's."""
    return value.item() if isinstance(value, np.generic) else value
