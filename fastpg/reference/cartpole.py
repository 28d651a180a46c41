"""CartPole's dynamics."""

import math

import numpy as np

from fastpg.reference.arrays import Bools, Floats, Ints

X_LIMIT = 2.4
ANGLE_LIMIT = 12 * 2 * math.pi / 360


def cartpole_step(
    state: Floats, action: Ints, sutton_barto_reward: bool = False
) -> tuple[Floats, Floats, Bools]:
    """Take one Euler step of Gymnasium's CartPole.

    Parameters
    ----------
    state : float64 array, shape (N, 4)
        Position (m), velocity (m/s), angle (rad), angular velocity (rad/s).
    action : int array, shape (N,)
        0 pushes left, 1 pushes right.

    Returns
    -------
    state (N, 4), reward (N,), terminated (N,)

    References
    ----------
    Barto, Sutton and Anderson, 1983; Florian, "Correct equations for the dynamics of the cart-pole system".
    """
    gravity, masspole, total_mass, length, force_mag, tau = 9.8, 0.1, 1.1, 0.5, 10.0, 0.02
    polemass_length = masspole * length
    x, x_dot, angle, angle_dot = state.T
    force = np.where(action == 1, force_mag, -force_mag)
    cos, sin = np.cos(angle), np.sin(angle)
    temp = (force + polemass_length * angle_dot**2 * sin) / total_mass
    angle_acc = (gravity * sin - cos * temp) / (length * (4.0 / 3.0 - masspole * cos**2 / total_mass))
    x_acc = temp - polemass_length * angle_acc * cos / total_mass
    state = np.stack(
        [x + tau * x_dot, x_dot + tau * x_acc, angle + tau * angle_dot, angle_dot + tau * angle_acc], axis=-1
    )
    terminated = (np.abs(state[:, 0]) > X_LIMIT) | (np.abs(state[:, 2]) > ANGLE_LIMIT)
    reward = np.where(terminated, -1.0, 0.0) if sutton_barto_reward else np.ones(len(state))
    return state, reward, terminated
