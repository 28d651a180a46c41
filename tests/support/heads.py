"""Policies of every head, with an oracle and a batch each."""

import math

import numpy as np
from gymnasium.spaces import Box

import fastpg
from fastpg import reference


class OptionsBox(Box):
    """A Box whose policies have options."""

    def __init__(self, low, high, shape, **options):
        super().__init__(low, high, shape, np.float32)
        self.options = options

    def __repr__(self):
        return f"{super().__repr__()} {' '.join(self.options)}"


SQUASHED = OptionsBox(-2, 5, (2,), squash=True)
STATE_STD = OptionsBox(-1, 1, (3,), state_dependent_std=True)
BOTH = OptionsBox(-1, 3, (2,), squash=True, state_dependent_std=True)


def options_of(space):
    return getattr(space, "options", {})


def make(space, hidden=(5,), num_inputs=4, seed=0, activation="tanh"):
    """A policy whose parameters give every action a fair chance, and its oracle."""
    obs_space = Box(-np.inf, np.inf, (num_inputs,))
    policy = fastpg.Policy(obs_space, space, hidden=hidden, activation=activation, **options_of(space))
    return policy, oracle_of(policy, seed)


def oracle_of(policy, seed=0):
    """Draw the policy's parameters anew; return its oracle."""
    rng = np.random.default_rng(seed)
    for name, view in policy.parameters().items():
        scale = {"weight": 1 / math.sqrt(view.shape[-1]), "bias": 0.3, "log_std": 0.5}[name.split(".")[-1]]
        view[:] = scale * rng.normal(size=view.shape)
    net = policy.network
    if net.state_std:  # near 1: rows that this policy has not drawn are then not too unlikely
        for view in list(policy.parameters().values())[-2:]:
            view[net.action_size :] *= 0.25
    categories = net.action_categories if net.head == "categorical" else ()
    box = policy.action_space
    bounds = tuple(zip(box.low.tolist(), box.high.tolist(), strict=True)) if policy.squash else ()
    return reference.Network(
        net.num_inputs, net.hidden, net.num_outputs, net.activation, net.head, categories,
        policy.state_dependent_std, bounds,
    )  # fmt: skip


def batch(policy, size, seed=1):
    """Observations, actions in the shape that the policy takes, and weights."""
    rng = np.random.default_rng(seed)
    obs = rng.normal(size=(size, policy.network.num_inputs)).astype(np.float32)
    shape = (size, *policy.action_space.shape)
    if policy.network.head == "gaussian":
        actions = rng.normal(size=shape).astype(np.float32)
    else:
        actions = rng.integers(policy.network.action_categories, size=(size, policy.network.action_size))
    return obs, actions.reshape(shape), rng.normal(size=size).astype(np.float32)


def exact(policy, obs):
    return policy.theta.astype(np.float64), obs.astype(np.float64)


def random_mask(policy, rng, actions, forbidden=0.4):
    """Masks (..., num_outputs) that allow the actions, and of the other categories all but a share."""
    categories = policy.network.action_categories
    taken = np.reshape(actions, (-1, len(categories))) + np.cumsum((0, *categories[:-1]))
    mask = rng.random((len(taken), sum(categories))) >= forbidden
    np.put_along_axis(mask, taken, True, axis=1)
    return mask.reshape(*np.shape(actions)[: np.ndim(actions) - len(policy.action_space.shape)], -1)
