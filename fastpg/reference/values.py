"""The value function: its values, its regression, and how good it is."""

import math

import numpy as np

from fastpg.reference.arrays import Floats
from fastpg.reference.networks import Network, activation_slope, layer_inputs, layers


def state_values(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return V(s), `(B,)`: the only output of the network."""
    return layer_inputs(network, theta, obs)[1][:, 0]


def value_loss(network: Network, theta: Floats, obs: Floats, targets: Floats) -> float:
    """Return the mean of `(target - V(s))^2`."""
    return float(((targets - state_values(network, theta, obs)) ** 2).mean())


def value_gradient(network: Network, theta: Floats, obs: Floats, targets: Floats) -> Floats:
    """Return the gradient of minus half of `value_loss`, the mean of `(target - V(s)) grad V(s)`, `(P,)`."""
    inputs, z = layer_inputs(network, theta, obs)
    delta = (targets[:, None] - z) / len(targets)
    parts = [(delta.T @ inputs[-1]).ravel(), delta.sum(axis=0)]
    weights = [weight for weight, _ in layers(network, theta)]
    for weight, y, x in zip(weights[:0:-1], inputs[:0:-1], inputs[-2::-1], strict=True):
        delta = (delta @ weight) * activation_slope(network, y)
        parts = [(delta.T @ x).ravel(), delta.sum(axis=0), *parts]
    return np.concatenate(parts)


def explained_variance(values: Floats, targets: Floats) -> float:
    """Return `1 - Var(target - V(s)) / Var(target)`: 1 is perfect, 0 as good as a constant.

    It is NaN where all targets are equal.

    Examples
    --------
    >>> import numpy as np
    >>> targets = np.array([1.0, 2.0, 3.0])
    >>> explained_variance(targets, targets), explained_variance(np.zeros(3), targets)
    (1.0, 0.0)
    """
    spread = targets.var()
    return float(1.0 - (targets - values).var() / spread) if spread > 0 else math.nan
