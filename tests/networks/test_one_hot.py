"""Categorical observations are one-hot vectors that nobody writes down: against the dense oracle."""

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete, Tuple
from hypothesis import given, settings
from hypothesis import strategies as st

import fastpg
from fastpg import _core, reference
from tests.support.quick import few


def one_hot(categories, obs):
    return np.concatenate([np.eye(n)[obs[:, k].astype(int)] for k, n in enumerate(categories)], axis=1)


@settings(max_examples=60, deadline=None)
@given(
    categories=st.lists(st.integers(1, 40), min_size=1, max_size=4).map(tuple),
    hidden=st.lists(st.sampled_from([1, 5, 16, 33, 64]), max_size=3).map(tuple),
    num_outputs=st.integers(1, 6),
    size=st.sampled_from([1, 3, 17, 129, 1000]),
    seed=st.integers(0, 2**32 - 1),
)
def test_gradient_and_outputs_equal_the_oracle_on_one_hot_vectors(
    categories, hidden, num_outputs, size, seed
):
    rng = np.random.default_rng(seed)
    inputs = sum(categories)
    net = _core.Network(inputs, hidden, num_outputs, "tanh", categories)
    oracle = reference.Network(inputs, hidden, num_outputs)
    theta = rng.normal(0, 0.5, net.num_parameters).astype(np.float32)
    obs = np.stack([rng.integers(n, size=size) for n in categories], axis=1).astype(np.float32)
    actions, weights = rng.integers(num_outputs, size=size), rng.normal(size=size).astype(np.float32)
    dense, exact = one_hot(categories, obs), theta.astype(np.float64)
    expected = reference.policy_gradient(oracle, exact, dense, actions, weights.astype(np.float64), "sum")
    scale = np.linalg.norm(expected) + 1e-3 * np.linalg.norm(weights)
    for isa in _core.isas():  # the last is the one in use
        _core.select_isa(isa)
        gradient = np.empty_like(theta)
        _core.policy_gradient(net, theta, obs, actions, weights, 1.0, gradient)
        assert np.linalg.norm(gradient - expected) <= 1e-5 * scale
        np.testing.assert_allclose(
            _core.logits(net, theta, obs), reference.logits(oracle, exact, dense), atol=2e-5, rtol=1e-5
        )


SPACES = [
    Discrete(7),
    Discrete(5, start=-2),
    MultiDiscrete([3, 4]),
    Tuple([Discrete(3), Discrete(2), Discrete(5, start=1)]),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_policy_sees_the_vectors_that_gymnasium_flattens_to(space):
    policy = fastpg.Policy(space, Discrete(3), hidden=(8,), seed=1)
    dense = fastpg.Policy(Box(0, 1, (gymnasium.spaces.flatdim(space),)), Discrete(3), hidden=(8,), seed=1)
    space.seed(0)
    samples = [space.sample() for _ in range(9)]
    flat = np.stack([gymnasium.spaces.flatten(space, one) for one in samples]).astype(np.float32)
    batch = (
        tuple(map(np.array, zip(*samples, strict=True))) if isinstance(space, Tuple) else np.array(samples)
    )
    np.testing.assert_allclose(policy.entropy(batch), dense.entropy(flat), rtol=1e-5)
    np.testing.assert_array_equal(policy.act(batch, seed=3), dense.act(flat, seed=3))
    assert policy.act(samples[0], seed=0) == policy.act(batch, seed=0)[0]
    assert policy.theta.size == dense.theta.size


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_a_policy_with_categories_survives_saving(space, tmp_path):
    policy = fastpg.Policy(space, Discrete(3), hidden=(8,), seed=1)
    policy.save(tmp_path / "policy.safetensors")
    loaded = fastpg.Policy.load(tmp_path / "policy.safetensors")
    assert loaded.observation_space == space
    assert (loaded.theta == policy.theta).all()


@pytest.mark.parametrize(
    ("obs", "error", "words"),
    [
        (np.array([7]), ValueError, r"obs must lie in Discrete\(7\), got 7"),
        (np.array([-1]), ValueError, "got -1"),
        (np.array([1.0]), TypeError, "obs must be integers of Discrete"),
        (np.empty(0, np.int64), ValueError, "at least one observation"),
        ("left", TypeError, "obs must be integers"),
    ],
    ids=str,
)
def test_observations_outside_the_space_are_refused(obs, error, words):
    policy = fastpg.Policy(Discrete(7), Discrete(3), hidden=())
    with pytest.raises(error, match=words):
        policy.act(obs, seed=0)


TABULAR = [
    env_id
    for env_id in fastpg.list_envs()
    if isinstance(fastpg.make(env_id).single_observation_space, Discrete | Tuple)
]


@pytest.mark.parametrize("hidden", [(), (16,)], ids=str)
@pytest.mark.parametrize("env_id", few(TABULAR, {"FrozenLake-v1"}))
def test_the_fused_pass_runs_on_tabular_environments(env_id, hidden):
    policy = fastpg.Policy.for_env(env_id, hidden=hidden)
    settings = {"num_envs": 17, "seed": 3, "gamma": 0.9}
    whole = fastpg.estimate_gradient(env_id, policy, form="total", horizon=50, **settings)
    assert np.isfinite(whole.gradient).all()
    assert (np.linalg.norm(whole.gradient) > 0) == (whole.mean_return != 0)  # ice and luck: some earn nothing
    fastpg.set_num_threads(1)
    alone = fastpg.estimate_gradient(env_id, policy, form="total", horizon=50, **settings)
    assert (alone.gradient == whole.gradient).all()


def test_reinforce_learns_frozen_lake_without_ice():
    run = fastpg.train(
        "FrozenLake-v1",
        fastpg.Reinforce(learning_rate=0.05),
        env_params={"is_slippery": False},
        hidden=(),
        num_envs=64,
        total_steps=300_000,
        target_return=0.95,
        seed=0,
    )
    assert run.stopped_because == "target_return"
    returns, _ = fastpg.evaluate("FrozenLake-v1", run.policy, episodes=10, is_slippery=False)
    assert (returns == 1).all()
