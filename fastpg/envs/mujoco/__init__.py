"""MuJoCo environments: Gymnasium's tasks, and a class for models of the user's own. Imports no mujoco."""

from fastpg.envs.mujoco.env import MujocoEnv
from fastpg.envs.mujoco.tasks import TASKS

__all__ = ["TASKS", "MujocoEnv"]
