"""collect: every step of a rollout, against stepping by hand, the oracle and the fused estimate."""

import importlib
import itertools
import os
import re
import signal
import threading

import gymnasium
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete, MultiBinary, MultiDiscrete
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import fastpg
from fastpg import _core, reference
from fastpg.exact import FiniteMDP
from tests import ROOT
from tests.support.gymnasium_envs import MODES, vector_of
from tests.support.quick import few

SEED = 11
TAXI = next(env_id for env_id in fastpg.list_envs() if env_id.startswith("Taxi"))  # v3 or v4, by Gymnasium
# Discrete actions; real ones; observations that are categories, in each form of space.
ENVS = ["CartPole-v1", "Acrobot-v1", "Pendulum-v1", "MountainCarContinuous-v0", TAXI, "FrozenLake-v1"]
ENVS += ["Blackjack-v1"]


def policy_of(env_id, hidden=(8,), scale=0.5, seed=0):
    """A policy that takes every action now and then."""
    policy = fastpg.Policy.for_env(env_id, hidden=hidden)
    policy.theta[:] = np.random.default_rng(seed).normal(0, scale, policy.theta.size)
    return policy


def rows(obs, t):
    """Step t of a rollout's observations, also where they are a tuple."""
    return tuple(part[t] for part in obs) if isinstance(obs, tuple) else obs[t]


def assert_same_obs(got, expected):
    for a, b in zip(
        got if isinstance(got, tuple) else (got,),
        expected if isinstance(expected, tuple) else (expected,),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


FIELDS = (
    "actions", "log_probs", "rewards", "terminated", "truncated", "ends", "episode_returns",
    "episode_lengths", "values", "last_values", "final_values",
)  # fmt: skip


def assert_equal(a, b):
    for name in FIELDS:
        if getattr(a, name) is not None:
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    for name in ("obs", "last_obs", "final_obs"):
        assert_same_obs(getattr(a, name), getattr(b, name))


# ---- against stepping by hand ------------------------------------------------------------------------------


def step_by_hand(env, obs, policy, horizon, first=0):
    """What the docstring says that collect does: returns the rows, the ends, and the last observation."""
    steps, ends = [], []
    box = policy.action_space if isinstance(policy.action_space, Box) else None
    for t in range(horizon):
        actions = policy.act(obs, seed=SEED, step=first + t)
        log_probs = policy.log_prob(obs, actions)
        before = obs
        given = actions if box is None else np.clip(actions, box.low, box.high)
        obs, rewards, terminated, truncated, infos = env.step(given)
        steps.append((before, actions, log_probs, rewards, terminated, truncated))
        ends += [(t, n, infos["final_obs"][n]) for n in np.flatnonzero(terminated | truncated)]
    return steps, ends, obs


def assert_a_rollout_is_what_stepping_by_hand_does(env_id, num_envs):
    policy = policy_of(env_id)
    limit = {"max_episode_steps": 23}
    by_hand = fastpg.make(env_id, num_envs, autoreset="same_step", **limit)
    obs, _ = by_hand.reset(seed=SEED)
    steps, ends, last = step_by_hand(by_hand, obs, policy, 60)

    env = fastpg.make(env_id, num_envs, **limit)
    env.reset(seed=SEED)
    batch = fastpg.collect(env, policy, 60)
    names = ("actions", "log_probs", "rewards", "terminated", "truncated")
    for t, (before, *others) in enumerate(steps):
        assert_same_obs(rows(batch.obs, t), before)
        for name, expected in zip(names, others, strict=True):
            got = getattr(batch, name)[t]
            if name == "log_probs":
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(got, np.asarray(expected, got.dtype))
    assert_same_obs(batch.last_obs, last)
    np.testing.assert_array_equal(batch.ends, [end[:2] for end in ends])
    for k, (_, _, final) in enumerate(ends):
        one = rows(batch.final_obs, k)
        assert tuple(map(int, one)) == final if isinstance(one, tuple) else np.array_equal(one, final)
    assert batch.num_steps == 60 * num_envs
    assert batch.num_episodes == len(ends) > 0


@pytest.mark.parametrize("num_envs", few([1, 3, 17, 70], {3, 70}))
@pytest.mark.parametrize("env_id", few(ENVS, {"CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1"}))
def test_a_rollout_is_what_stepping_by_hand_does(isa, env_id, num_envs):
    assert_a_rollout_is_what_stepping_by_hand_does(env_id, num_envs)


@pytest.mark.parametrize("num_envs", [3, 70])
@pytest.mark.parametrize("name", ["Cart", "Grid", "Bits", "Rooms"])
def test_so_is_one_of_an_environment_with_several_action_components(isa, name, num_envs):
    pytest.importorskip("numba")
    env = vars(importlib.import_module("tests.support.jit_envs"))[name]
    if name == "Cart":  # so light that it soon reaches a limit of its own, and is truncated there
        env = env.with_params(mass=0.01, drag=0.0)
    assert_a_rollout_is_what_stepping_by_hand_does(env, num_envs)


@pytest.mark.parametrize("autoreset", ["next_step", "same_step", "disabled"])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_stepping_by_hand_and_collecting_can_be_mixed_in_every_autoreset_mode(env_id, autoreset):
    policy = policy_of(env_id)
    limit = {"max_episode_steps": 13}
    by_hand = fastpg.make(env_id, 9, autoreset="same_step", **limit)
    obs, _ = by_hand.reset(seed=SEED)
    env = fastpg.make(env_id, 9, autoreset=autoreset, **limit)
    env.reset(seed=SEED)
    collected = 0
    for round in range(5):
        actions = policy.act(obs, seed=99, step=round)
        given = np.clip(actions, -1, 1) if actions.dtype == np.float32 else actions
        obs, *flags, _ = by_hand.step(given)
        mine, *mine_flags, _ = env.step(given)
        for a, b in zip(flags, mine_flags, strict=True):
            np.testing.assert_array_equal(a, b)
        done = flags[1] | flags[2]
        np.testing.assert_array_equal(np.asarray(mine)[~done], np.asarray(obs)[~done])
        # An episode that the hand's last step ended is followed by another, whatever the mode.
        batch = fastpg.collect(env, policy, 12)
        steps, _, obs = step_by_hand(by_hand, obs, policy, 12, collected)
        collected += 12
        for t, step in enumerate(steps):
            assert_same_obs(rows(batch.obs, t), step[0])
            np.testing.assert_array_equal(batch.actions[t], step[1])
        assert_same_obs(batch.last_obs, obs)
    assert round == 4 and batch.num_episodes > 0


def test_returns_and_lengths_are_those_of_whole_episodes_also_across_calls_and_steps_by_hand():
    env = fastpg.make("CartPole-v1", 8)
    env.reset(seed=SEED)
    policy = policy_of("CartPole-v1", scale=0.01)
    rewards = np.zeros(8)
    played = np.zeros(8, int)
    for _ in range(5):
        env.step(np.zeros(8, np.int64))
        rewards, played = rewards + 1, played + 1
    seen = 0
    for _ in range(10):
        batch = fastpg.collect(env, policy, 7)
        k = 0
        for t in range(7):
            rewards, played = rewards + batch.rewards[t], played + 1
            for n in np.flatnonzero(batch.terminated[t] | batch.truncated[t]):
                assert tuple(batch.ends[k]) == (t, n)
                assert batch.episode_returns[k] == rewards[n] and batch.episode_lengths[k] == played[n]
                rewards[n] = played[n] = 0
                k += 1
        assert k == batch.num_episodes
        seen += k
        if k:
            assert batch.mean_return == batch.episode_returns.mean()
            assert batch.mean_length == batch.episode_lengths.mean()
    assert seen > 8
    none = fastpg.collect(fastpg.make("Pendulum-v1", 2), policy_of("Pendulum-v1"), 3)
    assert none.num_episodes == 0 and np.isnan(none.mean_return) and np.isnan(none.mean_length)


def test_gymnasium_sets_both_flags_where_a_limit_meets_an_absorbing_state_and_so_does_collect():
    policy = policy_of("CartPole-v1", scale=0.0)
    both = 0
    for limit in (9, 10, 11, 12):
        env = fastpg.make("CartPole-v1", 200, max_episode_steps=limit)
        env.reset(seed=1)
        batch = fastpg.collect(env, policy, 40)
        both += (batch.terminated & batch.truncated).sum()
        lengths, truncated = batch.episode_lengths, batch.truncated[batch.ends[:, 0], batch.ends[:, 1]]
        np.testing.assert_array_equal(truncated, lengths == limit)
    assert both > 0


def test_reset_options_hold_for_episodes_that_a_rollout_begins():
    env = fastpg.make("MountainCar-v0", 4, max_episode_steps=5)
    env.reset(seed=0, options={"low": -0.9, "high": -0.8})
    batch = fastpg.collect(env, policy_of("MountainCar-v0"), 11)
    for first in (batch.obs[0], batch.obs[5], batch.obs[10]):
        assert (first[:, 0] >= -0.9).all() and (first[:, 0] <= -0.8).all()


# ---- against the oracle ------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), (33,), (64, 64), (17, 5, 33)], ids=str)
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"])
def test_log_probs_values_and_entropy_equal_the_oracle(isa, env_id, hidden):
    policy, value = policy_of(env_id, hidden), fastpg.ValueFunction.for_env(env_id, hidden=(5,))
    value.theta[:] = np.random.default_rng(1).normal(size=value.theta.size)
    env = fastpg.make(env_id, 17, max_episode_steps=9, seed=2)
    batch = fastpg.collect(env, policy, 40, value=value)
    net = policy.network
    categories = net.action_categories if net.head == "categorical" else ()
    oracle = reference.Network(
        net.num_inputs, net.hidden, net.num_outputs, net.activation, net.head, categories
    )
    theta, x = policy.theta.astype(np.float64), batch.obs.reshape(-1, net.num_inputs).astype(np.float64)
    actions = batch.actions.reshape(len(x), *policy.action_space.shape)
    near = {"rtol": 1e-5, "atol": 1e-5}
    np.testing.assert_allclose(batch.log_probs.ravel(), reference.log_prob(oracle, theta, x, actions), **near)
    np.testing.assert_allclose(batch.entropy, reference.entropy(oracle, theta, x).mean(), rtol=1e-5)
    critic = reference.Network(net.num_inputs, (5,), 1)
    v = value.theta.astype(np.float64)
    values = reference.state_values(critic, v, x)
    np.testing.assert_allclose(batch.values.ravel(), values, **near)
    np.testing.assert_allclose(batch.last_values, reference.state_values(critic, v, batch.last_obs), **near)
    final = reference.state_values(critic, v, batch.final_obs)
    cut = (batch.truncated & ~batch.terminated)[batch.ends[:, 0], batch.ends[:, 1]]
    assert cut.any()
    np.testing.assert_allclose(
        batch.final_values, batch.scatter_final(np.where(cut, final, 0).astype(np.float32)), **near
    )
    assert (batch.final_values[~(batch.truncated & ~batch.terminated)] == 0).all()


# ---- against the fused estimate ----------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [(), (33,), (64, 64)], ids=str)
@pytest.mark.parametrize(("num_envs", "horizon"), [(1, 300), (17, 50), (100, 33)])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCar-v0", "Pendulum-v1", "FrozenLake-v1"])
def test_the_estimate_from_a_batch_is_estimate_gradients(env_id, num_envs, horizon, hidden):
    policy, value = policy_of(env_id, hidden), fastpg.ValueFunction.for_env(env_id, hidden=(16,))
    value.theta[:] = np.random.default_rng(1).normal(0, 0.3, value.theta.size)
    settings = {"num_envs": num_envs, "horizon": horizon, "seed": SEED}
    batch = fastpg.collect(env_id, policy, horizon, value=value, num_envs=num_envs, seed=SEED)
    advantages, _ = fastpg.gae(
        batch.rewards,
        batch.values,
        batch.terminated,
        batch.truncated,
        last_values=batch.last_values,
        final_values=batch.final_values,
        gamma=0.97,
        lam=0.9,
    )
    estimate = fastpg.estimate_gradient(
        env_id, policy, form="gae", value=value, gamma=0.97, lam=0.9, normalize="timestep", **settings
    )
    gradient = fastpg.policy_gradient(policy, batch.obs, batch.actions, advantages)
    scale = np.linalg.norm(estimate.gradient)
    assert np.linalg.norm(gradient - estimate.gradient) <= 1e-5 * scale + 1e-7
    np.testing.assert_allclose(estimate.entropy, batch.entropy, rtol=1e-12)
    assert (estimate.num_steps, estimate.num_episodes) == (batch.num_steps, batch.num_episodes)
    if batch.num_episodes:
        np.testing.assert_allclose(batch.mean_return, estimate.mean_return, rtol=1e-12)
    to_go = fastpg.estimate_gradient(env_id, policy, gamma=0.97, normalize="timestep", **settings)
    weights = fastpg.returns(
        batch.rewards, batch.terminated, batch.truncated, gamma=0.97, bootstrap_truncated=False
    )
    gradient = fastpg.policy_gradient(policy, batch.obs, batch.actions, weights)
    scale = np.linalg.norm(to_go.gradient) + 1e-3 * np.abs(weights).mean()
    assert np.linalg.norm(gradient - to_go.gradient) <= 1e-5 * scale


def test_a_rollout_with_an_id_begins_with_fresh_episodes():
    policy = policy_of("CartPole-v1")
    a, b = (fastpg.collect("CartPole-v1", policy, 20, num_envs=5, seed=4) for _ in range(2))
    assert_equal(a, b)
    other = fastpg.collect("CartPole-v1", policy, 20, num_envs=5, seed=5)
    assert (other.obs[0] != a.obs[0]).any()
    assert fastpg.collect("CartPole-v1", policy, 2).obs.shape == (2, 1024, 4)
    sutton = fastpg.collect("CartPole-v1", policy, 60, num_envs=5, sutton_barto_reward=True)
    assert set(np.unique(sutton.rewards)) == {0.0, -1.0}


# ---- episodes go on, and nothing depends on threads --------------------------------------------------------


@pytest.mark.parametrize("num_envs", [1, 3, 17, 1000])
@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1"])
def test_calls_continue_each_other_and_equal_one_long_call(env_id, num_envs):
    policy, value = policy_of(env_id), fastpg.ValueFunction.for_env(env_id, hidden=())
    long, short = (fastpg.make(env_id, num_envs, max_episode_steps=30) for _ in range(2))
    long.reset(seed=2), short.reset(seed=2)
    whole = fastpg.collect(long, policy, 50, value=value)
    parts, begin = [], 0
    for horizon in (1, 6, 13, 30):  # the draws of a call begin at any step, not only at every fourth
        parts.append(fastpg.collect(short, policy, horizon, value=value))
        for name in ("actions", "log_probs", "rewards", "terminated", "truncated"):
            expected = getattr(whole, name)[begin : begin + horizon]
            np.testing.assert_array_equal(getattr(parts[-1], name), expected)
        begin += horizon
    assert_same_obs(parts[-1].last_obs, whole.last_obs)
    np.testing.assert_array_equal(np.concatenate([p.episode_returns for p in parts]), whole.episode_returns)
    np.testing.assert_array_equal(np.concatenate([p.episode_lengths for p in parts]), whole.episode_lengths)
    for a, b in zip(long.get_state(), short.get_state(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("hidden", [(), (33,)], ids=str)
@pytest.mark.parametrize("num_envs", few([1, 8, 100, 1100], {8, 100}))
@pytest.mark.parametrize("env_id", few(["CartPole-v1", "Pendulum-v1", TAXI], {"CartPole-v1", "Pendulum-v1"}))
def test_the_number_of_threads_changes_no_bit(threads, env_id, num_envs, hidden):
    policy, value = policy_of(env_id, hidden), fastpg.ValueFunction.for_env(env_id, hidden=(4,))
    results = []
    for n in (1, 2, 3):
        threads(n)
        env = fastpg.make(env_id, num_envs, max_episode_steps=17)
        env.reset(seed=8)
        results.append(fastpg.collect(env, policy, 40, value=value))
    assert_equal(results[0], results[1])
    assert_equal(results[0], results[2])


def test_an_environment_is_the_same_among_any_number_of_others():
    policy = policy_of("Acrobot-v1")
    batches = []
    for num_envs in (3, 200):
        env = fastpg.make("Acrobot-v1", num_envs, max_episode_steps=30)
        env.reset(seed=8)
        batches.append(fastpg.collect(env, policy, 70))
    for name in ("obs", "actions", "rewards"):
        np.testing.assert_array_equal(getattr(batches[0], name), getattr(batches[1], name)[:, :3])


def test_seeds_decide_what_is_drawn():
    policy = policy_of("CartPole-v1", scale=0.0)

    def actions(reset_seed=1, **given):
        env = fastpg.make("CartPole-v1", 5)
        env.reset(seed=reset_seed)
        return [fastpg.collect(env, policy, 6, **given).actions.tobytes() for _ in range(2)]

    first, second = actions()
    assert first != second  # the steps of the second call have other numbers
    assert actions() == actions(seed=1) == [first, second]
    assert actions(seed=2) != [first, second] and actions(reset_seed=2) == actions(seed=2)
    env = fastpg.make("CartPole-v1", 5)
    for _ in range(2):
        env.reset(seed=1)  # gives seeds, so that steps are counted from 0 again
        assert fastpg.collect(env, policy, 6).actions.tobytes() == first
    env.reset()  # goes on
    assert fastpg.collect(env, policy, 6).actions.tobytes() == second


def test_an_environment_that_was_never_reset_is_reset_with_the_seed_that_it_was_made_with():
    policy = policy_of("CartPole-v1")
    fresh = fastpg.make("CartPole-v1", 5, seed=6)
    known = fastpg.make("CartPole-v1", 5)
    known.reset(seed=6)
    assert_equal(fastpg.collect(fresh, policy, 30), fastpg.collect(known, policy, 30))


def test_policies_take_turns_on_the_same_environments():
    env, twin = fastpg.make("CartPole-v1", 5), fastpg.make("CartPole-v1", 5)
    env.reset(seed=0), twin.reset(seed=0)
    wide, narrow = policy_of("CartPole-v1", (40,)), policy_of("CartPole-v1", ())
    for policy in (wide, narrow, wide):
        assert_equal(fastpg.collect(env, policy, 9), fastpg.collect(twin, policy.copy(), 9))


# ---- environments given as arrays --------------------------------------------------------------------------


def test_a_finite_mdp_is_collected_from():
    mdp = FiniteMDP(
        transition=np.array([[[0, 1.0], [1, 0]], [[1, 0], [0, 1]]]),
        reward=np.array([[1.0, 2.0], [3.0, 4.0]]),
        terminal=np.zeros(2, bool),
        start=np.array([1.0, 0.0]),
        max_episode_steps=7,
    )
    policy = fastpg.Policy.for_env(mdp, hidden=())
    env = fastpg.make(mdp, 6)
    env.reset(seed=0)
    batch = fastpg.collect(env, policy, 21)
    assert batch.obs.dtype == np.int64 and batch.obs.shape == (21, 6)
    state = np.zeros(6, int)
    for t in range(21):
        np.testing.assert_array_equal(batch.obs[t], state)
        np.testing.assert_array_equal(batch.rewards[t], 1 + 2 * state + batch.actions[t])
        state = np.where(batch.actions[t] == 0, 1 - state, state)
        np.testing.assert_array_equal(batch.truncated[t], (t + 1) % 7 == 0)
        state = np.zeros(6, int) if (t + 1) % 7 == 0 else state
    assert_equal(fastpg.collect(mdp, policy, 8, num_envs=3), fastpg.collect(mdp, policy, 8, num_envs=3))


# ---- memory ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "env_id", few(["CartPole-v1", "Pendulum-v1", TAXI, "Blackjack-v1"], {"CartPole-v1", "Pendulum-v1"})
)
def test_out_is_overwritten_and_returned_again(env_id):
    policy, value = policy_of(env_id), fastpg.ValueFunction.for_env(env_id, hidden=())
    env, twin = fastpg.make(env_id, 7), fastpg.make(env_id, 7)
    env.reset(seed=0), twin.reset(seed=0)
    first = fastpg.collect(env, policy, 20, value=value)
    again = fastpg.collect(env, policy, 20, value=value, out=first)
    for name in ("obs", "actions", "log_probs", "rewards", "terminated", "values", "final_values"):
        for a, b in zip(
            *(
                (part if isinstance(part, tuple) else (part,))
                for part in (getattr(first, name), getattr(again, name))
            ),
            strict=True,
        ):
            assert np.shares_memory(a, b)
    fastpg.collect(twin, policy, 20, value=value)
    assert_equal(again, fastpg.collect(twin, policy, 20, value=value))


def test_rollouts_without_out_do_not_share_memory():
    env, policy = fastpg.make("CartPole-v1", 7, copy=False, seed=0), policy_of("CartPole-v1")
    first, second = fastpg.collect(env, policy, 5), fastpg.collect(env, policy, 5)
    assert not np.shares_memory(first.obs, second.obs)
    np.testing.assert_array_equal(first.last_obs, second.obs[0])


# ---- what goes wrong ---------------------------------------------------------------------------------------


def test_ctrl_c_leaves_the_environments_where_they_were():
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(256, 256))
    env, twin = fastpg.make("CartPole-v1", 2048), fastpg.make("CartPole-v1", 2048)
    env.reset(seed=0), twin.reset(seed=0)
    fastpg.collect(env, policy, 3), fastpg.collect(twin, policy, 3)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            fastpg.collect(env, policy, 20_000)
    finally:
        signal.signal(signal.SIGINT, before)
    assert_equal(fastpg.collect(env, policy, 30), fastpg.collect(twin, policy, 30))


def test_a_network_that_overflows_is_an_error_and_the_environments_stay():
    env = fastpg.make("CartPole-v1", 5)
    env.reset(seed=0)
    state = env.get_state()
    policy = policy_of("CartPole-v1", ())
    policy.theta[:] = 3e38
    with pytest.raises(FloatingPointError, match="the policy's output is NaN or infinite"):
        fastpg.collect(env, policy, 5)
    for a, b in zip(env.get_state(), state, strict=True):
        np.testing.assert_array_equal(a, b)
    good, value = policy_of("CartPole-v1"), fastpg.ValueFunction.for_env("CartPole-v1", hidden=())
    value.theta[:] = 3e38
    with pytest.raises(FloatingPointError, match=r"collect\(\): a value is NaN or infinite"):
        fastpg.collect(env, good, 5, value=value)


@pytest.mark.parametrize("copy", [True, False])
def test_environments_that_were_never_reset_stay_so_where_collect_fails(copy):
    made = {"num_envs": 5, "copy": copy, "seed": 3, "autoreset": "same_step"}
    env, twin = fastpg.make("CartPole-v1", **made), fastpg.make("CartPole-v1", **made)
    good, bad = policy_of("CartPole-v1"), policy_of("CartPole-v1")
    bad.theta[:] = 3e38
    with pytest.raises(FloatingPointError, match="the policy's output is NaN or infinite"):
        fastpg.collect(env, bad, 5)
    with pytest.raises(fastpg.ResetNeeded):
        env.step(np.zeros(5, np.int64))
    assert_equal(fastpg.collect(env, good, 30), fastpg.collect(twin, good, 30))
    actions = np.ones(5, np.int64)
    for got, expected in zip(env.step(actions)[:4], twin.step(actions)[:4], strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_reward_that_is_not_finite_in_float32_is_an_error_before_its_episode_ends():
    mdp = FiniteMDP(np.ones((1, 1, 1)), np.full((1, 1), 1e300), np.zeros(1, bool), np.ones(1), 100)
    with pytest.raises(FloatingPointError, match="reward that is NaN or infinite"):
        fastpg.collect(mdp, fastpg.Policy.for_env(mdp, hidden=()), 3, num_envs=2)


def cartpole():
    return fastpg.make("CartPole-v1", 3)


POLICY = fastpg.Policy.for_env("CartPole-v1", hidden=())
VALUE = fastpg.ValueFunction.for_env("CartPole-v1", hidden=())


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "sentence"),
    [
        (("CartPole-v1", POLICY, 0), {}, ValueError, "horizon must be an integer from 1"),
        (("CartPole-v1", POLICY, 2.0), {}, TypeError, "horizon must be an integer"),
        (("CartPole-v1", POLICY, 2), {"num_envs": 0}, ValueError, "num_envs must be an integer from 1"),
        (("CartPole-v1", POLICY, 2), {"seed": -1}, ValueError, "seed must be an integer"),
        (("CartPole-v1", POLICY, 2), {"gravity": 1}, TypeError, "unexpected argument 'gravity'"),
        (("CartPole-v7", POLICY, 2), {}, ValueError, "is not implemented natively"),
        ((3, POLICY, 2), {}, TypeError, "must be"),
        (("CartPole-v1", None, 2), {}, TypeError, "policy must be a fastpg.Policy, got None"),
        (("Pendulum-v1", POLICY, 2), {}, ValueError, "but Pendulum-v1 has"),
        (("CartPole-v1", POLICY, 2), {"value": POLICY}, TypeError, "value must be a fastpg.ValueFunction"),
        (("CartPole-v1", POLICY, 2), {"out": 3}, TypeError, "out must be a Batch of fastpg.collect, got 3"),
    ],
)
def test_bad_arguments_are_sentences(arguments, keywords, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        fastpg.collect(*arguments, **keywords)
    assert str(raised.value).startswith("collect(): ")


def test_what_goes_with_an_id_does_not_go_with_a_vector_env():
    with pytest.raises(
        TypeError, match="num_envs goes with an id; the VectorEnv that was passed has its own"
    ):
        fastpg.collect(cartpole(), POLICY, 2, num_envs=3)
    with pytest.raises(TypeError, match="sutton_barto_reward goes with an id"):
        fastpg.collect(cartpole(), POLICY, 2, sutton_barto_reward=True)
    with pytest.raises(ValueError, match="but CartPole-v1 has"):
        fastpg.collect(cartpole(), policy_of("Acrobot-v1"), 2)
    with pytest.raises(ValueError, match="value reads Box"):
        fastpg.collect(cartpole(), POLICY, 2, value=fastpg.ValueFunction.for_env("Pendulum-v1", hidden=()))


def test_a_wrapper_is_stepped_by_python_with_what_it_changes():
    rewarded = gymnasium.wrappers.vector.TransformReward(cartpole(), lambda reward: 2 * reward)
    batch = fastpg.collect(rewarded, POLICY, 30)
    counted = np.ones(batch.rewards.shape, bool) if batch.mask is None else batch.mask
    assert (batch.rewards[counted] == 2.0).all()
    with pytest.raises(TypeError, match=r"a single gymnasium\.Env"):
        fastpg.collect(gymnasium.make("CartPole-v1"), POLICY, 2)


def test_out_goes_with_native_environments_only():
    with pytest.raises(ValueError, match="out goes with native environments"):
        fastpg.collect("gym:CartPole-v1", POLICY, 2, out=fastpg.collect(cartpole(), POLICY, 2))


@pytest.mark.parametrize("mode", MODES, ids=str)
@pytest.mark.parametrize("lengths", [(30,), (1, 12, 17)], ids=str)
def test_calls_go_on_where_the_last_one_left_an_environment_that_python_steps(mode, lengths):
    env = vector_of([lambda: gymnasium.make("CartPole-v1")] * 3, mode)
    value = fastpg.ValueFunction.for_env("CartPole-v1", hidden=(5,))
    parts = [fastpg.collect(env, POLICY, 1, value=value, seed=4)]
    parts += [fastpg.collect(env, POLICY, length, value=value) for length in lengths]
    again = fastpg.collect(env, POLICY, 1, value=value, seed=4)
    assert (again.obs == parts[0].obs).all()  # the seed begins anew
    for part, following in itertools.pairwise(parts):
        assert (following.obs[0] == part.last_obs).all()
    for part in parts:
        done = part.terminated | part.truncated
        counted = np.ones(done.shape, bool) if part.mask is None else part.mask
        assert (np.argwhere(done & counted) == part.ends).all()
        np.testing.assert_allclose(part.log_probs, POLICY.log_prob(part.obs, part.actions), rtol=1e-5)
        np.testing.assert_allclose(part.values, value(part.obs), rtol=1e-5)
        np.testing.assert_allclose(part.last_values, value(part.last_obs), rtol=1e-5)
        cut = part.truncated & ~part.terminated & counted
        at_ends = value(part.final_obs)[cut[part.ends[:, 0], part.ends[:, 1]]] if len(part.ends) else []
        np.testing.assert_allclose(part.final_values[cut], at_ends, rtol=1e-5)
    returns = np.concatenate([part.episode_returns for part in parts])
    lengths_of = np.concatenate([part.episode_lengths for part in parts])
    assert (returns == lengths_of).all()  # a reward of 1 for every step
    env.close()


def test_a_closed_environment_is_refused():
    env = cartpole()
    env.close()
    with pytest.raises(
        gymnasium.error.ClosedEnvironmentError, match=r"collect\(\): the environment is closed"
    ):
        fastpg.collect(env, POLICY, 2)


def test_an_out_that_does_not_fit_says_what_it_holds():
    env = cartpole()
    out = fastpg.collect(env, POLICY, 4)
    with pytest.raises(ValueError, match=r"out must hold 5 steps of 3 .*, got one of 4 steps of 3"):
        fastpg.collect(env, POLICY, 5, out=out)
    with pytest.raises(ValueError, match="int64, with values, got one of 4 steps"):
        fastpg.collect(env, POLICY, 4, value=VALUE, out=out)
    with pytest.raises(ValueError, match="with 1 categories"):
        fastpg.collect(TAXI, policy_of(TAXI), 4, num_envs=3, out=out)


def test_scatter_final_says_what_does_not_fit():
    env = fastpg.make("CartPole-v1", 30, seed=0)
    batch = fastpg.collect(env, POLICY, 30)
    k = batch.num_episodes
    dense = batch.scatter_final(np.arange(1, k + 1, dtype=np.float32))
    np.testing.assert_array_equal(dense != 0, batch.terminated | batch.truncated)
    np.testing.assert_array_equal(dense[dense != 0], np.arange(1, k + 1))
    with pytest.raises(ValueError, match=r"Batch.scatter_final\(\): values must have shape"):
        batch.scatter_final(np.zeros(k + 1, np.float32))
    with pytest.raises(TypeError, match="values must be float32"):
        batch.scatter_final(np.zeros(k))


def test_the_gae_of_a_batch_heeds_all_that_the_batch_has():
    def short():
        return gymnasium.wrappers.TimeLimit(gymnasium.make("CartPole-v1").unwrapped, 7)

    batch = fastpg.collect(short, POLICY, 41, value=VALUE, num_envs=3)
    assert not batch.mask.all() and batch.truncated.any()
    advantages, targets = batch.gae(gamma=0.9, lam=0.8)
    expected = np.zeros(batch.rewards.shape)
    for n in range(3):
        following, carried = float(batch.last_values[n]), 0.0
        for t in reversed(np.flatnonzero(batch.mask[:, n])):
            if batch.terminated[t, n] or batch.truncated[t, n]:
                following, carried = float(batch.final_values[t, n]), 0.0
            residual = float(batch.rewards[t, n]) + 0.9 * following - float(batch.values[t, n])
            carried = expected[t, n] = residual + 0.9 * 0.8 * carried
            following = float(batch.values[t, n])
    np.testing.assert_allclose(advantages, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        targets, np.where(batch.mask, expected + batch.values, 0), rtol=1e-5, atol=1e-5
    )
    with pytest.raises(ValueError, match=r"^Batch.gae\(\): the batch has no values; call collect"):
        fastpg.collect(cartpole(), POLICY, 2).gae(gamma=0.9, lam=0.8)
    with pytest.raises(ValueError, match=r"gae\(\): lam must be a number in \[0, 1\]"):
        batch.gae(gamma=0.9, lam=2)


def cartpoles(vectorized):
    return vectorized([lambda: gymnasium.make("CartPole-v1")] * 2)


STEPPED = {
    "sync": lambda: cartpoles(SyncVectorEnv),
    "async": lambda: cartpoles(AsyncVectorEnv),
    "wrapped": lambda: gymnasium.wrappers.vector.RecordEpisodeStatistics(fastpg.make("CartPole-v1", 2)),
}


@pytest.mark.parametrize("kind", STEPPED)
def test_steps_that_somebody_else_took_are_noticed(kind):
    env = STEPPED[kind]()
    policy = fastpg.Policy.for_env(env)
    try:
        first = fastpg.collect(env, policy, 3)
        second = fastpg.collect(env, policy, 3)
        np.testing.assert_array_equal(second.obs[0], first.last_obs)
        for change in (lambda: env.reset(seed=5), lambda: env.step(np.zeros_like(env.action_space.sample()))):
            change()
            with pytest.raises(ValueError, match=r"^collect\(\): env was stepped or reset by somebody else"):
                fastpg.collect(env, policy, 3)
            again = fastpg.collect(env, policy, 3, seed=0)
            np.testing.assert_array_equal(again.obs, first.obs)
    finally:
        env.close()


def test_two_threads_on_the_same_environments_are_refused_or_take_turns():
    env = fastpg.make("CartPole-v1", 64)
    env.reset(seed=0)
    policy = fastpg.Policy.for_env("CartPole-v1", hidden=(64, 64))
    errors = []

    def work():
        for _ in range(20):
            try:
                fastpg.collect(env, policy, 50)
            except ValueError as error:
                errors.append(str(error))

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all("at work in another thread" in error for error in errors)


@pytest.mark.parametrize("space", [MultiDiscrete([2]), MultiBinary(1), Discrete(3)], ids=str)
def test_a_policy_with_another_head_does_not_fit(space):
    policy = fastpg.Policy(Box(-np.inf, np.inf, (4,)), space, hidden=())
    with pytest.raises(ValueError, match="collect\\(\\): policy maps"):
        fastpg.collect(cartpole(), policy, 2)


def test_the_core_checks_what_memory_safety_needs():
    native = fastpg.envs.native_env("", "CartPole-v1", {})
    sampler = _core.Sampler(native.core, POLICY.network, 3, 0)
    arrays = {
        "obs": np.empty((4, 3, 4), np.float32),
        "actions": np.empty(12, np.int64),
        "log_probs": np.empty((4, 3), np.float32),
        "rewards": np.empty((4, 3), np.float32),
        "terminated": np.empty((4, 3), np.uint8),
        "truncated": np.empty((4, 3), np.uint8),
        "last_obs": np.empty((3, 4), np.float32),
    }
    sampler.collect(None, POLICY.theta, seed=0, first_step=0, **arrays)
    for name, array in arrays.items():
        wrong = np.empty((array.shape[0] - 1, *array.shape[1:]), array.dtype)
        with pytest.raises(ValueError):
            sampler.collect(None, POLICY.theta, seed=0, first_step=0, **arrays | {name: wrong})
    with pytest.raises(ValueError, match="too many steps"):
        sampler.collect(None, POLICY.theta, seed=0, first_step=2**34, **arrays)
    with pytest.raises(ValueError, match="the vector has other environments"):
        sampler.collect(cartpole()._core, POLICY.theta, seed=0, first_step=0, **arrays)


def test_what_docs_collect_shows_runs():
    pytest.importorskip("torch")
    text = (ROOT / "docs" / "collect.md").read_text()
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL):
        exec(block, names)
    assert names["batch"].num_steps == 64 * 128
