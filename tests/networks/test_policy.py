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


KINDS = pytest.mark.parametrize("kind", [fastpg.Policy, fastpg.ValueFunction])


@KINDS
@pytest.mark.parametrize("hidden", SHAPES, ids=str)
def test_parameters_are_views_that_tile_theta(hidden, kind):
    network = kind.for_env("CartPole-v1", hidden=hidden)
    views = network.parameters()
    assert network.theta.dtype == np.float32
    assert network.theta.shape == (reference.num_parameters(network_of(network)),)
    assert (np.concatenate([view.ravel() for view in views.values()]) == network.theta).all()
    for view in views.values():
        view[...] = 3.0
    assert (network.theta == 3.0).all()


@KINDS
def test_names_follow_the_layers(kind):
    names = list(kind.for_env("CartPole-v1", hidden=(8, 5)).parameters())
    assert names == [
        f"{layer}.{part}" for layer in ("hidden.0", "hidden.1", "head") for part in ("weight", "bias")
    ]


def test_log_std_is_the_last_of_a_gaussian_policy():
    policy = fastpg.Policy(Box(-1, 1, (3,)), Box(-1, 1, (2,)), hidden=(4,))
    views = policy.parameters()
    policy.theta[-2:] = 7.0
    assert list(views)[-1] == "log_std" and views["log_std"].tolist() == [7.0, 7.0]
    assert not (views["head.bias"] == 7.0).any()


def test_initial_weights_are_orthogonal_and_biases_zero():
    views = fastpg.Policy(Box(-1, 1, (6,)), Discrete(3), hidden=(9, 9)).parameters()
    for name, size, gain in (("hidden.0", 6, 2.0), ("hidden.1", 9, 2.0)):
        weight = views[f"{name}.weight"].astype(np.float64)
        np.testing.assert_allclose(weight.T @ weight, gain * np.eye(size), atol=1e-5)
    head = views["head.weight"].astype(np.float64)
    np.testing.assert_allclose(head @ head.T, 1e-4 * np.eye(3), atol=1e-9)
    assert all((view == 0).all() for name, view in views.items() if name.endswith("bias"))


@KINDS
def test_seed_decides_the_initial_parameters(kind):
    first, again, other = (kind.for_env("CartPole-v1", seed=seed) for seed in (1, 1, 2))
    assert (first.theta == again.theta).all()
    assert (first.theta != other.theta).any()


@KINDS
def test_assignment_to_theta_copies_into_the_same_storage(kind):
    network = kind.for_env("CartPole-v1", hidden=(8,))
    storage, new = network.theta, np.ones_like(network.theta)
    network.theta = new
    assert network.theta is storage
    new[:] = 2.0
    assert (network.theta == 1.0).all()


@KINDS
def test_assignments_tell_whoever_shares_the_memory(kind):
    network, told = kind.for_env("CartPole-v1"), []
    network.on_write = lambda: told.append(network.theta[0])
    network.theta = np.full_like(network.theta, 2.0)
    network.theta += np.ones_like(network.theta)
    network.theta[:] = 4.0  # which only NumPy sees
    network.written()
    assert told == [2.0, 3.0, 4.0]
    network.copy().written()
    assert len(told) == 3


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


@pytest.mark.parametrize("hidden", [(), (3,)])
def test_values_that_overflow_are_a_sentence(hidden):
    value = fastpg.ValueFunction(Box(-1, 1, (2,)), hidden=hidden)
    value.theta[:] = 0.0
    value.parameters()["head.bias"][:] = 3e38
    assert value(np.ones(2, np.float32)) == np.float32(3e38)
    value.parameters()["head.weight"][:] = 3e38
    if hidden:
        value.parameters()["hidden.0.bias"][:] = 1.0
    with pytest.raises(
        FloatingPointError, match=r"ValueFunction\(\): a value .* parameters of the value function"
    ):
        value(np.ones((3, 2), np.float32))


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


@KINDS
@pytest.mark.parametrize(
    "duplicate",
    [
        lambda network: network.copy(),
        copy.copy,
        copy.deepcopy,
        lambda network: pickle.loads(pickle.dumps(network)),
    ],
    ids=["its copy()", "copy.copy", "copy.deepcopy", "pickle"],
)
def test_copies_are_equal_and_independent(kind, duplicate):
    network = kind.for_env("CartPole-v1", hidden=(8,), activation="relu")
    twin = duplicate(network)
    assert type(twin) is kind and repr(twin) == repr(network)
    assert twin.observation_space == network.observation_space
    assert kind is fastpg.ValueFunction or twin.action_space == network.action_space
    assert (twin.theta == network.theta).all()
    twin.theta[:] = 7.0
    assert not (network.theta == 7.0).any()


def test_a_copy_of_a_policy_remembers_its_environment(policy):
    assert pickle.loads(pickle.dumps(policy)).env_id == policy.copy().env_id == "CartPole-v1"
    policy.env_id = None
    assert pickle.loads(pickle.dumps(policy)).env_id is policy.copy().env_id is None
