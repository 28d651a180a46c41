"""A policy gives what its environment takes: the numbers and the shape of the action space."""

import copy
import json
import pickle

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import SyncVectorEnv

import fastpg
from fastpg import spaces

OBS = Box(-1.0, 1.0, (3,))
# Each beside the space of the same network that counts from 0 and has one dimension.
SPACES = [
    (Discrete(3, start=-1), Discrete(3)),
    (Discrete(2, start=7), Discrete(2)),
    (MultiDiscrete([3, 2], start=[1, -5]), MultiDiscrete([3, 2])),
    (MultiDiscrete([[3, 2], [2, 4]], start=[[1, -5], [0, 2]]), MultiDiscrete([3, 2, 2, 4])),
    (MultiDiscrete([[3, 2]]), MultiDiscrete([3, 2])),
    (MultiBinary((2, 2)), MultiBinary(4)),
    (Box(-1, 1, (2, 3)), Box(-1, 1, (6,))),
    (Box(-1, 1, (2,), np.float64), Box(-1, 1, (2,))),
    (Box(-1, 1, ()), Box(-1, 1, (1,))),
]
EACH = pytest.mark.parametrize(("space", "plain"), SPACES, ids=lambda space: str(space).replace("\n", ""))


def pair(space, plain):
    """Return two policies with one network."""
    policies = [fastpg.Policy(OBS, one, hidden=(8,), seed=1) for one in (space, plain)]
    for policy in policies:
        policy.theta[:] = np.random.default_rng(0).normal(size=policy.theta.size)
    return policies


def observations(*shape):
    return np.random.default_rng(1).uniform(-1, 1, (*shape, 3)).astype(np.float32)


def is_action(space, action):
    """Return whether the space has such an action; drawn ones of a Box are not clipped."""
    if isinstance(space, Box):
        return action.shape == space.shape and action.dtype == np.float32
    return space.contains(action)


@EACH
def test_a_policy_gives_what_its_space_holds(space, plain):
    policy, twin = pair(space, plain)
    obs = observations(2, 40)
    actions, others = policy.act(obs, seed=3), twin.act(obs, seed=3)
    assert actions.shape == (2, 40, *(space.shape or ()))
    assert all(is_action(space, one) for row in actions for one in row)
    assert is_action(space, policy.act(obs[0, 0], seed=3))
    starts = 0 if isinstance(space, Box | MultiBinary) else space.start
    np.testing.assert_array_equal((actions - starts).reshape(80, -1), others.reshape(80, -1))
    modes = policy.act(obs, seed=3, deterministic=True) - starts
    np.testing.assert_array_equal(
        modes.reshape(80, -1), twin.act(obs, seed=3, deterministic=True).reshape(80, -1)
    )


@EACH
def test_what_it_gave_is_what_is_read(space, plain):
    policy, twin = pair(space, plain)
    obs, weights = observations(40), np.linspace(-1, 2, 40, dtype=np.float32)
    actions, others = policy.act(obs, seed=3), twin.act(obs, seed=3)
    np.testing.assert_array_equal(policy.log_prob(obs, actions), twin.log_prob(obs, others))
    assert policy.log_prob(obs[0], actions[0]) == twin.log_prob(obs[0], others[0])
    np.testing.assert_array_equal(policy.entropy(obs), twin.entropy(obs))
    for settings in ({}, {"per": "sample"}, {"per": "trajectory", "lengths": np.array([30, 10])}):
        np.testing.assert_array_equal(
            fastpg.policy_gradient(policy, obs, actions, weights, **settings),
            fastpg.policy_gradient(twin, obs, others, weights, **settings),
        )
    strided = np.repeat(actions, 2, axis=0)[::2]
    np.testing.assert_array_equal(policy.log_prob(obs, strided), twin.log_prob(obs, others))


@EACH
def test_torch_reads_the_same(space, plain):
    torch = pytest.importorskip("torch")
    import fastpg.torch as ft

    policy, twin = pair(space, plain)
    obs, weights = observations(40), np.linspace(-1, 2, 40, dtype=np.float32)
    actions = torch.from_numpy(policy.act(obs, seed=3))
    module = ft.to_module(policy)
    loss = ft.pg_loss(module, torch.from_numpy(obs), actions, torch.from_numpy(weights))
    loss.backward()
    gradient = torch.cat([one.grad.reshape(-1) for one in module.parameters()]).numpy()
    order = torch.cat([one.detach().reshape(-1) for one in module.parameters()]).numpy()
    where = [int(np.flatnonzero(policy.theta == value)[0]) for value in order]  # log_std comes first
    wanted = fastpg.policy_gradient(twin, obs, twin.act(obs, seed=3), weights)
    np.testing.assert_allclose(gradient, -wanted[where], rtol=1e-6, atol=1e-7)
    log_prob, _ = ft.log_prob_and_entropy(module, torch.from_numpy(obs), actions)
    np.testing.assert_array_equal(log_prob.numpy(), twin.log_prob(obs, twin.act(obs, seed=3)))
    again = ft.from_module(module, space)
    np.testing.assert_array_equal(again.act(obs, seed=3), actions.numpy())


def test_torch_says_which_action_is_none():
    torch = pytest.importorskip("torch")
    import fastpg.torch as ft

    module = ft.to_module(fastpg.Policy(OBS, Discrete(3, start=-1)))
    with pytest.raises(ValueError, match=r"log_prob_and_entropy\(\): actions must lie in -1..1, got 2"):
        ft.log_prob_and_entropy(module, torch.zeros(2, 3), torch.tensor([2, -1]))


@pytest.mark.parametrize(
    ("space", "action", "sentence"),
    [
        (Discrete(3, start=-1), np.array([1, 2]), "actions must lie in -1..1, got 2"),
        (Discrete(3, start=-1), np.array([1, -2]), "actions must lie in -1..1, got -2"),
        (
            MultiDiscrete([[3, 2]], start=[[1, 5]]),
            np.array([[[1, 5]], [[1, 0]]]),
            r"actions\[..., 0, 1\] must lie in 5..6, got 0",
        ),
        (MultiDiscrete([[3, 2]]), np.zeros((2, 2), np.int64), r"actions must have shape \(2, 1, 2\)"),
        (Box(-1, 1, (2, 3)), np.zeros((2, 6), np.float32), r"actions must have shape \(2, 2, 3\)"),
    ],
)
def test_what_is_no_action_is_said_in_the_numbers_of_the_space(space, action, sentence):
    policy = fastpg.Policy(OBS, space)
    with pytest.raises(ValueError, match=rf"Policy.log_prob\(\): {sentence}"):
        policy.log_prob(observations(2), action)


@EACH
def test_spaces_survive_checkpoints_and_copies(space, plain, tmp_path):
    policy, _ = pair(space, plain)
    policy.save(tmp_path / "policy")
    obs = observations(5)
    for again in (
        fastpg.Policy.load(tmp_path / "policy"),
        copy.copy(policy),
        copy.deepcopy(policy),
        pickle.loads(pickle.dumps(policy)),
        policy.copy(),
    ):
        assert again.action_space == space
        np.testing.assert_array_equal(again.act(obs, seed=3), policy.act(obs, seed=3))
    described = json.loads(json.dumps(spaces.to_json(plain)))
    assert "shape" not in described  # as versions before this one wrote and read it
    assert spaces.from_json(described) == plain


class Target(gymnasium.Env):
    """Pays how large the numbers of an action are; refuses what is none."""

    observation_space = OBS

    def __init__(self, space):
        self.action_space = space
        self._steps = 0

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return np.zeros(3, np.float32), {}

    def step(self, action):
        assert self.action_space.contains(np.asarray(action)), (action, self.action_space)
        self._steps += 1
        return np.zeros(3, np.float32), float(np.sum(action)), self._steps == 3, False, {}


@EACH
def test_a_trained_policy_is_for_the_environment_that_it_was_trained_on(space, plain):
    def make():
        return Target(space)

    policy = fastpg.Policy.for_env(make, hidden=())
    assert policy.action_space == space
    for used in (policy, fastpg.Policy(OBS, plain, hidden=())):  # as older checkpoints have it
        run = fastpg.train(make, num_envs=2, steps_per_iteration=20, total_steps=60, policy=used)
        returns, lengths = fastpg.evaluate(make, run.policy, episodes=2)
        assert (lengths == 3).all()
    policy = fastpg.train(make, hidden=(), num_envs=2, steps_per_iteration=20, total_steps=60).policy
    returns, _ = fastpg.evaluate(make, policy, episodes=1)
    env = SyncVectorEnv([make] * 2)
    obs, _ = env.reset(seed=0)
    earned = np.zeros(2)
    for _ in range(3):
        action = policy.act(obs, seed=0, deterministic=True)
        if isinstance(space, Box):
            action = np.clip(action, space.low, space.high).astype(space.dtype)
        obs, rewards, *_ = env.step(action)
        earned += rewards
    np.testing.assert_allclose(earned, returns[0], rtol=1e-6)


def test_a_policy_that_counts_from_elsewhere_does_not_fit():
    policy = fastpg.Policy(OBS, Discrete(3, start=5))
    with pytest.raises(ValueError, match=r"evaluate\(\): policy maps .* Discrete\(3, start=5\), but"):
        fastpg.evaluate(lambda: Target(Discrete(3, start=-1)), policy, episodes=1)
    native = fastpg.Policy(fastpg.make("CartPole-v1").single_observation_space, Discrete(2, start=1))
    with pytest.raises(ValueError, match=r"collect\(\): policy maps"):
        fastpg.collect("CartPole-v1", native, 2)


@EACH
def test_equal_policies_have_no_divergence(space, plain):
    policy, twin = pair(space, plain)
    assert (policy.kl(policy.copy(), observations(5)) == 0).all()
    if isinstance(space, Discrete) == isinstance(plain, Discrete):
        assert (policy.kl(twin, observations(5)) == 0).all()
