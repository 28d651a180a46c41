"""Optimizers, all of them uphill."""

from typing import NamedTuple

import numpy as np

from fastpg.reference.arrays import Floats


def clip_norm(gradient: Floats, max_norm: float) -> Floats:
    """Return the gradient, scaled down to the Euclidean norm `max_norm` where it is longer.

    Examples
    --------
    >>> import numpy as np
    >>> clip_norm(np.array([3.0, 4.0]), 2.5).tolist(), clip_norm(np.array([3.0, 4.0]), 6.0).tolist()
    ([1.5, 2.0], [3.0, 4.0])
    """
    norm = float(np.linalg.norm(gradient))
    return gradient * (max_norm / norm) if norm > max_norm else gradient


class AdamState(NamedTuple):
    """The running moments of the gradient, each `(P,)`, and the number of steps taken."""

    first: Floats
    second: Floats
    step: int


def adam(
    theta: Floats,
    gradient: Floats,
    state: AdamState,
    *,
    learning_rate: float,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> tuple[Floats, AdamState]:
    """Take one step of Adam uphill (Kingma and Ba, 2015, algorithm 1)."""
    step = state.step + 1
    first = beta1 * state.first + (1.0 - beta1) * gradient
    second = beta2 * state.second + (1.0 - beta2) * gradient**2
    corrected_first, corrected_second = first / (1.0 - beta1**step), second / (1.0 - beta2**step)
    theta = theta + learning_rate * corrected_first / (np.sqrt(corrected_second) + epsilon)
    return theta, AdamState(first, second, step)


def sgd(
    theta: Floats, gradient: Floats, velocity: Floats, *, learning_rate: float, momentum: float = 0.0
) -> tuple[Floats, Floats]:
    """Take one step of gradient ascent with heavy-ball momentum: the new theta and the new velocity."""
    velocity = momentum * velocity + gradient
    return theta + learning_rate * velocity, velocity
