"""Ant: four legs in three dimensions."""

import numpy as np

from fastpg.envs.mujoco.data import Data, once
from fastpg.envs.mujoco.tasks.task import Array, Task, norm, sum_of_squares


class Ant(Task):
    """A body with four legs walks."""

    env_id = "Ant-v5"
    forward_reward_weight: float
    ctrl_cost_weight: float
    contact_cost_weight: float
    healthy_reward: float
    main_body: int | str
    terminate_when_unhealthy: bool
    healthy_z_range: tuple[float, float]
    contact_force_range: tuple[float, float]
    exclude_current_positions_from_observation: bool
    include_cfrc_ext_in_observation: bool

    def observe(self, data: Data) -> Array:
        """Return positions, velocities and contact forces."""
        skipped = 2 * self.exclude_current_positions_from_observation
        parts = [data.qpos[:, skipped:], data.qvel]
        if self.include_cfrc_ext_in_observation:
            parts.append(self._forces(data)[:, 1:].reshape(self.num_envs, -1))
        return np.concatenate(parts, axis=1)

    def before(self, data: Data) -> Array:
        """Return where the body is."""
        return self._place(data)

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Reward speed and being healthy; pay for torques and contact forces."""
        x_velocity, y_velocity = ((self._place(data) - before) / self.dt).T
        forward = x_velocity * self.forward_reward_weight
        survive = self._healthy(data) * self.healthy_reward
        ctrl = self.ctrl_cost_weight * np.square(actions).sum(axis=1)
        contact = self.contact_cost_weight * sum_of_squares(self._forces(data))
        return forward + survive - (ctrl + contact), {
            "x_velocity": x_velocity,
            "y_velocity": y_velocity,
            "reward_forward": forward,
            "reward_ctrl": -ctrl,
            "reward_contact": -contact,
            "reward_survive": survive,
        }

    def terminated(self, data: Data) -> Array:
        """Return who has fallen or jumped."""
        return ~self._healthy(data) & self.terminate_when_unhealthy

    def info(self, data: Data) -> dict[str, Array]:
        """Return the place."""
        x, y = data.qpos[:, 0], data.qpos[:, 1]
        return {"x_position": x, "y_position": y, "distance_from_origin": norm(data.qpos[:, :2])}

    def initial_state(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw around the standing state."""
        return self.with_normal_velocities(rng)

    @once
    def _place(self, data: Data) -> Array:
        return data.xpos[:, self.model.body(self.main_body).id, :2]

    @once
    def _forces(self, data: Data) -> Array:
        return np.clip(data.cfrc_ext, *self.contact_force_range)

    @once
    def _healthy(self, data: Data) -> Array:
        finite = np.isfinite(data.qpos).all(axis=1) & np.isfinite(data.qvel).all(axis=1)
        low, high = self.healthy_z_range
        return finite & (low <= data.qpos[:, 2]) & (data.qpos[:, 2] <= high)
