"""Normalisation by running statistics: observations, folded into a network's first layer, and rewards."""

from typing import NamedTuple

import numpy as np

from fastpg.reference.arrays import Floats
from fastpg.reference.batches import Batch
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


# ---- rewards -----------------------------------------------------------------------------------------------


class RewardNormalizer(NamedTuple):
    """The statistics of discounted returns so far, forwards in time, and those of episodes that go on."""

    statistics: Normalizer  # of one column
    returns: Floats  # (N,), after the last row of the last batch; 0 where that ended


def new_reward_normalizer() -> RewardNormalizer:
    """Return the statistics of no returns."""
    return RewardNormalizer(Normalizer(0, np.zeros(1), np.zeros(1)), np.zeros(0))


def discounted_so_far(batch: Batch, before: Floats, gamma: float) -> tuple[Floats, Floats]:
    """Return `R_t = gamma R_{t-1} + r_t` of every row, `(T, N)`, and R after the last row, `(N,)`.

    It starts with `before` `(N,)`, and with 0 again after a row that ended, however it did.
    """
    so_far, carried = np.zeros(batch.valid.shape), before.astype(np.float64)
    ends = batch.terminated | batch.truncated
    for t, valid in enumerate(batch.valid):
        so_far[t, valid] = carried[valid] = gamma * carried[valid] + batch.rewards[t, valid]
        carried[valid & ends[t]] = 0.0
    return so_far, carried


def observe_rewards(
    normalizer: RewardNormalizer, batch: Batch, gamma: float
) -> tuple[RewardNormalizer, float]:
    """Return the statistics with this batch's returns among them, and the deviation to divide rewards by.

    What a value function predicts is then of the size of 1. Rewards are not centred: that would change which
    policy is the best. Returns go on from the last batch if that was of as many environments.

    Examples
    --------
    >>> import numpy as np
    >>> never, valid = np.zeros((3, 1), bool), np.ones((3, 1), bool)
    >>> batch = Batch(np.zeros((3, 1, 1)), never, np.array([[2.0], [3.0], [8.0]]), never, never, valid)
    >>> normalizer, unit = observe_rewards(new_reward_normalizer(), batch, gamma=0.5)
    >>> normalizer.returns.tolist(), (normalizer.statistics.mean * 3).tolist()  # 2, 4 and 10
    ([10.0], [16.0])
    >>> round(unit, 6)
    3.399346

    References
    ----------
    `NormalizeReward` of Gymnasium and `VecNormalize` of OpenAI Baselines.
    """
    size = batch.valid.shape[1]
    before = normalizer.returns if len(normalizer.returns) == size else np.zeros(size)
    so_far, carried = discounted_so_far(batch, before, gamma)
    statistics = observe(normalizer.statistics, so_far[batch.valid][:, None])
    return RewardNormalizer(statistics, carried), float(scale(statistics)[1][0])
