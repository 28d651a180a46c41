"""Policies of the oracle with every head, rows for them, and all that they may do."""

import itertools

import numpy as np

from fastpg import reference
from fastpg.reference import Network

NETWORKS = [
    Network(4, (), 2),
    Network(3, (5,), 4, "tanh"),
    Network(3, (5,), 4, "relu"),
    Network(4, (6, 3), 2, "tanh"),
    Network(2, (4, 5, 3), 3, "relu"),
    Network(3, (5,), 6, "tanh", "categorical", (3, 1, 2)),
    Network(2, (), 3, "tanh", "bernoulli"),
    Network(3, (4,), 2, "tanh", "gaussian"),
    Network(2, (), 1, "tanh", "gaussian"),
]


def random_rows(network, rng, size=7):
    """Parameters, observations and actions."""
    theta = rng.normal(size=reference.num_parameters(network))
    obs = rng.normal(size=(size, network.num_inputs))
    if network.head == "gaussian":
        return theta, obs, rng.normal(size=(size, network.num_outputs))
    if network.head == "bernoulli":
        return theta, obs, rng.integers(2, size=(size, network.num_outputs))
    shape = (size, len(network.action_categories)) if network.action_categories else size
    return theta, obs, rng.integers(network.action_categories or network.num_outputs, size=shape)


def outcomes(network, theta, obs):
    """Every action of the batch's rows with its probability, (B,); of a Gaussian Gauss-Hermite nodes and
    weights, which integrate the polynomials log pi and its score exactly."""
    if network.head == "gaussian":
        nodes, weights = np.polynomial.hermite.hermgauss(3)
        mean, std = (
            reference.logits(network, theta, obs),
            np.exp(reference.log_std(network, theta)),
        )
        for index in itertools.product(range(3), repeat=network.num_outputs):
            yield (
                mean + std * np.sqrt(2) * nodes[list(index)],
                np.full(len(obs), np.prod(weights[list(index)]) / np.pi ** (network.num_outputs / 2)),
            )
        return
    sizes = (2,) * network.num_outputs if network.head == "bernoulli" else network.action_categories
    for value in itertools.product(*map(range, sizes or (network.num_outputs,))):
        actions = np.tile(value, (len(obs), 1))
        actions = actions if sizes else actions[:, 0]
        yield actions, np.exp(reference.log_prob(network, theta, obs, actions))
