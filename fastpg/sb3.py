"""Native environments for Stable-Baselines3, which calls a batch of environments a VecEnv.

This file needs stable_baselines3, and nothing else in fastpg does: `import fastpg` does not import it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from gymnasium.spaces import Tuple
from numpy.typing import NDArray

from fastpg import _check
from fastpg.envs import MujocoEnv, VectorEnv, make
from fastpg.envs.native.registry import EnvLike

if TYPE_CHECKING:
    VecEnv = Any  # so that types are checked alike with and without it
else:
    try:
        from stable_baselines3.common.vec_env import VecEnv
    except ImportError as error:
        raise ImportError(
            "fastpg.sb3 needs Stable-Baselines3, which is not installed: pip install stable-baselines3"
        ) from error

__all__ = ["SB3VecEnv", "as_vec_env"]

Indices = int | Iterable[int] | None


def as_vec_env(
    env: VectorEnv | MujocoEnv | EnvLike | type[MujocoEnv], num_envs: int | None = None, **kwargs: Any
) -> "SB3VecEnv":
    """Make what Stable-Baselines3's algorithms and wrappers take.

    Parameters
    ----------
    env : VectorEnv, MujocoEnv, or what `fastpg.make` takes
        One of `fastpg.make` with ``autoreset="same_step"``, or what `fastpg.make` takes.
    num_envs : int, optional
        How many environments, 1 by default; not with a VectorEnv.
    **kwargs
        As in `fastpg.make`; not with a VectorEnv.

    Returns
    -------
    SB3VecEnv

    Raises
    ------
    TypeError, ValueError
        An argument is of the wrong kind or out of range, or env does not reset itself as SB3 expects.

    Examples
    --------
    >>> from fastpg.sb3 import as_vec_env
    >>> env = as_vec_env("CartPole-v1", num_envs=4, seed=0)
    >>> env.reset().shape
    (4, 4)
    >>> obs, rewards, dones, infos = env.step(np.array([0, 1, 0, 1]))
    >>> infos[0]
    {'TimeLimit.truncated': False}
    """
    where = "as_vec_env()"
    if isinstance(env, EnvLike | type):
        if kwargs.get("autoreset", "same_step") != "same_step":
            raise ValueError(
                f"{where}: autoreset must be 'same_step', which Stable-Baselines3 expects, "
                f"got {_check.shown(kwargs['autoreset'])}; leave it out"
            )
        return SB3VecEnv(
            make(env, 1 if num_envs is None else num_envs, **(kwargs | {"autoreset": "same_step"}))
        )
    if not isinstance(env, VectorEnv | MujocoEnv):
        raise TypeError(
            f"{where}: env must be a fastpg.VectorEnv, an id, or an environment that FiniteMDP, jit_env or "
            f"load_env made, got {_check.shown(env)}"
        )
    given = sorted({**kwargs, **({} if num_envs is None else {"num_envs": num_envs})})
    if given:
        raise TypeError(f"{where}: {given[0]} goes with an id; the VectorEnv that was passed has its own")
    return SB3VecEnv(env)


class SB3VecEnv(VecEnv):  # type: ignore[misc]  # Any to mypy
    """A `VectorEnv` behind Stable-Baselines3's interface; `as_vec_env` makes one.

    Steps give the infos of its DummyVecEnv: "TimeLimit.truncated" always, "terminal_observation" when an
    episode has ended, and what the environment adds.

    Parameters
    ----------
    env : VectorEnv or MujocoEnv
        Made with ``autoreset="same_step"``.

    Attributes
    ----------
    vector_env : VectorEnv or MujocoEnv
    """

    def __init__(self, env: VectorEnv | MujocoEnv) -> None:
        mode = env.metadata["autoreset_mode"].name.lower()
        if mode != "same_step":
            raise ValueError(
                "as_vec_env(): Stable-Baselines3 expects a reset in the step that ends an episode; env has "
                f"autoreset={mode!r}; make it with fastpg.make(..., autoreset='same_step')"
            )
        if isinstance(env.single_observation_space, Tuple):
            raise ValueError(
                "as_vec_env(): Stable-Baselines3 has no Tuple observations, which "
                f"{env.spec.id if env.spec else 'this environment'} has"
            )
        self.vector_env = env
        self._actions: NDArray[Any] | None = None
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Begin an episode in every environment, with what `seed` and `set_options` have been given."""
        seed: Any = None if all(one is None for one in self._seeds) else self._seeds
        options: Mapping[str, Any] = self._options[0]
        if any(one != options for one in self._options):
            raise ValueError("reset(): the environments of a fastpg.VectorEnv share their options")
        obs, infos = self.vector_env.reset(seed=seed, options=options)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = _rows(infos, self.num_envs)
        return self._kept(obs)

    def step_async(self, actions: NDArray[Any]) -> None:
        """Take note of the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Step, and return observations, float32 rewards, dones and one info per environment."""
        obs, rewards, terminated, truncated, infos = self.vector_env.step(self._actions)
        final_obs = infos.pop("final_obs", None)
        final_infos = infos.pop("final_info", {})
        for name in ("_final_obs", "_final_info"):
            infos.pop(name, None)
        dones = terminated | truncated
        rows = _rows(infos, self.num_envs)
        for row in rows:
            row["TimeLimit.truncated"] = False
        if final_obs is not None:
            ended = np.flatnonzero(dones).tolist()
            finals = _rows(final_infos, self.num_envs)
            for i in ended:
                self.reset_infos[i] = {name: value for name, value in rows[i].items() if name in infos}
                rows[i] = finals[i] | {
                    "TimeLimit.truncated": bool(truncated[i] and not terminated[i]),
                    "terminal_observation": final_obs[i],
                }
        return self._kept(obs), rewards.astype(np.float32), dones, rows

    def _kept(self, obs: NDArray[Any]) -> NDArray[Any]:
        """Return observations that stay: SB3 stores them after the next step."""
        return obs if self.vector_env.copy else obs.copy()

    def close(self) -> None:
        """Close the environments."""
        self.vector_env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """Return one image per environment."""
        return self.vector_env.render() or [None] * self.num_envs

    # SB3 asks each environment for attributes and methods; these are those of the VectorEnv for all of them.

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return an attribute of the `VectorEnv`, once per environment."""
        value = getattr(self.vector_env, attr_name)
        return [value for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of the `VectorEnv`, which all environments share."""
        self._require_all("set_attr()", indices)
        setattr(self.vector_env, attr_name, value)

    def env_method(
        self,
        method_name: str,
        *method_args: Any,
        indices: Indices = None,
        **method_kwargs: Any,
    ) -> list[Any]:
        """Call a method of the `VectorEnv`, once, and return its result once per environment."""
        self._require_all("env_method()", indices)
        result = getattr(self.vector_env, method_name)(*method_args, **method_kwargs)
        return [result] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Indices = None) -> list[bool]:
        """Return False for every environment: native ones have no wrappers."""
        return [False for _ in self._get_indices(indices)]

    def _require_all(self, where: str, indices: Indices) -> None:
        if indices is not None and sorted(self._get_indices(indices)) != list(range(self.num_envs)):
            raise ValueError(
                f"{where}: the environments of a fastpg.VectorEnv share them; indices must be None"
            )


def _rows(infos: Mapping[str, Any], num_envs: int) -> list[dict[str, Any]]:
    """Return one dict per environment of a batch's infos, with Python's numbers."""
    rows: list[dict[str, Any]] = [{} for _ in range(num_envs)]
    for name, values in infos.items():
        if not name.startswith("_"):
            listed = values.tolist() if values.ndim == 1 else list(values)
            for i in np.flatnonzero(infos[f"_{name}"]).tolist():
                rows[i][name] = listed[i]
    return rows
