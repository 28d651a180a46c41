"""The oracle itself: published vectors, central differences, worked examples, Gymnasium."""

import gymnasium
import numpy as np
import pytest

from fastpg import reference
from fastpg.reference import Network
from tests.support.differences import central_differences
from tests.support.policies import NETWORKS, outcomes, random_rows


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [  # Random123's kat_vectors
        ("00000000" * 4, "00000000" * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff" * 4, "ffffffff" * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a8885a308d313198a2e03707344", "a4093822299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)
def test_philox_gives_the_published_words(counter, key, expected):
    words = [np.frombuffer(bytes.fromhex(text), ">u4").astype(np.uint32) for text in (counter, key)]
    assert [f"{word:08x}" for word in reference.philox4x32(*words)] == expected.split()


def test_philox_of_a_batch_is_the_philox_of_each(rng):
    counters, key = rng.integers(2**32, size=(5, 4), dtype=np.uint32), np.array([7, 8], np.uint32)
    together = reference.philox4x32(counters, key)
    assert (together == np.stack([reference.philox4x32(counter, key) for counter in counters])).all()


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_score_is_the_derivative_of_log_prob(network, rng):
    theta, obs, actions = random_rows(network, rng)
    numeric = central_differences(lambda x: reference.log_prob(network, x, obs, actions), theta)
    np.testing.assert_allclose(reference.score(network, theta, obs, actions), numeric, atol=1e-8)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_backpropagation_leaves_the_parts_of_the_score(network, rng):
    theta, obs, actions = random_rows(network, rng)
    score = reference.score(network, theta, obs, actions)
    for inputs, deltas in reference.backpropagate(network, theta, obs, actions):
        weights = np.einsum("bo,bi->boi", deltas, inputs).reshape(len(obs), -1)
        layer = np.concatenate([weights, deltas], axis=1)
        np.testing.assert_allclose(score[:, : layer.shape[1]], layer, atol=1e-12)
        score = score[:, layer.shape[1] :]


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_policy_gradient_is_the_weighted_score(network, rng):
    theta, obs, actions = random_rows(network, rng)
    weights = rng.normal(size=len(obs))
    weighted = weights[:, None] * reference.score(network, theta, obs, actions)
    for reduction, expected in (("sum", weighted.sum(axis=0)), ("mean", weighted.mean(axis=0))):
        gradient = reference.policy_gradient(network, theta, obs, actions, weights, reduction)
        np.testing.assert_allclose(gradient, expected, atol=1e-12)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_expected_score_is_zero(network, rng):
    theta, obs, _ = random_rows(network, rng)
    each = [p[:, None] * reference.score(network, theta, obs, a) for a, p in outcomes(network, theta, obs)]
    np.testing.assert_allclose(sum(each), 0.0, atol=1e-11)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_entropy_and_kl_are_the_expectations_that_define_them(network, rng):
    theta, obs, _ = random_rows(network, rng)
    other = rng.normal(size=theta.shape)
    entropy = kl = 0.0
    for actions, probability in outcomes(network, theta, obs):
        log_prob = reference.log_prob(network, theta, obs, actions)
        entropy -= probability * log_prob
        kl += probability * (log_prob - reference.log_prob(network, other, obs, actions))
    np.testing.assert_allclose(reference.entropy(network, theta, obs), entropy, rtol=1e-12)
    np.testing.assert_allclose(reference.kl(network, theta, other, obs), kl, rtol=1e-11)


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_the_entropys_gradient_is_its_derivative(network, rng):
    theta, obs, _ = random_rows(network, rng)
    numeric = central_differences(lambda x: reference.entropy(network, x, obs).sum(), theta)
    np.testing.assert_allclose(reference.entropy_gradient(network, theta, obs), numeric, atol=1e-7)


def test_draws_of_a_gaussian_at_chosen_uniforms():
    network = Network(1, (), 2, head="gaussian")
    theta = np.array([0.0, 0.0, 1.0, 2.0, np.log(3.0), 0.0])  # means 1 and 2, std 3 and 1
    uniforms = np.array([[np.exp(-0.5), 0.25], [np.exp(-2.0), 0.5]])  # radius 1 upwards; radius 2 to the left
    drawn = reference.draw(network, theta, np.zeros((2, 1)), uniforms)
    np.testing.assert_allclose(drawn, [[1.0, 3.0], [-5.0, 2.0]], atol=1e-12)


def test_entropy_of_the_uniform_policy_is_log_n():
    network = Network(3, (), 5)
    zeros = np.zeros(reference.num_parameters(network))
    np.testing.assert_allclose(reference.entropy(network, zeros, np.ones((2, 3))), np.log(5))


def test_log_softmax_does_not_overflow():
    np.testing.assert_array_equal(reference.log_softmax(np.array([[1e4, 0.0]])), [[0.0, -1e4]])


def test_sample_inverts_the_cumulative_distribution():
    logits = np.log([[0.2, 0.3, 0.5]] * 4)
    assert reference.sample(logits, np.array([0.0, 0.19, 0.21, 0.51])).tolist() == [0, 0, 1, 2]


# Two environments, four steps: the first ends at t=1 (terminated), the second at t=2 (truncated).
REWARDS = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 40.0]])
TERMINATED = np.array([[0, 0], [1, 0], [0, 0], [0, 0]], bool)
TRUNCATED = np.array([[0, 0], [0, 0], [0, 1], [0, 0]], bool)


def test_reward_to_go_by_hand():
    expected = [[1 + 0.5 * 2, 10 + 10 + 7.5], [2, 20 + 15], [3 + 0.5 * 4, 30], [4, 40]]
    np.testing.assert_allclose(reference.reward_to_go(REWARDS, TERMINATED, TRUNCATED, 0.5), expected)


def test_episode_returns_by_hand():
    expected = [[3, 60], [3, 60], [7, 60], [7, 40]]
    np.testing.assert_allclose(reference.episode_returns(REWARDS, TERMINATED, TRUNCATED, 1.0), expected)
    expected = [[2, 27.5], [2, 27.5], [5, 27.5], [5, 40]]
    np.testing.assert_allclose(reference.episode_returns(REWARDS, TERMINATED, TRUNCATED, 0.5), expected)


@pytest.mark.parametrize("sutton_barto_reward", [False, True])
def test_cartpole_steps_as_gymnasium_does(sutton_barto_reward, rng):
    env = gymnasium.make("CartPole-v1", sutton_barto_reward=sutton_barto_reward).unwrapped
    env.reset(seed=0)
    states = rng.uniform(-1, 1, (200, 4)) * [2.5, 3.0, 0.22, 3.0]
    actions = rng.integers(2, size=200)
    ours = reference.cartpole_step(states, actions, sutton_barto_reward)
    for state, action, after, reward, terminated in zip(states, actions, *ours, strict=True):
        env.state, env.steps_beyond_terminated = tuple(state), None
        _, their_reward, their_terminated, _, _ = env.step(action)
        np.testing.assert_allclose(after, env.state, rtol=1e-13)
        assert (reward, terminated) == (their_reward, their_terminated)


def test_episode_quota_is_fixed_and_adds_up():
    assert reference.episode_quota(7, 3).tolist() == [3, 2, 2]


def play(rng, **collect):
    network = Network(4, (5,), 2)
    theta = rng.normal(size=reference.num_parameters(network))
    starts, uniforms = rng.uniform(-0.05, 0.05, (3, 1000, 4)), rng.random((1000, 3))
    return (
        network,
        theta,
        reference.rollout(
            network,
            theta,
            num_envs=3,
            reset_state=lambda env, step: starts[env, step],
            action_uniform=lambda t: uniforms[t],
            max_episode_steps=20,
            **collect,
        ),
    )


def test_rollout_by_episodes_plays_every_quota_and_nothing_else(rng):
    _, _, played = play(rng, episodes=7)
    done = (played.terminated | played.truncated) & played.valid
    assert done.sum(axis=0).tolist() == [3, 2, 2]
    # Nothing is unfinished: each environment's last valid row is an end.
    for n in range(3):
        assert done[np.flatnonzero(played.valid[:, n])[-1], n]


def test_rollout_by_horizon_takes_that_many_steps(rng):
    _, _, played = play(rng, horizon=33)
    assert played.obs.shape == (33, 3, 4)
    assert played.valid.all()


def test_time_limit_truncates(rng):
    _, _, played = play(rng, horizon=100)
    assert played.truncated.any()
    assert not (played.truncated & played.terminated).any()


@pytest.mark.parametrize("collect", [{"episodes": 5}, {"horizon": 30}], ids=str)
@pytest.mark.parametrize("form", ["total", "reward_to_go"])
def test_normalisations_differ_by_the_mean_length_of_a_trajectory(collect, form, rng):
    network, theta, played = play(rng, **collect)
    per_trajectory, per_step = (
        reference.estimate_gradient(network, theta, played, form=form, normalize=normalize)
        for normalize in ("trajectory", "timestep")
    )
    ends = ((played.terminated | played.truncated) & played.valid).sum()
    cut = (~(played.terminated | played.truncated)[-1] & played.valid[-1]).sum()
    np.testing.assert_allclose(per_trajectory * (ends + cut), per_step * played.valid.sum())


def test_adams_first_step_is_the_learning_rate_uphill():
    zeros = np.zeros(2)
    state = reference.AdamState(zeros, zeros, 0)
    theta, state = reference.adam(zeros, np.array([3.0, -0.01]), state, learning_rate=0.1, epsilon=0.0)
    np.testing.assert_allclose(theta, [0.1, -0.1])
    assert state.step == 1


def test_sgd_momentum_accumulates():
    theta, velocity = np.zeros(1), np.zeros(1)
    for _ in range(2):
        theta, velocity = reference.sgd(theta, np.ones(1), velocity, learning_rate=1.0, momentum=0.5)
    np.testing.assert_allclose(theta, [1.0 + 1.5])
