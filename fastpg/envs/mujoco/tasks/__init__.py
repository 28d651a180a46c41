"""Gymnasium's MuJoCo tasks, by id."""

from fastpg.envs.mujoco.tasks.ant import Ant
from fastpg.envs.mujoco.tasks.arms import Pusher, Reacher
from fastpg.envs.mujoco.tasks.humanoids import Humanoid, HumanoidStandup
from fastpg.envs.mujoco.tasks.pendulums import InvertedDoublePendulum, InvertedPendulum
from fastpg.envs.mujoco.tasks.planar import HalfCheetah, Hopper, Swimmer, Walker2d
from fastpg.envs.mujoco.tasks.task import Task

TASKS: dict[str, type[Task]] = {
    task.env_id: task
    for task in (
        Reacher,
        Pusher,
        InvertedPendulum,
        InvertedDoublePendulum,
        HalfCheetah,
        Hopper,
        Swimmer,
        Walker2d,
        Ant,
        Humanoid,
        HumanoidStandup,
    )
}
