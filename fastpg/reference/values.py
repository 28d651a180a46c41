"""The value function: its values, its regression, and how good it is."""

import math

from fastpg.reference.arrays import Floats
from fastpg.reference.networks import Network, logits, output_gradient


def state_values(network: Network, theta: Floats, obs: Floats) -> Floats:
    """Return V(s), `(B,)`: the only output of the network."""
    return logits(network, theta, obs)[:, 0]


def value_loss(network: Network, theta: Floats, obs: Floats, targets: Floats) -> float:
    """Return the mean of `(target - V(s))^2`."""
    return float(((targets - state_values(network, theta, obs)) ** 2).mean())


def value_gradient(network: Network, theta: Floats, obs: Floats, targets: Floats) -> Floats:
    """Return the gradient of minus half of `value_loss`, the mean of `(target - V(s)) grad V(s)`, `(P,)`."""
    errors = targets - state_values(network, theta, obs)
    return output_gradient(network, theta, obs, errors[:, None] / len(errors))


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
