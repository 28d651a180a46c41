"""Bodies that run or swim in a plane: HalfCheetah, Hopper, Walker2d and Swimmer."""

import numpy as np

from fastpg.envs.mujoco.data import Data, once
from fastpg.envs.mujoco.tasks.task import Array, Task, norm


class Runner(Task):
    """What is rewarded for its speed along x."""

    forward_reward_weight: float
    ctrl_cost_weight: float
    exclude_current_positions_from_observation: bool
    skipped = 1  # positions that are not observed

    def observe(self, data: Data) -> Array:
        """Return positions and velocities."""
        skipped = self.skipped * self.exclude_current_positions_from_observation
        return np.concatenate([data.qpos[:, skipped:], self.velocities(data)], axis=1)

    def velocities(self, data: Data) -> Array:
        """Return the velocities that are observed."""
        return data.qvel

    def run(self, before: Array, data: Data, actions: Array) -> tuple[Array, Array, dict[str, Array]]:
        """Return the reward of the speed, the cost of controls, and both as infos."""
        speed = (data.qpos[:, 0] - before[:, 0]) / self.dt
        forward = self.forward_reward_weight * speed
        cost = self.ctrl_cost_weight * np.square(actions).sum(axis=1)
        return forward, cost, {"x_velocity": speed, "reward_forward": forward, "reward_ctrl": -cost}


class HalfCheetah(Runner):
    """A two-legged half of a cheetah runs."""

    env_id = "HalfCheetah-v5"

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Reward speed; pay for torques."""
        forward, cost, terms = self.run(before, data, actions)
        return forward - cost, terms

    def info(self, data: Data) -> dict[str, Array]:
        """Return the place."""
        return {"x_position": data.qpos[:, 0]}

    def initial_state(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw around the standing state."""
        return self.with_normal_velocities(rng)


class Swimmer(Runner):
    """Three links swim in a viscous fluid."""

    env_id = "Swimmer-v5"
    skipped = 2

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Reward speed; pay for torques."""
        forward, cost, terms = self.run(before, data, actions)
        sideways = (data.qpos[:, 1] - before[:, 1]) / self.dt
        return forward - cost, terms | {"y_velocity": sideways}

    def info(self, data: Data) -> dict[str, Array]:
        """Return the place."""
        x, y = data.qpos[:, 0], data.qpos[:, 1]
        return {"x_position": x, "y_position": y, "distance_from_origin": norm(data.qpos[:, :2])}


class Legged(Runner):
    """What falls, and then ends its episode."""

    healthy_reward: float
    terminate_when_unhealthy: bool
    healthy_z_range: tuple[float, float]
    healthy_angle_range: tuple[float, float]

    def velocities(self, data: Data) -> Array:
        """Return the velocities that are observed."""
        return np.clip(data.qvel, -10, 10)

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Reward speed and being healthy; pay for torques."""
        forward, cost, terms = self.run(before, data, actions)
        survive = self._healthy(data) * self.healthy_reward
        return forward + survive - cost, terms | {"reward_survive": survive}

    def terminated(self, data: Data) -> Array:
        """Return who has fallen."""
        return ~self._healthy(data) & self.terminate_when_unhealthy

    @once
    def _healthy(self, data: Data) -> Array:
        return self.healthy(data)

    def healthy(self, data: Data) -> Array:
        """Return whose height and angle are those of somebody who stands, (N,) bools."""
        return within(data.qpos[:, 1], self.healthy_z_range) & within(
            data.qpos[:, 2], self.healthy_angle_range
        )

    def info(self, data: Data) -> dict[str, Array]:
        """Return the place and how far it is above or below the first one."""
        return {
            "x_position": data.qpos[:, 0],
            "z_distance_from_origin": data.qpos[:, 1] - self.initial_qpos[1],
        }


class Hopper(Legged):
    """One leg hops."""

    env_id = "Hopper-v5"
    healthy_state_range: tuple[float, float]

    def healthy(self, data: Data) -> Array:
        """Return who stands and has no state out of range."""
        others = np.concatenate([data.qpos[:, 2:], data.qvel], axis=1)
        return within(others, self.healthy_state_range).all(axis=1) & super().healthy(data)


class Walker2d(Legged):
    """Two legs walk."""

    env_id = "Walker2d-v5"


def within(values: Array, limits: tuple[float, float]) -> Array:
    """Return which values lie between the limits."""
    return (limits[0] < values) & (values < limits[1])
