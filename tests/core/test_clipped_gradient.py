"""PPO's surrogate of rows that the caller has, against the float64 oracle on every instruction set."""

import gymnasium.spaces as gs
import numpy as np
import pytest

from fastpg import _core, reference
from tests.support import heads

SPACES = {
    "discrete": gs.Discrete(3),
    "multi_discrete": gs.MultiDiscrete([2, 5, 3]),
    "multi_binary": gs.MultiBinary(4),
    "gaussian": gs.Box(-1, 1, (3,), np.float32),
    "squashed": heads.SQUASHED,
    "state_std": heads.STATE_STD,
    "both": heads.BOTH,
}
CLIP_RANGE, ENTROPY_COEF = 0.2, 0.05


def rows_of(space, hidden, size, activation="tanh"):
    """A policy with its oracle, and rows whose ratios lie on both sides of the range, but not on its ends."""
    policy, oracle = heads.make(space, hidden, activation=activation)
    obs, actions, advantages = heads.batch(policy, size)
    log_ratios = 0.3 * np.random.default_rng(2).normal(size=size)
    log_ratios[np.abs(np.abs(np.exp(log_ratios) - 1) - CLIP_RANGE) < 1e-3] = 0
    log_probs = reference.log_prob(oracle, *heads.exact(policy, obs), actions)
    return policy, oracle, obs, actions, advantages, (log_probs - log_ratios).astype(np.float32)


def core_gradient(policy, obs, actions, advantages, old_log_probs, scale=1.0, entropy_coef=ENTROPY_COEF):
    gradient = np.empty_like(policy.theta)
    sums = _core.clipped_gradient(
        policy.network, policy.theta, obs, np.ascontiguousarray(actions).reshape(-1), advantages,
        old_log_probs, scale, CLIP_RANGE, entropy_coef, gradient,
    )  # fmt: skip
    return gradient, sums


@pytest.mark.parametrize("size", [1, 3, 17, 129, 1000])
@pytest.mark.parametrize("hidden", [(), (33, 17)])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("head", SPACES)
def test_the_gradient_and_every_sum_equal_the_oracle(isa, head, activation, hidden, size):
    policy, oracle, obs, actions, advantages, old = rows_of(SPACES[head], hidden, size, activation)
    gradient, sums = core_gradient(policy, obs, actions, advantages, old, 1 / size)
    theta, exact_obs = heads.exact(policy, obs)
    ratios = reference.probability_ratios(oracle, theta, exact_obs, actions, np.float64(old))
    surrogates = reference.clipped_surrogate(ratios, np.float64(advantages), CLIP_RANGE)
    slope = reference.surrogate_slope(ratios, np.float64(advantages), CLIP_RANGE)
    entropy = reference.entropy(oracle, theta, exact_obs)
    expected = [
        surrogates.sum(), entropy.sum(), size * reference.kl_k1(ratios), size * reference.kl_k3(ratios),
        size * reference.clip_fraction(ratios, CLIP_RANGE),
    ]  # fmt: skip
    np.testing.assert_allclose(sums[0], expected[0], atol=1e-6 * np.abs(surrogates).sum())
    np.testing.assert_allclose(sums[1:4], expected[1:4], rtol=1e-5, atol=2e-6 * size)
    assert sums[4] == round(expected[4])
    by_theta = reference.surrogate_gradient(oracle, theta, exact_obs, actions, slope)
    by_theta += ENTROPY_COEF * reference.entropy_gradient(oracle, theta, exact_obs) / size
    rows = reference.score(oracle, theta, exact_obs, actions) * slope[:, None]
    atol = 1e-5 * (np.linalg.norm(rows, axis=1).mean() + 0.01)
    assert np.linalg.norm(gradient - by_theta) < atol


@pytest.mark.parametrize("head", SPACES)
def test_ratios_of_1_give_the_bits_of_the_policy_gradient(isa, head):
    policy, _, obs, actions, weights, _ = rows_of(SPACES[head], (5,), 300)
    flat = np.ascontiguousarray(actions).reshape(-1)
    log_probs, _ = _core.log_prob_and_entropy(policy.network, policy.theta, obs, flat)
    gradient, sums = core_gradient(policy, obs, actions, weights, log_probs, -1 / 300)
    plain = np.empty_like(gradient)
    _core.policy_gradient(
        policy.network, policy.theta, obs, flat, weights, -1 / 300, plain, ENTROPY_COEF, True
    )
    np.testing.assert_array_equal(gradient, plain)
    assert sums[0] == weights.sum(dtype=np.float64) and sums[2:] == (0.0, 0.0, 0.0)


def test_the_number_of_threads_does_not_change_a_bit(threads):
    rows = rows_of(SPACES["discrete"], (33, 17), 3000)
    policy, _, *arrays = rows
    found = []
    for number in (1, 2, 3):
        threads(number)
        gradient, sums = core_gradient(policy, *arrays)
        found.append((gradient.tobytes(), sums))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("name", ["advantages", "old_log_probs"])
def test_arrays_of_another_length_are_refused(name):
    policy, _, obs, actions, advantages, old = rows_of(SPACES["discrete"], (), 4)
    given = {"advantages": advantages, "old_log_probs": old}
    given[name] = given[name][:3]
    with pytest.raises(ValueError, match=f"{name} must have 4 entries, got 3"):
        core_gradient(policy, obs, actions, **given)
