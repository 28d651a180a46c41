"""Gymnasium's classic control: what its constructors take, in the order in which the kernels read it."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastpg.envs.native.registry import EnvSpec, add_specs

_CARTPOLE = ("cartpole", {"sutton_barto_reward": False})
_CARTPOLE_RESET = {"low": -0.05, "high": 0.05}
_MOUNTAIN_CAR = {"goal_velocity": 0.0}
_MOUNTAIN_CAR_RESET = {"low": -0.6, "high": -0.4}


def _show_pendulum(original: Any, state: NDArray[np.float64], obs: Any, action: Any) -> None:
    """Its picture has an arrow for the torque."""
    original.state = state
    original.last_u = (
        None if action is None else np.clip(action, -original.max_torque, original.max_torque)[0]
    )


add_specs(
    EnvSpec("CartPole-v0", *_CARTPOLE, reset_options=_CARTPOLE_RESET),
    EnvSpec("CartPole-v1", *_CARTPOLE, reset_options=_CARTPOLE_RESET),
    EnvSpec("MountainCar-v0", "mountain_car", _MOUNTAIN_CAR, reset_options=_MOUNTAIN_CAR_RESET),
    EnvSpec(
        "MountainCarContinuous-v0",
        "mountain_car_continuous",
        _MOUNTAIN_CAR,
        reset_options=_MOUNTAIN_CAR_RESET,
    ),
    EnvSpec(
        "Acrobot-v1",
        "acrobot",
        {"book_or_nips": "book", "torque_noise_max": 0.0},
        choices={"book_or_nips": ("book", "nips")},
        attributes=frozenset({"book_or_nips", "torque_noise_max"}),
        reset_options={"low": -0.1, "high": 0.1},
    ),
    EnvSpec(
        "Pendulum-v1",
        "pendulum",
        {"g": 10.0},
        reset_options={"x_init": math.pi, "y_init": 1.0},
        show=_show_pendulum,
    ),
)
