"""The exact policy gradient: central differences, all trajectories written out, the compiled loop."""

import numpy as np
import pytest

import fastpg
from fastpg import exact
from fastpg.exact import FiniteMDP
from tests.support.finite_mdps import (
    discounted,
    estimate_of,
    random_mdp,
    random_policy,
    trajectories,
    two_step_mdp,
)

pytestmark = pytest.mark.slow

ENDLESS = random_mdp(limit=0)
CASES = {
    "FrozenLake-v1": ("FrozenLake-v1", {"gamma": 1.0}),
    "FrozenLake-v1 discounted": ("FrozenLake-v1", {"gamma": 0.9, "horizon": 15}),
    "random MDP": (random_mdp(), {"gamma": 1.0}),
    "its first steps": (random_mdp(), {"gamma": 0.8, "horizon": 3}),
    "without a time limit": (ENDLESS, {"gamma": 1.0}),
    "without a time limit, discounted": (ENDLESS, {"gamma": 0.9}),
    "never ending": (random_mdp(ends=0.0, limit=0), {"gamma": 0.9}),
    "bootstrapped": (random_mdp(), {"gamma": 0.9, "final_values": np.array([1.0, -2.0, 0.5, 3.0, 0.0])}),
    "two steps": (two_step_mdp(), {"gamma": 1.0}),
    "masked": (random_mdp(forbidden=0.5), {"gamma": 0.9}),
    "masked, without a time limit": (random_mdp(forbidden=0.5, limit=0), {"gamma": 1.0}),
}


@pytest.mark.parametrize("hidden", [(), (5,)], ids=str)
@pytest.mark.parametrize(("env", "settings"), CASES.values(), ids=CASES)
def test_the_gradient_is_the_derivative_of_the_objective(env, settings, hidden):
    policy = random_policy(env, hidden)
    step = 2.0**-12
    differences = np.empty(policy.theta.size)
    for p in range(policy.theta.size):
        objectives = []
        for sign in (1.0, -1.0):
            moved = policy.copy()
            moved.theta[p] += sign * step
            objectives.append(exact.policy_gradient(env, moved, discount_states=True, **settings).objective)
        differences[p] = (objectives[0] - objectives[1]) / (2 * step)
    gradient = exact.policy_gradient(env, policy, discount_states=True, **settings).gradient
    assert np.linalg.norm(gradient) > 1e-3
    assert np.linalg.norm(gradient - differences) < 1e-6 * np.linalg.norm(gradient)


@pytest.mark.parametrize("gamma", [1.0, 0.7])
@pytest.mark.parametrize("hidden", [(), (5,)], ids=str)
@pytest.mark.parametrize("mdp", [two_step_mdp(), random_mdp(states=4, actions=2, limit=3)], ids=str)
def test_it_is_the_mean_of_the_estimates_of_all_trajectories(mdp, hidden, gamma):
    policy = random_policy(mdp, hidden)
    every = trajectories(mdp, policy)
    assert sum(one.probability for one in every) == pytest.approx(1.0)
    for form, discount_states in [("total", True), ("reward_to_go", False)]:
        result = exact.policy_gradient(mdp, policy, gamma=gamma, discount_states=discount_states)
        mean = sum(one.probability * estimate_of(one, policy, form, gamma) for one in every)
        np.testing.assert_allclose(result.gradient, mean, atol=1e-12)
        objective = sum(one.probability * discounted(one.rewards, gamma) for one in every)
        assert result.objective == pytest.approx(objective)
    visits = np.zeros(len(mdp.start))
    for one in every:
        np.add.at(visits, list(one.states), one.probability)
    np.testing.assert_allclose(result.visits, visits, atol=1e-12)


def test_a_discounted_reward_to_go_does_not_estimate_the_gradient_of_the_discounted_return():
    policy = random_policy(ENDLESS, ())
    without = exact.policy_gradient(ENDLESS, policy, gamma=0.8).gradient
    within = exact.policy_gradient(ENDLESS, policy, gamma=0.8, discount_states=True).gradient
    assert np.linalg.norm(without - within) > 0.1 * np.linalg.norm(within)


@pytest.mark.parametrize("discount_states", [False, True])
def test_without_a_last_step_it_is_the_limit_of_many_steps(discount_states):
    policy = random_policy(ENDLESS, (5,))
    settings = {"gamma": 0.9, "discount_states": discount_states}
    solved = exact.policy_gradient(ENDLESS, policy, **settings)
    summed = exact.policy_gradient(ENDLESS, policy, horizon=500, **settings)
    np.testing.assert_allclose(solved.gradient, summed.gradient, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(solved.visits, summed.visits, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(solved.values[:-1], summed.values[0, :-1], rtol=1e-10)
    np.testing.assert_allclose(solved.action_values[:-1], summed.action_values[0, :-1], rtol=1e-10)
    assert solved.objective == pytest.approx(summed.objective)


def test_a_time_limit_and_a_horizon_cut_the_same_way():
    mdp, policy = random_mdp(limit=4), random_policy(ENDLESS, ())
    limited = exact.policy_gradient(mdp, policy)
    for other in (
        exact.policy_gradient(mdp, policy, horizon=99),
        exact.policy_gradient(ENDLESS, policy, horizon=4),
        exact.policy_gradient(ENDLESS, policy, max_episode_steps=4),
    ):
        np.testing.assert_array_equal(other.gradient, limited.gradient)


def test_the_value_of_the_rest_bootstraps_a_cut_exactly():
    policy = random_policy(ENDLESS, ())
    whole = exact.policy_gradient(ENDLESS, policy, gamma=0.9)
    cut = exact.policy_gradient(ENDLESS, policy, gamma=0.9, horizon=3, final_values=whole.values)
    assert cut.objective == pytest.approx(whole.objective)
    np.testing.assert_allclose(cut.action_values, np.broadcast_to(whole.action_values, (3, 5, 3)), atol=1e-12)


@pytest.mark.parametrize(
    ("env_id", "params"),
    [
        ("FrozenLake-v1", {}),
        ("Taxi-v4", {}),
        ("Taxi-v4", {"use_action_mask": True}),
        ("Blackjack-v1", {}),
        ("CliffWalkingSlippery-v1", {}),
        (random_mdp(forbidden=0.5), {}),
    ],
    ids=str,
)
def test_the_compiled_loop_earns_the_objective(env_id, params):
    policy = random_policy(env_id, (), scale=0.3)
    result = exact.policy_gradient(env_id, policy, **params)
    returns, lengths = fastpg.evaluate(env_id, policy, episodes=4000, deterministic=False, **params)
    for sample, expected in [(returns, result.objective), (lengths, result.visits.sum())]:
        assert abs(sample.mean() - expected) < 3.3 * sample.std() / np.sqrt(len(sample))


# ---- environments given as arrays --------------------------------------------------------------------------


def test_a_finite_mdp_goes_wherever_an_environment_goes():
    mdp = two_step_mdp()
    policy = fastpg.Policy.for_env(mdp, hidden=(8,))
    assert policy.env_id == "two steps"
    run = fastpg.train(mdp, fastpg.Reinforce(learning_rate=0.03), policy=policy, total_steps=60_000)
    returns, lengths = fastpg.evaluate(mdp, run.policy, episodes=4000)
    assert lengths.max() == 2
    # Arm 1, then the better arm of the second step, where there is one.
    assert returns.mean() == pytest.approx(0.5 * (-0.5 + 3) + 0.25 * (0.5 + 2) + 0.25 * 2, abs=0.05)
    env = fastpg.make(mdp, num_envs=3, seed=0)
    env.reset()
    _, rewards, terminated, _, _ = env.step(np.array([0, 0, 0]))
    assert rewards.tolist() == [1.0, 1.0, 1.0] and terminated.all() and env.spec is None


def test_rewards_of_actions_are_rewards_of_whatever_follows():
    mdp = random_mdp()
    by_action = FiniteMDP(mdp.transition, mdp.reward[:, :, 0], mdp.terminal, mdp.start)
    spread = np.repeat(mdp.reward[:, :, :1], 5, axis=2)
    by_transition = FiniteMDP(mdp.transition, spread, mdp.terminal, mdp.start)
    for one, other in zip(by_action.table(), by_transition.table(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_finite_mdp_cannot_change_under_the_kernel():
    mdp, start = random_mdp(), np.array([1.0, 0.0, 0.0, 0.0, 0.0])
    copied = FiniteMDP(mdp.transition, mdp.reward, mdp.terminal, start)
    start[:] = 0.2
    assert copied.start.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    with pytest.raises(ValueError, match="read-only"):
        copied.transition[0] = 0.0


def changed(**arrays):
    mdp = random_mdp()
    known = {"transition": mdp.transition, "reward": mdp.reward, "terminal": mdp.terminal, "start": mdp.start}
    return lambda: FiniteMDP(**(known | arrays))


def wrong_row():
    transition = random_mdp().transition.copy()
    transition[2, 1, 0] += 0.1
    return transition


BAD_MDPS = [
    (
        changed(transition=np.ones((5, 3))),
        ValueError,
        r"transition must have shape \(S, A, S\), got \(5, 3\)",
    ),
    (changed(transition=np.ones((5, 3, 4))), ValueError, r"got \(5, 3, 4\)"),
    (changed(transition=wrong_row()), ValueError, r"transition\[2, 1\] must be a distribution"),
    (changed(transition="left"), TypeError, "transition must be an array of numbers, got 'left'"),
    (changed(reward=np.ones((5, 4))), ValueError, r"reward must have shape \(5, 3\) or \(5, 3, 5\)"),
    (
        changed(reward=np.full((5, 3), np.nan)),
        ValueError,
        r"reward must be finite, but reward\[0, 0\] is nan",
    ),
    (changed(terminal=np.zeros(5)), TypeError, r"terminal must be \(5,\) bools, got .* float64"),
    (changed(terminal=np.zeros(4, bool)), TypeError, r"got an array of shape \(4,\)"),
    (changed(start=np.full(5, 0.2)), ValueError, "start must be 0 in terminal states, but state 4 is one"),
    (changed(start=np.array([0.5, 0.6, 0, 0, 0])), ValueError, "start must be a distribution"),
    (changed(start=np.array([1.5, -0.5, 0, 0, 0])), ValueError, "start must be a distribution"),
    (changed(start=np.ones(3) / 3), ValueError, r"start must have shape \(5,\), got \(3,\)"),
    (changed(max_episode_steps=-1), ValueError, "max_episode_steps must be an integer from 0"),
    (changed(name=3), TypeError, "name must be a string, got 3"),
]


@pytest.mark.parametrize(("make", "error", "words"), BAD_MDPS, ids=lambda value: str(value)[:40])
def test_arrays_that_are_no_mdp_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()


BAD_CALLS = [
    ({"env_id": "CartPole-v1"}, ValueError, "must be a tabular environment, but CartPole-v1 is not one"),
    (
        {"env_id": 3},
        TypeError,
        "env_id must be a string, or an environment that FiniteMDP, jit_env or load_env made, got 3",
    ),
    ({"env_id": "FrozenLake-v1"}, ValueError, r"policy maps Discrete\(5\) to Discrete\(3\)"),
    ({"policy": None}, TypeError, "policy must be a fastpg.Policy, got None"),
    ({"gamma": 1.1}, ValueError, r"gamma must be a number in \[0, 1\]"),
    ({"horizon": 0}, ValueError, "horizon must be an integer from 1"),
    ({"horizon": 2**64 - 1}, ValueError, "horizon must be an integer from 1"),
    ({"horizon": 2.0}, TypeError, "horizon must be an integer from 1"),
    ({"discount_states": 1}, TypeError, "discount_states must be True or False"),
    ({"max_episode_steps": -1}, ValueError, "max_episode_steps must be an integer from 0"),
    ({"final_values": np.zeros(4)}, ValueError, r"final_values must have shape \(5,\)"),
    ({"final_values": np.zeros(5, np.float32)}, TypeError, "final_values must be a float64 numpy array"),
    ({"final_values": np.full(5, np.inf)}, ValueError, "final_values must be finite"),
    ({"env_id": ENDLESS, "final_values": np.zeros(5)}, ValueError, "needs a horizon or a time limit"),
    ({"is_slippery": True}, TypeError, "unexpected argument 'is_slippery'; a FiniteMDP has no parameters"),
    ({"env_id": random_mdp(ends=0.0, limit=0)}, ValueError, "episodes that may never end need a horizon"),
    (
        {"env_id": random_mdp(ends=0.0, limit=0), "gamma": 0.9},
        ValueError,
        "gamma < 1 and discount_states=True",
    ),
]


@pytest.mark.parametrize(("settings", "error", "words"), BAD_CALLS, ids=lambda value: str(value)[:60])
def test_bad_arguments_are_refused_in_a_sentence(settings, error, words):
    arguments = {"env_id": random_mdp(), "policy": random_policy(ENDLESS, ())} | settings
    with pytest.raises(error, match=words):
        exact.policy_gradient(**arguments)


def test_a_finite_mdp_has_no_pictures():
    with pytest.raises(ValueError, match="render_mode must be None for a FiniteMDP"):
        fastpg.make(two_step_mdp(), render_mode="rgb_array")
