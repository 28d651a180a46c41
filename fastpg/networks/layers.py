"""The layers of a network in its parameters: their names, where they lie in theta, how they begin."""

import math

import numpy as np
from numpy.typing import NDArray

from fastpg import _core


def named_views(network: _core.Network, theta: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Return the views of theta that `parameters` of a policy or value function describes."""
    views: dict[str, NDArray[np.float32]] = {}
    offset, inputs = 0, network.num_inputs
    names = [f"hidden.{i}" for i in range(len(network.hidden))] + ["head"]
    for name, outputs in zip(names, (*network.hidden, network.num_outputs), strict=True):
        views[f"{name}.weight"] = theta[offset : offset + outputs * inputs].reshape(outputs, inputs)
        offset += outputs * inputs
        views[f"{name}.bias"] = theta[offset : offset + outputs]
        offset, inputs = offset + outputs, outputs
    if network.head == "gaussian" and not network.state_std:
        views["log_std"] = theta[offset:]
    return views


def draw_weights(views: dict[str, NDArray[np.float32]], seed: int, head_gain: float) -> None:
    """Fill the weights with orthogonal matrices, of gain sqrt(2) in the hidden layers."""
    rng = np.random.default_rng(seed)
    for name, view in views.items():
        if name.endswith("weight"):
            view[:] = orthogonal(rng, view.shape, head_gain if name.startswith("head") else math.sqrt(2.0))


def orthogonal(rng: np.random.Generator, shape: tuple[int, ...], gain: float) -> NDArray[np.float64]:
    """Draw a matrix with orthonormal rows or columns, whichever are fewer, times `gain`."""
    tall = rng.standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(tall)
    q *= np.where(np.diag(r) < 0, -1.0, 1.0)  # makes the distribution uniform over rotations
    oriented: NDArray[np.float64] = q if shape[0] >= shape[1] else q.T
    return gain * oriented
