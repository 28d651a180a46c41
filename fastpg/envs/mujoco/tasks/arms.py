"""Arms that reach: Reacher and Pusher."""

import numpy as np

from fastpg.envs.mujoco.data import Data
from fastpg.envs.mujoco.tasks.task import Array, Task, norm


class Reacher(Task):
    """A two-jointed arm moves its fingertip to a target."""

    env_id = "Reacher-v5"
    reward_dist_weight: float
    reward_control_weight: float

    def observe(self, data: Data) -> Array:
        """Return angles, the target, angular velocities and the fingertip's way to the target."""
        theta = data.qpos[:, :2]
        way = self._way(data)[:, :2]
        parts = [np.cos(theta), np.sin(theta), data.qpos[:, 2:], data.qvel[:, :2], way]
        return np.concatenate(parts, axis=1)

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Pay for the distance and for torques."""
        dist = -norm(self._way(data)) * self.reward_dist_weight
        ctrl = -np.square(actions).sum(axis=1) * self.reward_control_weight
        return dist + ctrl, {"reward_dist": dist, "reward_ctrl": ctrl}

    def initial_state(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw the arm, and a target within its reach."""
        qpos = rng.uniform(-0.1, 0.1, self.model.nq) + self.initial_qpos
        goal = rng.uniform(-0.2, 0.2, 2)
        while np.linalg.norm(goal) >= 0.2:
            goal = rng.uniform(-0.2, 0.2, 2)
        qpos[-2:] = goal
        qvel = self.initial_qvel + rng.uniform(-0.005, 0.005, self.model.nv)
        qvel[-2:] = 0
        return qpos, qvel

    def _way(self, data: Data) -> Array:
        body = self.model.body
        return data.xpos[:, body("fingertip").id] - data.xpos[:, body("target").id]


class Pusher(Task):
    """An arm pushes a cylinder to a goal."""

    env_id = "Pusher-v5"
    reward_near_weight: float
    reward_dist_weight: float
    reward_control_weight: float

    def observe(self, data: Data) -> Array:
        """Return the arm's angles and velocities, and where its tip, the object and the goal are."""
        places = (self._place(data, name) for name in ("tips_arm", "object", "goal"))
        return np.concatenate([data.qpos[:, :7], data.qvel[:, :7], *places], axis=1)

    def reward(self, before: Array, data: Data, actions: Array) -> tuple[Array, dict[str, Array]]:
        """Pay for the object's distance to the goal and to the tip, and for torques."""
        item = self._place(data, "object")
        near = -norm(item - self._place(data, "tips_arm")) * self.reward_near_weight
        dist = -norm(item - self._place(data, "goal")) * self.reward_dist_weight
        ctrl = -np.square(actions).sum(axis=1) * self.reward_control_weight
        return dist + ctrl + near, {"reward_dist": dist, "reward_ctrl": ctrl, "reward_near": near}

    def initial_state(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """Draw where the cylinder is, away from the goal."""
        qpos = self.initial_qpos
        place = np.zeros(2)
        while np.linalg.norm(place) <= 0.17:
            place = np.concatenate([rng.uniform(-0.3, 0, 1), rng.uniform(-0.2, 0.2, 1)])
        qpos[-4:-2], qpos[-2:] = place, 0
        qvel = self.initial_qvel + rng.uniform(-0.005, 0.005, self.model.nv)
        qvel[-4:] = 0
        return qpos, qvel

    def _place(self, data: Data, body: str) -> Array:
        return data.xpos[:, self.model.body(body).id]
