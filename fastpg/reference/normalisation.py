"""Normalised observations, folded into the first layer of a network."""

import numpy as np

from fastpg.reference.arrays import Floats
from fastpg.reference.networks import Network, layers


def for_normalized(network: Network, theta: Floats, mean: Floats, std: Floats) -> Floats:
    """Return the parameters that compute from (x - mean) / std what `theta` computes from x."""
    (weight, bias), *_ = layers(network, theta)
    return np.concatenate([(weight * std).ravel(), bias + weight @ mean, theta[weight.size + bias.size :]])


def for_raw(network: Network, theta: Floats, mean: Floats, std: Floats) -> Floats:
    """Return the parameters that compute from x what `theta` computes from (x - mean) / std."""
    return for_normalized(network, theta, -mean / std, 1.0 / std)
