"""The policy: parameters, shapes, probabilities, copies."""

import copy
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

import fastpg
from fastpg import reference
from fastpg.reference import Network

SHAPES = [(), (1,), (33,), (8, 5), (4, 4, 4)]


def network_of(policy):
    shape = policy.network
    return Network(shape.num_inputs, shape.hidden, shape.num_outputs, shape.activation)


@pytest.mark.parametrize("hidden", SHAPES, ids=str)
def test_parameters_are_views_that_tile_theta(hidden):
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=hidden)
    views = policy.parameters()
    assert policy.theta.dtype == np.float32
    assert policy.theta.shape == (reference.num_parameters(network_of(policy)),)
    assert (np.concatenate([view.ravel() for view in views.values()]) == policy.theta).all()
    for view in views.values():
        view[...] = 3.0
    assert (policy.theta == 3.0).all()


def test_names_follow_the_layers():
    names = list(fastpg.Policy.for_env("CartPole-v1", hidden=(8, 5)).parameters())
    assert names == [
        f"{layer}.{kind}" for layer in ("hidden.0", "hidden.1", "head") for kind in ("weight", "bias")
    ]


def test_initial_weights_are_orthogonal_and_biases_zero():
    views = fastpg.Policy(Box(-1, 1, (6,)), Discrete(3), hidden=(9, 9)).parameters()
    for name, size, gain in (("hidden.0", 6, 2.0), ("hidden.1", 9, 2.0)):
        weight = views[f"{name}.weight"].astype(np.float64)
        np.testing.assert_allclose(weight.T @ weight, gain * np.eye(size), atol=1e-5)
    head = views["head.weight"].astype(np.float64)
    np.testing.assert_allclose(head @ head.T, 1e-4 * np.eye(3), atol=1e-9)
    assert all((view == 0).all() for name, view in views.items() if name.endswith("bias"))


def test_seed_decides_the_initial_parameters():
    first, again, other = (fastpg.Policy.for_env("CartPole-v1", seed=seed) for seed in (1, 1, 2))
    assert (first.theta == again.theta).all()
    assert (first.theta != other.theta).any()


def test_assignment_to_theta_copies_into_the_same_storage(policy):
    storage, new = policy.theta, np.ones_like(policy.theta)
    policy.theta = new
    assert policy.theta is storage
    new[:] = 2.0
    assert (policy.theta == 1.0).all()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("hidden", SHAPES, ids=str)
def test_log_prob_and_entropy_agree_with_the_oracle(hidden, activation, rng):
    policy = fastpg.Policy(Box(-1, 1, (3,)), Discrete(5), hidden=hidden, activation=activation)
    policy.theta = rng.normal(size=policy.theta.shape).astype(np.float32)
    obs, actions = rng.normal(size=(17, 3)).astype(np.float32), rng.integers(5, size=17)
    exact = network_of(policy), policy.theta.astype(np.float64), obs.astype(np.float64)
    np.testing.assert_allclose(policy.log_prob(obs, actions), reference.log_prob(*exact, actions), atol=2e-5)
    np.testing.assert_allclose(policy.entropy(obs), reference.entropy(*exact), atol=2e-5)
    log_prob, entropy = fastpg.log_prob_and_entropy(policy, obs, actions)
    assert (log_prob == policy.log_prob(obs, actions)).all()
    assert (entropy == policy.entropy(obs)).all()


def test_batch_dimensions_are_restored(policy, rng):
    obs = rng.normal(size=(2, 3, 5, 4)).astype(np.float32)
    actions = policy.act(obs, seed=0)
    assert actions.shape == policy.log_prob(obs, actions).shape == policy.entropy(obs).shape == (2, 3, 5)
    flat = policy.log_prob(obs.reshape(30, 4), actions.reshape(30))
    assert (policy.log_prob(obs, actions).ravel() == flat).all()


def test_a_single_observation_gives_an_action_that_gymnasium_takes(policy):
    env = gymnasium.make("CartPole-v1")
    obs, _ = env.reset(seed=0)
    action = policy.act(obs, seed=0)
    assert env.action_space.contains(action)
    env.step(action)
    assert policy.log_prob(obs, action) < 0


def test_strided_observations_are_read_by_their_values(policy, rng):
    obs = rng.normal(size=(4, 12)).astype(np.float32).T
    actions = np.zeros(12, np.int64)
    assert (policy.log_prob(obs, actions) == policy.log_prob(np.ascontiguousarray(obs), actions)).all()


def test_read_only_arrays_are_accepted(policy):
    obs, actions = np.zeros((3, 4), np.float32), np.zeros(3, np.int64)
    obs.flags.writeable = actions.flags.writeable = False
    assert policy.log_prob(obs, actions).shape == (3,)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.uint64])
def test_any_integers_are_actions(policy, dtype):
    assert policy.log_prob(np.zeros((3, 4), np.float32), np.ones(3, dtype)).shape == (3,)


def test_act_repeats_itself_for_the_same_seed_and_step(policy):
    obs = np.zeros((200, 4), np.float32)
    first = policy.act(obs, seed=3, step=5)
    assert (policy.act(obs, seed=3, step=5) == first).all()
    assert (policy.act(obs, seed=4, step=5) != first).any()
    assert (policy.act(obs, seed=3, step=6) != first).any()


def test_act_draws_from_the_policys_distribution():
    policy = fastpg.Policy(Box(-1, 1, (2,)), Discrete(4), hidden=())
    policy.parameters()["head.bias"][:] = np.log([0.1, 0.2, 0.3, 0.4])
    drawn = policy.act(np.zeros((40_000, 2), np.float32), seed=1)
    # Standard errors are below 0.0025.
    np.testing.assert_allclose(np.bincount(drawn, minlength=4) / 40_000, [0.1, 0.2, 0.3, 0.4], atol=0.0125)


def test_deterministic_act_takes_the_most_likely_action(policy, rng):
    obs = rng.normal(size=(50, 4)).astype(np.float32)
    log_probs = np.stack([policy.log_prob(obs, np.full(50, a)) for a in range(2)], axis=1)
    assert (policy.act(obs, seed=0, deterministic=True) == log_probs.argmax(axis=1)).all()


@pytest.mark.parametrize(
    "duplicate",
    [fastpg.Policy.copy, copy.copy, copy.deepcopy, lambda policy: pickle.loads(pickle.dumps(policy))],
    ids=["Policy.copy", "copy.copy", "copy.deepcopy", "pickle"],
)
def test_copies_are_equal_and_independent(policy, duplicate):
    twin = duplicate(policy)
    assert repr(twin) == repr(policy)
    assert twin.observation_space == policy.observation_space
    assert twin.action_space == policy.action_space
    assert (twin.theta == policy.theta).all()
    twin.theta[:] = 7.0
    assert not (policy.theta == 7.0).any()
