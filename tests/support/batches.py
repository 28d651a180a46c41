"""The oracle's agents, and batches for them with every kind of row."""

import numpy as np

from fastpg import reference
from fastpg.reference import Batch, Network

POLICY, VALUE = Network(3, (4,), 2), Network(3, (5,), 1)


def make_batch(rng, num_steps=7, num_envs=6, policy=POLICY):
    """Random rows, a third of them no transition, with every kind of end; what nobody may read is NaN."""
    shape, size = (num_steps, num_envs), policy.num_inputs
    valid = rng.random(shape) < 0.7
    terminated, truncated = rng.random((2, *shape)) < 0.15
    obs, next_obs = rng.normal(size=(2, *shape, size)) + np.array([1.0, -2.0, 0.5])
    if policy.head == "gaussian":
        actions = rng.normal(size=(*shape, policy.num_outputs))
    elif policy.head == "bernoulli":
        actions = rng.integers(2, size=(*shape, policy.num_outputs))
    else:
        several = (len(policy.action_categories),) if policy.action_categories else ()
        actions = rng.integers(policy.action_categories or policy.num_outputs, size=shape + several)
    last_obs = rng.normal(size=(num_envs, size))
    obs[~valid], rewards = np.nan, np.where(valid, rng.normal(size=shape), np.nan)
    next_obs[~(valid & truncated & ~terminated)] = np.nan
    return Batch(obs, actions, rewards, terminated, truncated, valid, next_obs, last_obs)


def make_model(network, rng, given=True):
    return reference.new_model(network, rng.normal(size=reference.num_parameters(network)), given=given)


def make_agent(rng, policy=POLICY, value=VALUE, given=True, seed=7):
    critic = None if value is None else make_model(value, rng, given)
    return reference.new_agent(make_model(policy, rng, given), critic, seed)
