"""Runs whose bits are compared: every algorithm with several heads."""

import hashlib

import numpy as np

from fastpg import A2C, NPG, PPO, TRPO, VPG, Reinforce
from tests.support.finite_mdps import random_mdp

NUM_ENVS, STEPS = 21, 900  # a full tile and a ragged one, a few iterations

NATIVE = {
    "categorical": "CartPole-v1",
    "categories": "Taxi-v4",
    "gaussian": "Pendulum-v1",
    "table": random_mdp(),
}

LINEAR, SMALL = {"hidden": ()}, {"hidden": (9,)}
ALGORITHMS = {
    "reinforce, traces": (Reinforce(), {**LINEAR, "horizon": 15}),
    "reinforce, total, episodes": (
        Reinforce(form="total", gamma=0.9, optimizer="sgd"),
        {**SMALL, "episodes": 30},
    ),
    "reinforce, means": (Reinforce(baseline="timestep_mean", entropy_coef=0.01), {**SMALL, "horizon": 15}),
    "vpg": (VPG(normalize_observations=True, value_hidden=(7,), value_epochs=2), {**SMALL, "horizon": 15}),
    "vpg, q, minibatches": (
        VPG(form="q", value_minibatches=3, value_epochs=2, value_hidden=(), linear_schedule=True),
        {**LINEAR, "steps_per_iteration": 400},
    ),
    "a2c": (A2C(value_hidden=(5, 6)), {"hidden": (8, 7), "horizon": 5}),
    "npg": (NPG(value_hidden=(7,), value_minibatches=3, normalize_rewards=True), {**SMALL, "horizon": 15}),
    "trpo": (TRPO(value_hidden=(), value_minibatches=1, fisher_every=2), {**LINEAR, "horizon": 15}),
    "ppo": (PPO(value_hidden=(7,), epochs=2, minibatches=3), {**SMALL, "horizon": 15}),
    "ppo, more": (
        PPO(
            value_hidden=(),
            epochs=2,
            minibatches=1,
            standardize_advantages="batch",
            recompute_advantages=True,
            desired_kl=0.01,
            value_loss="huber",
            value_clip_range=0.2,
            joint_grad_norm=True,
            linear_schedule=True,
            normalize_rewards=True,
            entropy_coef=0.01,
        ),
        {**LINEAR, "horizon": 15},
    ),
}


def digest(*arrays):
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()[:16]


def with_parameters(made):
    """The same parameters everywhere: what initialises them is LAPACK's, whose bits depend on the machine."""
    rng = np.random.default_rng(made.theta.size)
    made.theta = (rng.random(made.theta.size, np.float32) - np.float32(0.5)) * np.float32(0.6)
    return made
