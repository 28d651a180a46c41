"""Normalised observations: their running statistics, folded into the first layer of a network."""

from typing import NamedTuple

import numpy as np

from fastpg.reference.arrays import Floats
from fastpg.reference.networks import Network, layers


class Normalizer(NamedTuple):
    """The statistics of all observations so far."""

    num_rows: int
    mean: Floats  # (D,)
    square: Floats  # (D,), the sum of the squared deviations from the mean


def observe(normalizer: Normalizer, obs: Floats) -> Normalizer:
    """Return the statistics with the observations `(B, D)` among them.

    References
    ----------
    Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
    1979.

    Examples
    --------
    >>> import numpy as np
    >>> none = Normalizer(0, np.zeros(1), np.zeros(1))
    >>> mean, std = scale(observe(observe(none, np.array([[1.0], [5.0]])), np.array([[3.0], [7.0]])))
    >>> mean.tolist(), (std**2).round(12).tolist()
    ([4.0], [5.0])
    """
    before, new = normalizer.num_rows, len(obs)
    delta = obs.mean(axis=0) - normalizer.mean
    mean = normalizer.mean + delta * new / (before + new)
    between = delta**2 * before * new / (before + new)
    return Normalizer(before + new, mean, normalizer.square + new * obs.var(axis=0) + between)


def scale(normalizer: Normalizer) -> tuple[Floats, Floats]:
    """Return the mean and the standard deviation, `(D,)`; 1 for what never varies, which is only centred."""
    std = np.sqrt(normalizer.square / normalizer.num_rows)
    return normalizer.mean, np.where(std > 1e-6 * np.abs(normalizer.mean) + 1e-8, std, 1.0)


def for_normalized(network: Network, theta: Floats, mean: Floats, std: Floats) -> Floats:
    """Return the parameters that compute from (x - mean) / std what `theta` computes from x."""
    (weight, bias), *_ = layers(network, theta)
    return np.concatenate([(weight * std).ravel(), bias + weight @ mean, theta[weight.size + bias.size :]])


def for_raw(network: Network, theta: Floats, mean: Floats, std: Floats) -> Floats:
    """Return the parameters that compute from x what `theta` computes from (x - mean) / std."""
    return for_normalized(network, theta, -mean / std, 1.0 / std)
