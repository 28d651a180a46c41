"""What a `VectorEnv` returns: the core's arrays, in the form of Gymnasium's spaces and infos."""

from typing import Any, NamedTuple

import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple
from numpy.typing import NDArray

from fastpg.envs.native.registry import NativeEnv


class Arrays(NamedTuple):
    """What one step writes."""

    obs: NDArray[Any]
    rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    bound: tuple[Any, ...]  # these, and the others that the core wants, as _core.Vector.bind takes them


class Results:
    """Makes the arrays that the core writes to, and of them what `reset` and `step` return.

    Attributes
    ----------
    has_infos : bool
        Whether Gymnasium's environment has infos.
    reset_prob_type : type
        Of info["prob"] after a reset: Gymnasium says 1 or 1.0, depending on the environment.
    state_shape : tuple of int
        Of the states of all environments.
    """

    def __init__(self, env: NativeEnv, num_envs: int, autoreset: str) -> None:
        self._num_envs = num_envs
        self._core = env.core
        self._space = env.observation_space
        self._autoreset = autoreset
        # Where Gymnasium's environment has infos: what they are, by name, in each state of the table.
        self._has_prob = env.spec.prob_info
        self._state_infos = env.spec.infos(env.original) if env.spec.infos else {}
        self.has_infos = self._has_prob or bool(self._state_infos)
        self.reset_prob_type: Any = type(env.original.reset()[1]["prob"]) if self._has_prob else float
        self.state_shape = num_envs, env.core.state_size
        self._num_categories = sum(env.core.action_categories)

    def empty_obs(self) -> NDArray[Any]:
        """Return memory for one observation of each environment, as the core writes them."""
        size = self._core.obs_size
        if self._core.obs_categories:
            return np.empty((size, self._num_envs), np.int64)
        return np.empty((self._num_envs, size), np.float32)

    def new_arrays(self) -> Arrays:
        """Make the arrays that a step writes to."""
        final_obs = final_state = None
        if self._autoreset == "same_step":
            final_obs = self.empty_obs()
            final_state = np.empty(self.state_shape) if self.has_infos else None
        flags = np.empty((2, self._num_envs), np.uint8)
        obs, rewards = self.empty_obs(), np.empty(self._num_envs)
        terminated, truncated = flags.view(np.bool_)
        bound = obs, final_obs, final_state, rewards, flags
        return Arrays(obs, rewards, terminated, truncated, bound)

    def observations(self, obs: NDArray[Any]) -> Any:
        """Return the core's array in the form of `observation_space`."""
        space = self._space
        if isinstance(space, Box):
            return obs
        if isinstance(space, Discrete):
            return obs[0]
        if isinstance(space, Tuple):
            return tuple(obs)
        assert isinstance(space, MultiDiscrete)
        return np.ascontiguousarray(obs.T)

    @staticmethod
    def one(observations: Any, i: int) -> Any:
        """Return environment i's observation out of a batch's, as Gymnasium's single environments have it."""
        if isinstance(observations, tuple):
            return tuple(int(part[i]) for part in observations)
        return observations[i].copy() if observations.ndim > 1 else int(observations[i])

    def infos(
        self, states: NDArray[np.float64], chosen: NDArray[np.bool_] | None = None, prob_type: Any = float
    ) -> dict[str, Any]:
        """Return what Gymnasium's infos say in these states, with 0 and a mask for who is not chosen."""
        if chosen is None:
            chosen = np.ones(self._num_envs, np.bool_)
        infos: dict[str, Any] = {}
        if self._has_prob:
            infos["prob"] = np.where(chosen, states[:, 1], 0.0).astype(prob_type)
        numbers = np.where(chosen, states[:, 0], 0.0).astype(np.intp)
        for name, values in self._state_infos.items():
            infos[name] = values[numbers]
            infos[name][~chosen] = 0
        for name in tuple(infos):
            infos[f"_{name}"] = chosen.copy()
        return infos

    def empty_action_mask(self) -> NDArray[np.uint8]:
        """Return memory for the masks of environments of the user's own that have one."""
        return np.empty((self._num_envs, self._num_categories), np.uint8)

    def mask_infos(self, mask: NDArray[np.uint8], chosen: NDArray[np.bool_] | None = None) -> dict[str, Any]:
        """Return such masks as Gymnasium's infos have them, with 0 for who is not chosen."""
        if chosen is None:
            chosen = np.ones(self._num_envs, np.bool_)
        mask[~chosen] = 0
        return {"action_mask": mask.view(np.int8), "_action_mask": chosen.copy()}

    def add_final(self, infos: dict[str, Any], done: NDArray[np.bool_], bound: tuple[Any, ...]) -> None:
        """Add to a step's infos what "same_step" has of the episodes that ended."""
        if not done.any():
            return
        _, final_obs, final_state, _, _ = bound
        objects = np.full(self._num_envs, None, dtype=object)
        finals = self.observations(final_obs)
        for i in np.flatnonzero(done).tolist():
            objects[i] = self.one(finals, i)
        final_info = {} if final_state is None else self.infos(final_state, done)
        infos.update(final_obs=objects, _final_obs=done, final_info=final_info, _final_info=done.copy())
