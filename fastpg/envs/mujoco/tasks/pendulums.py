"""Poles on a cart: InvertedPendulum and InvertedDoublePendulum."""

import numpy as np

from fastpg.envs.mujoco.data import Data, once
from fastpg.envs.mujoco.tasks.task import Array, Task


class InvertedPendulum(Task):
    """A cart balances a pole."""

    env_id = "InvertedPendulum-v5"

    def observe(self, data: Data) -> Array:
        """Return positions and velocities of the cart and the pole."""
        return np.concatenate([data.qpos, data.qvel], axis=1)

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Reward every step that does not end the episode."""
        survive = (~self.terminated(data)).astype(np.int64)
        return survive, {"reward_survive": survive}

    @once
    def terminated(self, data: Data) -> Array:
        """Return whose pole has fallen."""
        finite = np.isfinite(self.observe(data)).all(axis=1)
        return ~finite | (np.abs(data.qpos[:, 1]) > 0.2)


class InvertedDoublePendulum(Task):
    """A cart balances a pole on a pole."""

    env_id = "InvertedDoublePendulum-v5"
    healthy_reward: float

    def observe(self, data: Data) -> Array:
        """Return the cart's place, angles as sines and cosines, velocities, the force that holds the cart."""
        angles = data.qpos[:, 1:]
        velocity, force = np.clip(data.qvel, -10, 10), np.clip(data.qfrc_constraint, -10, 10)[:, :1]
        return np.concatenate([data.qpos[:, :1], np.sin(angles), np.cos(angles), velocity, force], axis=1)

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Reward survival; pay for the tip's distance from its highest place and for velocities."""
        x, _, y = data.site_xpos[:, 0].T
        v1, v2 = data.qvel[:, 1:3].T
        distance = 0.01 * x**2 + (y - 2) ** 2
        velocity = 1e-3 * v1**2 + 5e-3 * v2**2
        alive = self.healthy_reward * ~self.terminated(data)
        terms = {"reward_survive": alive, "distance_penalty": -distance, "velocity_penalty": -velocity}
        return alive - distance - velocity, terms

    @once
    def terminated(self, data: Data) -> Array:
        """Return whose tip is too low."""
        return data.site_xpos[:, 0, 2] <= 1

    def initial_state(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw around the upright state."""
        return self.with_normal_velocities(rng)
