"""Humanoid and HumanoidStandup: a body of 17 motors walks, or gets up."""

import numpy as np

from fastpg.envs.mujoco.data import Data, once
from fastpg.envs.mujoco.tasks.planar import within
from fastpg.envs.mujoco.tasks.task import Array, Task, norm, sum_of_squares


class Person(Task):
    """What both tasks observe."""

    ctrl_cost_weight: float
    exclude_current_positions_from_observation: bool
    include_cinert_in_observation: bool
    include_cvel_in_observation: bool
    include_qfrc_actuator_in_observation: bool
    include_cfrc_ext_in_observation: bool

    def observe(self, data: Data) -> Array:
        """Return positions, velocities, inertias, the bodies' velocities, motor forces and contact forces."""
        skipped = 2 * self.exclude_current_positions_from_observation
        parts = [data.qpos[:, skipped:], data.qvel]
        if self.include_cinert_in_observation:
            parts.append(data.cinert[:, 1:])
        if self.include_cvel_in_observation:
            parts.append(data.cvel[:, 1:])
        if self.include_qfrc_actuator_in_observation:
            parts.append(data.qfrc_actuator[:, 6:])
        if self.include_cfrc_ext_in_observation:
            parts.append(data.cfrc_ext[:, 1:])
        return np.concatenate([part.reshape(self.num_envs, -1) for part in parts], axis=1)

    def info(self, data: Data) -> dict[str, Array]:
        """Return the place and the tendons."""
        return {
            "x_position": data.qpos[:, 0],
            "y_position": data.qpos[:, 1],
            "tendon_length": data.ten_length,
            "tendon_velocity": data.ten_velocity,
        }


class Humanoid(Person):
    """A body of 17 motors walks."""

    env_id = "Humanoid-v5"
    forward_reward_weight: float
    contact_cost_weight: float
    contact_cost_range: tuple[float, float]
    healthy_reward: float
    terminate_when_unhealthy: bool
    healthy_z_range: tuple[float, float]

    def before(self, data: Data) -> Array:
        """Return where the centre of mass is."""
        return self._centre(data)

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Reward speed and being upright; pay for torques and contact forces."""
        x_velocity, y_velocity = ((self._centre(data) - before) / self.dt).T
        forward = self.forward_reward_weight * x_velocity
        survive = self._healthy(data) * self.healthy_reward
        ctrl = self.ctrl_cost_weight * sum_of_squares(data.ctrl)
        contact = np.clip(self.contact_cost_weight * sum_of_squares(data.cfrc_ext), *self.contact_cost_range)
        return forward + survive - (ctrl + contact), {
            "x_velocity": x_velocity,
            "y_velocity": y_velocity,
            "reward_survive": survive,
            "reward_forward": forward,
            "reward_ctrl": -ctrl,
            "reward_contact": -contact,
        }

    def terminated(self, data: Data) -> Array:
        """Return who has fallen."""
        return ~self._healthy(data) & self.terminate_when_unhealthy

    def info(self, data: Data) -> dict[str, Array]:
        """Return the place and the tendons."""
        return super().info(data) | {"distance_from_origin": norm(data.qpos[:, :2])}

    @once
    def _centre(self, data: Data) -> Array:
        mass = self.model.body_mass[:, None]
        return ((mass * data.xipos).sum(axis=1) / mass.sum())[:, :2]

    @once
    def _healthy(self, data: Data) -> Array:
        return within(data.qpos[:, 2], self.healthy_z_range)


class HumanoidStandup(Person):
    """A body of 17 motors gets up from the ground."""

    env_id = "HumanoidStandup-v5"
    impact_cost_weight: float
    impact_cost_range: tuple[float, float]

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Reward height; pay for torques and impacts."""
        height = data.qpos[:, 2] / self.model.opt.timestep
        ctrl = self.ctrl_cost_weight * sum_of_squares(data.ctrl)
        impact = np.clip(self.impact_cost_weight * sum_of_squares(data.cfrc_ext), *self.impact_cost_range)
        terms = {"reward_linup": height, "reward_quadctrl": -ctrl, "reward_impact": -impact}
        return height - ctrl - impact + 1, terms

    def info(self, data: Data) -> dict[str, Array]:
        """Return the place, the height above the first one, and the tendons."""
        return super().info(data) | {"z_distance_from_origin": data.qpos[:, 2] - self.initial_qpos[2]}
