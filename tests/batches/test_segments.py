"""Gradients of every sample and of every trajectory of a batch: against the oracle, one by one."""

import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from hypothesis import given, settings
from hypothesis import strategies as st

import fastpg
from fastpg import _core, reference


def make(num_inputs, hidden, num_actions, size, activation="tanh", seed=0):
    """A policy with fair chances for all actions, its oracle, and a batch."""
    rng = np.random.default_rng(seed)
    policy = fastpg.Policy(
        Box(-9, 9, (num_inputs,)), Discrete(num_actions), hidden=hidden, activation=activation
    )
    policy.theta[:] = rng.normal(0, 0.4, policy.theta.size)
    oracle = reference.Network(num_inputs, hidden, num_actions, activation)
    obs = rng.normal(size=(size, num_inputs)).astype(np.float32)
    return policy, oracle, obs, rng.integers(num_actions, size=size), rng.normal(size=size).astype(np.float32)


def scores(policy, oracle, obs, actions):
    return reference.score(oracle, policy.theta.astype(np.float64), obs.astype(np.float64), actions)


def assert_rows_close(got, expected, scale):
    """Each row to 1e-5 of `scale`, what its terms may be as large as."""
    assert got.shape == expected.shape and got.dtype == np.float32
    error = np.linalg.norm(got - expected, axis=-1)
    assert (error <= 1e-5 * scale).all(), (error / scale).max()


@pytest.mark.parametrize("size", [1, 3, 17, 1000])
@pytest.mark.parametrize("hidden", [(), (1,), (5,), (33,), (64, 64), (17, 130, 5)], ids=str)
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_each_samples_gradient_is_its_weighted_score(isa, size, hidden, activation):
    policy, oracle, obs, actions, weights = make(4, hidden, 3, size, activation)
    expected = weights[:, None] * scores(policy, oracle, obs, actions)
    got = fastpg.policy_gradient(policy, obs, actions, weights, per="sample")
    assert_rows_close(got, expected, np.linalg.norm(expected, axis=1) + 1e-3 * np.abs(weights))


@settings(max_examples=60, deadline=None)
@given(
    num_inputs=st.integers(1, 20),
    hidden=st.lists(st.integers(1, 70), max_size=3).map(tuple),
    num_actions=st.integers(1, 9),
    lengths=st.lists(st.sampled_from([1, 2, 15, 16, 17, 127, 128, 129, 300]), min_size=1, max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_each_trajectorys_gradient_is_the_sum_of_its_own_rows(num_inputs, hidden, num_actions, lengths, seed):
    policy, oracle, obs, actions, weights = make(num_inputs, hidden, num_actions, sum(lengths), seed=seed)
    terms = weights[:, None] * scores(policy, oracle, obs, actions)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    expected = np.add.reduceat(terms, starts)
    scale = np.add.reduceat(np.linalg.norm(terms, axis=1) + 1e-3 * np.abs(weights), starts)
    settings = {"per": "trajectory", "lengths": np.array(lengths, np.int32)}
    got = fastpg.policy_gradient(policy, obs, actions, weights, **settings)
    assert_rows_close(got, expected, scale)
    means = fastpg.policy_gradient(policy, obs, actions, weights, reduction="mean", **settings)
    assert_rows_close(means, expected / np.array(lengths)[:, None], scale / lengths)
    whole = fastpg.policy_gradient(policy, obs, actions, weights, reduction="sum")
    assert_rows_close(whole, expected.sum(axis=0), scale.sum())


def test_samples_keep_the_shape_of_the_batch():
    policy, _, obs, actions, weights = make(4, (5,), 3, 12)
    flat = fastpg.policy_gradient(policy, obs, actions, weights, per="sample")
    grid = fastpg.policy_gradient(
        policy, obs.reshape(3, 4, 4), actions.reshape(3, 4), weights.reshape(3, 4), per="sample"
    )
    np.testing.assert_array_equal(grid, flat.reshape(3, 4, -1))
    one = fastpg.policy_gradient(policy, obs[0], actions[0], np.array(weights[0]), per="sample")
    np.testing.assert_array_equal(one, flat[0])


@pytest.mark.parametrize("hidden", [(), (5,)], ids=str)
def test_categorical_observations_have_gradients_of_every_sample(hidden):
    space, rng = MultiDiscrete([3, 4]), np.random.default_rng(0)
    policy = fastpg.Policy(space, Discrete(2), hidden=hidden, seed=1)
    obs = np.stack([rng.integers(3, size=40), rng.integers(4, size=40)], axis=1)
    actions, weights = rng.integers(2, size=40), rng.normal(size=40).astype(np.float32)
    dense = np.concatenate([np.eye(3)[obs[:, 0]], np.eye(4)[obs[:, 1]]], axis=1)
    expected = weights[:, None] * scores(policy, reference.Network(7, hidden, 2), dense, actions)
    got = fastpg.policy_gradient(policy, obs, actions, weights, per="sample")
    assert_rows_close(got, expected, np.linalg.norm(expected, axis=1) + 1e-3 * np.abs(weights))


@pytest.mark.parametrize("hidden", [(), (33,), (64, 64)], ids=str)
def test_the_number_of_threads_changes_no_bit(isa, hidden):
    policy, _, obs, actions, weights = make(4, hidden, 3, 3000)
    lengths = np.concatenate([np.tile([1, 50, 200, 9], 11), [3000 - 11 * 260]])
    before, results = fastpg.get_num_threads(), set()
    for threads in (1, 2, 3, 8):
        fastpg.set_num_threads(threads)
        rows = fastpg.policy_gradient(policy, obs, actions, weights, per="sample")
        sums = fastpg.policy_gradient(policy, obs, actions, weights, per="trajectory", lengths=lengths)
        results.add((rows.tobytes(), sums.tobytes()))
    fastpg.set_num_threads(before)
    assert len(results) == 1


def test_results_are_written_where_the_caller_says():
    policy, _, obs, actions, weights = make(4, (5,), 3, 12)
    out = np.full((12, policy.theta.size), np.nan, np.float32)
    assert fastpg.policy_gradient(policy, obs, actions, weights, per="sample", out=out) is out
    np.testing.assert_array_equal(out, fastpg.policy_gradient(policy, obs, actions, weights, per="sample"))


INTS = np.array
BAD = [
    ({"per": "episode"}, ValueError, "per must be one of 'sample', 'trajectory', got 'episode'"),
    ({"per": 1}, TypeError, "per must be one of"),
    ({"lengths": INTS([12])}, ValueError, 'lengths goes with per="trajectory", got it with per=None'),
    ({"per": "sample", "lengths": INTS([12])}, ValueError, "got it with per='sample'"),
    ({"per": "trajectory"}, TypeError, "lengths must be a one-dimensional array of integers.* got None"),
    ({"per": "trajectory", "lengths": [5, 7]}, TypeError, "lengths must be a one-dimensional array"),
    ({"per": "trajectory", "lengths": INTS([12.0])}, TypeError, "integers.*float64"),
    ({"per": "trajectory", "lengths": INTS([[12]])}, TypeError, "one-dimensional"),
    ({"per": "trajectory", "lengths": INTS([], int)}, ValueError, "from 1 to 12, the batch's size"),
    ({"per": "trajectory", "lengths": INTS([12, 0])}, ValueError, "from 1 to 12"),
    ({"per": "trajectory", "lengths": INTS([13, -1])}, ValueError, "from 1 to 12"),
    ({"per": "trajectory", "lengths": INTS([2**63, 12], np.uint64)}, ValueError, "from 1 to 12"),
    ({"per": "trajectory", "lengths": INTS([5, 6])}, ValueError, "add up to the 12 rows, got the sum 11"),
    ({"per": "sample", "reduction": "max"}, ValueError, "reduction must be one of"),
    ({"per": "sample", "out": np.zeros(30, np.float32)}, ValueError, r"out must have shape \(12, 43\)"),
    ({"per": "sample", "weights": np.full(12, np.nan, np.float32)}, ValueError, "weights must be finite"),
    ({"per": "sample", "actions": np.full(12, 3)}, ValueError, r"actions must lie in 0\.\.2, got 3"),
]


@pytest.mark.parametrize(("changed", "error", "words"), BAD, ids=str)
def test_bad_input_is_refused_in_a_sentence(changed, error, words):
    policy, _, obs, actions, weights = make(4, (5,), 3, 12)
    arguments = {"obs": obs, "actions": actions, "weights": weights} | changed
    with pytest.raises(error, match=words):
        fastpg.policy_gradient(policy, **arguments)


def test_trajectories_do_not_come_from_a_grid_of_steps_and_environments():
    policy, _, obs, actions, weights = make(4, (5,), 3, 12)
    with pytest.raises(ValueError, match=r"one-dimensional batch.* got the batch shape \(3, 4\)"):
        fastpg.policy_gradient(
            policy,
            obs.reshape(3, 4, 4),
            actions.reshape(3, 4),
            weights.reshape(3, 4),
            per="trajectory",
            lengths=np.array([12]),
        )


def test_out_may_not_be_what_is_read():
    policy, _, obs, actions, weights = make(47, (), 1, 12)  # 48 parameters, 47 inputs
    arena = np.zeros(12 * 48, np.float32)
    weights = arena[:12]
    with pytest.raises(ValueError, match="out must not share memory with weights"):
        fastpg.policy_gradient(policy, obs, actions, weights, per="sample", out=arena.reshape(12, 48))


def test_a_gradient_that_overflows_is_an_error():
    policy, _, obs, actions, _ = make(4, (), 3, 12)
    weights = np.full(12, 3e38, np.float32)
    with pytest.raises(FloatingPointError, match="gradient is NaN or infinite"):
        fastpg.policy_gradient(policy, 1e3 * obs, actions, weights, per="sample")


def test_the_core_checks_what_memory_safety_needs():
    policy, _, obs, actions, weights = make(4, (5,), 3, 12)
    out = np.empty((2, policy.theta.size), np.float32)
    for starts in ([0, 5, 11], [1, 5, 12], [0, 13, 12], [0, 0, 12], [0]):
        with pytest.raises(ValueError, match="starts must rise from 0 to 12"):
            _core.segment_gradients(
                policy.network, policy.theta, obs, actions, weights, np.array(starts), False, out
            )
    with pytest.raises(ValueError, match=r"out must be \(3, 43\)"):
        _core.segment_gradients(
            policy.network, policy.theta, obs, actions, weights, np.array([0, 2, 5, 12]), False, out
        )
